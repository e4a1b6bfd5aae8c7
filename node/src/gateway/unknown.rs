//! Answers requests that no route has, each in the words of the dialect that its path belongs to: no client is left with a
//! bare status.

use axum::Json;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::admin::error::document;
use super::hf::elsewhere;

/// Answers a path that no route has.
pub(super) async fn path(method: Method, uri: Uri) -> Response {
    let path = uri.path();
    if path.starts_with("/v2/") {
        return oci(
            "NAME_UNKNOWN",
            StatusCode::NOT_FOUND,
            &format!("{path}: a repository is PUBLISHER/MODEL"),
        );
    }
    if path.starts_with("/v1/") {
        return (
            StatusCode::NOT_FOUND,
            Json(document("not_found", &format!("{path} is no path of this API"))),
        )
            .into_response();
    }
    elsewhere::answer(&method, &uri)
}

/// Answers a method that a path does not have.
pub(super) async fn method(method: Method, uri: Uri) -> Response {
    let path = uri.path();
    let why = format!("{method} {path}: this node does not do that");
    if path == "/v2" || path.starts_with("/v2/") {
        return oci("UNSUPPORTED", StatusCode::METHOD_NOT_ALLOWED, &why);
    }
    if path.starts_with("/v1/") {
        return (StatusCode::METHOD_NOT_ALLOWED, Json(document("invalid", &why))).into_response();
    }
    elsewhere::not_allowed(why)
}

fn oci(code: &str, status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "errors": [{ "code": code, "message": message, "detail": null }] })))
        .into_response()
}
