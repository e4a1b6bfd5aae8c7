//! Answers monitoring systems at `/metrics`, and counts every request of the gateways.
//!
//! In: a scrape; beyond loopback the guard asks for the token, as for everything. Out: the counters and readings of the node, in
//! OpenMetrics where the client names that format, else in Prometheus' text format.

use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::admin::error::Failed;
use crate::metrics::{Dialect, Format, Metrics};
use crate::registry::Registry;

/// Returns the route for monitoring systems.
pub(super) fn router(registry: Registry) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(registry)
}

async fn metrics(State(registry): State<Registry>, headers: HeaderMap) -> Result<Response, Failed> {
    let accept =
        headers.get_all(ACCEPT).iter().filter_map(|it| it.to_str().ok()).collect::<Vec<_>>().join(",");
    let format = Format::accepted(&accept);
    let mut response = registry.metrics_as(format).await?.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Marks the answers of a dialect's routes, so that [`count`] knows the dialect.
pub(super) fn of(dialect: Dialect, router: Router) -> Router {
    let mark = move |mut response: Response| async move {
        response.extensions_mut().insert(dialect);
        response
    };
    router.route_layer(middleware::map_response(mark))
}

/// Counts every request to a router, also those that are refused before a dialect has read them.
pub(super) fn counted(metrics: Metrics, router: Router) -> Router {
    router.layer(middleware::from_fn_with_state(metrics, count))
}

async fn count(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let response = next.run(request).await;
    let dialect = response.extensions().get::<Dialect>().copied().unwrap_or(Dialect::None);
    metrics.answered(dialect, response.status().as_u16(), begun.elapsed());
    response
}
