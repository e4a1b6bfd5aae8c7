//! Serves blobs: the files of models, and the small documents that belong to them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use reg_proto::content::kind::sniff;
use reg_proto::digest::Digest;
use reg_proto::limits::RESPONSE_DOCUMENT_BYTES_MAX;
use reg_proto::name::Publisher;
use reg_proto::piece::{BlobLayout, BlobTooLarge};

use super::digest;
use super::error::{Code, OciError};
use super::header::{API_VERSION, DOCKER_CONTENT_DIGEST};
use super::name::At;
use super::state::OciGateway;
use crate::gateway::blob::{Wanted, respond, respond_with};
use crate::gateway::guard::Caller;
use crate::gateway::server::{Client, Turn};
use crate::registry::model::record::ModelRecord;
use crate::registry::policy::{Verdict, judge};
use crate::registry::resolve::{ModelView, Revision};

/// Models of which one may have to serve a blob that they share: most blobs are of one model.
const MODELS_TRIED_MAX: usize = 4;

/// `GET` and `HEAD /v2/{owner}/{model}/blobs/{digest}`.
pub(super) async fn get(
    State(oci): State<OciGateway>,
    Path(at): Path<At>,
    method: Method,
    caller: Option<Extension<Caller>>,
    client: Option<Extension<Client>>,
    headers: HeaderMap,
) -> Result<Response, OciError> {
    let digest = digest::wanted(&at.reference, Code::BlobUnknown)?;
    let (publisher, model) = oci.names(&at.owner, &at.model)?;
    let mut response = if let Some(bytes) = oci.synthesised().get(&digest) {
        small(bytes.to_vec(), &digest, &method, &headers)
    } else if let Some(view) = oci.registry().view_with(&publisher, &model, &digest).await {
        of_view(&oci, &view, digest, &method, client.as_deref(), &headers).await?
    } else if let Some(size) = oci.registry().blob_size(&digest).filter(|_| method == Method::HEAD) {
        // The store has it, though not as a part of this repository: a client that pushes need not send it.
        respond(&Wanted::Whole, size, &digest.to_string(), None)
    } else if let Some(error) = oci.registry().damage_with(&publisher, &model, &digest).await {
        return Err(OciError::of(&error, Code::BlobUnknown));
    } else if let Some(size) = oci.registry().blob_size(&digest) {
        let is_owner = caller.map(|it| it.0) == Some(Caller::Owner);
        let models = oci.registry().models_with(&digest).await;
        let models = models.map_err(|error| OciError::of(&error, Code::BlobUnknown))?;
        if models.is_empty() {
            if !is_owner {
                oci.may_have(&digest).await?;
            }
            // It was pushed, and not the manifest that needs it yet.
            of_store(&oci, digest, size, client.as_deref(), &headers).await?
        } else {
            // What a model needs is judged with the model, under whatever name it is asked for.
            let view = if is_owner { oci.view_of_any(models).await } else { None };
            let view = view.ok_or_else(|| not_served(&digest))?;
            of_view(&oci, &view, digest, &method, client.as_deref(), &headers).await?
        }
    } else {
        return Err(OciError::new(
            Code::BlobUnknown,
            format!("{digest} is not part of {}/{}", at.owner, at.model),
        ));
    };
    let location = format!("/v2/{}/{}/blobs/{digest}", at.owner, at.model);
    label(response.headers_mut(), &digest, &location);
    Ok(response)
}

impl OciGateway {
    /// Returns the first of these models that may be served; `None` where every one is refused.
    async fn view_of_any(&self, models: Vec<(Digest, ModelRecord)>) -> Option<Arc<ModelView>> {
        for (manifest, record) in models.into_iter().take(MODELS_TRIED_MAX) {
            let publisher = Publisher::Id(record.publisher);
            let revision = Revision::Digest(manifest);
            if let Ok(view) = self.registry().view(&publisher, &record.model, &revision).await {
                return Some(view);
            }
        }
        None
    }

    /// Decides whether another caller than the owner may read a blob, if no model needs it: a document of which the kind is
    /// allowed.
    async fn may_have(&self, digest: &Digest) -> Result<(), OciError> {
        let bytes = self.registry().document(digest).await.ok_or_else(|| not_served(digest))?;
        let kind = sniff("", &bytes, &bytes, bytes.len() as u64);
        match judge(kind, self.registry().consent()) {
            Verdict::Allow => Ok(()),
            Verdict::Deny { reason } => Err(OciError::new(
                Code::Denied,
                format!(
                    "it is of kind {kind}, which is refused: {reason} (start the daemon with --allow {kind})"
                ),
            )),
        }
    }
}

async fn of_view(
    oci: &OciGateway,
    view: &Arc<ModelView>,
    digest: Digest,
    method: &Method,
    client: Option<&Client>,
    headers: &HeaderMap,
) -> Result<Response, OciError> {
    let failed = |error| OciError::of(&error, Code::BlobUnknown);
    if let Some(file) = view.manifest().files().iter().find(|file| file.digest == digest) {
        let admitted = oci.registry().admit(view, file).await;
        admitted.map_err(|error| OciError::of(&error, Code::BlobUnknown))?;
    }
    let Some(layout) = view.manifest().blobs().remove(&digest) else {
        let bytes = oci.registry().document(&digest).await;
        let bytes = bytes.ok_or_else(|| OciError::lacking(&digest))?;
        return Ok(small(bytes, &digest, method, headers));
    };
    let size = layout.size();
    let wanted = Wanted::of(headers, size, &digest.to_string());
    let range = wanted.range(size);
    let mut turn = None;
    let reader = if *method == Method::HEAD || range.is_empty() {
        None
    } else {
        turn = Client::turn(client).await?;
        Some(oci.registry().read(view, digest, layout, range).await.map_err(failed)?)
    };
    Ok(Turn::carried(turn, respond(&wanted, size, &digest.to_string(), reader)))
}

/// Answers with a blob of the store that is of no known model.
async fn of_store(
    oci: &OciGateway,
    digest: Digest,
    size: u64,
    client: Option<&Client>,
    headers: &HeaderMap,
) -> Result<Response, OciError> {
    let invalid = |error: BlobTooLarge| OciError::new(Code::SizeInvalid, error.to_string());
    let layout = BlobLayout::new(size).map_err(invalid)?;
    let wanted = Wanted::of(headers, size, &digest.to_string());
    let range = wanted.range(size);
    if range.is_empty() {
        return Ok(respond(&wanted, size, &digest.to_string(), None));
    }
    let turn = Client::turn(client).await?;
    let reader = oci.registry().read_whole(digest, layout, range).await;
    let reader = reader.map_err(|error| OciError::of(&error, Code::BlobUnknown))?;
    Ok(Turn::carried(turn, respond(&wanted, size, &digest.to_string(), Some(reader))))
}

fn not_served(digest: &Digest) -> OciError {
    OciError::new(Code::BlobUnknown, format!("{digest} is not served here"))
}

/// Answers with a small blob that is in memory.
fn small(bytes: Vec<u8>, digest: &Digest, method: &Method, headers: &HeaderMap) -> Response {
    debug_assert!(bytes.len() <= RESPONSE_DOCUMENT_BYTES_MAX, "only documents are small");
    let wanted = Wanted::of(headers, bytes.len() as u64, &digest.to_string());
    respond_with(&wanted, &digest.to_string(), &bytes, *method == Method::HEAD)
}

/// Adds the headers of every answer about a blob. Ollama follows `Location` even where the answer has the blob itself.
fn label(headers: &mut HeaderMap, digest: &Digest, location: &str) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.extend([API_VERSION]);
    headers.extend(HeaderValue::try_from(digest.to_string()).ok().map(|it| (DOCKER_CONTENT_DIGEST, it)));
    headers.extend(HeaderValue::try_from(location).ok().map(|it| (LOCATION, it)));
}

/// `DELETE /v2/{owner}/{model}/blobs/{digest}`.
pub(super) async fn delete(Path(at): Path<At>) -> Result<Response, OciError> {
    digest::pushed(&at.reference)?;
    let message = "a blob is removed when no model needs it: delete the manifest, or use `reg rm`";
    Err(OciError::new(Code::Unsupported, message))
}

/// Returns an answer without a body that names the URL of a blob.
pub(super) fn created(status: axum::http::StatusCode, location: &str, digest: &Digest) -> Response {
    let mut response = status.into_response();
    let headers = response.headers_mut();
    label(headers, digest, location);
    headers.remove(CONTENT_TYPE);
    headers.insert(CONTENT_LENGTH, 0.into());
    response
}
