//! Lists the models of the catalogue that are not in the store, for the lists of gateways.

use std::collections::{BTreeMap, BTreeSet};

use reg_catalogue::{EntryHead, Facts, Query, Sort, Standing};
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Petname, PublisherId, Tag};

use super::{Cataloguing, SearchError};

/// The models in the store with their tags, whatever the user's rules say of them. The name of a model is in lower case.
#[derive(Debug, Clone, Default)]
pub struct NamesHere(BTreeMap<(PublisherId, String), Here>);

#[derive(Debug, Clone, Default)]
struct Here {
    tags: BTreeSet<Tag>,
    /// Whether a version has every file of its manifest.
    is_whole: bool,
}

/// Models that are not in the store.
#[derive(Debug, Clone, Default)]
pub struct Elsewhere {
    pub models: Vec<ElsewhereModel>,
    /// How many there are, those on other pages too.
    pub count: usize,
}

/// A model that is not in the store.
#[derive(Debug, Clone)]
pub struct ElsewhereModel {
    pub publisher: PublisherId,
    /// What the user calls the publisher.
    pub petname: Option<Petname>,
    pub model: ModelName,
    pub manifest: Digest,
    /// When the publisher has signed it, in seconds since 1970.
    pub issued: u64,
    pub facts: Facts,
}

impl NamesHere {
    /// Adds a version of a model with its tags, of which the store has every file or those that its user chose.
    pub fn add<'a>(
        &mut self,
        publisher: PublisherId,
        model: &ModelName,
        tags: impl IntoIterator<Item = &'a Tag>,
        is_whole: bool,
    ) {
        let here = self.0.entry((publisher, model.folded())).or_default();
        here.tags.extend(tags.into_iter().cloned());
        here.is_whole |= is_whole;
    }

    /// Tells whether a version of a model is whole in the store.
    fn has(&self, publisher: PublisherId, model: &ModelName) -> bool {
        self.0.get(&(publisher, model.folded())).is_some_and(|it| it.is_whole)
    }

    /// Tells whether the version that a tag means is in the store, at least in part.
    fn has_tag(&self, publisher: PublisherId, model: &ModelName, tag: &Tag) -> bool {
        self.0.get(&(publisher, model.folded())).is_some_and(|it| it.tags.contains(tag))
    }
}

impl Cataloguing {
    /// Returns a page of the tags `tag` that the store lacks, and how many fit. What is not committed yet is left out. Blocks.
    ///
    /// # Errors
    /// The query is beyond a bound, or the catalogue cannot be read.
    pub fn elsewhere(&self, query: &Query, tag: &Tag, here: &NamesHere) -> Result<Elsewhere, SearchError> {
        let Some(opened) = self.opened() else { return Ok(Elsewhere::default()) };
        let standing = |head: &EntryHead| Standing {
            // Those publishers are kept whole that the user knows.
            known: head.is_kept && query.sort == Sort::Relevance,
            replicas: None,
            hidden: head.tag != *tag
                || here.has_tag(head.publisher, &head.model, tag)
                || self.is_hidden(head),
        };
        let page = self.page(&opened, query, &standing)?;
        let petnames = self.trust.petnames();
        let models = page.hits.into_iter().map(|hit| ElsewhereModel {
            publisher: hit.head.publisher,
            petname: petnames.get(&hit.head.publisher).cloned(),
            model: hit.head.model,
            manifest: hit.head.manifest,
            issued: hit.head.issued,
            facts: hit.facts,
        });
        Ok(Elsewhere { models: models.collect(), count: page.total })
    }

    /// Returns the names of models of which the store has no whole version, as `publisher/model` in lower case, in order: the first
    /// `max` after `after`. Blocks.
    pub fn names_elsewhere(&self, after: Option<&str>, max: usize, here: &NamesHere) -> Vec<String> {
        let Some(opened) = self.opened() else { return Vec::new() };
        let petnames = self.trust.petnames();
        let shown = |id: PublisherId| match petnames.get(&id) {
            Some(petname) => (format!("{petname}/"), id),
            None => (format!("{id}/"), id),
        };
        let mut publishers: Vec<(String, PublisherId)> =
            opened.catalogue.publishers().into_iter().map(shown).collect();
        // A slash ends each of these beginnings and is in none of them. So they are in the order of the names.
        publishers.sort_unstable();
        let mut names: Vec<String> = Vec::new();
        for (beginning, publisher) in publishers {
            if after.is_some_and(|after| beginning.as_str() < after && !after.starts_with(&beginning)) {
                continue;
            }
            for head in opened.catalogue.heads(&publisher) {
                let is_listed = !head.is_tombstone && !here.has(publisher, &head.model);
                if !is_listed || self.is_hidden(&head) {
                    continue;
                }
                let name = format!("{beginning}{}", head.model.folded());
                // Two tags of one model stand beside each other.
                if after.is_none_or(|after| name.as_str() > after) && names.last() != Some(&name) {
                    names.push(name);
                }
                if names.len() >= max {
                    return names;
                }
            }
        }
        names
    }

    /// Tells whether an entry must not be shown: a list denies the model or its publisher, or this node takes nothing of it.
    pub(super) fn is_hidden(&self, head: &EntryHead) -> bool {
        self.trust.is_unserved(&head.manifest)
            || self.trust.denies(head.publisher, &head.manifest)
            || !self.trust.sharing.takes(&head.publisher)
    }
}
