//! Routes about trust: petnames, rules, denylists, attestations.

use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use reg_api::domain::{AskDomain, DomainSays};
use reg_api::report::{AttestationInfo, KeyBranches, PublisherReport, TrustEntry, TrustReport};
use reg_api::request::AttestRequest;
use reg_proto::digest::Digest;
use reg_proto::domain::Domain;
use reg_proto::name::{Petname, PublisherId};
use serde::{Deserialize, Serialize};

use super::OfPublisher;
use super::answer::{Answer, Named};
use super::stream::streamed;
use crate::registry::Registry;
use crate::registry::trust::RawRule;

/// A petname and its publisher.
#[derive(Debug, Serialize, Deserialize)]
pub struct TrustRequest {
    pub petname: Petname,
    pub publisher: PublisherId,
    /// Whether the petname may be taken from another publisher.
    #[serde(default)]
    pub replace: bool,
}

/// A petname to remove.
#[derive(Debug, Serialize, Deserialize)]
pub struct PetnameRequest {
    pub petname: Petname,
}

/// A domain, and how it may be resolved.
#[derive(Debug, Serialize, Deserialize)]
pub struct DomainRequest {
    pub domain: Domain,
    #[serde(flatten)]
    pub ask: AskDomain,
}

/// A domain as a parameter.
#[derive(Debug, Serialize, Deserialize)]
pub struct OfDomain {
    pub domain: Domain,
}

/// The scope of a rule, as text.
#[derive(Debug, Serialize, Deserialize)]
pub struct ScopeRequest {
    pub models: String,
}

/// A denylist, or an entry of one, and whether it counts from now on.
#[derive(Debug, Serialize, Deserialize)]
pub struct SwitchRequest {
    pub name: String,
    pub on: bool,
}

/// The key document of a publisher that the user accepts, with the branch that has it.
#[derive(Debug, Serialize, Deserialize)]
pub struct AcceptRequest {
    pub publisher: PublisherId,
    pub head: Digest,
}

/// A name, and the name that it means from now on; `None` ends the alias.
#[derive(Debug, Serialize, Deserialize)]
pub struct AliasRequest {
    pub from: String,
    pub to: Option<String>,
}

pub(super) fn router() -> Router<Registry> {
    Router::new()
        .route("/v1/trust", get(list).post(add))
        .route("/v1/trust/all", get(show))
        .route("/v1/trust/remove", post(remove))
        .route("/v1/trust/require", post(require))
        .route("/v1/trust/waive", post(waive))
        .route("/v1/trust/subscribe", post(subscribe))
        .route("/v1/trust/unsubscribe", post(unsubscribe))
        .route("/v1/trust/allow", post(allow))
        .route("/v1/trust/branches", get(branches))
        .route("/v1/trust/accept", post(accept))
        .route("/v1/trust/alias", post(alias))
        .route("/v1/trust/domain", post(domain))
        .route("/v1/trust/domain/says", post(domain_says))
        .route("/v1/trust/domain/remove", post(domain_remove))
        .route("/v1/publisher", get(publisher))
        .route("/v1/profile", post(profile))
        .route("/v1/attest", post(attest))
        .route("/v1/chat-template", get(chat_template))
}

/// A publisher as a parameter.
#[derive(Debug, Deserialize)]
struct PublisherQuery {
    publisher: PublisherId,
}

async fn publisher(
    State(registry): State<Registry>,
    Query(query): Query<PublisherQuery>,
) -> Answer<PublisherReport> {
    Ok(Json(registry.seen_of(query.publisher).await?))
}

async fn domain(State(registry): State<Registry>, Json(request): Json<DomainRequest>) -> Response {
    let DomainRequest { domain, ask } = request;
    streamed(move |reporter| async move { registry.domain(&domain, &ask, &reporter).await })
}

async fn domain_says(
    State(registry): State<Registry>,
    Json(OfDomain { domain }): Json<OfDomain>,
) -> Answer<DomainSays> {
    Ok(Json(registry.domain_says(&domain).await?))
}

async fn domain_remove(
    State(registry): State<Registry>,
    Json(OfDomain { domain }): Json<OfDomain>,
) -> Answer<()> {
    Ok(Json(registry.domain_remove(domain).await?))
}

async fn profile(State(registry): State<Registry>, Json(of): Json<OfPublisher>) -> Response {
    streamed(move |reporter| async move { registry.profile(of.publisher, &reporter).await })
}

async fn branches(
    State(registry): State<Registry>,
    Query(query): Query<PublisherQuery>,
) -> Answer<KeyBranches> {
    Ok(Json(registry.key_branches(query.publisher).await?))
}

async fn accept(State(registry): State<Registry>, Json(request): Json<AcceptRequest>) -> Answer<KeyBranches> {
    Ok(Json(registry.accept_keys(request.publisher, request.head).await?))
}

async fn alias(State(registry): State<Registry>, Json(request): Json<AliasRequest>) -> Answer<()> {
    Ok(Json(registry.trust_alias(request.from, request.to).await?))
}

async fn list(State(registry): State<Registry>) -> Answer<Vec<TrustEntry>> {
    Ok(Json(registry.trust_list().await?))
}

async fn show(State(registry): State<Registry>) -> Answer<TrustReport> {
    Ok(Json(registry.trust_show().await?))
}

async fn add(State(registry): State<Registry>, Json(request): Json<TrustRequest>) -> Answer<TrustEntry> {
    let TrustRequest { petname, publisher, replace } = request;
    Ok(Json(registry.trust_add(petname, publisher, replace).await?))
}

async fn remove(State(registry): State<Registry>, Json(request): Json<PetnameRequest>) -> Answer<()> {
    Ok(Json(registry.trust_remove(request.petname).await?))
}

async fn require(State(registry): State<Registry>, Json(rule): Json<RawRule>) -> Answer<()> {
    Ok(Json(registry.trust_require(rule).await?))
}

async fn waive(State(registry): State<Registry>, Json(request): Json<ScopeRequest>) -> Answer<usize> {
    Ok(Json(registry.trust_waive(request.models).await?))
}

async fn subscribe(State(registry): State<Registry>, Json(request): Json<SwitchRequest>) -> Response {
    streamed(move |reporter| async move { registry.subscribe(&request.name, &reporter).await })
}

async fn unsubscribe(State(registry): State<Registry>, Json(request): Json<SwitchRequest>) -> Answer<()> {
    Ok(Json(registry.trust_unsubscribe(request.name).await?))
}

async fn allow(State(registry): State<Registry>, Json(request): Json<SwitchRequest>) -> Answer<bool> {
    Ok(Json(registry.trust_allow(request.name, request.on).await?))
}

async fn attest(
    State(registry): State<Registry>,
    Json(request): Json<AttestRequest>,
) -> Answer<AttestationInfo> {
    Ok(Json(registry.attest(request).await?))
}

async fn chat_template(
    State(registry): State<Registry>,
    Query(named): Query<Named>,
) -> Answer<Option<String>> {
    Ok(Json(registry.chat_template(&named.reference).await?))
}
