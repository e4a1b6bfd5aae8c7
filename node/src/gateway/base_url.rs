//! The URL at which a client reaches this node.

use axum::http::HeaderMap;
use axum::http::header::HOST;

/// Returns the start of the URLs that an answer names: `http://` and the request's `Host`.
pub(super) fn base_url(headers: &HeaderMap) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    format!("http://{host}")
}
