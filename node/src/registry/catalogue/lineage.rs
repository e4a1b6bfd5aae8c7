//! What the catalogue knows of the descent of models: from what a model is said to be derived, and what is said to be derived from
//! it. All of it is claimed.

use reg_catalogue::{EntryHead, FACTS_OF_LIST_MAX, Fact, LIMIT_MAX, Query, Sort, Standing};
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, PublisherId, Tag};

use super::{Cataloguing, SearchError};

/// Entries with one manifest that are looked at: the same model under other publishers. One that is not hidden is enough.
pub(super) const SAME_MANIFEST_MAX: usize = 64;

impl Cataloguing {
    /// Returns the base that the publisher of a model has signed with it: its name, and its manifest where it is known. Blocks.
    pub fn base_of(&self, publisher: PublisherId, manifest: &Digest) -> Option<(String, Option<Digest>)> {
        let opened = self.opened()?;
        self.commit();
        let heads = opened.catalogue.heads(&publisher);
        let head = heads.into_iter().find(|it| it.manifest == *manifest && !it.is_tombstone)?;
        let facts = opened.catalogue.get(publisher, &head.model, &head.tag).ok()??.facts;
        (!facts.base.is_empty()).then_some((facts.base, facts.base_manifest))
    }

    /// Returns an entry with this manifest, one of a publisher that the user knows if there is one. Blocks.
    pub fn entry_named(&self, manifest: &Digest) -> Option<EntryHead> {
        let heads = self.opened()?.catalogue.with_manifest(manifest, SAME_MANIFEST_MAX);
        let mut heads: Vec<EntryHead> = heads.into_iter().filter(|it| !self.is_hidden(it)).collect();
        heads.sort_by_key(|it| !it.is_kept);
        heads.into_iter().next()
    }

    /// Returns what is listed of a tag. Blocks.
    pub fn listed(&self, publisher: PublisherId, model: &ModelName, tag: &Tag) -> Option<EntryHead> {
        let head = self.opened()?.catalogue.head(publisher, model, tag)?;
        (!head.is_tombstone && !self.is_hidden(&head)).then_some(head)
    }

    /// Returns the newest tags that say they are derived from a model with one of these names, and how many there are. Blocks.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub fn derived_from(&self, names: &[String]) -> Result<(Vec<EntryHead>, usize), SearchError> {
        let Some(opened) = self.opened() else { return Ok((Vec::new(), 0)) };
        self.commit();
        let bases = names.iter().take(FACTS_OF_LIST_MAX).cloned().map(Fact::Base).collect();
        let query = Query {
            any_of: vec![bases],
            is_list: true,
            sort: Sort::Newest,
            limit: LIMIT_MAX,
            ..Query::default()
        };
        let standing = |head: &EntryHead| Standing { hidden: self.is_hidden(head), ..Standing::default() };
        let page = self.page(&opened, &query, &standing)?;
        Ok((page.hits.into_iter().map(|it| it.head).collect(), page.total))
    }
}
