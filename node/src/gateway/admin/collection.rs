//! Routes about collections: following, showing and listing them.

use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use reg_api::collection::{CollectionReport, CollectionRequest};

use super::answer::Answer;
use super::stream::streamed;
use crate::registry::Registry;

pub(super) fn router() -> Router<Registry> {
    Router::new()
        .route("/v1/collections", get(list))
        .route("/v1/collections/follow", post(follow))
        .route("/v1/collections/remove", post(remove))
        .route("/v1/collections/show", post(show))
}

async fn list(State(registry): State<Registry>) -> Answer<Vec<CollectionReport>> {
    Ok(Json(registry.collections().await?))
}

async fn follow(State(registry): State<Registry>, Json(request): Json<CollectionRequest>) -> Response {
    streamed(move |reporter| async move { registry.follow_collection(request, &reporter).await })
}

async fn remove(
    State(registry): State<Registry>,
    Json(request): Json<CollectionRequest>,
) -> Answer<Option<CollectionReport>> {
    Ok(Json(registry.unfollow_collection(request.reference).await?))
}

async fn show(State(registry): State<Registry>, Json(request): Json<CollectionRequest>) -> Response {
    streamed(move |reporter| async move { registry.show_collection(request, &reporter).await })
}
