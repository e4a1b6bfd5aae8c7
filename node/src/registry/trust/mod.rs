//! What the user has said of publishers and models, and what follows from it for one of them.
//!
//! In: the trust file, subscribed denylists, the configuration's rules of sharing. Out: [`TrustEntries`] as written, denials,
//! and whether a blob may be served or given. Promise: where the trust file cannot be read, nothing is allowed.

mod file;
mod said;
mod written;

mod judge;
mod sharing;
mod unserved;

use std::sync::Mutex;

use self::sharing::Given;
use self::unserved::Unserved;
use crate::store::Store;

pub use self::file::{DENYLISTS_MAX, TrustError, TrustFile};
pub use self::said::{EntryError, Subscription, TrustEntries};
pub use self::sharing::{PatternError, Sharing, SharingRules};
pub use self::written::{RawQuorum, RawRule};

/// What the user has said, applied to what is in the store.
#[derive(Debug)]
pub struct Trust {
    store: Store,
    pub file: TrustFile,
    pub sharing: Sharing,
    /// What is given to others, for a moment.
    given: Mutex<Given>,
    /// What denylists warn of.
    unserved: Unserved,
}

impl Trust {
    /// Returns the trust of a node with this trust file and these rules of sharing.
    pub fn new(store: Store, file: TrustFile, sharing: Sharing) -> Self {
        Self { store, file, sharing, given: Mutex::default(), unserved: Unserved::default() }
    }
}
