//! The OCI distribution API (distribution-spec v1.1): a publisher's model is a repository, its layers are its files.
//!
//! A model that is pushed under the user's own name is signed and published. One under another publisher's name is
//! accepted once its provenance verifies. Ollama speaks a variant of this API, which [`ollama`] serves.

mod login;

mod llama_cpp;
mod manifest;
mod ollama;
mod quantised;
mod tags;

mod blob;
mod upload;

mod state;
mod synthesised;

mod digest;
mod error;
mod found;
mod header;
mod name;

use axum::extract::DefaultBodyLimit;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware;
use axum::routing::{get, post};
use axum::{Json, Router};
use reg_proto::limits::MANIFEST_BYTES_MAX;
use serde_json::{Value, json};

use self::error::OciError;
use self::header::API_VERSION;
use self::state::OciGateway;
use super::signer::Signer;
use crate::registry::Registry;

/// Returns the routes of this dialect.
pub(super) fn router(registry: Registry, signer: Option<Signer>) -> Router {
    let oci = OciGateway::new(registry, signer);
    let manifests = get(manifest::get).head(manifest::get).put(manifest::put).delete(manifest::delete);
    let uploads = get(upload::status).patch(upload::patch).put(upload::finish).delete(upload::cancel);
    Router::new()
        .route("/v2", get(version))
        .route("/v2/", get(version))
        .route("/v2/token", get(login::token))
        .route("/v2/_catalog", get(tags::catalog))
        .route("/v2/{owner}/{model}/manifests/{reference}", manifests)
        .route("/v2/{owner}/{model}/blobs/{reference}", get(blob::get).head(blob::get).delete(blob::delete))
        .route("/v2/{owner}/{model}/blobs/uploads/", post(upload::begin))
        .route("/v2/{owner}/{model}/blobs/uploads", post(upload::begin))
        .route("/v2/{owner}/{model}/blobs/uploads/{reference}", uploads)
        .route("/v2/{owner}/{model}/tags/list", get(tags::list))
        .route("/v2/{owner}/{model}/referrers/{reference}", get(tags::referrers))
        .layer(DefaultBodyLimit::max(MANIFEST_BYTES_MAX))
        .layer(middleware::from_fn(login::challenge))
        .with_state(oci)
}

/// `GET /v2/`: asks for credentials, because clients send them only then. A client without any goes on as a reader.
async fn version(headers: HeaderMap) -> Result<(HeaderMap, Json<Value>), OciError> {
    if headers.contains_key(AUTHORIZATION) {
        Ok((HeaderMap::from_iter([API_VERSION]), Json(json!({}))))
    } else {
        Err(OciError::unauthorized())
    }
}
