//! The documents of the index: how an entry or a publisher is written as one, and read back.

use reg_proto::digest::Digest;
use reg_proto::json;
use reg_proto::name::{ModelName, PublisherId, Tag};
use serde::{Deserialize, Serialize};
use tantivy::TantivyDocument;
use tantivy::schema::{
    FAST, Field, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions, Value as _,
};

use crate::bounds::STORED_JSON_BYTES_MAX;
use crate::entry::{Entry, EntryHead, EntryKey, EntryName, Facts, Listing, PublisherTexts};
use crate::query::Fact;
use crate::words::{STEMS, WORDS, folded};

/// The version of everything on disk. A catalogue of another version is made anew.
pub(crate) const FORMAT: &str = "reg catalogue 3\n";

/// Name of the column with the place of an entry in the table in memory.
pub(crate) const SLOT: &str = "slot";
/// Name of the column that tells two versions of an entry apart.
pub(crate) const NUMBER: &str = "number";

/// Bytes of a facet that count: facts are at most a few KiB, and equal ones are equal at their beginning too.
const FACET_BYTES_MAX: usize = 256;

/// The fields of the index.
// 13 fields, because each kind of question has one of its own.
#[derive(Clone)]
pub(crate) struct Fields {
    /// The name of what the document is about: a change deletes the old document by it.
    pub(crate) id: Field,
    slot: Field,
    number: Field,
    head: Field,
    facts: Field,
    record: Field,
    card: Field,
    publisher: Field,
    /// Whole facts, for filters.
    pub(crate) facet: Field,
    pub(crate) name: Field,
    pub(crate) title: Field,
    /// Task, licence, base, formats, quantisations and languages.
    pub(crate) about: Field,
    pub(crate) summary: Field,
}

/// A fact that a filter can ask for.
pub(crate) enum Facet<'a> {
    Task(&'a str),
    Licence(&'a str),
    Language(&'a str),
    Format(&'a str),
    Quantisation(&'a str),
    Base(&'a str),
    Publisher(&'a PublisherId),
}

/// An entry as it is stored, without its texts and facts.
// 15 fields, because the table in memory and the tries of the caller are made from it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredHead {
    publisher: PublisherId,
    model: ModelName,
    tag: Tag,
    payload: Digest,
    manifest: Digest,
    content: Digest,
    seq: u64,
    issued: u64,
    heard: u64,
    is_tombstone: bool,
    key: Digest,
    value: Digest,
    bytes: Option<u64>,
    pub(crate) slot: u32,
    pub(crate) number: u64,
}

/// A publisher as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredPublisher {
    pub(crate) is_kept: bool,
    pub(crate) texts: PublisherTexts,
}

/// What a document is about.
pub(crate) enum Stored {
    Entry(Box<StoredHead>),
    Publisher(Box<StoredPublisher>),
}

/// Returns the schema with its fields.
pub(crate) fn schema() -> (Schema, Fields) {
    let exact = || {
        let indexing = TextFieldIndexing::default().set_tokenizer("raw").set_fieldnorms(false);
        TextOptions::default().set_indexing_options(indexing.set_index_option(IndexRecordOption::Basic))
    };
    let cut = |analyser| {
        let indexing = TextFieldIndexing::default().set_tokenizer(analyser);
        TextOptions::default().set_indexing_options(indexing.set_index_option(IndexRecordOption::WithFreqs))
    };
    let mut schema = Schema::builder();
    let fields = Fields {
        id: schema.add_text_field("id", exact()),
        slot: schema.add_u64_field(SLOT, FAST),
        number: schema.add_u64_field(NUMBER, FAST),
        head: schema.add_text_field("head", STORED),
        facts: schema.add_text_field("facts", STORED),
        record: schema.add_text_field("record", STORED),
        card: schema.add_text_field("card", STORED),
        publisher: schema.add_text_field("publisher", STORED),
        facet: schema.add_text_field("facet", exact()),
        name: schema.add_text_field("name", cut(WORDS)),
        title: schema.add_text_field("title", cut(WORDS)),
        about: schema.add_text_field("about", cut(WORDS)),
        summary: schema.add_text_field("summary", cut(STEMS)),
    };
    (schema.build(), fields)
}

/// Returns the id of the document of an entry.
pub(crate) fn entry_id(name: &EntryName) -> String {
    format!("entry/{}/{}/{}", name.publisher, name.model.folded(), name.tag)
}

/// Returns the id of the document of a publisher.
pub(crate) fn publisher_id(publisher: &PublisherId) -> String {
    format!("publisher/{publisher}")
}

impl<'a> From<&'a Fact> for Facet<'a> {
    fn from(fact: &'a Fact) -> Self {
        match fact {
            Fact::Task(text) => Self::Task(text),
            Fact::Licence(text) => Self::Licence(text),
            Fact::Language(text) => Self::Language(text),
            Fact::Format(text) => Self::Format(text),
            Fact::Quantisation(text) => Self::Quantisation(text),
            Fact::Base(text) => Self::Base(text),
        }
    }
}

impl Facet<'_> {
    /// Returns the word of the index for this facet.
    pub(crate) fn word(&self) -> String {
        let word = match self {
            Self::Task(text) => format!("task/{}", folded(text)),
            Self::Licence(text) => format!("licence/{}", folded(text)),
            Self::Language(text) => format!("language/{}", folded(text)),
            Self::Format(text) => format!("format/{}", folded(text)),
            Self::Quantisation(text) => format!("quantisation/{}", folded(text)),
            Self::Base(text) => format!("base/{}", folded(text)),
            Self::Publisher(id) => format!("publisher/{id}"),
        };
        word[..word.floor_char_boundary(FACET_BYTES_MAX)].to_owned()
    }
}

impl Fields {
    /// Returns the document of `entry`.
    pub(crate) fn entry_document(&self, entry: &Entry, slot: u32, number: u64) -> TantivyDocument {
        let mut document = TantivyDocument::default();
        document.add_text(self.id, entry_id(&entry.name()));
        document.add_u64(self.slot, u64::from(slot));
        document.add_u64(self.number, number);
        document.add_text(self.head, text(&StoredHead::new(entry, slot, number)));
        document.add_text(self.facts, text(&entry.facts));
        document.add_text(self.record, &entry.listing.record);
        if let Some(card) = &entry.listing.card {
            document.add_text(self.card, card);
        }
        if !entry.is_tombstone {
            self.add_words(&mut document, entry);
        }
        document
    }

    /// Adds what a search finds the entry by.
    fn add_words(&self, document: &mut TantivyDocument, entry: &Entry) {
        let facts = &entry.facts;
        let base_manifest = facts.base_manifest.map(|digest| digest.to_string()).unwrap_or_default();
        let single = [
            Facet::Publisher(&entry.publisher),
            Facet::Task(&facts.task),
            Facet::Licence(&facts.licence),
            Facet::Base(&facts.base),
            Facet::Base(&base_manifest),
        ];
        let formats = facts.formats.iter().map(|it| Facet::Format(it));
        let quantisations = facts.quantisations.iter().map(|it| Facet::Quantisation(it));
        let languages = facts.languages.iter().map(|it| Facet::Language(it));
        for facet in single.into_iter().chain(formats).chain(quantisations).chain(languages) {
            document.add_text(self.facet, facet.word());
        }
        document.add_text(self.name, format!("{} {}", entry.model, entry.tag));
        document.add_text(self.title, &facts.title);
        let about = [&facts.task, &facts.licence, &facts.base].into_iter();
        let about = about.chain(&facts.formats).chain(&facts.quantisations).chain(&facts.languages);
        document.add_text(self.about, about.map(String::as_str).collect::<Vec<_>>().join(" "));
        document.add_text(self.summary, &facts.summary);
    }

    /// Returns the document of a publisher. Its slot and number are 0, which no entry has.
    pub(crate) fn publisher_document(&self, stored: &StoredPublisher) -> TantivyDocument {
        let mut document = TantivyDocument::default();
        document.add_text(self.id, publisher_id(&stored.texts.publisher));
        document.add_u64(self.slot, 0);
        document.add_u64(self.number, 0);
        document.add_text(self.publisher, text(stored));
        document
    }

    /// Returns what `document` is about, or nothing if it is damaged.
    pub(crate) fn read(&self, document: &TantivyDocument) -> Option<Stored> {
        match stored(document, self.publisher) {
            Some(text) => parsed(text).map(|it| Stored::Publisher(Box::new(it))),
            None => parsed(stored(document, self.head)?).map(|it| Stored::Entry(Box::new(it))),
        }
    }

    /// Returns the facts in the document of an entry, or nothing if it is damaged.
    pub(crate) fn read_facts(&self, document: &TantivyDocument) -> Option<Facts> {
        parsed(stored(document, self.facts)?)
    }

    /// Returns the entry in a document, or nothing if it is damaged.
    pub(crate) fn read_entry(&self, document: &TantivyDocument) -> Option<Entry> {
        let head: StoredHead = parsed(stored(document, self.head)?)?;
        let listing = Listing {
            record: stored(document, self.record)?.to_owned(),
            card: stored(document, self.card).map(str::to_owned),
        };
        Some(Entry {
            publisher: head.publisher,
            model: head.model,
            tag: head.tag,
            listing,
            payload: head.payload,
            manifest: head.manifest,
            content: head.content,
            seq: head.seq,
            issued: head.issued,
            heard: head.heard,
            is_tombstone: head.is_tombstone,
            key: *head.key.as_bytes(),
            value: *head.value.as_bytes(),
            facts: self.read_facts(document)?,
        })
    }
}

impl StoredHead {
    fn new(entry: &Entry, slot: u32, number: u64) -> Self {
        Self {
            publisher: entry.publisher,
            model: entry.model.clone(),
            tag: entry.tag.clone(),
            payload: entry.payload,
            manifest: entry.manifest,
            content: entry.content,
            seq: entry.seq,
            issued: entry.issued,
            heard: entry.heard,
            is_tombstone: entry.is_tombstone,
            key: Digest::from_bytes(entry.key),
            value: Digest::from_bytes(entry.value),
            bytes: entry.facts.bytes,
            slot,
            number,
        }
    }

    /// Returns where the entry stands in the trie of its publisher, which counts as a stranger.
    pub(crate) fn key(&self) -> EntryKey {
        let (key, value) = (*self.key.as_bytes(), *self.value.as_bytes());
        EntryKey { publisher: self.publisher, key, value, is_kept: false }
    }

    /// Returns what is held in memory of the entry of a stranger.
    pub(crate) fn into_head(self) -> EntryHead {
        EntryHead {
            publisher: self.publisher,
            model: self.model,
            tag: self.tag,
            manifest: self.manifest,
            content: self.content,
            seq: self.seq,
            issued: self.issued,
            heard: self.heard,
            bytes: self.bytes,
            is_kept: false,
            is_tombstone: self.is_tombstone,
        }
    }
}

fn text<T: Serialize>(value: &T) -> String {
    String::from_utf8(json::to_vec(value)).expect("JSON is UTF-8")
}

fn stored(document: &TantivyDocument, field: Field) -> Option<&str> {
    document.get_first(field).and_then(|value| value.as_str())
}

fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    json::from_slice(text.as_bytes(), STORED_JSON_BYTES_MAX).ok()
}
