//! Routes about following publishers.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use reg_api::follow::{FollowReport, FollowRequest, Followed, PauseFollow};

use super::answer::Answer;
use crate::registry::Registry;

pub(super) fn router() -> Router<Registry> {
    Router::new()
        .route("/v1/follow", get(list).post(follow))
        .route("/v1/follow/pause", post(pause))
        .route("/v1/follow/remove", post(remove))
}

async fn list(State(registry): State<Registry>) -> Answer<Vec<FollowReport>> {
    Ok(Json(registry.follows().await?))
}

async fn follow(
    State(registry): State<Registry>,
    Json(request): Json<FollowRequest>,
) -> Answer<FollowReport> {
    Ok(Json(registry.follow(request).await?))
}

async fn pause(State(registry): State<Registry>, Json(request): Json<PauseFollow>) -> Answer<FollowReport> {
    Ok(Json(registry.pause_follow(request).await?))
}

async fn remove(State(registry): State<Registry>, Json(followed): Json<Followed>) -> Answer<FollowReport> {
    Ok(Json(registry.unfollow(followed).await?))
}
