//! Answers what the Hub has and this node has not: datasets, spaces, collections, papers. A list is empty, and one of them
//! does not exist, in the words that clients know.

use axum::Json;
use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::error::HfError;

/// Lists that are empty here.
const LISTS: [&str; 12] = [
    "/api/datasets",
    "/api/spaces",
    "/api/kernels",
    "/api/buckets",
    "/api/collections",
    "/api/daily_papers",
    "/api/papers/search",
    "/api/notifications",
    "/api/spaces/semantic-search",
    "/api/spaces/templates",
    "/api/settings/webhooks",
    "/api/settings/repositories",
];
/// The ends of paths of lists of people, which are empty here.
const LISTS_OF_PEOPLE: [&str; 5] = ["/likes", "/likers", "/followers", "/following", "/members"];
/// The starts of the paths of repositories of other kinds.
const OTHER_KINDS: [&str; 8] = [
    "/api/datasets/",
    "/api/spaces/",
    "/api/kernels/",
    "/api/buckets/",
    "/datasets/",
    "/spaces/",
    "/kernels/",
    "/buckets/",
];

/// Answers a path that no route has.
pub(in crate::gateway) fn answer(method: &Method, uri: &Uri) -> Response {
    let path = uri.path();
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    if is_read && LISTS.contains(&path.trim_end_matches('/')) {
        return Json(json!([])).into_response();
    }
    if is_read && path.starts_with("/api/") && LISTS_OF_PEOPLE.iter().any(|it| path.ends_with(it)) {
        return Json(json!([])).into_response();
    }
    if OTHER_KINDS.iter().any(|it| path.starts_with(it)) {
        let why = format!("{path}: this node has models alone, no datasets, spaces or kernels");
        return HfError::RepoNotFound(why).into_response();
    }
    HfError::NoSuchPage(format!("{method} {path}: this node does not serve it")).into_response()
}

/// Answers a method that a path does not have.
pub(in crate::gateway) fn not_allowed(why: String) -> Response {
    HfError::NotAllowed(why).into_response()
}

/// `GET /api/models-tags-by-type`: no tag is known beforehand.
pub(super) async fn tags_by_type() -> Json<Value> {
    Json(json!({
        "pipeline_tag": [], "library": [], "language": [], "license": [], "dataset": [], "region": [], "other": [],
    }))
}
