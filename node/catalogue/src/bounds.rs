//! Every bound of the catalogue, and what is too large for it.

use crate::entry::{Entry, Facts, PublisherTexts};
use crate::error::Refusal;

/// How much the catalogue keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Entries of all kept publishers together.
    pub kept: usize,
    /// Entries of one kept publisher.
    pub kept_of_publisher: usize,
    /// Publishers that are kept whole.
    pub kept_publishers: usize,
    /// Entries of all strangers together.
    pub strangers: usize,
    /// Entries of one stranger.
    pub strangers_of_publisher: usize,
    /// Bytes of the index on disk.
    pub disk_bytes: u64,
}

/// Entries of kept publishers: 400,000 heads take 100 MiB of memory, as much as a small machine can give.
pub const KEPT_MAX: usize = 400_000;
/// Entries of a kept publisher: as many statements as one key document can take over.
pub const KEPT_OF_PUBLISHER_MAX: usize = 16_384;
/// Kept publishers: each costs a root that is compared with peers every ten minutes.
pub const KEPT_PUBLISHERS_MAX: usize = 65_536;
/// Entries of strangers: a sample of a large network, and an eighth of what is kept.
pub const STRANGERS_MAX: usize = 50_000;
/// Entries of one stranger: keys are free, so one key gets no large share of the sample.
pub const STRANGERS_OF_PUBLISHER_MAX: usize = 64;
/// Bytes on disk: 450,000 entries of 2 KiB, compressed.
pub const DISK_BYTES_MAX: u64 = 1 << 30;

/// Bytes of the envelope of a tag record in a listing: records that settle 16 contradictions are shorter.
pub const RECORD_BYTES_MAX: usize = 8 << 10;
/// Bytes of the envelope of a card: a card of 1 KiB in base64 with up to 16 signatures.
pub const CARD_BYTES_MAX: usize = 3 << 10;
/// Bytes of the texts of a publisher: one answer of a peer holds no more.
pub const PUBLISHER_TEXTS_BYTES_MAX: usize = 256 << 10;
/// Bytes of all facts of an entry: what a card of 1 KiB can say, and what is computed beside it.
pub const FACTS_BYTES_MAX: usize = 4 << 10;
/// Items of one list of facts: a model in more formats or languages is still found by its title.
pub const FACTS_ITEMS_MAX: usize = 64;

/// Bytes of entries that wait for a commit in memory. A put beyond it commits first.
pub(crate) const PENDING_BYTES_MAX: usize = 8 << 20;
/// Memory of the writer: tantivy asks for 15 MB at least, and more makes larger segments.
pub(crate) const WRITER_BYTES: usize = 20_000_000;
/// Blocks of stored documents in memory for each segment: 16 blocks of 16 KiB.
pub(crate) const STORE_BLOCKS_CACHED: usize = 16;
/// Bytes of a stored head, facts or publisher: JSON may write one byte as six.
pub(crate) const STORED_JSON_BYTES_MAX: usize = 6 * PUBLISHER_TEXTS_BYTES_MAX + (64 << 10);

/// Slots that an index may name: more than the default bounds ever need, and a table of them fits into memory.
pub(crate) const SLOTS_MAX: u32 = 1 << 21;

impl Default for Bounds {
    fn default() -> Self {
        Self {
            kept: KEPT_MAX,
            kept_of_publisher: KEPT_OF_PUBLISHER_MAX,
            kept_publishers: KEPT_PUBLISHERS_MAX,
            strangers: STRANGERS_MAX,
            strangers_of_publisher: STRANGERS_OF_PUBLISHER_MAX,
            disk_bytes: DISK_BYTES_MAX,
        }
    }
}

/// Returns the bytes of `entry` that the catalogue has to hold, if no part is too large.
pub(crate) fn entry_bytes(entry: &Entry) -> Result<usize, Refusal> {
    let record = within("record", entry.listing.record.len(), RECORD_BYTES_MAX)?;
    let card = within("card", entry.listing.card.as_ref().map_or(0, String::len), CARD_BYTES_MAX)?;
    let facts = facts_bytes(&entry.facts)?;
    Ok(record + card + facts)
}

fn facts_bytes(facts: &Facts) -> Result<usize, Refusal> {
    let lists = [&facts.languages, &facts.formats, &facts.quantisations];
    for list in lists {
        within("items of facts", list.len(), FACTS_ITEMS_MAX)?;
    }
    let texts = [&facts.title, &facts.task, &facts.summary, &facts.licence, &facts.base];
    let bytes = texts.into_iter().chain(lists.into_iter().flatten()).map(String::len).sum();
    within("facts", bytes, FACTS_BYTES_MAX)
}

/// Checks that the texts of a publisher are not too large.
pub(crate) fn check_texts(texts: &PublisherTexts) -> Result<(), Refusal> {
    let bytes = texts.key_documents.iter().chain(&texts.revocations).map(String::len).sum();
    within("texts of a publisher", bytes, PUBLISHER_TEXTS_BYTES_MAX).map(|_| ())
}

fn within(part: &'static str, size: usize, max: usize) -> Result<usize, Refusal> {
    if size <= max { Ok(size) } else { Err(Refusal::TooLarge { part, size, max }) }
}
