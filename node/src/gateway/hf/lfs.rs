//! Git LFS's batch API (git-lfs, docs/api/batch.md): tells a client where to send each large file of an upload, and where to
//! get each file of a model. Reading needs no token. Git itself is not served, and a client that tries is told what is.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use reg_api::escape::escape;
use reg_api::printable::Printable;
use reg_proto::digest::Digest;
use reg_proto::manifest::ModelFile;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::HfError;
use super::name::{At, Repo, commit};
use super::state::HfGateway;
use super::time::iso_time;
use crate::gateway::base_url::base_url;
use crate::gateway::guard::{Caller, UPLOADS};
use crate::registry::resolve::ModelView;

/// Objects of one batch (the Hub's own limit).
const BATCH_MAX: usize = 256;

#[derive(Debug, Deserialize)]
pub(super) struct Batch {
    operation: String,
    objects: Vec<Object>,
}

#[derive(Debug, Deserialize)]
struct Object {
    oid: String,
    size: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct GitRepo {
    owner: String,
    model: String,
}

/// `POST /{owner}/{model}.git/info/lfs/objects/batch`.
pub(super) async fn batch(
    State(hub): State<HfGateway>,
    Path(GitRepo { owner, model }): Path<GitRepo>,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    Json(batch): Json<Batch>,
) -> Result<Response, HfError> {
    let model = model.strip_suffix(".git").unwrap_or(&model);
    if batch.objects.len() > BATCH_MAX {
        return Err(HfError::Invalid(format!("more than {BATCH_MAX} objects in one batch")));
    }
    let mut objects = Vec::new();
    match batch.operation.as_str() {
        "upload" => {
            hub.may_publish(caller, &owner, model).await?;
            for object in batch.objects {
                objects.push(hub.place(&object, &headers).await?);
            }
        }
        "download" => {
            let repo = Repo { owner, model: model.to_owned() };
            let main = hub.view(&At::main(repo.clone())).await.ok();
            for object in batch.objects {
                objects.push(hub.source(&repo, main.as_ref(), &object, &headers).await?);
            }
        }
        other => {
            return Err(HfError::Invalid(format!(
                "{other:?}: the operations are \"upload\" and \"download\""
            )));
        }
    }
    let body = Json(json!({ "transfer": "basic", "objects": objects, "hash_algo": "sha256" }));
    Ok(([(CONTENT_TYPE, "application/vnd.git-lfs+json")], body).into_response())
}

/// `GET /api/models/{owner}/{model}/lfs-files`: the large files of the newest version.
pub(super) async fn files(
    State(hub): State<HfGateway>,
    Path(repo): Path<Repo>,
) -> Result<Json<Vec<Value>>, HfError> {
    let view = hub.view(&At::main(repo)).await?;
    let plain = hub.plain_oids(&view).await?;
    let large = view.manifest().files().iter().filter(|file| !plain.contains_key(&file.digest));
    let described = |file: &ModelFile| {
        let oid = file.digest.hex();
        json!({
            "fileOid": oid, "filename": file.path.as_str(), "oid": oid, "pushedAt": iso_time(view.issued()),
            "ref": "main", "size": file.layout.size(),
        })
    };
    Ok(Json(large.map(described).collect()))
}

impl HfGateway {
    async fn place(&self, object: &Object, headers: &HeaderMap) -> Result<Value, HfError> {
        let Object { oid, size } = object;
        let digest =
            Digest::from_hex(oid).map_err(|error| HfError::Invalid(format!("oid {oid:?}: {error}")))?;
        if self.registry().blob_size(&digest) == Some(*size) {
            return Ok(json!({ "oid": oid, "size": size }));
        }
        let begun = self.registry().begin_upload(Some((digest, *size))).await;
        let id = begun.map_err(|error| HfError::of(&error))?;
        let href = format!("{}{UPLOADS}{id}", base_url(headers));
        Ok(
            json!({ "oid": oid, "size": size, "authenticated": true, "actions": { "upload": { "href": href } } }),
        )
    }

    /// Returns where a client gets an object: the file of a version that has it.
    async fn source(
        &self,
        repo: &Repo,
        main: Option<&Arc<ModelView>>,
        object: &Object,
        headers: &HeaderMap,
    ) -> Result<Value, HfError> {
        let Object { oid, size } = object;
        let failed = |code: u16, why: String| json!({ "oid": oid, "size": size, "error": { "code": code, "message": why } });
        let Ok(digest) = Digest::from_hex(oid) else {
            return Ok(failed(422, format!("{oid}: not a SHA-256")));
        };
        let (publisher, model) = self.names(&repo.owner, &repo.model)?;
        let has = |view: &Arc<ModelView>| view.manifest().files().iter().any(|file| file.digest == digest);
        let view = match main.filter(|view| has(view)) {
            Some(main) => main.clone(),
            None => match self.registry().view_with(&publisher, &model, &digest).await.filter(has) {
                Some(view) => view,
                None => {
                    if let Some(error) = self.registry().damage_with(&publisher, &model, &digest).await {
                        return Ok(failed(503, error.to_string()));
                    }
                    let id = At::main(repo.clone()).id();
                    return Ok(failed(404, format!("{id}: no version that this node knows has it")));
                }
            },
        };
        let Some(file) = view.manifest().files().iter().find(|file| file.digest == digest) else {
            return Ok(failed(404, "no file has it".to_owned()));
        };
        let (owner, model, path) = (escape(&repo.owner), escape(&repo.model), escape(file.path.as_str()));
        let href = format!("{}/{owner}/{model}/resolve/{}/{path}", base_url(headers), commit(&view.digest()));
        let size = file.layout.size();
        Ok(
            json!({ "oid": oid, "size": size, "authenticated": true, "actions": { "download": { "href": href } } }),
        )
    }
}

/// `GET /{owner}/{model}/info/refs`, and the requests that would follow it: git's own protocol.
///
/// Git shows plain text to its user. A 404 would say that there is no such repository, and a 401 would ask for a password.
pub(super) async fn git(Path(GitRepo { owner, model }): Path<GitRepo>) -> Response {
    let repo = format!("{owner}/{}", model.strip_suffix(".git").unwrap_or(&model));
    let text = format!(
        "this node has no git repositories: a model is fetched with\n  hf download {repo}\nor with\n  reg pull {repo}\n"
    );
    (
        StatusCode::FORBIDDEN,
        [(CONTENT_TYPE, "text/plain; charset=utf-8")],
        Printable::lines(&text).to_string(),
    )
        .into_response()
}
