//! Fetches what was decided to be taken.

use std::collections::BTreeSet;
use std::sync::Arc;

use reg_api::clock;
use reg_api::donate::DonateAction;
use reg_api::fault::chain;
use reg_api::report::Pulled;
use reg_api::reporter::Reporter;
use reg_proto::digest::Digest;
use reg_proto::name::Reference;
use tracing::{info, warn};

use super::Donating;
use super::known::{Known, Part, Refused};
use super::words::verdict;
use crate::registry::model::whole;
use crate::registry::pull::PullError;
use crate::registry::resolve::{RecordChoice, ResolveError};

/// How long the next pull waits after one that failed; twice as long after the next, and so on.
const RETRY: u64 = 60;
/// The longest wait between two pulls.
const RETRY_MAX: u64 = 6 * 3600;
/// Failed pulls after which a model that is not whole is given back. They take two days.
const FAILURES_MAX: u32 = 16;

impl Donating {
    /// Returns a donation that is not whole here and is to be pulled now, without those that are pulled already.
    pub(super) fn to_pull(&self, running: &BTreeSet<Digest>) -> Option<(Digest, Known)> {
        let now = clock::now();
        let state = self.state();
        let due = |(manifest, it): &(&Digest, &Known)| {
            !it.is_whole && it.next_try <= now && !running.contains(*manifest)
        };
        // The scarcest first.
        let first = state.of(Part::Donation).filter(due).min_by_key(|(_, it)| (it.zones, it.kept_since))?;
        Some((*first.0, first.1.clone()))
    }

    /// Notes which donations are whole here. Blocks.
    pub(super) fn note_whole(&self) {
        let donations: Vec<Digest> = self.state().of(Part::Donation).map(|(it, _)| *it).collect();
        for manifest in donations {
            let is_whole = whole::is_complete(&self.puller.store, &manifest);
            if let Some(known) = self.state().models.get_mut(&manifest) {
                known.is_whole = is_whole;
                if is_whole {
                    // The store has what verifies its pieces.
                    known.looked = None;
                }
            }
        }
    }

    /// Pulls a donation, and notes what came of it.
    pub(super) async fn pull(self: Arc<Self>, manifest: Digest, known: Known) {
        let key = known.key(&manifest);
        // Without the document that says so, it would be the owner's, and models of the owner could make room for it.
        let is_meant = self.on_blocking_thread(move |donating| donating.puller.store.is_donated(&key)).await;
        if !is_meant.unwrap_or(false) {
            return;
        }
        let by_digest = known.reference(manifest);
        let by_tag = Reference { tag: known.tag.clone(), ..by_digest.clone() };
        let mut pulled = Box::pin(self.pull_one(by_tag)).await;
        if matches!(pulled, Err(PullError::Resolve(ResolveError::TagMoved { .. }))) {
            pulled = Box::pin(self.pull_one(by_digest)).await;
        }
        let noted = self.on_blocking_thread(move |donating| donating.note(manifest, &known, pulled)).await;
        if let Err(error) = noted {
            warn!(%error, "the result of a pull for others is not noted");
        }
    }

    async fn pull_one(&self, reference: Reference) -> Result<Pulled, PullError> {
        let request = self.puller.donors_request(reference);
        self.puller.pull_chosen(request, RecordChoice::default(), &Reporter::silent()).await
    }

    fn note(&self, manifest: Digest, known: &Known, result: Result<Pulled, PullError>) {
        let _changing = self.change();
        let key = known.key(&manifest);
        if !self.puller.store.is_donated(&key) {
            // It made room for the owner, or the owner wants it.
            return;
        }
        let error = match result {
            Ok(pulled) => {
                info!(reference = %pulled.reference, %manifest, "a scarce model is kept for others");
                if let Some(known) = self.state().models.get_mut(&manifest) {
                    (known.failures, known.is_whole, known.bytes) = (0, true, pulled.bytes);
                }
                return;
            }
            Err(error) => error,
        };
        let why = chain(&error);
        info!(%manifest, why, "a scarce model is not fetched");
        if let Some((by, why)) = error.refusal() {
            self.give_back(&manifest, &key);
            return self.refuse(&manifest, Refused { by, why });
        }
        let now = clock::now();
        let failures = {
            let mut state = self.state();
            let Some(known) = state.models.get_mut(&manifest) else { return };
            known.failures = known.failures.saturating_add(1);
            let wait = RETRY.saturating_mul(1 << known.failures.min(FAILURES_MAX)).min(RETRY_MAX);
            known.next_try = now + wait;
            known.failures
        };
        if failures >= FAILURES_MAX {
            self.give_back(&manifest, &key);
            if let Some(known) = self.state().models.get_mut(&manifest) {
                known.let_go(verdict(DonateAction::GiveBack, "not-fetched", why, Some(now)));
            }
        }
    }

    /// Removes a donation from the store. Blocks.
    pub(super) fn give_back(&self, manifest: &Digest, key: &str) -> bool {
        match self.puller.store.give_back(key) {
            Ok(()) => true,
            Err(error) => {
                warn!(%manifest, %error, "a model that was kept for others cannot be removed");
                false
            }
        }
    }
}
