//! The routes for archives: export, list, and take a model out of one.

use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use axum::{Json, Router};
use reg_api::archive::{ArchiveReport, ExportRequest, ListArchiveRequest, TakeRequest};

use super::answer::Answer;
use super::stream::streamed;
use crate::registry::Registry;

pub(super) fn router() -> Router<Registry> {
    Router::new()
        .route("/v1/archive/export", post(export))
        .route("/v1/archive/list", post(list))
        .route("/v1/archive/take", post(take))
}

async fn export(State(registry): State<Registry>, Json(request): Json<ExportRequest>) -> Response {
    streamed(move |reporter| async move { registry.export(request, &reporter).await })
}

async fn list(
    State(registry): State<Registry>,
    Json(request): Json<ListArchiveRequest>,
) -> Answer<ArchiveReport> {
    Ok(Json(registry.list_archive(request).await?))
}

async fn take(State(registry): State<Registry>, Json(request): Json<TakeRequest>) -> Response {
    streamed(move |reporter| async move { registry.take_archived(request, &reporter).await })
}
