//! Lists the tags of a model, the referrers of a version, and the repositories in the store and in the catalogue.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header::{CONTENT_TYPE, LINK};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use reg_api::report::ModelSummary;
use serde::Deserialize;
use serde_json::{Value, json};

use super::digest;
use super::error::{Code, OciError};
use super::header::API_VERSION;
use super::manifest::{index, referrers_of};
use super::name::{At, Repo};
use super::state::OciGateway;
use crate::gateway::base_url::base_url;
use crate::registry::local::{Served, shown};
use crate::registry::publish::INDEX_TYPE;
use crate::registry::resolve::Revision;

/// Most names on one page.
const PAGE_MAX: usize = 1000;

const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    n: Option<usize>,
    last: Option<String>,
}

impl Page {
    fn size(&self) -> usize {
        self.n.unwrap_or(PAGE_MAX).min(PAGE_MAX)
    }

    /// Returns one page of names, and whether there are more.
    fn take(&self, mut names: Vec<String>) -> (Vec<String>, bool) {
        names.sort();
        names.dedup();
        names.retain(|name| self.last.as_ref().is_none_or(|last| name > last));
        let max = self.size();
        let more = names.len() > max;
        names.truncate(max);
        (names, more && max > 0)
    }

    fn link(path: &str, headers: &HeaderMap, names: &[String]) -> Option<(HeaderName, HeaderValue)> {
        let last = names.last()?;
        let link = format!("<{}{path}?n={}&last={last}>; rel=\"next\"", base_url(headers), names.len());
        Some((LINK, HeaderValue::try_from(link).ok()?))
    }
}

/// `GET /v2/{owner}/{model}/tags/list`.
pub(super) async fn list(
    State(oci): State<OciGateway>,
    Path(repo): Path<Repo>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Response, OciError> {
    let (publisher, model) = oci.names(&repo.owner, &repo.model)?;
    let failed = |error| OciError::of(&error, Code::NameUnknown);
    let tags = oci.registry().tags(&publisher, &model).await.map_err(failed)?;
    if tags.is_empty() {
        let latest = Revision::Tag(reg_proto::name::Tag::latest());
        oci.registry().view(&publisher, &model, &latest).await.map_err(failed)?;
    }
    let (tags, more) = page.take(tags.into_iter().map(|(tag, _)| tag.to_string()).collect());
    let path = format!("/v2/{}/{}/tags/list", repo.owner, repo.model);
    let link = if more { Page::link(&path, &headers, &tags) } else { None };
    let name = format!("{}/{}", repo.owner, repo.model);
    let mut response = Json(json!({ "name": name, "tags": tags })).into_response();
    response.headers_mut().extend(link.into_iter().chain([API_VERSION]));
    Ok(response)
}

/// `GET /v2/_catalog`: the repositories in the store and those that the catalogue lists, in one order, so that `last` means the same
/// whichever of them a name comes from.
pub(super) async fn catalog(
    State(oci): State<OciGateway>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Response, OciError> {
    let models = oci.registry().list_served(|it| it.here && it.part.is_none()).await;
    let Served { models, here } = models.map_err(|error| OciError::of(&error, Code::NameUnknown))?;
    // One more than a page has, so that it is known whether there is another one.
    let elsewhere = oci.registry().names_elsewhere(page.last.clone(), page.size() + 1, here).await;
    let elsewhere = elsewhere.map_err(|error| OciError::of(&error, Code::NameUnknown))?;
    let name = |ModelSummary { publisher, petname, model, .. }: ModelSummary| {
        format!("{}/{}", shown(publisher, petname.as_ref()), model.folded())
    };
    let here = models.into_iter().map(|it| name(it.summary));
    let (names, more) = page.take(here.chain(elsewhere).collect());
    let link = if more { Page::link("/v2/_catalog", &headers, &names) } else { None };
    let mut response = Json(json!({ "repositories": names })).into_response();
    response.headers_mut().extend(link.into_iter().chain([API_VERSION]));
    Ok(response)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReferrersQuery {
    artifact_type: Option<String>,
}

/// `GET /v2/{owner}/{model}/referrers/{digest}`: an index, empty where no referrer is known.
pub(super) async fn referrers(
    State(oci): State<OciGateway>,
    Path(at): Path<At>,
    Query(query): Query<ReferrersQuery>,
) -> Result<Response, OciError> {
    let (publisher, model) = oci.names(&at.owner, &at.model)?;
    let mut found = match digest::wanted(&at.reference, Code::ManifestUnknown) {
        Ok(subject) => referrers_of(&oci, &publisher, &model, subject).await,
        // No manifest here has a digest of another algorithm, so none refers to it.
        Err(error) if error.is(Code::ManifestUnknown) => Vec::new(),
        Err(error) => return Err(error),
    };
    if let Some(wanted) = &query.artifact_type {
        found.retain(|it| it.artifact_type.as_ref() == Some(wanted));
    }
    let document: Value = index(&found);
    let mut response = Json(document).into_response();
    let headers = response.headers_mut();
    headers.extend([API_VERSION]);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(INDEX_TYPE));
    if query.artifact_type.is_some() {
        headers.insert(OCI_FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}
