//! Searches the models in the store, and tells a client which account its token belongs to.

use axum::extract::{Query, State};
use axum::{Extension, Json};
use reg_proto::name::Tag;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::HfError;
use super::info::{summary, tags};
use super::state::HfGateway;
use crate::gateway::guard::Caller;
use crate::registry::local::shown;
use crate::registry::resolve::Revision;

/// Most models of one answer.
const RESULTS_MAX: usize = 1000;

#[derive(Debug, Deserialize)]
pub(super) struct SearchQuery {
    search: Option<String>,
    author: Option<String>,
    /// Tags that a model must have, separated by commas.
    filter: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/models`.
pub(super) async fn search(
    State(hub): State<HfGateway>,
    Query(query): Query<SearchQuery>,
) -> Result<Json<Vec<Value>>, HfError> {
    let models = hub.registry().list().await.map_err(|error| HfError::of(&error))?;
    let wanted = query.search.unwrap_or_default().to_lowercase();
    let filters: Vec<&str> =
        query.filter.iter().flat_map(|it| it.split(',')).filter(|it| !it.is_empty()).collect();
    let limit = query.limit.unwrap_or(RESULTS_MAX).min(RESULTS_MAX);
    let mut found = Vec::new();
    for model in models.into_iter().filter(|it| it.complete && it.tags.contains(&Tag::latest())) {
        let publisher = shown(model.publisher, model.petname.as_ref());
        let id = format!("{publisher}/{}", model.model);
        let by = |author: &String| *author == publisher.to_string() || *author == model.publisher.to_string();
        if !id.to_lowercase().contains(&wanted) || !query.author.as_ref().is_none_or(by) {
            continue;
        }
        let digest = Revision::Digest(model.manifest);
        let Ok(view) = hub.registry().view(&publisher, &model.model, &digest).await else { continue };
        let metadata = hub.registry().metadata(&view).await;
        let tags = tags(metadata.as_ref());
        if filters.iter().all(|filter| tags.iter().any(|tag| tag == filter)) {
            found.push(Value::Object(summary(&id, &view, metadata.as_ref())));
        }
        if found.len() >= limit {
            break;
        }
    }
    Ok(Json(found))
}

/// `GET /api/whoami-v2`: tells the owner the name of the key that signs uploads.
pub(super) async fn whoami(
    State(hub): State<HfGateway>,
    caller: Option<Extension<Caller>>,
) -> Result<Json<Value>, HfError> {
    if caller.map(|it| it.0) != Some(Caller::Owner) {
        return Err(HfError::Unauthorized(
            "the token is not that of this node: `reg env hf` prints what to export".to_owned(),
        ));
    }
    let name = hub.signer().map_or_else(|| "reader".to_owned(), |signer| signer.name().to_owned());
    let role = if hub.signer().is_some() { "write" } else { "read" };
    Ok(Json(json!({
        "type": "user", "id": name, "name": name, "fullname": name, "email": null, "emailVerified": false,
        "canPay": false, "periodEnd": null, "isPro": false, "avatarUrl": "", "orgs": [],
        "auth": { "type": "access_token", "accessToken": { "displayName": "reg", "role": role } },
    })))
}
