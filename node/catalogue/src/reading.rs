//! Reads single entries and publishers, committed or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLockReadGuard};

use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, PublisherId, Tag};
use tantivy::query::{EnableScoring, Query as _, TermQuery};
use tantivy::schema::{IndexRecordOption, Term};
use tantivy::{DocAddress, DocSet as _, Searcher, TERMINATED, TantivyDocument};

use crate::entry::{Entry, EntryHead, EntryName, PublisherTexts};
use crate::error::ReadError;
use crate::open::Catalogue;
use crate::pending::Change;
use crate::schema::{Stored, StoredPublisher, entry_id, publisher_id};
use crate::state::{Place, State};

impl Catalogue {
    /// Returns the newest version of an entry.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn get(
        &self,
        publisher: PublisherId,
        model: &ModelName,
        tag: &Tag,
    ) -> Result<Option<Entry>, ReadError> {
        let name = EntryName { publisher, model: model.clone(), tag: tag.clone() };
        let state = self.read_state();
        match state.place(&name) {
            Place::Waiting(entry) => Ok(Some(Entry::clone(&entry))),
            Place::Nowhere => Ok(None),
            Place::Committed => {
                let document = self.document(&state.searcher, &entry_id(&name))?.ok_or(ReadError::Damaged)?;
                self.fields.read_entry(&document).map(Some).ok_or(ReadError::Damaged)
            }
        }
    }

    /// Returns what memory holds of a committed entry.
    pub fn head(&self, publisher: PublisherId, model: &ModelName, tag: &Tag) -> Option<EntryHead> {
        let name = EntryName { publisher, model: model.clone(), tag: tag.clone() };
        let state = self.read_state();
        state.table.slot(&name).and_then(|slot| state.table.head(slot)).cloned()
    }

    /// Returns the committed entries with one of these contents that are `shown`, at most `max` of each. An entry of a kept publisher
    /// takes the place of a stranger's.
    ///
    /// `shown` must be quick and must not call the catalogue.
    pub fn with_content(
        &self,
        contents: &BTreeSet<Digest>,
        max: usize,
        shown: &dyn Fn(&EntryHead) -> bool,
    ) -> BTreeMap<Digest, Vec<EntryHead>> {
        let mut found: BTreeMap<Digest, Vec<EntryHead>> = BTreeMap::new();
        let state = self.read_state();
        let with_content = |it: &&EntryHead| contents.contains(&it.content) && !it.is_tombstone && shown(it);
        for head in state.table.heads().filter(with_content) {
            let of = found.entry(head.content).or_default();
            if of.len() < max {
                of.push(head.clone());
            } else if head.is_kept
                && let Some(stranger) = of.iter_mut().find(|it| !it.is_kept)
            {
                *stranger = head.clone();
            }
        }
        found
    }

    /// Returns the publishers that have committed entries, in no order.
    pub fn publishers(&self) -> Vec<PublisherId> {
        self.read_state().table.publishers().map(|(publisher, _)| publisher).collect()
    }

    /// Returns what memory holds of the committed entries of a publisher, in the order of their names.
    pub fn heads(&self, publisher: &PublisherId) -> Vec<EntryHead> {
        self.read_state().table.of_publisher(publisher).cloned().collect()
    }

    /// Returns what memory holds of committed entries with this manifest, at most `max` of them.
    pub fn with_manifest(&self, manifest: &Digest, max: usize) -> Vec<EntryHead> {
        let state = self.read_state();
        let heads = (0..state.table.slots()).filter_map(|slot| state.table.head(slot));
        let named = heads.filter(|head| head.manifest == *manifest && !head.is_tombstone);
        named.take(max).cloned().collect()
    }

    /// Returns the names of a publisher's entries in order, committed or not.
    pub fn names(&self, publisher: &PublisherId) -> Vec<EntryName> {
        self.read_state().names_of(publisher).into_iter().collect()
    }

    /// Returns the newest texts of a publisher. A kept publisher of which no texts were put has empty ones.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn publisher(&self, publisher: &PublisherId) -> Result<Option<PublisherTexts>, ReadError> {
        let state = self.read_state();
        Ok(self.stored_publisher(&state, publisher)?.map(|it| it.texts.clone()))
    }

    /// Returns whether a publisher is kept whole.
    pub fn is_kept(&self, publisher: &PublisherId) -> bool {
        self.read_state().standing(publisher).is_kept
    }

    /// Returns the publishers that are kept whole, in no order.
    pub fn kept_publishers(&self) -> Vec<PublisherId> {
        let state = self.read_state();
        state.publishers.iter().filter(|(_, known)| known.is_kept).map(|(id, _)| *id).collect()
    }

    /// Returns the number of entries of kept publishers and of strangers, committed or not.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.read_state();
        (state.kept, state.strangers)
    }

    /// Returns the bytes of the index on disk after the last commit.
    pub fn disk_bytes(&self) -> u64 {
        self.read_state().disk_bytes
    }

    /// Returns what is stored of a publisher, with the changes that wait.
    pub(crate) fn stored_publisher(
        &self,
        state: &State,
        publisher: &PublisherId,
    ) -> Result<Option<Arc<StoredPublisher>>, ReadError> {
        match state.waiting_publisher(publisher) {
            Some(Change::Put(stored)) => Ok(Some(Arc::clone(stored))),
            Some(Change::Removed) => Ok(None),
            None if !state.standing(publisher).has_texts => Ok(None),
            None => {
                let id = publisher_id(publisher);
                let document = self.document(&state.searcher, &id)?.ok_or(ReadError::Damaged)?;
                match self.fields.read(&document) {
                    Some(Stored::Publisher(stored)) => Ok(Some(Arc::new(*stored))),
                    _ => Err(ReadError::Damaged),
                }
            }
        }
    }

    /// Returns the document with this id.
    fn document(&self, searcher: &Searcher, id: &str) -> Result<Option<TantivyDocument>, ReadError> {
        let query = TermQuery::new(Term::from_field_text(self.fields.id, id), IndexRecordOption::Basic);
        let weight = query.weight(EnableScoring::disabled_from_searcher(searcher))?;
        for (place, segment) in (0u32..).zip(searcher.segment_readers()) {
            let mut found = weight.scorer(segment, 1.0)?;
            while found.doc() != TERMINATED {
                if !segment.is_deleted(found.doc()) {
                    return Ok(Some(searcher.doc(DocAddress::new(place, found.doc()))?));
                }
                found.advance();
            }
        }
        Ok(None)
    }

    fn read_state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}
