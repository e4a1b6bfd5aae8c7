//! Models elsewhere that are audited although they are not in the store: those that a donor may take.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use reg_commons::{Class, Moment};
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, PublisherId};
use reg_proto::piece::BlobLayout;
use reg_proto::states::PieceStates;

use super::Health;
use super::models::Here;

/// A model elsewhere, with what its pieces are verified by.
#[derive(Debug)]
pub struct Candidate {
    pub publisher: PublisherId,
    pub model: ModelName,
    /// Blobs of which pieces are asked for.
    pub blobs: Vec<(Digest, BlobLayout)>,
    /// The states of those with more than one piece.
    pub states: BTreeMap<Digest, PieceStates>,
}

impl Candidate {
    /// Returns how many bytes its states take.
    pub fn states_bytes(&self) -> usize {
        self.states.values().map(|it| PieceStates::byte_len(it.layout())).sum()
    }
}

/// The models elsewhere that are audited.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    ready: BTreeMap<Digest, Arc<Candidate>>,
    /// Those of which nothing is asked yet, because what verifies them was not found since the start. What was counted of them stays.
    waiting: BTreeSet<Digest>,
}

impl Health {
    /// Audits these models elsewhere from now on, beside those in the store, and no others. What was counted of the waiting ones is
    /// not forgotten.
    pub fn set_candidates(&self, ready: BTreeMap<Digest, Arc<Candidate>>, waiting: BTreeSet<Digest>) {
        *self.candidates() = Candidates { ready, waiting };
    }

    /// Returns the moment of audits that is now.
    pub fn now(&self) -> Moment {
        self.pace.now()
    }

    /// Returns how many seconds of audits pass in one.
    pub const fn pace(&self) -> u32 {
        self.pace.get()
    }

    /// Returns the time of audits that passes in a time.
    pub fn passing(&self, time: Duration) -> Duration {
        self.pace.passing(time)
    }

    /// Returns when a moment of audits was, in seconds since 1970.
    pub fn seconds(&self, moment: Moment) -> u64 {
        self.pace.seconds(moment)
    }

    /// Returns how many replicas a model is to have, this node's own one included.
    pub const fn target(&self) -> u32 {
        self.settings.target.saturating_add(1)
    }

    /// Tells whether this node counts replicas.
    pub const fn is_auditing(&self) -> bool {
        self.settings.audits
    }

    /// Adds the candidates to the models in the store that are audited.
    pub(super) fn add_candidates(&self, known: &BTreeMap<Digest, Class>, here: &mut BTreeMap<Digest, Here>) {
        for (manifest, candidate) in &self.candidates().ready {
            let class = Class::Donated;
            let is_known = known.get(manifest) == Some(&class);
            here.entry(*manifest).or_insert_with(|| Here {
                class,
                is_told: false,
                names: vec![(candidate.publisher, candidate.model.clone())],
                blobs: (!is_known).then(|| candidate.blobs.clone()),
            });
        }
    }

    /// Returns the models that are audited and not in the store.
    pub(super) fn elsewhere(&self) -> BTreeSet<Digest> {
        self.candidates().ready.keys().copied().collect()
    }

    /// Tells whether what was counted of a model stays although nothing is asked of it.
    pub(super) fn is_waiting(&self, manifest: &Digest) -> bool {
        self.candidates().waiting.contains(manifest)
    }

    /// Returns the layout of a blob of a candidate, and its states if it has more than one piece.
    pub(super) fn candidate_blob(
        &self,
        model: &Digest,
        blob: &Digest,
    ) -> Option<(BlobLayout, Option<PieceStates>)> {
        let candidate = self.candidates().ready.get(model)?.clone();
        let layout = candidate.blobs.iter().find(|(it, _)| it == blob)?.1;
        Some((layout, candidate.states.get(blob).cloned()))
    }

    fn candidates(&self) -> MutexGuard<'_, Candidates> {
        self.candidates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
