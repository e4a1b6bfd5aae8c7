//! The catalogue: what nodes tell each other about models that they do not hold.
//!
//! In comes what publishers sign: tag records, cards, tombstones and collections. Out go verified values, and the messages by
//! which two nodes find what one of them lacks. A value of a `Signed…` type proves that its signatures are verified.
//!
//! The module decides nothing that depends on a user: what to keep, which peer to ask and when are the caller's arguments.

mod card;
mod content_digest;
mod short_name;

mod tombstone;

mod entry;

mod prefix;
mod trie;
mod tries;

mod message;

mod answer;
mod sync;

mod sample;

mod collection;

pub use answer::{View, answer_listings, answer_roots, answer_sample};
pub use card::{CARD_ARTIFACT_TYPE, CARD_TYPE, Card, CardError, Claimed, Computed, SignedCard};
pub use collection::{
    COLLECTION_FILE, Collected, CollectedError, Collection, CollectionEntry, CollectionError,
};
pub use content_digest::content_digest;
pub use entry::{Listing, ListingError, ListingFacts, ListingKey, ListingValue, SignedListing};
pub use message::{
    Block, Differing, ListingsPage, MessageError, Question, Questions, RootsPage, SampleQuestion,
};
pub use prefix::Prefix;
pub use sample::take_sample;
pub use short_name::{ShortName, ShortNameError};
pub use sync::{Brought, Reconciliation, SyncBounds, SyncError};
pub use tombstone::{SignedTombstone, TOMBSTONE_TYPE, Tombstone, TombstoneError};
pub use trie::{CHILDREN, Item, LEAF_MAX, Subtree, Trie};
pub use tries::Tries;
