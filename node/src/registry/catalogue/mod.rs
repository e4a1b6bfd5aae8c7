//! The catalogue: what this node knows of models that it may not hold, and the search in it.
//!
//! In: listings that verify, the publishers that are kept whole, the followed collections, and the user's searches. Out: results,
//! lists for gateways, what is derived from what, and the answers to peers that compare their catalogue with this one. Promise:
//! only what verifies is listed, peers are given only what this node shares, and nothing is lost with the directory of the
//! catalogue but the time to fill it again.

mod answers;
mod collections;
mod elsewhere;
mod entries;
mod kept;
mod lineage;
mod opened;
mod opening;
mod search;
mod some;
mod taking;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use reg_api::clock;
use reg_api::fault::chain;
use reg_catalogue::{CommitError, ReadError};
use reg_proto::name::PublisherId;
use tokio::sync::Notify;

use self::collections::Collections;
use self::opened::Opened;
use self::opening::Opening;
use crate::registry::trust::Trust;
use crate::store::Store;

pub use self::collections::{NotACollection, are_of_collection};
pub use self::elsewhere::{Elsewhere, ElsewhereModel, NamesHere};
pub use self::kept::keep_catalogue;
pub use self::opening::CatalogueFailure;
pub use self::search::SearchError;
pub use self::taking::Taken;

/// The catalogue of a node. It is opened when it is first needed.
#[derive(Debug)]
pub struct Cataloguing {
    pub store: Store,
    pub trust: Arc<Trust>,
    /// The directory; `None` where the node keeps no catalogue.
    dir: Option<PathBuf>,
    opening: Opening,
    /// Why the last commit has failed.
    unwritten: Mutex<Option<CommitError>>,
    /// The publishers that are to be kept whole, and are not.
    not_kept: Mutex<BTreeSet<PublisherId>>,
    /// Held while a listing takes the place of another.
    taking: Mutex<()>,
    /// When this node has last compared the catalogue with a peer, in seconds since 1970; 0 for never.
    compared: AtomicU64,
    /// Told when another publisher is kept whole.
    kept_changed: Notify,
    /// What was read of the collections that the user follows.
    collections: Collections,
}

impl Cataloguing {
    /// Returns the catalogue in `dir`, which is not read yet.
    pub fn new(store: Store, trust: Arc<Trust>, dir: Option<PathBuf>) -> Self {
        Self {
            store,
            trust,
            dir,
            opening: Opening::default(),
            unwritten: Mutex::default(),
            not_kept: Mutex::default(),
            taking: Mutex::default(),
            compared: AtomicU64::new(0),
            kept_changed: Notify::new(),
            collections: Collections::default(),
        }
    }

    /// Waits until another publisher is kept whole.
    pub async fn kept_has_changed(&self) {
        self.kept_changed.notified().await;
    }

    /// Records that the catalogue was compared with a peer.
    pub fn note_compared(&self) {
        self.compared.store(clock::now(), Ordering::Relaxed);
    }

    /// Returns when the catalogue was last compared with a peer since the start, in seconds since 1970.
    pub fn compared(&self) -> Option<u64> {
        Some(self.compared.load(Ordering::Relaxed)).filter(|it| *it > 0)
    }

    /// Returns the number of entries of kept publishers and of strangers. Blocks.
    pub fn counts(&self) -> (usize, usize) {
        self.opened().map_or((0, 0), |opened| opened.catalogue.counts())
    }

    /// Returns why the catalogue is closed, or not on the disk as it is in memory.
    pub fn trouble(&self) -> Option<String> {
        if let Some(failure) = self.opening.failure() {
            return Some(chain(&*failure));
        }
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|it| chain(it))
    }

    /// Writes what has changed to the disk. Blocks.
    pub fn commit(&self) {
        // A catalogue that was not opened has not changed.
        let Some(opened) = self.opening.opened() else { return };
        let failed = opened.catalogue.commit().err();
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = failed.as_ref().filter(|_| unwritten.is_none()) {
            let why = chain(error);
            tracing::warn!(why, "the catalogue cannot be written; the next commits try again");
        }
        *unwritten = failed;
    }

    /// Frees the memory that only changes need. Blocks.
    pub fn rest(&self) {
        if let Some(opened) = self.opening.opened()
            && let Err(error) = opened.catalogue.rest()
        {
            tracing::warn!(%error, "the catalogue cannot be tidied");
        }
    }

    /// Returns the catalogue, and opens it where it is not open. Blocks.
    fn opened(&self) -> Option<Arc<Opened>> {
        self.opened_or_why().ok()
    }

    /// Returns the catalogue, and opens it where it is not open; or why it is closed, where that is known. Blocks.
    fn opened_or_why(&self) -> Result<Arc<Opened>, Option<Arc<CatalogueFailure>>> {
        if let Some(opened) = self.opening.opened() {
            return Ok(opened);
        }
        let Some(dir) = &self.dir else { return Err(None) };
        let open = || {
            let opened = Opened::open(dir, |publisher, model| self.trust.sharing.gives(publisher, model))?;
            // A command without a daemon lists at once: what it lists of kept publishers must not be a sample.
            self.settle_kept_of(&opened);
            Ok(opened)
        };
        Ok(self.opening.get(Instant::now(), open)?)
    }

    /// Returns what was read. A catalogue that cannot be read is closed, and opened again later.
    fn read<T>(&self, opened: &Arc<Opened>, read: Result<T, ReadError>) -> Option<T> {
        read.map_err(|error| self.opening.close(opened, error, Instant::now())).ok()
    }
}

#[cfg(test)]
mod tests;
