//! Branches, tags and commits: a branch is a tag, and a commit is a version.
//!
//! Creating a branch or a tag signs a record that gives it the version it begins from. Deleting one removes it from this
//! node; peers that have it keep it, and the client is told so.

use axum::extract::{Path, Query, State};
use axum::http::header::LINK;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use reg_api::reporter::Reporter;
use reg_api::request::{PublishRequest, PublishSource};
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Publisher, PublisherId, Reference, Tag};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{HfError, X_HF_WARNING};
use super::name::{At, Repo, commit, revision};
use super::state::HfGateway;
use super::time::iso_time;
use crate::gateway::base_url::base_url;
use crate::gateway::guard::Caller;
use crate::gateway::signer::Signer;
use crate::registry::publish::Signatory;
use crate::registry::resolve::{Revision, TagPlace};

/// Commits of one page, as on the Hub.
const COMMITS_PER_PAGE: usize = 50;
/// Most commits of one page.
const COMMITS_MAX: usize = 1000;
/// The commit of a branch that has no version yet.
pub(super) const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

const X_TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");

/// `GET /api/models/{owner}/{model}/refs`.
pub(super) async fn list(
    State(hub): State<HfGateway>,
    Path(repo): Path<Repo>,
) -> Result<Json<Value>, HfError> {
    let (publisher, model) = hub.names(&repo.owner, &repo.model)?;
    let known = hub.registry().tags(&publisher, &model).await.map_err(|error| HfError::of_view(&error))?;
    if !known.is_empty() {
        return Ok(Json(listed(&known)));
    }
    if hub.is_created(&publisher, &model).await {
        return Ok(Json(json!({ "branches": [], "converts": [], "tags": [], "pullRequests": [] })));
    }
    // A look-up finds out whether the repository exists at all.
    let view = hub.view(&At::main(repo)).await?;
    Ok(Json(listed(&[(Tag::latest(), view.digest())])))
}

fn listed(tags: &[(Tag, Digest)]) -> Value {
    let latest = tags.iter().filter(|(tag, _)| *tag == Tag::latest());
    let branches: Vec<Value> = latest
        .map(
            |(_, digest)| json!({ "name": "main", "ref": "refs/heads/main", "targetCommit": commit(digest) }),
        )
        .collect();
    let named = |(tag, digest): &(Tag, _)| json!({ "name": tag, "ref": format!("refs/tags/{tag}"), "targetCommit": commit(digest) });
    let tags: Vec<Value> = tags.iter().map(named).collect();
    json!({ "branches": branches, "converts": [], "tags": tags, "pullRequests": [] })
}

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    limit: Option<usize>,
    /// The page, from 0.
    p: Option<usize>,
}

/// `GET /api/models/{owner}/{model}/commits/{revision}`: the versions of a tag that this node has seen, the newest first.
pub(super) async fn commits(
    State(hub): State<HfGateway>,
    Path(at): Path<At>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<(HeaderMap, Json<Vec<Value>>), HfError> {
    let view = hub.view(&at).await?;
    let mut versions: Vec<(Digest, u64)> = Vec::new();
    if let Revision::Tag(tag) = revision(&at.revision)? {
        let (publisher, model) = hub.names(&at.owner, &at.model)?;
        let reference = Reference { publisher, model, tag: Some(tag), digest: None };
        let log = hub.registry().log(&reference).await.ok();
        let records = log.into_iter().flat_map(|log| log.records).filter(|it| it.void.is_none());
        versions.extend(records.map(|it| (it.record.manifest.digest, it.record.issued)));
        // The version in use may be older than the newest record.
        if let Some(used) = versions.iter().rposition(|(digest, _)| *digest == view.digest()) {
            versions.truncate(used + 1);
        }
    }
    if versions.is_empty() {
        versions.push((view.digest(), view.issued()));
    }
    versions.reverse();
    let (size, number) = (page.limit.unwrap_or(COMMITS_PER_PAGE).clamp(1, COMMITS_MAX), page.p.unwrap_or(0));
    let shown = versions.iter().skip(size.saturating_mul(number)).take(size);
    let commits = shown.map(|(digest, issued)| described(digest, *issued, &at.owner)).collect();
    let mut answered = HeaderMap::from_iter([(X_TOTAL_COUNT, HeaderValue::from(versions.len()))]);
    if size.saturating_mul(number.saturating_add(1)) < versions.len() {
        let base = base_url(&headers);
        let next = format!(
            "<{base}/api/models/{}/commits/{}?limit={size}&p={}>; rel=\"next\"",
            at.id(),
            at.revision,
            number + 1
        );
        answered.extend(HeaderValue::try_from(next).ok().map(|it| (LINK, it)));
    }
    Ok((answered, Json(commits)))
}

fn described(digest: &Digest, issued: u64, owner: &str) -> Value {
    json!({
        "id": commit(digest), "title": "published", "message": "", "date": iso_time(issued),
        "authors": [{ "user": owner, "avatar": "" }],
        "formatted": { "title": "published", "message": "" },
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BranchRequest {
    starting_point: Option<String>,
    empty_branch: bool,
    overwrite: bool,
}

/// `POST /api/models/{owner}/{model}/branch/{branch}`.
pub(super) async fn create_branch(
    State(hub): State<HfGateway>,
    Path(at): Path<At>,
    caller: Option<Extension<Caller>>,
    request: Option<Json<BranchRequest>>,
) -> Result<StatusCode, HfError> {
    let BranchRequest { starting_point, empty_branch, overwrite } =
        request.map(|it| it.0).unwrap_or_default();
    let (signer, model) = hub.may_publish(caller, &at.owner, &at.model).await?;
    let branch = New { owner: &at.owner, model: &model, tag: named(&at.revision)?, signer };
    if branch.exists(&hub).await {
        return match (overwrite, starting_point) {
            (true, Some(start)) => branch.give(&hub, &start).await,
            (true, None) => Ok(StatusCode::OK),
            (false, _) => Err(HfError::Conflict(format!("{}: the branch exists already", at.revision))),
        };
    }
    if empty_branch {
        hub.created().branch(signer.publisher(), &model, &branch.tag);
        return Ok(StatusCode::CREATED);
    }
    branch.give(&hub, starting_point.as_deref().unwrap_or("main")).await
}

#[derive(Debug, Deserialize)]
pub(super) struct TagRequest {
    tag: Option<String>,
}

/// `POST /api/models/{owner}/{model}/tag/{revision}`.
pub(super) async fn create_tag(
    State(hub): State<HfGateway>,
    Path(at): Path<At>,
    caller: Option<Extension<Caller>>,
    Json(request): Json<TagRequest>,
) -> Result<StatusCode, HfError> {
    let (signer, model) = hub.may_publish(caller, &at.owner, &at.model).await?;
    let name = request.tag.ok_or_else(|| HfError::Invalid("the request names no tag".to_owned()))?;
    let tag = New { owner: &at.owner, model: &model, tag: named(&name)?, signer };
    if tag.exists(&hub).await {
        return Err(HfError::Conflict(format!("{name}: the tag exists already")));
    }
    tag.give(&hub, &at.revision).await
}

/// `DELETE /api/models/{owner}/{model}/branch/{branch}` and `DELETE …/tag/{tag}`.
pub(super) async fn forget(
    State(hub): State<HfGateway>,
    Path(At { owner, model, revision: name, .. }): Path<At>,
    caller: Option<Extension<Caller>>,
) -> Result<Response, HfError> {
    let (signer, model) = hub.may_publish(caller, &owner, &model).await?;
    let tag = named(&name)?;
    if tag == Tag::latest() {
        return Err(HfError::Invalid(format!(
            "{name} cannot be deleted: `reg rm {owner}/{model}` removes the model from this node"
        )));
    }
    let publisher = Publisher::Id(signer.publisher());
    let was_empty = hub.created().forget_branch(signer.publisher(), &model, &tag);
    let place = hub.registry().place_of(&publisher, &model, &tag).await;
    if place.map_err(|error| HfError::of_view(&error))? != TagPlace::Here {
        let known = was_empty.then_some(StatusCode::OK.into_response());
        return known.ok_or(HfError::RevisionNotFound(name));
    }
    let known = hub.registry().tags(&publisher, &model).await.map_err(|error| HfError::of_view(&error))?;
    let meant = known.iter().find(|(it, _)| *it == tag).map(|(_, meant)| *meant);
    if !known.iter().any(|(it, digest)| *it != tag && Some(*digest) == meant) {
        return Err(HfError::Invalid(format!(
            "{name} is the last name of its version on this node: `reg rm {owner}/{model}:{tag}` removes the files too"
        )));
    }
    let reference = Reference { publisher, model, tag: Some(tag), digest: None };
    hub.registry().remove(&reference).await.map_err(|error| HfError::of(&error))?;
    let warning = HeaderValue::from_static(
        "deleted; it is removed from this node; peers that have it keep it, and its record stays signed",
    );
    Ok((StatusCode::OK, [(X_HF_WARNING, warning)]).into_response())
}

/// Reads the name of a branch or a tag.
fn named(name: &str) -> Result<Tag, HfError> {
    match revision(name) {
        Ok(Revision::Tag(tag)) => Ok(tag),
        Ok(_) => Err(HfError::Invalid(format!("{name}: a name of 40 or 64 hex digits is that of a commit"))),
        Err(_) => Err(HfError::Invalid(format!(
            "{name}: a branch or tag has letters, digits, `.`, `_` and `-`, and no `/`, because it is a tag of the model"
        ))),
    }
}

/// A branch or tag that is to be.
struct New<'a> {
    owner: &'a str,
    model: &'a ModelName,
    tag: Tag,
    signer: &'a Signer,
}

impl New<'_> {
    /// Tells whether this node or a peer has it. A tag that was removed is still remembered, and does not count.
    async fn exists(&self, hub: &HfGateway) -> bool {
        let publisher = Publisher::Id(self.signer.publisher());
        if hub.created().has_branch(self.signer.publisher(), self.model, &self.tag) {
            return true;
        }
        let place = hub.registry().place_of(&publisher, self.model, &self.tag).await;
        place.is_ok_and(|it| matches!(it, TagPlace::Here | TagPlace::Elsewhere))
    }

    /// Signs a record that gives it the version `start`. Where the repository has no version yet, remembers it.
    async fn give(&self, hub: &HfGateway, start: &str) -> Result<StatusCode, HfError> {
        let at = At {
            owner: self.owner.to_owned(),
            model: self.model.to_string(),
            revision: start.to_owned(),
            path: String::new(),
        };
        let own: PublisherId = self.signer.publisher();
        let view = match hub.view(&at).await {
            Ok(view) => view,
            Err(HfError::RevisionNotFound(_))
                if start == "main" && hub.created().has_repository(own, self.model) =>
            {
                hub.created().branch(own, self.model, &self.tag);
                return Ok(StatusCode::CREATED);
            }
            Err(error) => return Err(error),
        };
        let request = PublishRequest {
            allow_unsafe: hub.registry().consent().is_to_everything(),
            allow: hub.registry().consent().kinds().clone(),
            // The version was published as it is.
            incomplete: true,
            ..PublishRequest::new(
                PublishSource::Pack(view.digest()),
                Vec::new(),
                view.model().clone(),
                self.tag.clone(),
            )
        };
        let silent = Reporter::silent();
        let publish = async |by: Signatory<'_>| hub.registry().publish(by, request, &silent).await;
        self.signer.lend(publish).await.map_err(|error| HfError::of(&error))?;
        Ok(StatusCode::CREATED)
    }
}
