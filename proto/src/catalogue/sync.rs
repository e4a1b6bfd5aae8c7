//! [`Reconciliation`]: how a node learns what a peer lists and it does not, with a few messages of bounded size.
//!
//! 1. The asker sends the roots of its publishers ([`RootsPage`]), and the peer says which of them it keeps with another root.
//! 2. For these, the asker says what it has ([`Questions`]), and the peer sends the listings that differ. For a part of at most
//!    [`PAIRS_PER_PART_MAX`] items the asker names each. For a larger part it sends the hashes of the 16 children, and goes on
//!    with those that differ. A page of listings says whether it is the last one, and the asker goes on behind it: nothing is cut.
//!
//! A sync costs at most twice the bytes of the listings that differ, 48 bytes for each publisher, and 4 KiB (a law in
//! `tests/laws/syncs.rs`). 32 items are named and not 256, because 256 cost more than the one listing that usually differs.
//!
//! | publishers | listings | changed | their bytes | requests | bytes sent | bytes received |
//! |---|---|---|---|---|---|---|
//! | 10,000 | 100,000 | 5,000 | 7,234,980 | 18 | 411,050 | 7,291,866 |
//!
//! One sync goes one way. The peer learns what the asker has by a sync of its own.
//!
//! Ids and roots are cut to 16 bytes, keys, values and hashes in questions to 8. Only the publisher signs what is in its trie, so
//! only it can choose listings with which a cut hash is that of others, and it hides its own listings alone: from nodes that hold
//! its other ones, until anything in that part changes. A publisher with the first 16 bytes of another one's id costs 2^128 tries.
//!
//! The peer may lie. What it sends is checked against the question, and the first answer that does not fit ends the sync. It can
//! leave out listings, so a node asks several peers. Nothing that it sends is verified here: the caller verifies and merges.

use std::collections::BTreeMap;
use std::ops::Bound;

use thiserror::Error;

use super::entry::{Listing, ListingError, ListingFacts, ListingKey};
use super::message::{
    Block, Brief, Differing, ListingsPage, MessageError, Own, Part, Question, Questions, RootsPage,
};
use super::prefix::Prefix;
use super::trie::Trie;
use super::tries::{Tries, first_of, short};
use crate::limits::{
    LISTINGS_PER_SYNC_MAX, PAIRS_PER_PART_MAX, PARTS_PER_PUBLISHER_MAX, PUBLISHERS_PER_QUESTION_MAX,
    QUESTIONS_BYTES_MAX, ROOTS_PER_PAGE_MAX, SYNC_BYTES_MAX, SYNC_MESSAGES_MAX,
};
use crate::name::PublisherId;
use crate::wire::{PublisherVows, Request, Response};

/// What one sync may cost. A sync that ends at a bound has brought what came before it, and the next one goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncBounds {
    /// Requests.
    pub messages: usize,
    /// Bytes of payloads in both directions.
    pub bytes: usize,
    /// Listings of one publisher, so that no publisher uses up the sync.
    pub listings: usize,
}

/// A sync with one peer, on the side of the asker. It holds no trie: the caller passes the current ones.
#[derive(Debug, Clone)]
pub struct Reconciliation {
    bounds: SyncBounds,
    messages: usize,
    bytes: usize,
    /// Publishers with roots that are still to be sent, the last one first.
    unsent: Vec<PublisherId>,
    wanted: BTreeMap<PublisherId, Wanted>,
    /// The publisher that was asked about last. The next question goes on behind it.
    last: Option<PublisherId>,
    asked: Option<Asked>,
}

/// The parts of a publisher that are still to be asked about. They do not overlap.
#[derive(Debug, Clone, Default)]
struct Wanted {
    needs_keys: bool,
    listings: usize,
    parts: BTreeMap<Prefix, Option<ListingKey>>,
}

/// The request that waits for its answer.
#[derive(Debug, Clone)]
enum Asked {
    Roots(Vec<PublisherId>),
    Listings(Vec<(PublisherId, Question)>),
}

/// What an answer has brought. No signature is verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brought {
    pub keys: Vec<(PublisherId, PublisherVows)>,
    /// Each listing with what it says of itself. The publisher is one that was asked about.
    pub listings: Vec<(ListingFacts, Listing)>,
}

/// Why an answer ends a sync.
#[derive(Debug, Error)]
pub enum SyncError {
    #[error("answer does not belong to the request that waits for one")]
    NotAsked,
    #[error("answer cannot be read")]
    Message(#[from] MessageError),
    #[error("answer has a listing that cannot be read")]
    Listing(#[from] ListingError),
    #[error("answer names publisher {publisher} and part {part}, which the question does not have")]
    NoSuchPart { publisher: u8, part: u8 },
    #[error("answer has a listing of publisher {found} in the place of {expected}")]
    OtherPublisher { found: PublisherId, expected: PublisherId },
    #[error("answer has listing {key:?}, which is not in the part that was asked about")]
    OtherPart { key: ListingKey },
    #[error("answer has listing {key:?} as the asker has it")]
    Same { key: ListingKey },
    #[error("answer is not in the order of the question")]
    Order,
    #[error("answer has keys of {publisher} that were not asked for")]
    Keys { publisher: PublisherId },
    #[error("answer is to be continued and has nothing in it")]
    Endless,
    #[error("answer has more than the {max} listings that were asked for")]
    TooMany { max: usize },
}

impl Default for SyncBounds {
    fn default() -> Self {
        Self { messages: SYNC_MESSAGES_MAX, bytes: SYNC_BYTES_MAX, listings: LISTINGS_PER_SYNC_MAX }
    }
}

impl Reconciliation {
    /// Begins a sync about these publishers: those that the node keeps, with trie or without. The second value says whether the
    /// node lacks the publisher's keys.
    pub fn new(kept: impl IntoIterator<Item = (PublisherId, bool)>, bounds: SyncBounds) -> Self {
        let wanted: BTreeMap<PublisherId, Wanted> = kept
            .into_iter()
            .map(|(publisher, needs_keys)| (publisher, Wanted { needs_keys, ..Wanted::default() }))
            .collect();
        let unsent = wanted.keys().rev().copied().collect();
        Self { bounds, messages: 0, bytes: 0, unsent, wanted, last: None, asked: None }
    }

    /// Returns the next request; `None` if the sync has ended. `tries` are those of now, with all that was brought and merged.
    ///
    /// What was not answered is asked again, in this request or a later one.
    pub fn next_request(&mut self, tries: &Tries) -> Option<Request> {
        self.take_back();
        if self.messages >= self.bounds.messages || self.bytes >= self.bounds.bytes {
            return None;
        }
        if let Some(rest) = self.unsent.len().checked_sub(1) {
            let page = self.unsent.split_off((rest + 1).saturating_sub(ROOTS_PER_PAGE_MAX));
            let publishers: Vec<PublisherId> = page.into_iter().rev().collect();
            let empty = Trie::new();
            let roots = publishers.iter().map(|publisher| {
                let trie = tries.get(publisher).unwrap_or(&empty);
                (short(publisher.as_bytes()), short(&trie.root()))
            });
            let page = RootsPage::new(roots);
            self.messages += 1;
            self.bytes += page.bytes.len();
            self.asked = Some(Asked::Roots(publishers));
            return Some(Request::CompareRoots(page));
        }
        let asked = self.questions(tries);
        if asked.is_empty() {
            return None;
        }
        let questions: Vec<Question> = asked.iter().map(|(_, question)| question.clone()).collect();
        let message = Questions::new(&questions);
        self.messages += 1;
        self.bytes += message.bytes.len();
        self.last = asked.last().map(|(publisher, _)| *publisher);
        self.asked = Some(Asked::Listings(asked));
        Some(Request::GetListings(message))
    }

    /// Returns whether the sync has ended at one of its bounds, before all was asked.
    pub fn is_cut(&self) -> bool {
        let has_more = !self.unsent.is_empty() || self.wanted.values().any(|it| !it.parts.is_empty());
        has_more || self.wanted.values().any(|it| it.listings >= self.bounds.listings)
    }

    /// Returns how many requests were sent, and how many bytes of payload in both directions.
    pub const fn cost(&self) -> (usize, usize) {
        (self.messages, self.bytes)
    }

    /// Takes the answer to the last request, and returns what it has brought. The caller verifies and merges it before the next
    /// request.
    ///
    /// # Errors
    /// If it does not fit the request. The caller ends the sync then, and takes nothing of the answer. Where the peer says that
    /// it is busy, the caller may send the request again, or the next one.
    pub fn take(&mut self, answer: &Response) -> Result<Brought, SyncError> {
        match answer {
            Response::Differing(differing) => self.take_differing(differing).map(|()| Brought::default()),
            Response::Listings(page) => self.take_listings(page),
            _ => Err(SyncError::NotAsked),
        }
    }

    fn take_differing(&mut self, answer: &Differing) -> Result<(), SyncError> {
        let Some(Asked::Roots(publishers)) = self.asked.take() else { return Err(SyncError::NotAsked) };
        self.bytes += answer.bytes.len();
        for (publisher, _) in publishers.iter().zip(answer.bits(publishers.len())?).filter(|(_, bit)| *bit) {
            if let Some(wanted) = self.wanted.get_mut(publisher) {
                wanted.parts.insert(Prefix::default(), None);
            }
        }
        Ok(())
    }

    fn take_listings(&mut self, answer: &ListingsPage) -> Result<Brought, SyncError> {
        let Some(Asked::Listings(asked)) = self.asked.take() else { return Err(SyncError::NotAsked) };
        self.bytes += answer.bytes.len();
        let mut reading = Reading { asked: &asked, at: Position::default(), brought: Brought::default() };
        let mut children: Vec<(PublisherId, Prefix)> = Vec::new();
        for block in answer.blocks()? {
            children.extend(reading.take(block)?);
        }
        let Reading { at, brought, .. } = reading;
        for (publisher, _) in &brought.keys {
            self.wanted.entry(*publisher).or_default().needs_keys = false;
        }
        for (facts, _) in &brought.listings {
            self.wanted.entry(facts.publisher).or_default().listings += 1;
        }
        if answer.more {
            let unanswered = at.rest(&asked).ok_or(SyncError::Endless)?;
            for (publisher, prefix, after) in unanswered {
                self.wanted.entry(publisher).or_default().parts.insert(prefix, after);
            }
        }
        for (publisher, prefix) in children {
            self.wanted.entry(publisher).or_default().parts.insert(prefix, None);
        }
        for wanted in self.wanted.values_mut().filter(|it| it.listings >= self.bounds.listings) {
            wanted.parts.clear();
        }
        Ok(brought)
    }

    /// Puts back what the request asked for that waits for its answer.
    fn take_back(&mut self) {
        match self.asked.take() {
            Some(Asked::Roots(publishers)) => self.unsent.extend(publishers.into_iter().rev()),
            Some(Asked::Listings(asked)) => {
                for (publisher, question) in asked {
                    let wanted = self.wanted.entry(publisher).or_default();
                    wanted.parts.extend(question.parts.iter().map(|part| (part.prefix, part.after())));
                }
            }
            None => {}
        }
    }

    /// Takes as many parts as one request has room for, from the publisher behind the last one on.
    fn questions(&mut self, tries: &Tries) -> Vec<(PublisherId, Question)> {
        let is_open = |(_, wanted): &(&PublisherId, &Wanted)| !wanted.parts.is_empty();
        let behind = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut next: Vec<PublisherId> = self
            .wanted
            .range((behind, Bound::Unbounded))
            .filter(is_open)
            .map(|(publisher, _)| *publisher)
            .take(PUBLISHERS_PER_QUESTION_MAX)
            .collect();
        if next.is_empty() {
            let all = self.wanted.iter().filter(is_open).map(|(publisher, _)| *publisher);
            next = all.take(PUBLISHERS_PER_QUESTION_MAX).collect();
        }
        let (mut asked, mut room) = (Vec::new(), QUESTIONS_BYTES_MAX);
        let empty = Trie::new();
        for publisher in next {
            let Some(wanted) = self.wanted.get_mut(&publisher) else { continue };
            let trie = tries.get(&publisher).unwrap_or(&empty);
            let mut question = Question {
                id: short(publisher.as_bytes()),
                wants_keys: wanted.needs_keys,
                parts: Vec::new(),
            };
            room = room.saturating_sub(Question::HEAD_LEN);
            while room >= Part::BYTES_MAX && question.parts.len() < PARTS_PER_PUBLISHER_MAX {
                let Some((prefix, after)) = wanted.parts.pop_first() else { break };
                let part = Part { prefix, own: own(trie, &prefix, after) };
                room = room.saturating_sub(part.len());
                question.parts.push(part);
            }
            if question.parts.is_empty() {
                break;
            }
            asked.push((publisher, question));
        }
        asked
    }
}

/// Returns what the asker has in a part.
fn own(trie: &Trie, prefix: &Prefix, after: Option<ListingKey>) -> Own {
    let items = trie.items(prefix).filter(|(key, _)| after.is_none_or(|after| *key > after));
    let mut pairs: Vec<(Brief, Brief)> = items
        .take(PAIRS_PER_PART_MAX + 1)
        .map(|(key, value)| (first_of(key.as_bytes()), first_of(value.as_bytes())))
        .collect();
    // Keys of 64 nibbles have no branch, and no more than one item.
    match trie.branch(prefix) {
        Some(children) if pairs.len() > PAIRS_PER_PART_MAX => {
            Own::Hashes(children.map(|child| first_of(&child.hash)))
        }
        _ => {
            pairs.sort_unstable();
            Own::Pairs { after, pairs }
        }
    }
}

/// The place of the last block that was read.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    /// Numbers of publisher and part; no part if only the publisher's keys were read. `None` before the first block.
    place: Option<(u8, Option<u8>)>,
    /// The key of the last listing of this part.
    key: Option<ListingKey>,
}

/// An answer that is being read against its question.
struct Reading<'a> {
    asked: &'a [(PublisherId, Question)],
    at: Position,
    brought: Brought,
}

impl Reading<'_> {
    /// Takes the next block. Returns the parts that it says differ.
    fn take(&mut self, block: Block) -> Result<Vec<(PublisherId, Prefix)>, SyncError> {
        match block {
            Block::Keys { publisher, keys } => {
                let (id, question) = self
                    .asked
                    .get(usize::from(publisher))
                    .ok_or(SyncError::NoSuchPart { publisher, part: 0 })?;
                if !question.wants_keys {
                    return Err(SyncError::Keys { publisher: *id });
                }
                self.go_to(publisher, None, None)?;
                self.brought.keys.push((*id, keys));
                Ok(Vec::new())
            }
            Block::Differing { publisher, part, children } => {
                let (id, asked) = self.part(publisher, part)?;
                if !matches!(asked.own, Own::Hashes(_)) {
                    return Err(SyncError::NoSuchPart { publisher, part });
                }
                let prefix = asked.prefix;
                self.go_to(publisher, Some(part), None)?;
                let differing = (0..16).filter(|child| children >> child & 1 == 1);
                Ok(differing.filter_map(|child| Some((id, prefix.child(child)?))).collect())
            }
            Block::Listing { publisher, part, listing } => {
                let facts = self.check(publisher, part, &listing)?;
                self.go_to(publisher, Some(part), Some(facts.key))?;
                self.brought.listings.push((facts, listing));
                Ok(Vec::new())
            }
        }
    }

    fn part(&self, publisher: u8, part: u8) -> Result<(PublisherId, &Part), SyncError> {
        let asked = self.asked.get(usize::from(publisher));
        let found = asked.and_then(|(id, question)| Some((*id, question.parts.get(usize::from(part))?)));
        found.ok_or(SyncError::NoSuchPart { publisher, part })
    }

    /// Checks that a listing answers the part: it is the publisher's, inside, above `after`, and not what the asker has.
    fn check(&self, publisher: u8, part: u8, listing: &Listing) -> Result<ListingFacts, SyncError> {
        let (expected, asked) = self.part(publisher, part)?;
        let facts = listing.read()?;
        let (found, key) = (facts.publisher, facts.key);
        if found != expected {
            return Err(SyncError::OtherPublisher { found, expected });
        }
        let Own::Pairs { after, pairs } = &asked.own else {
            return Err(SyncError::NoSuchPart { publisher, part });
        };
        if !asked.prefix.covers(&key) || after.is_some_and(|after| key <= after) {
            return Err(SyncError::OtherPart { key });
        }
        let pair = (first_of(key.as_bytes()), first_of(facts.value.as_bytes()));
        if pairs.binary_search(&pair).is_ok() { Err(SyncError::Same { key }) } else { Ok(facts) }
    }

    /// Moves to the place of a block. Places ascend, and keys within a part.
    fn go_to(&mut self, publisher: u8, part: Option<u8>, key: Option<ListingKey>) -> Result<(), SyncError> {
        let next = Some((publisher, part));
        let is_after =
            next > self.at.place || (next == self.at.place && self.at.key.is_some() && key > self.at.key);
        if !is_after {
            return Err(SyncError::Order);
        }
        self.at = Position { place: next, key };
        Ok(())
    }
}

impl Position {
    /// Returns the parts behind this place; `None` if no block was read.
    fn rest(
        self,
        asked: &[(PublisherId, Question)],
    ) -> Option<Vec<(PublisherId, Prefix, Option<ListingKey>)>> {
        let (publisher, part) = self.place?;
        let mut rest = Vec::new();
        for (number, (id, question)) in (0_u8..).zip(asked).skip(usize::from(publisher)) {
            for (of, asked) in (0_u8..).zip(&question.parts) {
                let is_done = number == publisher && part.is_some_and(|part| of < part);
                if number == publisher && Some(of) == part {
                    // A part by hashes is answered by one block.
                    rest.extend(self.key.map(|key| (*id, asked.prefix, Some(key))));
                } else if !is_done {
                    rest.push((*id, asked.prefix, asked.after()));
                }
            }
        }
        Some(rest)
    }
}
