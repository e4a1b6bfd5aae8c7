//! [`Preparations`]: the models between [`prepare_publish`](super::Publishing::prepare_publish) and their commits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use reg_api::prepared::Prepared;
use reg_proto::content::metadata::Metadata;
use reg_proto::descriptor::Descriptor;
use reg_proto::manifest::Manifest;

use super::error::PublishError;
use super::turns::Turn;
use crate::registry::limits::{PREPARATION_TIMEOUT, PREPARATIONS_MAX, SIGNING_TIMEOUT, TAKEN_OVER_MAX};
use crate::store::Lease;

/// A model that waits for its signatures.
#[derive(Debug)]
pub(super) struct Preparation {
    pub(super) prepared: Prepared,
    pub(super) manifest: Manifest,
    pub(super) descriptor: Descriptor,
    pub(super) metadata: Metadata,
    pub(super) kinds: BTreeMap<String, usize>,
    pub(super) since: Instant,
    /// Keeps other publications of the tag waiting.
    pub(super) turn: Turn,
    /// Keeps the blobs from being evicted until the model is recorded.
    pub(super) _lease: Lease,
}

/// The models that wait for their signatures.
#[derive(Debug, Default)]
pub(super) struct Preparations(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    waiting: BTreeMap<u64, Preparation>,
    /// The preparations that another publication has taken over, the newest last.
    taken_over: VecDeque<u64>,
}

impl Preparations {
    /// Remembers a preparation until it is taken.
    pub(super) fn remember(&self, preparation: Preparation) -> Result<(), PublishError> {
        let mut table = self.lock();
        table.waiting.retain(|_, it| it.since.elapsed() < PREPARATION_TIMEOUT);
        if table.waiting.len() >= PREPARATIONS_MAX {
            return Err(PublishError::TooManyPreparations);
        }
        table.waiting.insert(preparation.prepared.id, preparation);
        Ok(())
    }

    /// Removes and returns a preparation.
    pub(super) fn take(&self, id: u64) -> Result<Preparation, PublishError> {
        let mut table = self.lock();
        match table.waiting.remove(&id) {
            Some(preparation) => Ok(preparation),
            None if table.taken_over.contains(&id) => Err(PublishError::TakenOver { id }),
            None => Err(PublishError::NoPreparation { id }),
        }
    }

    /// Returns since when a preparation of a tag has waited for its signatures.
    pub(super) fn waiting(&self, tag: &str) -> Option<Instant> {
        self.lock().waiting.values().filter(|it| it.turn.tag() == tag).map(|it| it.since).min()
    }

    /// Removes the preparations of a tag with commands that must have ended. They are not committed any more.
    pub(super) fn take_over(&self, tag: &str) {
        let mut table = self.lock();
        let is_over = |it: &Preparation| it.turn.tag() == tag && it.since.elapsed() >= SIGNING_TIMEOUT;
        let over: Vec<u64> = table.waiting.iter().filter(|(_, it)| is_over(it)).map(|(id, _)| *id).collect();
        for id in over {
            table.waiting.remove(&id);
            table.taken_over.push_back(id);
            if table.taken_over.len() > TAKEN_OVER_MAX {
                table.taken_over.pop_front();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().expect("no holder of this lock panics")
    }
}
