//! The user's decisions about publishers and models, and what follows from them for one blob or model.
//!
//! In: the trust file, the subscribed denylists, and the rules of sharing in the configuration. Out: [`TrustEntries`],
//! the denials, and whether a blob may be served or shared. Promise: where the trust file cannot be read, nothing is
//! allowed.

mod alias;
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

pub use self::alias::Alias;
pub use self::file::{COLLECTIONS_MAX, DENYLISTS_MAX, OwnNames, TrustError, TrustFile};
pub use self::judge::Rulings;
pub use self::said::{EntryError, Names, Subscription, TrustEntries};
pub use self::sharing::{PatternError, Sharing, SharingRules};
pub use self::written::{RawQuorum, RawRule};

/// The user's decisions, applied to the models in the store.
#[derive(Debug)]
pub struct Trust {
    store: Store,
    pub file: TrustFile,
    pub sharing: Sharing,
    /// The blobs that may be shared, remembered for [`GIVEN_FRESH`](crate::registry::limits::GIVEN_FRESH).
    given: Mutex<Given>,
    /// What the denylists warn of.
    unserved: Unserved,
}

impl Trust {
    /// Returns the trust of a node with this trust file and these rules of sharing.
    pub fn new(store: Store, file: TrustFile, sharing: Sharing) -> Self {
        Self { store, file, sharing, given: Mutex::default(), unserved: Unserved::default() }
    }
}
