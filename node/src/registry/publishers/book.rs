//! [`Book`]: the document of one tag: its records, proofs, promised numbers, and the payload that waits for its signature.
//!
//! One fsynced document for each tag is the truth. The pure [`TagBook`] decides; this file reads it, and writes it in one step.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use reg_api::clock;
use reg_proto::digest::Digest;
use reg_proto::envelope::Envelope;
use reg_proto::json;
use reg_proto::key::KeyHistory;
use reg_proto::limits::TAG_ENVELOPE_BYTES_MAX;
use reg_proto::name::PublisherId;
use reg_proto::naming::{Contradiction, Heard, Pending, Promise, RecordFacts, TagBook, Usable};
use reg_proto::revocation::Revoked;
use reg_proto::tag::{SignedTag, TagRecord};
use serde::{Deserialize, Serialize};

use super::error::TagsError;
use super::known_tags;
use crate::registry::limits::{TAG_DOCUMENT_BYTES_MAX, TAG_OTHERS_MAX};
use crate::registry::model::whole;
use crate::store::{DocumentKind, Store};

/// The version of a tag's document. Version 1 was a bare envelope.
const VERSION: u32 = 2;

/// A record and the time when it was first seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Seconds since 1970.
    pub seen: u64,
    pub envelope: String,
}

/// The document of a tag as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TagDocument {
    version: u32,
    /// The record that this store keeps for the tag, lists and announces.
    pub(super) held: Option<Digest>,
    pub(super) head: Option<Entry>,
    /// The newest first, those that stand no longer among them.
    pub(super) ancestors: Vec<Entry>,
    proofs: Vec<KeptProof>,
    pending: Option<Waiting>,
    abandoned: Vec<KeptPromise>,
}

/// Two envelopes that contradict each other, and the one that settles them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptProof {
    pub(super) one: String,
    pub(super) two: String,
    settled: Option<String>,
}

/// A payload that waits for its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Waiting {
    pub(super) payload: String,
    /// Seconds since 1970.
    pub(super) since: u64,
    /// Whether it holds the tag until its publisher finishes or abandons it.
    pub(super) held: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptPromise {
    key_document: u64,
    seq: u64,
    payload: Option<Digest>,
}

impl TagDocument {
    /// Parses a stored document.
    pub(super) fn read(publisher: PublisherId, bytes: &[u8]) -> Result<Self, TagsError> {
        json::from_slice(bytes, TAG_DOCUMENT_BYTES_MAX)
            .map_err(|source| TagsError::Json { publisher, source })
    }

    /// Returns the envelopes of the head and its ancestors, the newest first.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.head.iter().chain(&self.ancestors)
    }

    /// Returns the envelopes of the proofs.
    pub(super) fn proofs(&self) -> impl Iterator<Item = &KeptProof> {
        self.proofs.iter()
    }

    /// Returns the envelope of the record that is kept for the tag.
    pub(super) fn held(&self) -> Option<&Entry> {
        let held = self.held?;
        self.entries().find(|it| facts_of(&it.envelope).is_some_and(|it| it.payload == held))
    }
}

/// The document of a tag, read and ready to change.
#[derive(Debug)]
pub(super) struct Book<'a> {
    store: &'a Store,
    key: String,
    publisher: PublisherId,
    pub(super) rules: TagBook,
    envelopes: BTreeMap<Digest, String>,
    seen: BTreeMap<Digest, u64>,
    /// Records beside those of the rules: those of models that the store has, and those that stand no longer, which the log
    /// shows.
    others: BTreeMap<Digest, RecordFacts>,
    pub(super) held: Option<Digest>,
    waiting: Option<Waiting>,
    written: Option<TagDocument>,
}

impl<'a> Book<'a> {
    /// Reads the document of a tag. `key` names it. Verifies no signature: what is in the store was verified.
    pub(super) fn read(store: &'a Store, publisher: PublisherId, key: String) -> Result<Self, TagsError> {
        let read = store.get_document(DocumentKind::Tag, &key);
        let bytes = read.map_err(|source| TagsError::Read { publisher, source })?;
        let written = bytes.map(|bytes| TagDocument::read(publisher, &bytes)).transpose()?;
        Ok(Self::of(store, publisher, key, written))
    }

    /// Reads the document of a tag, and leaves out what `keys` stand for no longer.
    pub(super) fn judged(store: &'a Store, keys: &KeyHistory, key: String) -> Result<Self, TagsError> {
        let mut book = Self::read(store, keys.publisher(), key)?;
        let stands = |facts: &RecordFacts| book.signed(keys, &facts.payload).is_some();
        let (mut rules, before) = (book.rules.clone(), book.rules.clone());
        rules.rejudge(&stands);
        let kept: BTreeSet<Digest> = rules.known().map(|it| it.payload).collect();
        let void = before.known().filter(|it| !kept.contains(&it.payload));
        book.others.extend(void.map(|it| (it.payload, it.clone())));
        book.rules = rules;
        Ok(book)
    }

    fn of(store: &'a Store, publisher: PublisherId, key: String, written: Option<TagDocument>) -> Self {
        let mut book = Self {
            store,
            key,
            publisher,
            rules: TagBook::default(),
            envelopes: BTreeMap::new(),
            seen: BTreeMap::new(),
            others: BTreeMap::new(),
            held: written.as_ref().and_then(|it| it.held),
            waiting: written.as_ref().and_then(|it| it.pending.clone()),
            written: written.clone(),
        };
        let Some(document) = written else { return book };
        book.rules.head = document.head.as_ref().and_then(|it| book.take(it));
        book.rules.ancestors = document.ancestors.iter().filter_map(|it| book.take(it)).collect();
        for proof in &document.proofs {
            let [one, two] = [&proof.one, &proof.two].map(|text| book.take_text(text));
            let settled = proof.settled.as_ref().and_then(|text| book.take_text(text));
            book.rules.proofs.extend(one.zip(two).map(|(one, two)| Contradiction { one, two, settled }));
        }
        book.rules.pending = book.waiting.as_ref().and_then(|it| {
            let record = TagRecord::from_payload(it.payload.as_bytes()).ok()?;
            let payload = Digest::of(it.payload.as_bytes());
            Some(Pending { record: RecordFacts::of(&record, payload), held: it.held })
        });
        let promises = document.abandoned.iter();
        book.rules.abandoned = promises
            .map(|it| Promise { key_document: it.key_document, seq: it.seq, payload: it.payload })
            .collect();
        book
    }

    /// Returns the book of a tag without a document.
    pub(super) fn new(store: &'a Store, publisher: PublisherId, key: String) -> Self {
        Self::of(store, publisher, key, None)
    }

    /// Keeps a record for the log, or because its model is held, even where the rules do without it.
    pub(super) fn keep_beside(&mut self, facts: RecordFacts) {
        self.others.insert(facts.payload, facts);
    }

    /// Takes an envelope that was verified before; returns its facts.
    pub(super) fn take(&mut self, entry: &Entry) -> Option<RecordFacts> {
        let facts = self.take_text(&entry.envelope)?;
        self.seen.insert(facts.payload, entry.seen);
        Some(facts)
    }

    /// Takes the envelope of a record of a proof; returns its facts.
    pub(super) fn take_text(&mut self, text: &str) -> Option<RecordFacts> {
        let facts = facts_of(text)?;
        self.envelopes.insert(facts.payload, text.to_owned());
        Some(facts)
    }

    /// Returns a record of the book, verified.
    pub(super) fn signed(&self, keys: &KeyHistory, payload: &Digest) -> Option<SignedTag> {
        known_tags::verify(self.envelopes.get(payload)?, keys).ok()
    }

    /// Returns the payload that waits for its signature.
    pub(super) fn waiting(&self) -> Option<&Waiting> {
        self.waiting.as_ref().filter(|_| self.rules.pending.is_some())
    }

    /// Takes a verified record.
    pub(super) fn hear(&mut self, tag: &SignedTag) -> Heard {
        self.remember(tag);
        self.rules.hear(&tag.facts())
    }

    /// Remembers the envelope of a verified record, for when the rules name the record.
    pub(super) fn remember(&mut self, tag: &SignedTag) {
        self.envelopes.insert(tag.payload_digest(), tag.envelope().to_owned());
        self.seen.entry(tag.payload_digest()).or_insert_with(clock::now);
    }

    /// Notes that the store holds the model of a record under the tag.
    pub(super) fn hold(&mut self, tag: &SignedTag) {
        self.remember(tag);
        self.held = Some(tag.payload_digest());
        self.others.insert(tag.payload_digest(), tag.facts());
    }

    /// Notes the text of the record that was begun.
    pub(super) fn wait_for(&mut self, payload: String, held: bool) {
        self.waiting = Some(Waiting { payload, since: clock::now(), held });
    }

    /// Returns the records that may stand for the tag, and why some of them are barred.
    pub(super) fn usable(&self, keys: &KeyHistory) -> Usable {
        let standing = self.others.values().filter(|it| self.signed(keys, &it.payload).is_some());
        with_kept(self.store, &self.rules, standing.cloned()).usable(&|it| is_withdrawn(keys, it))
    }

    /// Keeps the records beyond the bound of the rules that the store holds for the tag, or of models that it has.
    fn keep_dropped(&mut self) {
        let known: BTreeSet<Digest> = self.rules.known().map(|it| it.payload).collect();
        let written = self.written.iter().flat_map(TagDocument::entries);
        let dropped = written
            .filter_map(|it| facts_of(&it.envelope))
            .filter(|it| !known.contains(&it.payload) && !self.others.contains_key(&it.payload));
        let kept: Vec<RecordFacts> = dropped.filter(|it| self.is_kept(it)).collect();
        self.others.extend(kept.into_iter().map(|it| (it.payload, it)));
    }

    fn is_kept(&self, facts: &RecordFacts) -> bool {
        Some(facts.payload) == self.held || whole::is_kept(self.store, &facts.manifest)
    }

    /// Writes the document, fsynced, if it has changed.
    pub(super) fn save(mut self) -> Result<(), TagsError> {
        self.keep_dropped();
        let (store, publisher, key) = (self.store, self.publisher, self.key.clone());
        let Some(bytes) = self.into_bytes() else { return Ok(()) };
        store
            .put_document(DocumentKind::Tag, &key, &bytes)
            .map_err(|source| TagsError::Write { publisher, source })
    }

    /// Returns the bytes of the document, or `None` if it is as it was written.
    fn into_bytes(mut self) -> Option<Vec<u8>> {
        loop {
            let document = self.to_document();
            if self.written.as_ref() == Some(&document) {
                return None;
            }
            let bytes = json::to_vec(&document);
            if bytes.len() <= TAG_DOCUMENT_BYTES_MAX || !self.shrink() {
                return Some(bytes);
            }
        }
    }

    /// Leaves out what is needed least: a record that stands no longer, the oldest ancestor, a settled proof, the newest of
    /// several proofs that freeze the tag.
    fn shrink(&mut self) -> bool {
        let held = self.held;
        let others = self.others.values().filter(|it| Some(it.payload) != held);
        let oldest = others.min_by_key(|it| (self.is_kept(it), it.order()));
        if let Some(payload) = oldest.map(|it| it.payload) {
            self.others.remove(&payload);
        } else if self.rules.ancestors.pop().is_some() {
            return true;
        } else if let Some(settled) = self.rules.proofs.iter().position(|it| it.settled.is_some()) {
            self.rules.proofs.remove(settled);
        } else if self.rules.proofs.len() > 1 {
            self.rules.proofs.pop();
        } else {
            return false;
        }
        true
    }

    fn to_document(&self) -> TagDocument {
        let entry = |facts: &RecordFacts| {
            let envelope = self.envelopes.get(&facts.payload)?.clone();
            Some(Entry { seen: self.seen.get(&facts.payload).copied().unwrap_or(0), envelope })
        };
        let text = |facts: &RecordFacts| self.envelopes.get(&facts.payload).cloned();
        let known: BTreeSet<Digest> = self.rules.known().map(|it| it.payload).collect();
        let mut others: Vec<&RecordFacts> =
            self.others.values().filter(|it| !known.contains(&it.payload)).collect();
        if others.len() > TAG_OTHERS_MAX {
            let is_held = |it: &RecordFacts| Some(it.payload) == self.held;
            others.sort_by_cached_key(|it| Reverse((is_held(it), self.is_kept(it), it.order())));
            others.truncate(TAG_OTHERS_MAX);
        }
        let mut ancestors: Vec<&RecordFacts> = self.rules.ancestors.iter().chain(others).collect();
        ancestors.sort_by_key(|it| Reverse((it.order(), it.payload)));
        let proofs = self.rules.proofs.iter().filter_map(|it| {
            let settled = it.settled.as_ref().and_then(text);
            Some(KeptProof { one: text(&it.one)?, two: text(&it.two)?, settled })
        });
        let promises = self.rules.abandoned.iter();
        TagDocument {
            version: VERSION,
            held: self.held,
            head: self.rules.head.as_ref().and_then(entry),
            ancestors: ancestors.into_iter().filter_map(entry).collect(),
            proofs: proofs.collect(),
            pending: self.waiting().cloned(),
            abandoned: promises
                .map(|it| KeptPromise { key_document: it.key_document, seq: it.seq, payload: it.payload })
                .collect(),
        }
    }
}

/// Returns whether the publisher has withdrawn the manifest of a record.
pub(super) fn is_withdrawn(keys: &KeyHistory, facts: &RecordFacts) -> bool {
    keys.revocation(&Revoked::Manifest(facts.manifest)).is_some()
}

/// Returns the rules with those of the `older` records of which the store has the models. The rules have no more room for them, but
/// a model in the store costs nothing to use.
pub(super) fn with_kept(
    store: &Store,
    rules: &TagBook,
    older: impl IntoIterator<Item = RecordFacts>,
) -> TagBook {
    let mut rules = rules.clone();
    let order = rules.head.as_ref().map(RecordFacts::order);
    let known: BTreeSet<Digest> = rules.known().map(|it| it.payload).collect();
    let is_older = |it: &RecordFacts| order.is_none_or(|order| it.order() < order);
    let missing = older.into_iter().filter(|it| is_older(it) && !known.contains(&it.payload));
    rules.ancestors.extend(missing.filter(|it| whole::is_kept(store, &it.manifest)));
    rules.ancestors.sort_by_key(|it| Reverse((it.order(), it.payload)));
    rules
}

/// Returns the facts of an envelope that was verified before.
pub(super) fn facts_of(envelope: &str) -> Option<RecordFacts> {
    let envelope = Envelope::from_bytes(envelope.as_bytes(), TAG_ENVELOPE_BYTES_MAX).ok()?;
    let record = TagRecord::from_payload(&envelope.payload).ok()?;
    Some(RecordFacts::of(&record, Digest::of(&envelope.payload)))
}
