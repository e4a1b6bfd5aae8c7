//! The route that reports how many replicas of models are proven.

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use reg_api::health::HealthReport;
use reg_proto::name::Reference;
use serde::Deserialize;

use super::answer::Answer;
use crate::registry::Registry;

/// The model that is asked about; all of them without one.
#[derive(Debug, Deserialize)]
struct Asked {
    reference: Option<Reference>,
}

pub(super) fn router() -> Router<Registry> {
    Router::new().route("/v1/health", get(health))
}

async fn health(State(registry): State<Registry>, Query(asked): Query<Asked>) -> Answer<HealthReport> {
    Ok(Json(registry.health(asked.reference).await?))
}
