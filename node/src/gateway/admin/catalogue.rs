//! Routes about the catalogue beside the search: what is taken out of it, and how models are related.

use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use axum::{Json, Router};
use reg_api::declarations::Unlist;

use super::answer::Named;
use super::stream::streamed;
use crate::registry::Registry;

pub(super) fn router() -> Router<Registry> {
    Router::new().route("/v1/unlist", post(unlist)).route("/v1/shared-tensors", post(shared_tensors))
}

async fn unlist(State(registry): State<Registry>, Json(request): Json<Unlist>) -> Response {
    streamed(move |reporter| async move { registry.unlistable(request, &reporter).await })
}

async fn shared_tensors(State(registry): State<Registry>, Json(named): Json<Named>) -> Response {
    streamed(move |_| async move { registry.shared_tensors(&named.reference).await })
}
