//! Searches the models in the store, and after them those of the catalogue that the store lacks.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::header::LINK;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use reg_api::report::ModelSummary;
use reg_proto::name::Tag;
use serde_json::{Value, json};

use super::error::HfError;
use super::info::{Version, summary, tags};
use super::listed::describe;
use super::search_query::{Candidate, SearchQuery};
use super::state::HfGateway;
use crate::gateway::base_url::base_url;
use crate::registry::catalogue::NamesHere;
use crate::registry::local::{DescribedModel, Served, shown};

const X_TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");

/// Names of files in one answer, of about 300 bytes of memory each. A model may have 20,000, and most have less than a hundred.
const SIBLINGS_MAX: usize = 100_000;

type Found = Candidate<DescribedModel>;

/// `GET /api/models`.
pub(super) async fn search(
    State(hub): State<HfGateway>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<(HeaderMap, Json<Vec<Value>>), HfError> {
    let text = query.unwrap_or_default();
    let query = SearchQuery::read(&text)?;
    let (library, here) = hub.library(&query).await?;
    let (mut page, count) = query.page(library);
    let mut room = query.limit - page.len();
    if !query.asks_for_metadata() {
        page = hub.with_metadata(page.into_iter().map(|it| it.more).collect()).await?;
    }
    let mut paths = Vec::new();
    if query.with_files {
        let manifests = page.iter().map(|it| it.version.digest).collect();
        paths = hub.registry().paths_of(manifests, SIBLINGS_MAX).await;
        // The others are on the next page.
        room = if paths.len() < page.len() { 0 } else { room };
        page.truncate(paths.len());
    }
    let (mut paths, mut found) = (paths.into_iter(), Vec::new());
    for Candidate { id, version, more: DescribedModel { metadata, .. }, .. } in page {
        let mut info = summary(&id, &version, metadata.as_ref());
        if let Some(paths) = paths.next() {
            let files = paths.iter().map(|path| json!({ "rfilename": path.as_str() }));
            info.insert("siblings".to_owned(), files.collect());
        }
        found.push(Value::Object(info));
    }
    let elsewhere = hub.elsewhere(&query, here, query.skip.saturating_sub(count), room).await?;
    let count = count + elsewhere.count;
    found.extend(elsewhere.models.iter().map(|model| Value::Object(describe(model))));
    let mut answered = HeaderMap::from_iter([(X_TOTAL_COUNT, HeaderValue::from(count))]);
    if query.has_next(found.len(), count) {
        let next =
            format!("<{}/api/models?{}>; rel=\"next\"", base_url(&headers), query.next(&text, found.len()));
        answered.extend(HeaderValue::try_from(next).ok().map(|it| (LINK, it)));
    }
    Ok((answered, Json(found)))
}

impl HfGateway {
    /// Returns the models in the store that have a branch `main`, whole or in part, and the name that a search asks for. For
    /// most searches it reads only the rows of the list. It returns the names of all models in the store too.
    async fn library(&self, query: &SearchQuery) -> Result<(Vec<Found>, NamesHere), HfError> {
        let names = query.clone();
        let is_wanted = move |it: &ModelSummary| {
            it.here && it.tags.contains(&Tag::latest()) && names.names(&id(it), &authors(it))
        };
        let served = self.registry().list_served(is_wanted).await;
        let Served { models, here } = served.map_err(|error| HfError::of(&error))?;
        if query.asks_for_metadata() {
            return Ok((self.with_metadata(models).await?, here));
        }
        Ok((models.into_iter().map(candidate).collect(), here))
    }

    async fn with_metadata(&self, models: Vec<DescribedModel>) -> Result<Vec<Found>, HfError> {
        let described = self.registry().describe(models).await.map_err(|error| HfError::of(&error))?;
        Ok(described.into_iter().map(candidate).collect())
    }
}

fn candidate(model: DescribedModel) -> Found {
    let DescribedModel { summary, issued, metadata } = &model;
    let pipeline_tag = metadata.as_ref().and_then(|it| it.claimed.pipeline_tag.as_ref());
    Candidate {
        id: id(summary),
        authors: authors(summary),
        tags: tags(metadata.as_ref()),
        pipeline_tag: pipeline_tag.map(ToString::to_string),
        parameters: metadata.as_ref().and_then(|it| it.computed.parameters),
        version: Version { digest: summary.manifest, issued: *issued, bytes: summary.bytes },
        more: model,
    }
}

fn id(model: &ModelSummary) -> String {
    format!("{}/{}", shown(model.publisher, model.petname.as_ref()), model.model)
}

/// Returns the names of the publisher of a model: as it is shown, and its id.
fn authors(model: &ModelSummary) -> [String; 2] {
    [shown(model.publisher, model.petname.as_ref()).to_string(), model.publisher.to_string()]
}
