//! Serves `hf upload`: creates a repository, and turns each commit into a signed version.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use data_encoding::BASE64;
use reg_api::reporter::Reporter;
use reg_api::request::{PublishRequest, PublishSource};
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Publisher, Tag};
use reg_proto::path::SafePath;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::HfError;
use super::name::{At, commit, revision};
use super::state::HfGateway;
use crate::gateway::base_url::base_url;
use crate::gateway::guard::Caller;
use crate::gateway::signer::Signer;
use crate::registry::publish::Signatory;
use crate::registry::resolve::Revision;

/// Bytes of a file that is sent within a commit; larger ones are sent by themselves.
const INLINE_BYTES_MAX: u64 = 64 << 10;
/// Files of one preupload request (the Hub's own limit).
const PREUPLOAD_MAX: usize = 1000;

#[derive(Debug, Deserialize)]
pub(super) struct Create {
    name: String,
    organization: Option<String>,
    r#type: Option<String>,
}

/// `POST /api/repos/create`.
pub(super) async fn create(
    State(hub): State<HfGateway>,
    caller: Option<Extension<Caller>>,
    headers: axum::http::HeaderMap,
    Json(request): Json<Create>,
) -> Result<Response, HfError> {
    if request.r#type.as_deref().is_some_and(|it| it != "model") {
        return Err(HfError::Invalid("only models can be published on this node".to_owned()));
    }
    let own = hub.signer().map(|it| it.name().to_owned()).unwrap_or_default();
    let owner = request.organization.unwrap_or(own);
    let (_, model) = hub.may_publish(caller, &owner, &request.name).await?;
    let (publisher, _) = hub.names(&owner, &request.name)?;
    let known = hub.registry().view_here(&publisher, &model, &Tag::latest()).await;
    let id = format!("{owner}/{model}");
    let url = format!("{}/{id}", base_url(&headers));
    let mut answer = json!({ "url": url, "name": id, "id": id });
    if known.is_some() {
        answer["error"] = json!(format!("{id} exists already"));
        return Ok((StatusCode::CONFLICT, Json(answer)).into_response());
    }
    Ok(Json(answer).into_response())
}

#[derive(Debug, Deserialize)]
pub(super) struct Card {
    content: String,
}

/// `POST /api/validate-yaml`.
pub(super) async fn validate_yaml(Json(card): Json<Card>) -> Json<Value> {
    let errors: Vec<Value> = match reg_proto::content::card::parse(card.content.as_bytes()) {
        Ok(_) => Vec::new(),
        Err(error) => vec![json!({ "message": error.to_string() })],
    };
    Json(json!({ "errors": errors, "warnings": [] }))
}

#[derive(Debug, Deserialize)]
pub(super) struct Preupload {
    files: Vec<Sample>,
}

#[derive(Debug, Deserialize)]
struct Sample {
    path: String,
    size: u64,
}

/// `POST /api/models/{owner}/{model}/preupload/{revision}`.
pub(super) async fn preupload(
    State(hub): State<HfGateway>,
    Path(at): Path<At>,
    caller: Option<Extension<Caller>>,
    Json(request): Json<Preupload>,
) -> Result<Json<Value>, HfError> {
    hub.may_publish(caller, &at.owner, &at.model).await?;
    if request.files.len() > PREUPLOAD_MAX {
        return Err(HfError::Invalid(format!("more than {PREUPLOAD_MAX} files in one request")));
    }
    let mode = |file: &Sample| {
        let mode = if file.size <= INLINE_BYTES_MAX { "regular" } else { "lfs" };
        json!({ "path": file.path, "uploadMode": mode, "shouldIgnore": false, "oid": null })
    };
    Ok(Json(json!({ "files": request.files.iter().map(mode).collect::<Vec<_>>() })))
}

/// A line of a commit.
#[derive(Debug, Deserialize)]
#[serde(tag = "key", content = "value", rename_all = "camelCase")]
enum Line {
    Header(Header),
    File(Inline),
    LfsFile(InLfs),
    DeletedFile(Named),
    DeletedFolder(Named),
    #[serde(untagged)]
    Other(Value),
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Header {
    parent_commit: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Inline {
    path: String,
    content: String,
    encoding: Option<String>,
}

#[derive(Debug, Deserialize)]
struct InLfs {
    path: String,
    oid: String,
}

#[derive(Debug, Deserialize)]
struct Named {
    path: String,
}

/// `POST /api/models/{owner}/{model}/commit/{revision}`.
pub(super) async fn commit_files(
    State(hub): State<HfGateway>,
    Path(at): Path<At>,
    caller: Option<Extension<Caller>>,
    headers: axum::http::HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, HfError> {
    let (signer, model) = hub.may_publish(caller, &at.owner, &at.model).await?;
    let Revision::Tag(tag) = revision(&at.revision)? else {
        return Err(HfError::Invalid(format!("{}: a commit goes to a tag, or to main", at.revision)));
    };
    let publisher = Publisher::Id(signer.publisher());
    let current = hub.registry().view_here(&publisher, &model, &tag).await;
    let mut files: BTreeMap<SafePath, Digest> = BTreeMap::new();
    if let Some(view) = &current {
        files.extend(view.manifest().files().iter().map(|file| (file.path.clone(), file.digest)));
    }
    for line in body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        let line: Line = serde_json::from_slice(line)
            .map_err(|error| HfError::Invalid(format!("a line of the commit is malformed: {error}")))?;
        let parent = current.as_ref().map(|view| commit(&view.digest()));
        hub.apply(line, parent.as_deref(), &mut files).await?;
    }
    let blobs: Vec<(SafePath, Digest)> = files.into_iter().collect();
    let unchanged = current.as_ref().filter(|view| {
        let known = view.manifest().files().iter().map(|file| (&file.path, &file.digest));
        known.eq(blobs.iter().map(|(path, digest)| (path, digest)))
    });
    let digest = match unchanged {
        Some(view) => view.digest(),
        None => hub.publish(signer, blobs, model, tag).await?,
    };
    let oid = commit(&digest);
    let url = format!("{}/{}/commit/{oid}", base_url(&headers), at.id());
    Ok(Json(json!({
        "success": true, "commitOid": oid, "commitUrl": url, "hookOutput": "", "pullRequestUrl": null,
    })))
}

impl HfGateway {
    async fn apply(
        &self,
        line: Line,
        parent: Option<&str>,
        files: &mut BTreeMap<SafePath, Digest>,
    ) -> Result<(), HfError> {
        match line {
            Line::Header(Header { parent_commit: Some(wanted) }) if Some(wanted.as_str()) != parent => {
                let message = format!("the branch is at {}, not at {wanted}", parent.unwrap_or("no commit"));
                return Err(HfError::Conflict(message));
            }
            Line::Header(_) => {}
            Line::File(Inline { path, content, encoding }) => {
                let bytes = match encoding.as_deref() {
                    Some("base64") => BASE64.decode(content.as_bytes()).map_err(|error| {
                        HfError::Invalid(format!("{path}: content is not base64: {error}"))
                    })?,
                    _ => content.into_bytes(),
                };
                let digest = self.registry().put_small(bytes).await.map_err(|error| HfError::of(&error))?;
                files.insert(safe(&path)?, digest);
            }
            Line::LfsFile(InLfs { path, oid }) => {
                let digest = Digest::from_hex(&oid)
                    .map_err(|error| HfError::Invalid(format!("{path}: oid {oid:?}: {error}")))?;
                if self.registry().blob_size(&digest).is_none() {
                    return Err(HfError::Invalid(format!("{path}: {oid} has not been uploaded")));
                }
                files.insert(safe(&path)?, digest);
            }
            Line::DeletedFile(Named { path }) => drop(files.remove(&safe(&path)?)),
            Line::DeletedFolder(Named { path }) => {
                let prefix = format!("{}/", path.trim_end_matches('/'));
                files.retain(|path, _| !path.as_str().starts_with(&prefix));
            }
            Line::Other(value) => {
                let key =
                    value["key"].as_str().unwrap_or("without a key").chars().take(40).collect::<String>();
                return Err(HfError::Invalid(format!("a commit has a line {key}, which is not supported")));
            }
        }
        Ok(())
    }

    async fn publish(
        &self,
        signer: &Signer,
        blobs: Vec<(SafePath, Digest)>,
        model: ModelName,
        tag: Tag,
    ) -> Result<Digest, HfError> {
        // Hugging Face's clients send this file along; it does not belong to the model.
        let blobs = blobs.into_iter().filter(|(path, _)| path.as_str() != ".gitattributes").collect();
        let request = PublishRequest {
            allow_unsafe: self.registry().allows_unsafe(),
            ..PublishRequest::new(PublishSource::Blobs(blobs), Vec::new(), model, tag)
        };
        let silent = Reporter::silent();
        let publish = async |by: Signatory<'_>| self.registry().publish(by, request, &silent).await;
        let published = signer.lend(publish).await;
        published.map(|it| it.manifest).map_err(|error| HfError::of(&error))
    }
}

fn safe(path: &str) -> Result<SafePath, HfError> {
    path.parse().map_err(|error| HfError::Invalid(format!("{path:?}: {error}")))
}
