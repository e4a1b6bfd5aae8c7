//! Git LFS's batch API (git-lfs, docs/api/batch.md): where each large file of an upload is to be sent.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use reg_proto::digest::Digest;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Hub;
use super::error::HubError;
use crate::gateway::guard::{Caller, UPLOADS};

/// Objects of one batch (as the hub's own limit).
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
    State(hub): State<Hub>,
    Path(GitRepo { owner, model }): Path<GitRepo>,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    Json(batch): Json<Batch>,
) -> Result<Response, HubError> {
    let model = model.strip_suffix(".git").unwrap_or(&model);
    hub.may_publish(caller, &owner, model).await?;
    if batch.operation != "upload" {
        return Err(HubError::Invalid(format!("{:?}: only uploads go this way", batch.operation)));
    }
    if batch.objects.len() > BATCH_MAX {
        return Err(HubError::Invalid(format!("more than {BATCH_MAX} objects in one batch")));
    }
    let mut objects = Vec::new();
    for object in batch.objects {
        objects.push(hub.place(&object, &headers).await?);
    }
    let body = Json(json!({ "transfer": "basic", "objects": objects, "hash_algo": "sha256" }));
    Ok(([(CONTENT_TYPE, "application/vnd.git-lfs+json")], body).into_response())
}

impl Hub {
    async fn place(&self, object: &Object, headers: &HeaderMap) -> Result<Value, HubError> {
        let Object { oid, size } = object;
        let digest =
            Digest::from_hex(oid).map_err(|error| HubError::Invalid(format!("oid {oid:?}: {error}")))?;
        if self.registry().blob_size(&digest) == Some(*size) {
            return Ok(json!({ "oid": oid, "size": size }));
        }
        let begun = self.registry().begin_upload(Some((digest, *size))).await;
        let id = begun.map_err(|error| HubError::of(&error))?;
        let href = format!("{}{UPLOADS}{id}", base(headers));
        Ok(
            json!({ "oid": oid, "size": size, "authenticated": true, "actions": { "upload": { "href": href } } }),
        )
    }
}

/// Returns the address by which the client reaches this node.
pub(super) fn base(headers: &HeaderMap) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    format!("http://{host}")
}
