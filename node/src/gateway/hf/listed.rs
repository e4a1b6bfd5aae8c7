//! Models that the catalogue lists and the store lacks: which of them a search finds, and how they are described.
//!
//! What is said of them is what their publishers have signed. Their files are not known before they are pulled, so none are named.

use reg_catalogue::{Facts, Query};
use reg_proto::name::Tag;
use serde_json::{Map, Value, json};

use super::error::HfError;
use super::info::{Version, summary};
use super::search_query::SearchQuery;
use super::state::HfGateway;
use crate::gateway::owner::publisher;
use crate::registry::catalogue::{Elsewhere, ElsewhereModel, NamesHere};
use crate::registry::local::shown;

impl HfGateway {
    /// Returns the models elsewhere that a search finds: at most `limit`, after the first `offset`.
    pub(super) async fn elsewhere(
        &self,
        query: &SearchQuery,
        here: NamesHere,
        offset: usize,
        limit: usize,
    ) -> Result<Elsewhere, HfError> {
        let Some(mut wanted) = query.of_catalogue() else { return Ok(Elsewhere::default()) };
        if let Some(author) = query.author() {
            // A name that means no publisher has no models.
            let Ok(named) = publisher(author, self.signer()) else { return Ok(Elsewhere::default()) };
            let Ok(id) = self.registry().publisher(&named).await else { return Ok(Elsewhere::default()) };
            wanted.publishers = vec![id];
        }
        self.listed(wanted, here, offset, limit).await
    }

    /// Returns the models elsewhere that a query of the catalogue finds.
    pub(super) async fn listed(
        &self,
        mut wanted: Query,
        here: NamesHere,
        offset: usize,
        limit: usize,
    ) -> Result<Elsewhere, HfError> {
        // Later pages than the last one are empty, and each page says how many models there are.
        let is_too_deep = offset > reg_catalogue::OFFSET_MAX;
        (wanted.offset, wanted.limit) = if is_too_deep { (0, 0) } else { (offset, limit) };
        let found = self.registry().elsewhere(wanted, Tag::latest(), here).await;
        found.map_err(|error| HfError::of(&error))
    }
}

/// Describes a model by what the catalogue knows of it.
pub(super) fn describe(model: &ElsewhereModel) -> Map<String, Value> {
    let ElsewhereModel { publisher, petname, model, manifest, issued, facts } = model;
    let id = format!("{}/{model}", shown(*publisher, petname.as_ref()));
    let version = Version { digest: *manifest, issued: *issued, bytes: facts.bytes.unwrap_or_default() };
    let mut info = summary(&id, &version, None);
    let mut card = Map::new();
    let texts = [("license", &facts.licence), ("base_model", &facts.base), ("pipeline_tag", &facts.task)];
    for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        card.insert(name.to_owned(), json!(text));
    }
    if !facts.languages.is_empty() {
        card.insert("language".to_owned(), json!(facts.languages));
    }
    info.insert("tags".to_owned(), json!(tags(facts)));
    info.insert("pipeline_tag".to_owned(), json!(Some(&facts.task).filter(|it| !it.is_empty())));
    info.insert("cardData".to_owned(), Value::Object(card));
    info.insert("inStore".to_owned(), json!(false));
    info
}

/// Returns the tags that the Hub would show. Each of them finds the model.
fn tags(facts: &Facts) -> Vec<String> {
    let plain = [&facts.task].into_iter().chain(&facts.languages).chain(&facts.formats);
    let named = [("license", &facts.licence), ("base_model", &facts.base)];
    let named =
        named.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| format!("{name}:{text}"));
    plain.filter(|it| !it.is_empty()).cloned().chain(named).collect()
}
