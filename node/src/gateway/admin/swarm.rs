//! Routes about the copies of a private swarm.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use reg_api::swarm::{DrainReport, DrainRequest, SwarmReport};

use super::answer::Answer;
use crate::registry::Registry;

pub(super) fn router() -> Router<Registry> {
    Router::new().route("/v1/swarm/health", get(health)).route("/v1/swarm/drain", get(drained).post(drain))
}

async fn health(State(registry): State<Registry>) -> Answer<SwarmReport> {
    Ok(Json(registry.spreading().report().await?))
}

async fn drained(State(registry): State<Registry>) -> Answer<DrainReport> {
    Ok(Json(registry.spreading().drain_report().await?))
}

async fn drain(State(registry): State<Registry>, Json(request): Json<DrainRequest>) -> Answer<DrainReport> {
    Ok(Json(registry.spreading().drain(request.cancel).await?))
}
