//! Accounts: the account of a token, users, organisations. A publisher is a user; this node has no organisations, no likes and
//! no followers.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use reg_catalogue::Query;
use reg_proto::name::Publisher;
use serde_json::{Value, json};

use super::error::HfError;
use super::state::HfGateway;
use crate::gateway::guard::Caller;
use crate::gateway::owner::publisher;
use crate::registry::local::{Served, shown};

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

/// `GET /api/users/{user}/overview`: a publisher that has models here or in the catalogue, or that the user has named.
pub(super) async fn overview(
    State(hub): State<HfGateway>,
    Path(user): Path<String>,
) -> Result<Json<Value>, HfError> {
    let unknown = || HfError::NoSuchUser(user.clone());
    let named = publisher(&user, hub.signer()).map_err(|_| unknown())?;
    let id = hub.registry().publisher(&named).await.map_err(|_| unknown())?;
    let models = hub.registry().list_served(move |it| it.publisher == id).await;
    let Served { models, here } = models.map_err(|error| HfError::of(&error))?;
    let of_publisher = Query { publishers: vec![id], is_list: true, ..Query::default() };
    let elsewhere = hub.listed(of_publisher, here, 0, 0).await?.count;
    let petname = models.iter().find_map(|it| it.summary.petname.clone());
    let names: BTreeSet<String> = models.iter().map(|it| it.summary.model.folded()).collect();
    let is_own = hub.signer().is_some_and(|signer| signer.publisher() == id);
    // An id alone is any 52 characters: with nothing behind it, it is no user here.
    if names.is_empty() && elsewhere == 0 && !is_own && matches!(named, Publisher::Id(_)) {
        return Err(unknown());
    }
    Ok(Json(json!({
        "_id": id, "user": user, "fullname": shown(id, petname.as_ref()), "type": "user", "avatarUrl": "", "isPro": false,
        "numModels": names.len() + elsewhere, "numDatasets": 0, "numSpaces": 0, "numDiscussions": 0, "numPapers": 0,
        "numUpvotes": 0, "numLikes": 0, "numFollowers": 0, "numFollowing": 0, "orgs": [],
    })))
}

/// `GET /api/organizations/{organization}/…`.
pub(super) async fn organization(Path(name): Path<String>) -> HfError {
    HfError::NoSuchUser(format!("{name}: this node has publishers and no organisations"))
}
