//! The local API that the command line uses: the registry's use cases as JSON over HTTP.

mod answer;
mod archive;
mod catalogue;
mod collection;
mod donate;
pub mod error;
mod follow;
mod health;
mod probes;
mod steering;
mod stream;
mod swarm;
pub mod trust;

use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use reg_api::adopt::{AdoptRequest, Adoptable, FoundModels, ImportPlanRequest, OtherStore};
use reg_api::consent::Acceptance;
use reg_api::declarations::{Declarations, DeclarationsTaken, Inheritable};
use reg_api::doctor::Diagnosis;
use reg_api::fault::FaultKind;
use reg_api::folder::FolderRequest;
use reg_api::ingest::{Ingest, IngestPlan};
use reg_api::page::{LogLine, LogRequest};
use reg_api::prepared::{Prepared, Signed};
use reg_api::report::{
    Abandoned, Collected, FileInfo, KnownPeer, ModelInfo, ModelSummary, Paused, PeerAdded, PeerReport,
    Shared, Status,
};
use reg_api::reporter::Reporter;
use reg_api::request::{
    HubCache, ImportRequest, IngestRequest, ListRequest, PauseRequest, PublishRequest, PullRequest,
    ShareRequest, VerifyRequest,
};
use reg_api::search::{SearchReport, SearchRequest};
use reg_api::settings::{ConfigReport, Reloaded, Settings};
use reg_proto::digest::Digest;
use reg_proto::name::PublisherId;
use reg_proto::peer::Address;
use serde::{Deserialize, Serialize};

pub(in crate::gateway) use self::answer::Answer;
pub use self::answer::Named;
use self::error::Failed;
pub use self::steering::Steering;
use self::stream::streamed;
use super::guard::{Caller, unauthorized};
use crate::registry::Registry;
use crate::registry::local::{Listed, TagLog};

/// Bytes of a request: the largest has the signatures and the bundle of a model with 20,000 files.
const BODY_BYTES_MAX: usize = 16 << 20;

/// Says where the next page of a list begins: `after` of the next request. It is absent on the last page.
pub const NEXT_PAGE: HeaderName = HeaderName::from_static("x-reg-next");

/// The signatures of a publication that was prepared under `id`.
#[derive(Debug, Serialize, Deserialize)]
pub struct CommitRequest {
    pub id: u64,
    pub signed: Signed,
}

/// A publication that was prepared some time ago, and its signatures.
#[derive(Debug, Serialize, Deserialize)]
pub struct SignedRequest {
    pub request: PublishRequest,
    pub prepared: Prepared,
    pub signed: Signed,
}

/// A manifest's digest as a parameter.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub manifest: Digest,
}

/// A publisher as a parameter.
#[derive(Debug, Serialize, Deserialize)]
pub struct OfPublisher {
    pub publisher: PublisherId,
}

/// Whether a collection removes, or only reports.
#[derive(Debug, Serialize, Deserialize)]
pub struct GcRequest {
    pub dry_run: bool,
}

/// An address to keep.
#[derive(Debug, Serialize, Deserialize)]
pub struct PeerAddress {
    pub address: Address,
}

/// A peer to forget: its id, or an address.
#[derive(Debug, Serialize, Deserialize)]
pub struct PeerName {
    pub peer: String,
}

/// Returns the routes of this dialect.
pub fn router(registry: Registry) -> Router {
    Router::new()
        .route("/v1/publish/plan", post(plan_publish))
        .route("/v1/publish/prepare", post(prepare))
        .route("/v1/publish/commit", post(commit))
        .route("/v1/publish/signed", post(publish_signed))
        .route("/v1/publish/abandon", post(abandon))
        .route("/v1/vows", post(declarations))
        .route("/v1/inheritance", post(inheritance))
        .route("/v1/log", get(log))
        .route("/v1/import/repository", post(import_repository))
        .route("/v1/import/adopt", post(adopt))
        .route("/v1/import/hub-cache", post(adopt_hub_cache))
        .route("/v1/import/found", post(adoptable))
        .route("/v1/import/plan", post(plan_import))
        .route("/v1/pull", post(pull))
        .route("/v1/plan", post(plan))
        .route("/v1/look", post(look))
        .route("/v1/search", post(search))
        .route("/v1/verify", post(verify))
        .route("/v1/folder", post(folder))
        .route("/v1/models", get(list))
        .route("/v1/info", get(info))
        .route("/v1/files", get(files))
        .route("/v1/signature", get(signature))
        .route("/v1/holders", get(holders))
        .route("/v1/peers", get(peers))
        .route("/v1/peers/known", get(known_peers))
        .route("/v1/peers/add", post(add_peer))
        .route("/v1/peers/remove", post(forget_peer))
        .route("/v1/share", get(share))
        .route("/v1/status", get(status))
        .route("/v1/settings", post(settings))
        .route("/v1/config", post(config))
        .route("/v1/reload", post(reload))
        .route("/v1/doctor", post(doctor))
        .route("/v1/logs", post(logs))
        .route("/v1/pause", post(pause))
        .route("/v1/resume", post(resume))
        .route("/v1/pin", post(pin))
        .route("/v1/unpin", post(unpin))
        .route("/v1/remove", post(remove))
        .route("/v1/gc", post(gc))
        .merge(archive::router())
        .merge(collection::router())
        .merge(catalogue::router())
        .merge(donate::router())
        .merge(follow::router())
        .merge(health::router())
        .merge(probes::router())
        .merge(swarm::router())
        .merge(trust::router())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(check))
        .with_state(registry)
}

/// Refuses a request that changes anything, unless it comes from the owner and is JSON: no HTML form can send JSON.
pub(in crate::gateway) async fn check(request: Request, next: Next) -> Response {
    if request.method() == Method::GET || request.method() == Method::HEAD {
        return next.run(request).await;
    }
    if request.extensions().get() != Some(&Caller::Owner) {
        return unauthorized();
    }
    if request.headers().get(CONTENT_TYPE).is_none_or(|it| it != "application/json") {
        let document = error::document("denied", "content type is not application/json");
        return (StatusCode::FORBIDDEN, Json(document)).into_response();
    }
    next.run(request).await
}

async fn prepare(State(registry): State<Registry>, Json(request): Json<PublishRequest>) -> Response {
    streamed(move |reporter| async move { registry.prepare_publish(request, &reporter).await })
}

async fn commit(State(registry): State<Registry>, Json(request): Json<CommitRequest>) -> Response {
    streamed(
        move |reporter| async move { registry.commit_publish(request.id, request.signed, &reporter).await },
    )
}

async fn publish_signed(State(registry): State<Registry>, Json(request): Json<SignedRequest>) -> Response {
    let SignedRequest { request, prepared, signed } = request;
    streamed(
        move |reporter| async move { registry.publish_signed(request, prepared, signed, &reporter).await },
    )
}

async fn abandon(State(registry): State<Registry>, Json(named): Json<Named>) -> Answer<Abandoned> {
    Ok(Json(registry.abandon(named.reference).await?))
}

async fn declarations(
    State(registry): State<Registry>,
    Json(told): Json<Declarations>,
) -> Answer<DeclarationsTaken> {
    Ok(Json(registry.take_declarations(told).await?))
}

async fn inheritance(
    State(registry): State<Registry>,
    Json(OfPublisher { publisher }): Json<OfPublisher>,
) -> Answer<Inheritable> {
    Ok(Json(registry.inheritable(publisher, &Reporter::silent()).await?))
}

async fn log(State(registry): State<Registry>, Query(named): Query<Named>) -> Answer<TagLog> {
    Ok(Json(registry.log(&named.reference).await?))
}

async fn import_repository(State(registry): State<Registry>, Json(request): Json<ImportRequest>) -> Response {
    streamed(move |reporter| async move { registry.import_repository(request, &reporter).await })
}

async fn adopt(State(registry): State<Registry>, Json(request): Json<AdoptRequest>) -> Response {
    streamed(move |reporter| async move { registry.adopt(request, &reporter).await })
}

/// Answers commands of the version before, which knew one other store and left nothing out.
async fn adopt_hub_cache(registry: State<Registry>, Json(cache): Json<HubCache>) -> Response {
    let (model, ingest) = (Adoptable::HubCache(cache), Ingest::of_before());
    adopt(registry, Json(AdoptRequest { model, ingest, accepted: Acceptance::of_everything() })).await
}

async fn adoptable(State(registry): State<Registry>, Json(of): Json<OtherStore>) -> Answer<FoundModels> {
    Ok(Json(registry.list_adoptable(of).await?))
}

async fn plan_import(
    State(registry): State<Registry>,
    Json(request): Json<ImportPlanRequest>,
) -> Answer<IngestPlan> {
    Ok(Json(match request {
        ImportPlanRequest::Repository(request) => registry.plan_repository(request).await?,
        ImportPlanRequest::Adopt(request) => registry.plan_adopt(request).await?,
    }))
}

async fn plan_publish(
    State(registry): State<Registry>,
    Json(request): Json<IngestRequest>,
) -> Answer<IngestPlan> {
    Ok(Json(registry.plan_publish(request).await?))
}

async fn pull(State(registry): State<Registry>, Json(request): Json<PullRequest>) -> Response {
    streamed(move |reporter| async move { registry.pull(request, &reporter).await })
}

async fn plan(State(registry): State<Registry>, Json(request): Json<PullRequest>) -> Response {
    streamed(move |reporter| async move { registry.plan(request, &reporter).await })
}

async fn look(State(registry): State<Registry>, Json(request): Json<PullRequest>) -> Response {
    streamed(move |reporter| async move { registry.look(request, &reporter).await })
}

async fn search(
    State(registry): State<Registry>,
    Json(request): Json<SearchRequest>,
) -> Answer<SearchReport> {
    Ok(Json(registry.search(request).await?))
}

async fn folder(State(registry): State<Registry>, Json(request): Json<FolderRequest>) -> Response {
    streamed(move |reporter| async move { registry.folder(request, &reporter).await })
}

async fn verify(State(registry): State<Registry>, Json(request): Json<VerifyRequest>) -> Response {
    streamed(move |reporter| async move { registry.verify(request, &reporter).await })
}

/// Answers with the models in the store: all, or a page. A header says where the next page begins.
async fn list(
    State(registry): State<Registry>,
    Query(request): Query<ListRequest>,
) -> Result<(HeaderMap, Json<Vec<ModelSummary>>), Failed> {
    let Listed { models, next } = registry.list(request).await?;
    let next = next.and_then(|it| Some((NEXT_PAGE, HeaderValue::try_from(it).ok()?)));
    Ok((next.into_iter().collect(), Json(models)))
}

async fn info(State(registry): State<Registry>, Query(named): Query<Named>) -> Answer<ModelInfo> {
    Ok(Json(registry.info(&named.reference).await?))
}

async fn files(State(registry): State<Registry>, Query(named): Query<Named>) -> Answer<Vec<FileInfo>> {
    Ok(Json(registry.files(&named.reference).await?))
}

async fn signature(State(registry): State<Registry>, Query(named): Query<Named>) -> Answer<String> {
    Ok(Json(registry.signature(&named.reference).await?))
}

async fn holders(State(registry): State<Registry>, Query(model): Query<Manifest>) -> Json<usize> {
    Json(registry.holders(&model.manifest).await)
}

async fn peers(State(registry): State<Registry>) -> Json<Vec<PeerReport>> {
    Json(registry.peers().await)
}

async fn known_peers(State(registry): State<Registry>) -> Json<Vec<KnownPeer>> {
    Json(registry.known_peers())
}

async fn add_peer(State(registry): State<Registry>, Json(request): Json<PeerAddress>) -> Answer<PeerAdded> {
    Ok(Json(registry.add_peer(&request.address).await?))
}

async fn forget_peer(State(registry): State<Registry>, Json(request): Json<PeerName>) -> Answer<()> {
    Ok(Json(registry.forget_peer(&request.peer).await?))
}

async fn share(State(registry): State<Registry>, Query(request): Query<ShareRequest>) -> Answer<Shared> {
    Ok(Json(registry.share(request).await?))
}

async fn status(State(registry): State<Registry>) -> Answer<Status> {
    Ok(Json(registry.status().await?))
}

/// Answers with the settings in effect. It is a POST request, because those are the owner's alone.
async fn settings(Extension(steering): Extension<Steering>) -> Json<Settings> {
    Json(steering.settings())
}

/// Answers with the configuration in effect: to the owner alone, for it may hold the key of a swarm.
async fn config(Extension(steering): Extension<Steering>) -> Answer<ConfigReport> {
    match tokio::task::spawn_blocking(move || steering.report()).await {
        Ok(report) => Ok(Json(report)),
        Err(_) => Err(Failed::of(FaultKind::Internal, error::document("internal", "a task ended early"))),
    }
}

/// Examines the node: for the owner alone, because the findings name files.
async fn doctor(Extension(steering): Extension<Steering>) -> Json<Diagnosis> {
    Json(steering.examine().await)
}

/// Answers with the last lines of the log: for the owner alone, because they name models, peers and files.
async fn logs(
    Extension(steering): Extension<Steering>,
    Json(request): Json<LogRequest>,
) -> Json<Vec<LogLine>> {
    Json(steering.lines(request.after))
}

/// Takes the changes of the configuration that a running node can take.
async fn reload(Extension(steering): Extension<Steering>) -> Answer<Reloaded> {
    let refused = |document| Failed::of(FaultKind::Invalid, document);
    match tokio::task::spawn_blocking(move || steering.reload()).await {
        Ok(reloaded) => reloaded.map(Json).map_err(refused),
        Err(_) => Err(Failed::of(FaultKind::Internal, error::document("internal", "a task ended early"))),
    }
}

async fn pause(State(registry): State<Registry>, Json(request): Json<PauseRequest>) -> Answer<Paused> {
    Ok(Json(registry.set_paused(request.reference.as_ref(), true)?))
}

async fn resume(State(registry): State<Registry>, Json(request): Json<PauseRequest>) -> Answer<Paused> {
    Ok(Json(registry.set_paused(request.reference.as_ref(), false)?))
}

async fn pin(State(registry): State<Registry>, Json(named): Json<Named>) -> Answer<Digest> {
    Ok(Json(registry.pin(&named.reference).await?))
}

async fn unpin(State(registry): State<Registry>, Json(named): Json<Named>) -> Answer<Digest> {
    Ok(Json(registry.unpin(&named.reference).await?))
}

async fn remove(State(registry): State<Registry>, Json(named): Json<Named>) -> Answer<Collected> {
    Ok(Json(registry.remove(&named.reference).await?))
}

async fn gc(State(registry): State<Registry>, Json(request): Json<GcRequest>) -> Answer<Collected> {
    Ok(Json(registry.gc(request.dry_run).await?))
}
