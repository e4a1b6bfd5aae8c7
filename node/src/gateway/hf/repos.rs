//! Creates repositories, and refuses what a signed and public version cannot be: private, moved, rewritten, taken back.
//!
//! A repository that a client creates has no version yet, so nothing is signed. This node remembers it for the client's next
//! requests.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::HfError;
use super::name::{At, Repo};
use super::state::HfGateway;
use crate::gateway::base_url::base_url;
use crate::gateway::guard::Caller;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Create {
    name: String,
    organization: Option<String>,
    r#type: Option<String>,
    #[serde(flatten)]
    visibility: Visibility,
    /// Files of a first commit, which a JavaScript client may send along.
    #[serde(default)]
    files: Vec<Value>,
}

/// Which people see a repository. Older clients send `private`, newer ones `visibility`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Visibility {
    private: Option<bool>,
    visibility: Option<String>,
}

impl Visibility {
    /// Checks that it is to be public.
    ///
    /// # Errors
    /// What is published here is public. The status is one that no client takes for "it exists already".
    fn check(&self) -> Result<(), HfError> {
        let wanted = self.visibility.as_deref().unwrap_or("public");
        if self.private == Some(true) || wanted != "public" {
            return Err(HfError::Invalid(
                "a repository of this node cannot be private: what is published is signed, and every peer may fetch it; \
                 nothing was published; leave --private out, or run a private swarm (reg daemon --swarm-key)"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

/// `POST /api/repos/create`.
pub(super) async fn create(
    State(hub): State<HfGateway>,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    Json(request): Json<Create>,
) -> Result<Response, HfError> {
    if request.r#type.as_deref().is_some_and(|it| it != "model") {
        return Err(HfError::Invalid("only models can be published on this node".to_owned()));
    }
    request.visibility.check()?;
    if !request.files.is_empty() {
        return Err(HfError::Invalid(
            "send the first files as a commit: creating a repository signs nothing".to_owned(),
        ));
    }
    let own = hub.signer().map(|it| it.name().to_owned()).unwrap_or_default();
    let owner = request.organization.unwrap_or(own);
    let (signer, model) = hub.may_publish(caller, &owner, &request.name).await?;
    let (publisher, _) = hub.names(&owner, &request.name)?;
    let known = hub.registry().has_tags(&publisher, &model).await;
    let known = known.map_err(|error| HfError::of_view(&error))?;
    let id = format!("{owner}/{model}");
    let url = format!("{}/{id}", base_url(&headers));
    let mut answer = json!({ "url": url, "name": id, "id": id });
    if known || hub.created().has_repository(signer.publisher(), &model) {
        answer["error"] = json!(format!("{id} exists already"));
        return Ok((StatusCode::CONFLICT, Json(answer)).into_response());
    }
    hub.created().repository(signer.publisher(), &model);
    Ok(Json(answer).into_response())
}

/// `PUT /api/models/{owner}/{model}/settings`.
pub(super) async fn settings(
    State(hub): State<HfGateway>,
    Path(Repo { owner, model }): Path<Repo>,
    caller: Option<Extension<Caller>>,
    Json(settings): Json<Settings>,
) -> Result<Json<Value>, HfError> {
    hub.may_publish(caller, &owner, &model).await?;
    settings.visibility.check()?;
    if settings.gated.as_ref().is_some_and(|it| *it != Value::Bool(false)) {
        return Err(HfError::Invalid(
            "a repository of this node cannot be gated: every peer that has a model gives it to others"
                .to_owned(),
        ));
    }
    Ok(Json(json!({ "visibility": "public", "private": false, "gated": false })))
}

#[derive(Debug, Deserialize)]
pub(super) struct Settings {
    #[serde(flatten)]
    visibility: Visibility,
    gated: Option<Value>,
}

/// `GET /api/models/{owner}/{model}/auth-check`: may the caller read it?
pub(super) async fn may_read(
    State(hub): State<HfGateway>,
    Path(repo): Path<Repo>,
) -> Result<Json<Value>, HfError> {
    let at = At::main(repo);
    match hub.view(&at).await {
        // A repository without a branch `main` is there all the same.
        Ok(_) | Err(HfError::RevisionNotFound(_)) => Ok(Json(json!({}))),
        Err(error) => Err(error),
    }
}

/// `GET /api/models/{owner}/{model}/auth-check/write`: may the caller publish it?
pub(super) async fn may_write(
    State(hub): State<HfGateway>,
    Path(Repo { owner, model }): Path<Repo>,
    caller: Option<Extension<Caller>>,
) -> Result<Json<Value>, HfError> {
    hub.may_publish(caller, &owner, &model).await?;
    Ok(Json(json!({})))
}

/// `DELETE /api/repos/delete`.
pub(super) async fn delete() -> HfError {
    HfError::Invalid(
        "what was published cannot be taken back from the peers that have it: `reg rm PUBLISHER/MODEL` removes it from this \
         node, and `reg key revoke KEY --manifest DIGEST` withdraws a version for ever"
            .to_owned(),
    )
}

/// `POST /api/repos/move`.
pub(super) async fn rename() -> HfError {
    HfError::Invalid(
        "a model cannot be moved: its signed records name it; publish it under the new name, and peers fetch no byte again"
            .to_owned(),
    )
}

/// `POST /api/models/{owner}/{model}/super-squash/{revision}`.
pub(super) async fn super_squash() -> HfError {
    HfError::Invalid(
        "the history of a tag cannot be rewritten: its records are signed, and each names the one before it; versions that \
         no tag means are removed with `reg rm` and `reg gc`"
            .to_owned(),
    )
}

/// `POST /api/models/{owner}/{model}/duplicate` and `…/lfs-files/duplicate`.
pub(super) async fn duplicate() -> HfError {
    HfError::Invalid(
        "a repository cannot be duplicated here: fetch it, and publish it under your own name with `reg publish` or \
         `hf upload`"
            .to_owned(),
    )
}

/// `POST /api/models/{owner}/{model}/lfs-files/batch`: deletes large files from the history.
pub(super) async fn delete_files() -> HfError {
    HfError::Invalid(
        "files of a version that is signed cannot be deleted from it: publish a version without them, and remove the old one \
         with `reg rm` and `reg gc`"
            .to_owned(),
    )
}

/// `GET /api/models/{owner}/{model}/discussions`: there are none.
pub(super) async fn discussions() -> Json<Value> {
    Json(json!({ "discussions": [], "count": 0, "start": 0, "numClosedDiscussions": 0 }))
}

/// `POST /api/models/{owner}/{model}/discussions`: begins a discussion or a pull request.
pub(super) async fn discuss() -> HfError {
    HfError::Invalid("this node has no discussions and no pull requests".to_owned())
}
