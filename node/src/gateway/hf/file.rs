//! Serves files: `resolve` serves each, `raw` serves plain files, and of a file in LFS its pointer.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use reg_proto::digest::Digest;
use reg_proto::manifest::ModelFile;

use super::error::{HfError, X_REPO_COMMIT};
use super::name::{At, commit};
use super::oid::{Oid, pointer};
use super::state::HfGateway;
use crate::gateway::behind;
use crate::gateway::blob::{Wanted, respond};
use crate::gateway::server::{Client, Turn};
use crate::registry::resolve::ModelView;

/// Largest size in bytes that an answer to `HEAD` gives. Hugging Face's client refuses to download larger files over
/// plain HTTP (`MAX_HTTP_DOWNLOAD_SIZE`, 50 GB) if it knows their size beforehand.
const SIZE_TOLD_MAX: u64 = 50_000_000_000;

const X_LINKED_ETAG: HeaderName = HeaderName::from_static("x-linked-etag");
const X_LINKED_SIZE: HeaderName = HeaderName::from_static("x-linked-size");

/// `GET` and `HEAD /{owner}/{model}/resolve/{revision}/{path}`.
pub(super) async fn resolve(
    State(hub): State<HfGateway>,
    Path(at): Path<At>,
    method: Method,
    client: Option<Extension<Client>>,
    headers: HeaderMap,
) -> Result<Response, HfError> {
    let (view, file) = hub.file(&at).await?;
    let oid = hub.oid(&view, &file).await?;
    serve(&hub, &view, &file, &oid, &method, client.as_deref(), &headers).await
}

/// `GET` and `HEAD /{owner}/{model}/raw/{revision}/{path}`.
pub(super) async fn raw(
    State(hub): State<HfGateway>,
    Path(at): Path<At>,
    method: Method,
    client: Option<Extension<Client>>,
    headers: HeaderMap,
) -> Result<Response, HfError> {
    let (view, file) = hub.file(&at).await?;
    match hub.oid(&view, &file).await? {
        Oid::Lfs(digest) => {
            let text = pointer(&digest, file.layout.size());
            let mut response = text.into_response();
            label(response.headers_mut(), &view, &file);
            Ok(response)
        }
        oid => serve(&hub, &view, &file, &oid, &method, client.as_deref(), &headers).await,
    }
}

async fn serve(
    hub: &HfGateway,
    view: &Arc<ModelView>,
    file: &ModelFile,
    oid: &Oid,
    method: &Method,
    client: Option<&Client>,
    headers: &HeaderMap,
) -> Result<Response, HfError> {
    hub.registry().admit(view, file).await.map_err(|error| HfError::of(&error))?;
    let (size, etag) = (file.layout.size(), oid.etag());
    let wanted = Wanted::of(headers, size, &etag);
    let range = wanted.range(size);
    let mut turn = None;
    let reader = if method == Method::HEAD || range.is_empty() {
        None
    } else {
        turn = Client::turn(client).await?;
        let reader = hub.registry().read(view, file.digest, file.layout, range).await;
        Some(reader.map_err(|error| HfError::of(&error))?)
    };
    let mut response = respond(&wanted, size, &etag, reader);
    let headers = response.headers_mut();
    label(headers, view, file);
    if let Oid::Lfs(digest) = oid {
        label_as_large(headers, digest, size, method);
    }
    Ok(Turn::carried(turn, response))
}

/// Adds the headers of a file in LFS: its digest, and its size up to [`SIZE_TOLD_MAX`].
pub(super) fn label_as_large(headers: &mut HeaderMap, digest: &Digest, size: u64, method: &Method) {
    let etag = HeaderValue::try_from(format!("\"{}\"", digest.hex()));
    headers.extend(etag.ok().map(|it| (X_LINKED_ETAG, it)));
    if size <= SIZE_TOLD_MAX {
        headers.insert(X_LINKED_SIZE, size.into());
    } else if method == Method::HEAD {
        headers.remove(CONTENT_LENGTH);
    }
}

/// Adds the headers of every file of a model: no browser shows it as a page, and clients learn the commit.
fn label(headers: &mut HeaderMap, view: &ModelView, file: &ModelFile) {
    label_as_file(headers, file.path.segments().last().unwrap_or_default());
    headers.extend(HeaderValue::try_from(commit(&view.digest())).ok().map(|it| (X_REPO_COMMIT, it)));
    behind::label(headers, view.behind.as_ref());
}

/// Adds the headers that keep a browser from showing a file as a page.
pub(super) fn label_as_file(headers: &mut HeaderMap, name: &str) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let ascii: String = name
        .chars()
        .map(|it| if it.is_ascii_alphanumeric() || "-_.".contains(it) { it } else { '_' })
        .collect();
    let disposition = HeaderValue::try_from(format!("attachment; filename=\"{ascii}\""));
    headers.extend(disposition.ok().map(|it| (CONTENT_DISPOSITION, it)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_file_that_clients_would_refuse_is_told_by_the_download_alone() {
        let digest = Digest::of(b"weights");
        let said = |size: u64, method| {
            let mut headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(size))]);
            label_as_large(&mut headers, &digest, size, &method);
            (headers.contains_key(CONTENT_LENGTH), headers.contains_key(X_LINKED_SIZE))
        };
        assert_eq!(said(50_000_000_000, Method::HEAD), (true, true));
        assert_eq!(said(50_000_000_001, Method::HEAD), (false, false));
        assert_eq!(said(50_000_000_001, Method::GET), (true, false));
    }
}
