//! Git LFS's batch API (git-lfs, docs/api/batch.md): tells a client where to send each large file of an upload.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use reg_proto::digest::Digest;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::HfError;
use super::state::HfGateway;
use crate::gateway::base_url::base_url;
use crate::gateway::guard::{Caller, UPLOADS};

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
    hub.may_publish(caller, &owner, model).await?;
    if batch.operation != "upload" {
        return Err(HfError::Invalid(format!(
            "{:?}: only the operation \"upload\" is supported",
            batch.operation
        )));
    }
    if batch.objects.len() > BATCH_MAX {
        return Err(HfError::Invalid(format!("more than {BATCH_MAX} objects in one batch")));
    }
    let mut objects = Vec::new();
    for object in batch.objects {
        objects.push(hub.place(&object, &headers).await?);
    }
    let body = Json(json!({ "transfer": "basic", "objects": objects, "hash_algo": "sha256" }));
    Ok(([(CONTENT_TYPE, "application/vnd.git-lfs+json")], body).into_response())
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
}
