//! Takes pushed blobs: at once, in chunks, or by mounting one that the store has already.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use reg_proto::digest::Digest;
use serde::Deserialize;

use super::blob::created;
use super::digest;
use super::error::{Code, OciError};
use super::header::API_VERSION;
use super::name::{At, Repo};
use super::state::OciGateway;
use crate::gateway::base_url::base_url;
use crate::gateway::guard::Caller;
use crate::gateway::uploads::{append, or_discard};
use crate::registry::import::UploadError;

/// Bytes of a refused upload that are read and discarded, so that its client reads why.
const DISCARDED_MAX: usize = 16 << 20;
const DOCKER_UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

#[derive(Debug, Deserialize)]
pub(super) struct BeginQuery {
    mount: Option<String>,
    digest: Option<String>,
    #[serde(rename = "digest-algorithm")]
    algorithm: Option<String>,
}

impl BeginQuery {
    /// Returns the blob to mount and the digest of the body, where the client names them.
    fn digests(&self) -> Result<(Option<Digest>, Option<Digest>), OciError> {
        self.algorithm.as_deref().map_or(Ok(()), digest::algorithm)?;
        let pushed = |named: &Option<String>| named.as_deref().map(digest::pushed).transpose();
        Ok((pushed(&self.mount)?, pushed(&self.digest)?))
    }
}

/// `POST /v2/{owner}/{model}/blobs/uploads/`.
pub(super) async fn begin(
    State(oci): State<OciGateway>,
    Path(repo): Path<Repo>,
    Query(query): Query<BeginQuery>,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, OciError> {
    let named = oci.may_push(caller, &repo.owner, &repo.model).await.and_then(|_| query.digests());
    let ((mount, wanted), body) = or_discard(named, &headers, body, DISCARDED_MAX).await?;
    let blob = |digest| format!("/v2/{}/{}/blobs/{digest}", repo.owner, repo.model);
    if let Some(mount) = mount.filter(|mount| oci.registry().blob_size(mount).is_some()) {
        return Ok(created(StatusCode::CREATED, &blob(mount), &mount));
    }
    let id = oci.registry().begin_upload(None).await.map_err(failed)?;
    let Some(wanted) = wanted else { return Ok(at(&headers, &repo, &id, 0, StatusCode::ACCEPTED)) };
    append(oci.registry(), &id, Some(0), body).await.map_err(failed)?;
    oci.registry().finish_upload(&id, Some(wanted)).await.map_err(failed)?;
    Ok(created(StatusCode::CREATED, &blob(wanted), &wanted))
}

/// `GET /v2/{owner}/{model}/blobs/uploads/{id}`: tells how many bytes the upload has.
pub(super) async fn status(
    State(oci): State<OciGateway>,
    Path(upload): Path<At>,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
) -> Result<Response, OciError> {
    oci.may_push(caller, &upload.owner, &upload.model).await?;
    let size = oci.registry().upload_size(&upload.reference).await.map_err(failed)?;
    let repo = Repo { owner: upload.owner, model: upload.model };
    Ok(at(&headers, &repo, &upload.reference, size, StatusCode::NO_CONTENT))
}

/// `PATCH /v2/{owner}/{model}/blobs/uploads/{id}`: takes more bytes.
pub(super) async fn patch(
    State(oci): State<OciGateway>,
    Path(upload): Path<At>,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, OciError> {
    let at_offset = async {
        oci.may_push(caller, &upload.owner, &upload.model).await?;
        offset(&headers)
    };
    let (at_offset, body) = or_discard(at_offset.await, &headers, body, DISCARDED_MAX).await?;
    let size = append(oci.registry(), &upload.reference, at_offset, body).await.map_err(failed)?;
    let repo = Repo { owner: upload.owner, model: upload.model };
    Ok(at(&headers, &repo, &upload.reference, size, StatusCode::ACCEPTED))
}

#[derive(Debug, Deserialize)]
pub(super) struct FinishQuery {
    digest: Option<String>,
}

/// `PUT /v2/{owner}/{model}/blobs/uploads/{id}?digest=…`: takes the last bytes, and stores the blob under its digest.
pub(super) async fn finish(
    State(oci): State<OciGateway>,
    Path(upload): Path<At>,
    Query(query): Query<FinishQuery>,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, OciError> {
    let found = async {
        oci.may_push(caller, &upload.owner, &upload.model).await?;
        let missing = || OciError::new(Code::DigestInvalid, "the digest of the upload is missing");
        let wanted = query.digest.ok_or_else(missing).and_then(|digest| digest::pushed(&digest))?;
        Ok::<_, OciError>((wanted, offset(&headers)?))
    };
    let ((wanted, at_offset), body) = or_discard(found.await, &headers, body, DISCARDED_MAX).await?;
    append(oci.registry(), &upload.reference, at_offset, body).await.map_err(failed)?;
    oci.registry().finish_upload(&upload.reference, Some(wanted)).await.map_err(failed)?;
    let location = format!("/v2/{}/{}/blobs/{wanted}", upload.owner, upload.model);
    Ok(created(StatusCode::CREATED, &location, &wanted))
}

/// `DELETE /v2/{owner}/{model}/blobs/uploads/{id}`.
pub(super) async fn cancel(
    State(oci): State<OciGateway>,
    Path(upload): Path<At>,
    caller: Option<Extension<Caller>>,
) -> Result<Response, OciError> {
    oci.may_push(caller, &upload.owner, &upload.model).await?;
    if oci.registry().cancel_upload(&upload.reference) {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(OciError::new(Code::BlobUploadUnknown, "no such upload"))
    }
}

fn failed(error: UploadError) -> OciError {
    let code = match &error {
        UploadError::NotKnown => Code::BlobUploadUnknown,
        UploadError::OtherOffset { .. } => Code::BlobUploadInvalid,
        UploadError::TooLong { .. } | UploadError::TooShort { .. } => Code::SizeInvalid,
        UploadError::Finish(_) => Code::DigestInvalid,
        _ => Code::Unknown,
    };
    OciError::of(&error, code)
}

/// Reads the offset of a chunk from `Content-Range: <start>-<end>`, which some clients write as `bytes
/// <start>-<end>/*`.
fn offset(headers: &HeaderMap) -> Result<Option<u64>, OciError> {
    let Some(value) = headers.get(CONTENT_RANGE) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let first =
        text.trim().trim_start_matches("bytes").trim().split('-').next().and_then(|it| it.parse().ok());
    match first {
        Some(first) => Ok(Some(first)),
        None => Err(OciError::new(Code::BlobUploadInvalid, format!("{text:?} is not a range"))),
    }
}

/// Returns an answer with the URL at which an upload continues. It is absolute, because Ollama expects that.
fn at(headers: &HeaderMap, repo: &Repo, id: &str, size: u64, status: StatusCode) -> Response {
    let location = format!("{}/v2/{}/{}/blobs/uploads/{id}", base_url(headers), repo.owner, repo.model);
    let mut response = status.into_response();
    let headers = response.headers_mut();
    headers.extend([API_VERSION]);
    let told = [
        (LOCATION, location),
        (RANGE, format!("0-{}", size.saturating_sub(1))),
        (DOCKER_UPLOAD_UUID, id.to_owned()),
    ];
    headers.extend(
        told.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?))),
    );
    if status != StatusCode::NO_CONTENT {
        headers.insert(CONTENT_LENGTH, 0.into());
    }
    response
}
