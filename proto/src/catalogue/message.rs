//! The payloads of the catalogue's messages, in bytes.
//!
//! Numbers are big-endian. Every reader is strict: bytes that are missing or left over, or that are out of order, are errors.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::entry::{Listing, ListingKey};
use super::prefix::Prefix;
use super::trie::CHILDREN;
use super::tries::{SHORT_LEN, Short};
use crate::json::{self, JsonError};
use crate::limits::{
    BLOCKS_PER_PAGE_MAX, LISTED_KEYS_BYTES_MAX, LISTINGS_BYTES_MAX, PAIRS_PER_PART_MAX,
    PARTS_PER_PUBLISHER_MAX, PUBLISHERS_PER_QUESTION_MAX, QUESTIONS_BYTES_MAX, ROOTS_PER_PAGE_MAX,
};
use crate::wire::PublisherVows;

/// Bytes of a key, a value or a hash in a question.
pub(super) const BRIEF_LEN: usize = 8;
/// The first bytes of a key, a value or a hash in a question.
pub(super) type Brief = [u8; BRIEF_LEN];

const PAIRS: u8 = 0;
const PAIRS_AFTER: u8 = 1;
const HASHES: u8 = 2;

const KEYS: u8 = 1;
const DIFFERING: u8 = 2;
const RECORD: u8 = 3;
const TOMBSTONE: u8 = 4;

/// Why the payload of a message of the catalogue cannot be read.
#[derive(Debug, Error)]
pub enum MessageError {
    #[error("payload has {length} bytes, at most {max} are allowed")]
    TooLarge { length: usize, max: usize },
    #[error("payload ends in the middle of an entry")]
    Length,
    #[error("payload has an entry of the unknown kind {kind}")]
    Kind { kind: u8 },
    #[error("payload has more than {max} entries")]
    TooMany { max: usize },
    #[error("payload has entries that are out of order, or that overlap")]
    Order,
    #[error("payload has a text that is not UTF-8")]
    Text,
    #[error("payload has keys that cannot be parsed")]
    Keys(#[from] JsonError),
}

/// A page of publishers that the asker keeps, each with its root: at most [`ROOTS_PER_PAGE_MAX`].
///
/// Each entry of the payload is the first 16 bytes of the publisher's id and the first 16 bytes of its root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootsPage {
    #[serde(skip)]
    pub bytes: Vec<u8>,
}

/// Which publishers of a [`RootsPage`] the answerer keeps with another root: a bit for each, the lowest of a byte first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differing {
    #[serde(skip)]
    pub bytes: Vec<u8>,
}

/// What the asker has of some publishers, so that the answerer finds what differs.
///
/// The payload is a block for each publisher, in the order of the ids, at most [`PUBLISHERS_PER_QUESTION_MAX`]: the first 16
/// bytes of its id, a byte that is 1 where the asker wants its keys, a byte with the number of parts, and the parts. Parts do
/// not overlap and are in the order of their keys. A part is a byte of kind and a prefix: a byte with its number of nibbles, and
/// these. After them come, for kind 0, a byte with the number of items and 8 bytes each of key and value; for kind 1, the
/// whole key after which the part begins, and then as for kind 0; for kind 2, 8 bytes each of 16 hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Questions {
    #[serde(skip)]
    pub bytes: Vec<u8>,
}

/// Asks for listings of any publishers, which the answerer chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleQuestion {
    /// How many listings. More than [`crate::limits::SAMPLE_MAX`] are not answered.
    pub count: u8,
    /// A number that the asker draws. The answerer mixes it into its own choice, so that no asker is given the same twice.
    pub seed: u64,
}

/// Answers to [`Questions`], in their order, or a sample.
///
/// The payload is a sequence of blocks. A block is a byte of kind, the publisher's number in the question, and: for kind 1, a
/// length of four bytes and the publisher's keys and revocations as JSON; for kind 2, the part's number and two bytes with a bit
/// for each child that differs; for kind 3, the part's number, the lengths of record and card in four bytes each, and both; for
/// kind 4, the part's number, a length of four bytes, and a tombstone. In a sample, the number of a publisher is that of its
/// keys in the payload, and the part is 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListingsPage {
    /// Whether the page ends before the answer. The asker goes on after the last block.
    pub more: bool,
    #[serde(skip)]
    pub bytes: Vec<u8>,
}

/// What the asker has of a publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub(super) id: Short,
    pub(super) wants_keys: bool,
    pub(super) parts: Vec<Part>,
}

/// What the asker has with one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub prefix: Prefix,
    pub own: Own,
}

/// What the asker has in a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Own {
    /// Its items above `after`.
    Pairs { after: Option<ListingKey>, pairs: Vec<(Brief, Brief)> },
    /// The hashes of the part's children.
    Hashes([Brief; CHILDREN]),
}

/// One answer. `publisher` and `part` are numbers in the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// The keys and revocations of a publisher.
    Keys { publisher: u8, keys: PublisherVows },
    /// Children that the answerer has with another hash: one bit each.
    Differing { publisher: u8, part: u8, children: u16 },
    /// A listing that the asker lacks or has with another value.
    Listing { publisher: u8, part: u8, listing: Listing },
}

impl RootsPage {
    /// Returns the page of these publishers and roots.
    pub(super) fn new(roots: impl IntoIterator<Item = (Short, Short)>) -> Self {
        let mut bytes = Vec::new();
        for (id, root) in roots.into_iter().take(ROOTS_PER_PAGE_MAX) {
            bytes.extend(id);
            bytes.extend(root);
        }
        Self { bytes }
    }

    /// Returns publishers and roots.
    ///
    /// # Errors
    /// If there are too many, or bytes are left over.
    pub fn roots(&self) -> Result<Vec<(Short, Short)>, MessageError> {
        let (entries, rest) = self.bytes.as_chunks::<{ 2 * SHORT_LEN }>();
        if !rest.is_empty() {
            return Err(MessageError::Length);
        }
        if entries.len() > ROOTS_PER_PAGE_MAX {
            return Err(MessageError::TooMany { max: ROOTS_PER_PAGE_MAX });
        }
        let halves = |entry: &[u8; 2 * SHORT_LEN]| {
            (std::array::from_fn(|at| entry[at]), std::array::from_fn(|at| entry[SHORT_LEN + at]))
        };
        Ok(entries.iter().map(halves).collect())
    }
}

impl Differing {
    /// Returns the answer with these bits.
    pub(super) fn new(bits: impl IntoIterator<Item = bool>) -> Self {
        let mut bytes = Vec::new();
        for (at, bit) in bits.into_iter().enumerate() {
            if at.is_multiple_of(8) {
                bytes.push(0);
            }
            if let Some(last) = bytes.last_mut() {
                *last |= u8::from(bit) << (at % 8);
            }
        }
        Self { bytes }
    }

    /// Returns the bits for `count` publishers.
    ///
    /// # Errors
    /// If there are more or fewer, or a bit behind them is set.
    pub fn bits(&self, count: usize) -> Result<Vec<bool>, MessageError> {
        if self.bytes.len() != count.div_ceil(8) {
            return Err(MessageError::Length);
        }
        let mut bits: Vec<bool> =
            self.bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)).collect();
        if bits.drain(count..).any(|bit| bit) { Err(MessageError::Order) } else { Ok(bits) }
    }
}

impl Questions {
    /// Returns the message with these questions.
    pub(super) fn new(questions: &[Question]) -> Self {
        let mut bytes = Vec::new();
        for question in questions {
            bytes.extend(question.id);
            bytes.push(u8::from(question.wants_keys));
            bytes.push(u8::try_from(question.parts.len()).unwrap_or(u8::MAX));
            question.parts.iter().for_each(|part| part.write(&mut bytes));
        }
        Self { bytes }
    }

    /// Returns the questions.
    ///
    /// # Errors
    /// If there are too many, if they are not in order, if parts overlap, or if bytes are missing.
    pub fn questions(&self) -> Result<Vec<Question>, MessageError> {
        let mut rest = bounded(&self.bytes, QUESTIONS_BYTES_MAX)?;
        let mut questions: Vec<Question> = Vec::new();
        while !rest.is_empty() {
            if questions.len() >= PUBLISHERS_PER_QUESTION_MAX {
                return Err(MessageError::TooMany { max: PUBLISHERS_PER_QUESTION_MAX });
            }
            let id = array(&mut rest)?;
            let [flag, count] = array(&mut rest)?;
            if flag > 1 {
                return Err(MessageError::Kind { kind: flag });
            }
            if usize::from(count) > PARTS_PER_PUBLISHER_MAX {
                return Err(MessageError::TooMany { max: PARTS_PER_PUBLISHER_MAX });
            }
            let parts = (0..count).map(|_| Part::read(&mut rest)).collect::<Result<Vec<Part>, _>>()?;
            let is_sorted = parts.is_sorted_by(|one, two| one.prefix.is_before(&two.prefix));
            if !is_sorted || questions.last().is_some_and(|last| last.id >= id) {
                return Err(MessageError::Order);
            }
            questions.push(Question { id, wants_keys: flag == 1, parts });
        }
        Ok(questions)
    }
}

impl Question {
    /// Bytes of a question without its parts.
    pub(super) const HEAD_LEN: usize = SHORT_LEN + 2;
}

impl Part {
    /// Most bytes of a part.
    pub(super) const BYTES_MAX: usize = 2 + 32 + 32 + 1 + PAIRS_PER_PART_MAX * 2 * BRIEF_LEN;

    /// Returns the key after which the part begins.
    pub(super) const fn after(&self) -> Option<ListingKey> {
        match &self.own {
            Own::Pairs { after, .. } => *after,
            Own::Hashes(_) => None,
        }
    }

    /// Returns how many bytes the part takes.
    pub(super) fn len(&self) -> usize {
        let head = 2 + self.prefix.len().div_ceil(2);
        match &self.own {
            Own::Hashes(hashes) => head + hashes.as_flattened().len(),
            Own::Pairs { after, pairs } => {
                head + after.map_or(0, |it| it.as_bytes().len()) + 1 + pairs.len() * 2 * BRIEF_LEN
            }
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(match &self.own {
            Own::Pairs { after: None, .. } => PAIRS,
            Own::Pairs { after: Some(_), .. } => PAIRS_AFTER,
            Own::Hashes(_) => HASHES,
        });
        self.prefix.write(bytes);
        match &self.own {
            Own::Hashes(hashes) => bytes.extend(hashes.as_flattened()),
            Own::Pairs { after, pairs } => {
                bytes.extend(after.iter().flat_map(ListingKey::as_bytes));
                bytes.push(u8::try_from(pairs.len()).unwrap_or(u8::MAX));
                for (key, value) in pairs {
                    bytes.extend(key);
                    bytes.extend(value);
                }
            }
        }
    }

    fn read(rest: &mut &[u8]) -> Result<Self, MessageError> {
        let [kind] = array(rest)?;
        let prefix = Prefix::read(rest).ok_or(MessageError::Length)?;
        let after = match kind {
            PAIRS => None,
            PAIRS_AFTER => Some(ListingKey::from_bytes(array(rest)?)),
            HASHES => {
                let mut hashes = [[0; BRIEF_LEN]; CHILDREN];
                for hash in &mut hashes {
                    *hash = array(rest)?;
                }
                return Ok(Self { prefix, own: Own::Hashes(hashes) });
            }
            kind => return Err(MessageError::Kind { kind }),
        };
        let [count] = array(rest)?;
        if usize::from(count) > PAIRS_PER_PART_MAX {
            return Err(MessageError::TooMany { max: PAIRS_PER_PART_MAX });
        }
        let pairs = (0..count).map(|_| Ok((array(rest)?, array(rest)?)));
        let pairs = pairs.collect::<Result<Vec<(Brief, Brief)>, MessageError>>()?;
        if !pairs.is_sorted() {
            return Err(MessageError::Order);
        }
        Ok(Self { prefix, own: Own::Pairs { after, pairs } })
    }
}

impl ListingsPage {
    /// Returns the blocks of the page.
    ///
    /// # Errors
    /// If there are too many, if a text or keys cannot be parsed, or if bytes are missing.
    pub fn blocks(&self) -> Result<Vec<Block>, MessageError> {
        let mut rest = bounded(&self.bytes, LISTINGS_BYTES_MAX)?;
        let mut blocks = Vec::new();
        while !rest.is_empty() {
            if blocks.len() >= BLOCKS_PER_PAGE_MAX {
                return Err(MessageError::TooMany { max: BLOCKS_PER_PAGE_MAX });
            }
            blocks.push(Block::read(&mut rest)?);
        }
        Ok(blocks)
    }

    /// Adds a block where there is room for it, and returns whether there was.
    pub(super) fn add(&mut self, block: &Block) -> bool {
        let length = self.bytes.len();
        block.write(&mut self.bytes);
        let fits = self.bytes.len() <= LISTINGS_BYTES_MAX;
        if !fits {
            self.bytes.truncate(length);
        }
        fits
    }
}

impl Block {
    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Keys { publisher, keys } => {
                let text = json::to_vec(keys);
                bytes.extend([KEYS, *publisher]);
                bytes.extend(length_of(text.len()));
                bytes.extend(text);
            }
            Self::Differing { publisher, part, children } => {
                bytes.extend([DIFFERING, *publisher, *part]);
                bytes.extend(children.to_be_bytes());
            }
            Self::Listing { publisher, part, listing: Listing::Record { record, card } } => {
                let card = card.as_deref().unwrap_or_default();
                bytes.extend([RECORD, *publisher, *part]);
                bytes.extend(length_of(record.len()));
                bytes.extend(length_of(card.len()));
                bytes.extend(record.as_bytes());
                bytes.extend(card.as_bytes());
            }
            Self::Listing { publisher, part, listing: Listing::Tombstone { tombstone } } => {
                bytes.extend([TOMBSTONE, *publisher, *part]);
                bytes.extend(length_of(tombstone.len()));
                bytes.extend(tombstone.as_bytes());
            }
        }
    }

    fn read(rest: &mut &[u8]) -> Result<Self, MessageError> {
        let [kind, publisher] = array(rest)?;
        if kind == KEYS {
            let length = length(rest)?;
            let keys = json::from_slice(taken(rest, length)?, LISTED_KEYS_BYTES_MAX)?;
            return Ok(Self::Keys { publisher, keys });
        }
        let [part] = array(rest)?;
        match kind {
            DIFFERING => Ok(Self::Differing { publisher, part, children: u16::from_be_bytes(array(rest)?) }),
            RECORD => {
                let (record, card) = (length(rest)?, length(rest)?);
                let record = text(rest, record)?;
                let card = if card == 0 { None } else { Some(text(rest, card)?) };
                Ok(Self::Listing { publisher, part, listing: Listing::Record { record, card } })
            }
            TOMBSTONE => {
                let length = length(rest)?;
                let tombstone = text(rest, length)?;
                Ok(Self::Listing { publisher, part, listing: Listing::Tombstone { tombstone } })
            }
            kind => Err(MessageError::Kind { kind }),
        }
    }
}

fn bounded(bytes: &[u8], max: usize) -> Result<&[u8], MessageError> {
    let length = bytes.len();
    if length > max { Err(MessageError::TooLarge { length, max }) } else { Ok(bytes) }
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], MessageError> {
    let (array, after) = rest.split_first_chunk().ok_or(MessageError::Length)?;
    *rest = after;
    Ok(*array)
}

fn taken<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], MessageError> {
    let (taken, after) = rest.split_at_checked(length).ok_or(MessageError::Length)?;
    *rest = after;
    Ok(taken)
}

fn length(rest: &mut &[u8]) -> Result<usize, MessageError> {
    Ok(u32::from_be_bytes(array(rest)?) as usize)
}

fn length_of(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

fn text(rest: &mut &[u8], length: usize) -> Result<String, MessageError> {
    let bytes = taken(rest, length)?;
    if bytes.len() > Listing::BYTES_MAX {
        return Err(MessageError::TooLarge { length: bytes.len(), max: Listing::BYTES_MAX });
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| MessageError::Text)
}
