//! Routes about donating disk space.

use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use reg_api::donate::{DonateReport, DonateRequest, DonateWhy, StopDonating};

use super::answer::{Answer, Named};
use crate::registry::Registry;

pub(super) fn router() -> Router<Registry> {
    Router::new()
        .route("/v1/donate", get(list).post(donate))
        .route("/v1/donate/stop", post(stop))
        .route("/v1/donate/why", get(why))
}

async fn list(State(registry): State<Registry>) -> Answer<DonateReport> {
    Ok(Json(registry.donating().donations().await?))
}

async fn donate(
    State(registry): State<Registry>,
    Json(request): Json<DonateRequest>,
) -> Answer<DonateReport> {
    Ok(Json(registry.donating().donate(request).await?))
}

async fn stop(State(registry): State<Registry>, Json(request): Json<StopDonating>) -> Answer<DonateReport> {
    Ok(Json(registry.donating().stop(request).await?))
}

async fn why(State(registry): State<Registry>, Query(named): Query<Named>) -> Answer<DonateWhy> {
    Ok(Json(registry.donating().why(named.reference).await?))
}
