//! What supervisors ask: does the process live, and can it do its work? Neither answer says more than that, so no token is needed,
//! also beyond loopback.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde_json::json;

use super::Steering;
use crate::gateway::guard::{LIVE, READY};
use crate::registry::Registry;

pub(super) fn router() -> Router<Registry> {
    Router::new().route(LIVE, get(live)).route(READY, get(ready))
}

/// Answers as long as the process does.
async fn live() -> Response {
    Json(json!({ "live": true })).into_response()
}

/// Answers with 200 where the store is open and the listeners are up, else with 503 and the reason.
async fn ready(Extension(steering): Extension<Steering>) -> Response {
    match steering.unready().await {
        None => Json(json!({ "ready": true })).into_response(),
        Some(why) => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ready": false, "why": why }))).into_response()
        }
    }
}
