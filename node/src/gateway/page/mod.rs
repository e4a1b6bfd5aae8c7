//! The page for a browser: its static files in the binary, and its requests beside the local API.
//!
//! In: requests of a browser on this machine. Out: HTML, styles and ES modules with a strict content security policy; lists page by
//! page; one stream of changes. Promise: a tab without a token only reads. A one-time code gives a token once, within a minute.
//! The tokens end with the daemon. Pulls that a tab has begun go on without it.

mod codes;
mod feed;
mod files;
mod pulls;
mod watching;

use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use reg_api::fault::{Fault, FaultKind};
use reg_api::page::{
    CodeExchange, HealthPage, ModelsPage, ModelsRequest, PageCode, PagePull, PageRights, PageToken,
};
use reg_api::report::ModelInfo;
use reg_api::request::{PauseRequest, PullRequest};
use reg_api::search::{SearchReport, SearchRequest};
use reg_api::transfer::{Changed, PiecesReport, PriorityRequest, TransferReport};
use reg_proto::name::Reference;
use serde::Deserialize;

pub use self::codes::PageTokens;
use self::feed::Feed;
use self::pulls::{Pulls, TooMany};
use super::admin::error::{Failed, document};
use super::admin::{self, Answer, Manifest, Named};
use super::guard::{Caller, busy};
use crate::registry::Registry;

/// Bytes of a request of the page: a pull with a long selection takes a few KiB.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The state that the routes of the page share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Page {
    tokens: PageTokens,
    feed: Feed,
    pulls: Pulls,
}

impl Page {
    /// Returns the page of a node that starts.
    pub fn new() -> Self {
        let feed = Feed::new();
        Self { tokens: PageTokens::default(), pulls: Pulls::new(feed.clone()), feed }
    }

    /// Returns the tokens that open tabs have.
    pub fn tokens(&self) -> PageTokens {
        self.tokens.clone()
    }

    /// Ends the streams of changes, so that the server need not wait for tabs that stay open.
    pub fn end(&self) {
        self.feed.end();
        self.pulls.end();
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the routes of the page.
pub(super) fn router(registry: Registry, page: Page) -> Router {
    let changes = Router::new()
        .route("/v1/page/code", post(code))
        .route("/v1/page/lock", post(lock))
        .route("/v1/page/pull", post(pull))
        .route("/v1/page/dismiss", post(dismiss))
        .route("/v1/transfers/priority", post(priority))
        .route("/v1/transfers/cancel", post(cancel))
        .layer(middleware::from_fn(admin::check));
    let reads = Router::new()
        .route("/v1/page/rights", get(rights))
        .route("/v1/page/token", post(token))
        .route("/v1/page/models", get(models))
        .route("/v1/page/model", get(model))
        .route("/v1/page/health", get(health))
        .route("/v1/page/search", get(search))
        .route("/v1/page/pulls", get(pulls))
        .route("/v1/page/events", get(events))
        .route("/v1/transfers", get(transfers))
        .route("/v1/transfers/pieces", get(pieces));
    files::router().merge(
        changes
            .merge(reads)
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(Extension(page))
            .with_state(registry),
    )
}

/// Makes a one-time code for the owner.
async fn code(Extension(page): Extension<Page>) -> Json<PageCode> {
    Json(page.tokens.new_code(std::time::Instant::now()))
}

/// Exchanges a code for a token. A code cannot be guessed, so a caller without a token may try.
async fn token(
    Extension(page): Extension<Page>,
    headers: HeaderMap,
    Json(CodeExchange { code }): Json<CodeExchange>,
) -> Response {
    if headers.get(CONTENT_TYPE).is_none_or(|it| it != "application/json") {
        return (StatusCode::FORBIDDEN, Json(document("denied", "content type is not application/json")))
            .into_response();
    }
    match page.tokens.exchange(&code, std::time::Instant::now()) {
        Some(token) => Json(PageToken { token }).into_response(),
        None => {
            let message =
                "the code is not known, was used, or is older than a minute: `reg page` makes another";
            (StatusCode::FORBIDDEN, Json(document("denied", message))).into_response()
        }
    }
}

/// Ends the caller's token, so that its tab can only read.
async fn lock(Extension(page): Extension<Page>, Json(PageToken { token }): Json<PageToken>) -> Json<bool> {
    Json(page.tokens.forget(&token))
}

async fn rights(caller: Option<Extension<Caller>>) -> Json<PageRights> {
    let owner = caller.is_some_and(|Extension(it)| it == Caller::Owner);
    Json(PageRights { owner, version: env!("CARGO_PKG_VERSION").to_owned() })
}

async fn models(
    State(registry): State<Registry>,
    Query(request): Query<ModelsRequest>,
) -> Answer<ModelsPage> {
    Ok(Json(registry.models_page(request).await?))
}

/// Returns the facts about a model, or `null` if it is not in the store, which is not an error of the page.
async fn model(State(registry): State<Registry>, Query(named): Query<Named>) -> Answer<Option<ModelInfo>> {
    match registry.info(&named.reference).await {
        Ok(info) => Ok(Json(Some(info))),
        Err(error) if error.kind() == FaultKind::NotFound => Ok(Json(None)),
        Err(error) => Err(error.into()),
    }
}

async fn health(State(registry): State<Registry>) -> Answer<HealthPage> {
    Ok(Json(registry.health_page().await?))
}

/// Searches as `/v1/search` does. No peer is asked, so a caller without the token may read the answer.
async fn search(
    State(registry): State<Registry>,
    Query(request): Query<SearchRequest>,
) -> Answer<SearchReport> {
    Ok(Json(registry.search(request).await?))
}

async fn transfers(State(registry): State<Registry>) -> Json<Vec<TransferReport>> {
    Json(registry.transfers())
}

async fn pieces(
    State(registry): State<Registry>,
    Query(model): Query<Manifest>,
) -> Json<Option<PiecesReport>> {
    // The manifest of a model at rest is read from the disk.
    let read = tokio::task::spawn_blocking(move || registry.pieces(&model.manifest));
    Json(read.await.unwrap_or_default())
}

async fn priority(State(registry): State<Registry>, Json(request): Json<PriorityRequest>) -> Answer<Changed> {
    Ok(Json(Changed { transfers: registry.set_priority(&request.reference, request.priority)? }))
}

/// Ends the pulls of a model: those with a running download, and those of tabs that still search for it.
async fn cancel(
    State(registry): State<Registry>,
    Extension(page): Extension<Page>,
    Json(request): Json<PauseRequest>,
) -> Result<Json<Changed>, Failed> {
    let Some(reference) = request.reference else { return Ok(Json(Changed { transfers: 0 })) };
    let running = registry.cancel(&reference)?;
    Ok(Json(Changed { transfers: running.max(page.pulls.cancel(&reference)) }))
}

/// Begins a pull into the cache, which goes on when the tab is closed.
async fn pull(
    State(registry): State<Registry>,
    Extension(page): Extension<Page>,
    Json(request): Json<PullRequest>,
) -> Response {
    match page.pulls.begin(registry, request) {
        Ok(pull) => Json(pull).into_response(),
        Err(TooMany) => busy(),
    }
}

async fn pulls(Extension(page): Extension<Page>) -> Json<Vec<PagePull>> {
    Json(page.pulls.list())
}

/// The number of an ended pull that is to be forgotten.
#[derive(Debug, Deserialize)]
struct Dismiss {
    id: u64,
}

async fn dismiss(Extension(page): Extension<Page>, Json(Dismiss { id }): Json<Dismiss>) -> Json<bool> {
    Json(page.pulls.dismiss(id))
}

/// The number of the change that a tab has seen last.
#[derive(Debug, Deserialize)]
struct After {
    after: Option<u64>,
}

async fn events(
    State(registry): State<Registry>,
    Extension(page): Extension<Page>,
    Query(After { after }): Query<After>,
) -> Response {
    page.feed.stream(registry, page.pulls, after).unwrap_or_else(busy)
}

/// Tells whether two references mean the same model, as they are written.
fn is_same(one: &Reference, other: &Reference) -> bool {
    one.publisher == other.publisher
        && one.model.folded() == other.model.folded()
        && (one.tag.is_none() || one.tag == other.tag)
}
