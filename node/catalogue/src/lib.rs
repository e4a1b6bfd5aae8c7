//! Keeps what is known of models elsewhere, and searches it.
//!
//! A [`Catalogue`] holds entries: the tags of publishers with the texts that prove them. One index of tantivy holds the
//! texts and the words, so that a commit is atomic and no second file can contradict it. Peers can send all of
//! it again, so a damaged index is made anew. Every call blocks, and may be made from many threads.
//!
//! The crate must not ask a peer, verify a signature, or read the clock. Time and chance are arguments.

mod open;

mod bounds;
mod entry;
mod error;

mod reading;
mod writing;

mod query;
mod rank;
mod search;
mod words;

mod pending;
mod schema;
mod state;
mod table;

pub use bounds::{
    Bounds, CARD_BYTES_MAX, DISK_BYTES_MAX, FACTS_BYTES_MAX, FACTS_ITEMS_MAX, KEPT_MAX,
    KEPT_OF_PUBLISHER_MAX, KEPT_PUBLISHERS_MAX, PUBLISHER_TEXTS_BYTES_MAX, RECORD_BYTES_MAX, STRANGERS_MAX,
    STRANGERS_OF_PUBLISHER_MAX,
};
pub use entry::{Entry, EntryHead, EntryKey, EntryName, Facts, Listing, PublisherTexts};
pub use error::{CommitError, OpenError, PublisherError, ReadError, Reason, Refusal, SearchError};
pub use open::{Catalogue, Found, Opened};
pub use query::{
    ANY_OF_MAX, FACTS_OF_LIST_MAX, Fact, Hit, LIMIT_MAX, OFFSET_MAX, PUBLISHERS_MAX, Page, Query, Sort,
};
pub use rank::Standing;
pub use state::Chance;
pub use writing::Taken;
