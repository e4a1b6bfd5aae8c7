//! `PUT /uploads/{id}`: takes one blob. The id is a capability: a caller that may upload was given it, for this blob
//! alone, and clients send no other credentials.

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::extract::{Path, State};
use axum::http::header::EXPECT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;

use super::admin::error::Failed;
use super::guard::UPLOADS;
use crate::registry::Registry;
use crate::registry::import::UploadError;

/// Bytes that are hashed and written at once.
const WRITTEN_AT_ONCE: usize = 1 << 20;

/// Returns the route.
pub(super) fn router(registry: Registry) -> Router {
    Router::new().route(&format!("{UPLOADS}{{id}}"), put(receive)).with_state(registry)
}

async fn receive(State(registry): State<Registry>, Path(id): Path<String>, body: Body) -> Response {
    let received = async {
        // The client sends again what an earlier try has sent.
        registry.restart_upload(&id).await?;
        append(&registry, &id, Some(0), body).await?;
        registry.finish_upload(&id, None).await
    };
    match received.await {
        Ok(_) => StatusCode::OK.into_response(),
        Err(error) => Failed::from(error).into_response(),
    }
}

/// Reads the rest of a refused body, up to `max` bytes, and keeps nothing of it: many clients read no answer before they have sent
/// all.
pub(super) async fn discard(stream: &mut BodyDataStream, max: usize) {
    let mut rest = max;
    while rest > 0
        && let Some(Ok(chunk)) = stream.next().await
    {
        rest = rest.saturating_sub(chunk.len());
    }
}

/// Returns what is known before a body is read, and the body. Where that is a refusal, discards the body first, unless its client
/// waits for an answer before it sends it.
///
/// # Errors
/// The upload is refused.
pub(super) async fn or_discard<T, E>(
    known: Result<T, E>,
    headers: &HeaderMap,
    body: Body,
    max: usize,
) -> Result<(T, Body), E> {
    match known {
        Ok(known) => Ok((known, body)),
        Err(refused) => {
            if !headers.contains_key(EXPECT) {
                discard(&mut body.into_data_stream(), max).await;
            }
            Err(refused)
        }
    }
}

/// Appends a request's body to an upload, and returns how many bytes the upload has. Where `offset` is given, the
/// upload must have so many bytes before.
///
/// # Errors
/// Fails where the body ends early, or the registry does not accept its bytes.
pub(super) async fn append(
    registry: &Registry,
    id: &str,
    offset: Option<u64>,
    body: Body,
) -> Result<u64, UploadError> {
    let mut stream = body.into_data_stream();
    let mut at = offset;
    let mut gathered = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        gathered.extend_from_slice(&chunk.map_err(|_| UploadError::Interrupted)?);
        if gathered.len() >= WRITTEN_AT_ONCE {
            at = Some(registry.append_upload(id, at, gathered.split().freeze()).await?);
        }
    }
    let rest: Bytes = gathered.freeze();
    registry.append_upload(id, at, rest).await
}
