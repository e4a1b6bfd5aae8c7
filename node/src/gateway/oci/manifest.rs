//! Serves and takes manifests: of models, and of the documents about them.

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, ETAG, WARNING};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use reg_proto::descriptor::Descriptor;
use reg_proto::digest::Digest;
use reg_proto::manifest::MANIFEST_TYPE;
use reg_proto::name::{ModelName, Publisher, Reference, Tag};
use serde_json::{Value, json};

use super::blob::created;
use super::digest;
use super::error::{Code, OciError};
use super::found::{Found, media_type};
use super::header::{API_VERSION, DOCKER_CONTENT_DIGEST};
use super::name::At;
use super::state::OciGateway;
use super::{llama_cpp, ollama};
use crate::gateway::behind;
use crate::gateway::guard::Caller;
use crate::registry::publish::{INDEX_TYPE, PushError, Pushed, Signatory};
use crate::registry::resolve::Revision;

/// Why an index is refused. Its manifests would be models of one name, and a tag means one model.
const NO_INDEX: &str = "an index is not taken: push each model under a name or a tag of its own";

const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// `GET` and `HEAD /v2/{owner}/{model}/manifests/{reference}`.
pub(super) async fn get(
    State(oci): State<OciGateway>,
    Path(at): Path<At>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, OciError> {
    let (publisher, model) = oci.names(&at.owner, &at.model)?;
    let accept: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|it| it.to_str().ok()).collect();
    let found = if llama_cpp::is_meant(&headers) {
        llama_cpp::manifest(&oci, &publisher, &model, &at.reference).await?
    } else if ollama::is_meant(&accept) {
        ollama::manifest(&oci, &publisher, &model, &at.reference).await?
    } else if let Some(subject) = fallback_subject(&at.reference) {
        fallback_index(&oci, &publisher, &model, subject).await?
    } else {
        find(&oci, &publisher, &model, &at.reference).await?
    };
    let digest = Digest::of(&found.bytes);
    let length = found.bytes.len();
    let body = if method == Method::HEAD { Body::empty() } else { Body::from(found.bytes) };
    let mut response = (StatusCode::OK, body).into_response();
    let headers = response.headers_mut();
    headers.extend([API_VERSION]);
    headers.insert(CONTENT_LENGTH, length.into());
    let described = [
        (CONTENT_TYPE, found.media_type),
        (DOCKER_CONTENT_DIGEST, digest.to_string()),
        (ETAG, format!("\"{digest}\"")),
    ];
    behind::label(headers, found.behind.as_ref());
    headers.extend(
        described.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?))),
    );
    Ok(response)
}

async fn find(
    oci: &OciGateway,
    publisher: &Publisher,
    model: &ModelName,
    reference: &str,
) -> Result<Found, OciError> {
    let unknown = |why: String| OciError::new(Code::ManifestUnknown, why);
    let found = |bytes, behind| Found { bytes, media_type: MANIFEST_TYPE.to_owned(), behind };
    let wanted = if reference.contains(':') {
        let digest = digest::wanted(reference, Code::ManifestUnknown)?;
        // Pushed manifests, and documents about known versions, are found by their digest alone.
        let id = oci.registry().publisher(publisher).await.ok();
        if let Some(bytes) = id.and_then(|id| oci.registry().held_manifest(id, model, &digest)) {
            let media_type = media_type(&bytes);
            return Ok(Found { bytes, media_type, behind: None });
        }
        let view = oci.registry().view_with(publisher, model, &digest).await;
        if view.is_some_and(|view| view.digest() == digest || view.referrers().contains(&digest)) {
            let bytes = oci.registry().document(&digest).await;
            return bytes.map(|bytes| found(bytes, None)).ok_or_else(|| OciError::lacking(&digest));
        }
        if let Some(error) = oci.registry().damage_with(publisher, model, &digest).await {
            return Err(OciError::of(&error, Code::ManifestUnknown));
        }
        Revision::Digest(digest)
    } else {
        Revision::Tag(reference.parse().map_err(|error| unknown(format!("{reference}: {error}")))?)
    };
    let view = oci.registry().view(publisher, model, &wanted).await;
    let view = view.map_err(|error| OciError::of(&error, Code::ManifestUnknown))?;
    let bytes = oci.registry().document(&view.digest()).await;
    bytes.map(|bytes| found(bytes, view.behind.clone())).ok_or_else(|| OciError::lacking(&view.digest()))
}

/// Returns the subject of a tag `sha256-<hex>`, under which registries without a referrers API keep a list of
/// referrers.
fn fallback_subject(reference: &str) -> Option<Digest> {
    Digest::from_hex(reference.strip_prefix("sha256-")?).ok()
}

async fn fallback_index(
    oci: &OciGateway,
    publisher: &Publisher,
    model: &ModelName,
    subject: Digest,
) -> Result<Found, OciError> {
    let referrers = referrers_of(oci, publisher, model, subject).await;
    if referrers.is_empty() {
        return Err(OciError::new(Code::ManifestUnknown, format!("no referrer of {subject} is known")));
    }
    let bytes = serde_json::to_vec(&index(&referrers)).unwrap_or_default();
    Ok(Found { bytes, media_type: INDEX_TYPE.to_owned(), behind: None })
}

/// Returns the referrers of a manifest: those in the store, at peers, or pushed and held.
pub(super) async fn referrers_of(
    oci: &OciGateway,
    publisher: &Publisher,
    model: &ModelName,
    subject: Digest,
) -> Vec<Descriptor> {
    match oci.registry().view(publisher, model, &Revision::Digest(subject)).await {
        Ok(view) => oci.registry().referrers(&view).await,
        Err(_) => oci.registry().held_referrers(subject),
    }
}

/// Returns an OCI index of these manifests.
pub(super) fn index(manifests: &[Descriptor]) -> Value {
    json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests })
}

/// `PUT /v2/{owner}/{model}/manifests/{reference}`.
pub(super) async fn put(
    State(oci): State<OciGateway>,
    Path(at): Path<At>,
    caller: Option<Extension<Caller>>,
    body: Bytes,
) -> Result<Response, OciError> {
    let (id, model) = oci.may_push(caller, &at.owner, &at.model).await?;
    let own = Digest::of(&body);
    let tag: Option<Tag> =
        if at.reference.contains(':') {
            if digest::pushed(&at.reference)? != own {
                return Err(OciError::new(
                    Code::DigestInvalid,
                    format!("the manifest is {own}, not {}", at.reference),
                ));
            }
            None
        } else {
            let parsed = at.reference.parse();
            Some(parsed.map_err(|error| {
                OciError::new(Code::ManifestInvalid, format!("{}: {error}", at.reference))
            })?)
        };
    let location = format!("/v2/{}/{}/manifests/{own}", at.owner, at.model);
    let mut response = created(StatusCode::CREATED, &location, &own);
    if media_type(&body) == INDEX_TYPE {
        // Clients keep a list of referrers for registries without a referrers API; this gateway computes it.
        return match fallback_subject(&at.reference) {
            Some(_) => Ok(response),
            None => Err(OciError::new(Code::ManifestInvalid, NO_INDEX)),
        };
    }
    let pushed = match oci.signer() {
        Some(signer) => {
            let push = async |by: Signatory<'_>| {
                oci.registry().push_manifest(id, &model, tag, body.to_vec(), Some(by)).await
            };
            signer.lend(push).await
        }
        None => oci.registry().push_manifest(id, &model, tag, body.to_vec(), None).await,
    };
    let refused = |error: PushError| {
        let code = match &error {
            PushError::Missing { .. } => Code::ManifestBlobUnknown,
            _ => Code::ManifestInvalid,
        };
        OciError::of(&error, code)
    };
    match pushed.map_err(refused)? {
        Pushed::Published(_) | Pushed::Adopted { .. } => {}
        Pushed::Referrer { subject, .. } => {
            let value = HeaderValue::try_from(subject.to_string()).ok();
            response.headers_mut().extend(value.map(|it| (OCI_SUBJECT, it)));
        }
        Pushed::Held { .. } => {
            let warning = "299 - \"held until its provenance is pushed: push its referrers, or push under the name of \
                           the key of --publish-key\"";
            response.headers_mut().insert(WARNING, HeaderValue::from_static(warning));
        }
    }
    Ok(response)
}

/// `DELETE /v2/{owner}/{model}/manifests/{reference}`.
pub(super) async fn delete(
    State(oci): State<OciGateway>,
    Path(at): Path<At>,
    caller: Option<Extension<Caller>>,
) -> Result<Response, OciError> {
    let (id, model) = oci.may_push(caller, &at.owner, &at.model).await?;
    let (mut tag, mut by_digest) = (None, None);
    if at.reference.contains(':') {
        let digest = digest::wanted(&at.reference, Code::ManifestUnknown)?;
        if oci.registry().drop_held(&digest) {
            return Ok(StatusCode::ACCEPTED.into_response());
        }
        by_digest = Some(digest);
    } else {
        let parsed = at.reference.parse();
        tag = Some(parsed.map_err(|_| OciError::new(Code::ManifestUnknown, at.reference.clone()))?);
    }
    let reference = Reference { publisher: Publisher::Id(id), model, tag, digest: by_digest };
    let removed = oci.registry().remove(&reference).await;
    removed.map_err(|error| OciError::of(&error, Code::ManifestUnknown))?;
    Ok(StatusCode::ACCEPTED.into_response())
}
