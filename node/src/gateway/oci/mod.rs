//! The OCI distribution API (distribution-spec v1.1): a publisher's model is a repository, its layers are its files.
//!
//! A model pushed under the user's own name is signed and published; somebody else's is taken once its provenance verifies.
//! Ollama, which speaks a dialect of its own of this API, is served in [`ollama`].

mod blob;
mod error;
mod login;
mod manifest;
mod ollama;
mod tags;
mod upload;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use reg_proto::limits::MANIFEST_BYTES_MAX;
use reg_proto::name::{ModelName, Publisher, PublisherId};
use serde::Deserialize;
use serde_json::{Value, json};

use self::error::{Code, OciError};
use self::ollama::Synthesised;
use super::Signer;
use super::guard::Caller;
use super::owner::publisher;
use crate::registry::Registry;

/// The version of the API that every answer names.
const API_VERSION: (HeaderName, HeaderValue) =
    (HeaderName::from_static("docker-distribution-api-version"), HeaderValue::from_static("registry/2.0"));
const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// What this dialect works with.
#[derive(Debug, Clone)]
pub(super) struct Oci(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    signer: Option<Signer>,
    synthesised: Synthesised,
}

/// A repository as it stands in an address.
#[derive(Debug, Clone, Deserialize)]
struct Repo {
    owner: String,
    model: String,
}

/// A repository and what is meant in it: a tag, a digest, or an upload.
#[derive(Debug, Clone, Deserialize)]
struct At {
    owner: String,
    model: String,
    reference: String,
}

/// Returns the routes of this dialect.
pub(super) fn router(registry: Registry, signer: Option<Signer>) -> Router {
    let oci = Oci(Arc::new(Inner { registry, signer, synthesised: Synthesised::default() }));
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

/// `GET /v2/`: clients send credentials only where this asks for them; who has none goes on as a reader.
async fn version(headers: HeaderMap) -> Result<(HeaderMap, Json<Value>), OciError> {
    if headers.contains_key(AUTHORIZATION) {
        Ok((HeaderMap::from_iter([API_VERSION]), Json(json!({}))))
    } else {
        Err(OciError::unauthorized())
    }
}

impl Oci {
    fn registry(&self) -> &Registry {
        &self.0.registry
    }

    fn signer(&self) -> Option<&Signer> {
        self.0.signer.as_ref()
    }

    fn synthesised(&self) -> &Synthesised {
        &self.0.synthesised
    }

    /// Returns whose model is meant, and which.
    fn names(&self, owner: &str, model: &str) -> Result<(Publisher, ModelName), OciError> {
        let invalid =
            |why: &dyn std::fmt::Display| OciError::new(Code::NameInvalid, format!("{owner}/{model}: {why}"));
        let publisher = publisher(owner, self.signer()).map_err(|error| invalid(&error))?;
        Ok((publisher, model.parse().map_err(|error| invalid(&error))?))
    }

    /// Returns where a caller may push to.
    async fn may_push(
        &self,
        caller: Option<Extension<Caller>>,
        owner: &str,
        model: &str,
    ) -> Result<(PublisherId, ModelName), OciError> {
        if caller.map(|it| it.0) != Some(Caller::Owner) {
            return Err(OciError::unauthorized());
        }
        let (publisher, model) = self.names(owner, model)?;
        let id = self
            .registry()
            .publisher(&publisher)
            .await
            .map_err(|error| OciError::of(&error, Code::NameUnknown))?;
        Ok((id, model))
    }
}

/// Returns the address by which the client reaches this node.
fn base(headers: &HeaderMap) -> String {
    let host =
        headers.get(axum::http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    format!("http://{host}")
}
