//! [`State`]: the models that a donor knows, each with what was counted and decided.

use std::collections::BTreeMap;
use std::sync::Arc;

use reg_api::donate::{DonateSettings, DonateVerdict};
use reg_commons::{Held, Moment, Refusal, Replicas};
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Publisher, PublisherId, Reference, Tag};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::registry::health::Candidate;
use crate::registry::model::record::ModelRecord;

/// Models elsewhere of which replicas are counted at once. Four copies of each are 2,048 first pieces: 21 hours of the usual budget of
/// audits, so that all are counted when a count counts.
pub(super) const CANDIDATES_MAX: usize = 64;
/// Models that are kept for others at once. A full table is looked through at each decision.
pub(super) const DONATIONS_MAX: usize = 512;
/// Models that are remembered with what was decided of them, after they were candidates or donations.
pub(super) const PAST_MAX: usize = 512;
/// How long what was decided of a model keeps it from being a candidate again.
pub(super) const PAST_FOR: u64 = 7 * 24 * 3600;

/// Which part a model plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Part {
    /// Its replicas are counted, so that it can be taken.
    Candidate,
    /// It is kept for others, or is fetched.
    Donation,
    /// It was one of these.
    Past,
}

/// Why a model is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refused {
    pub(super) by: Refusal,
    pub(super) why: String,
}

/// A model that a donor knows.
///
/// It has 16 fields, because each is read alone, and the document of them is flat.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Known {
    pub(super) publisher: PublisherId,
    pub(super) model: ModelName,
    pub(super) tag: Option<Tag>,
    pub(super) part: Part,
    /// Bytes of all its files.
    pub(super) bytes: u64,
    /// Since when its replicas are counted.
    pub(super) counted_since: Option<Moment>,
    /// Replicas elsewhere, at the last decision.
    pub(super) zones: u32,
    /// When they have last risen.
    pub(super) rose: Option<Moment>,
    /// Since when it is kept for others; in seconds since 1970 too.
    pub(super) held_since: Option<Moment>,
    pub(super) kept_since: u64,
    pub(super) refused: Option<Refused>,
    /// Pulls and looks in a row that have failed, and when the next one is due, in seconds since 1970.
    pub(super) failures: u32,
    pub(super) next_try: u64,
    pub(super) verdict: Option<DonateVerdict>,
    #[serde(skip)]
    pub(super) looked: Option<Looked>,
    /// Whether all of a donation is here.
    #[serde(skip)]
    pub(super) is_whole: bool,
}

/// What was learned of a model since the start.
#[derive(Debug, Clone)]
pub(super) struct Looked {
    pub(super) at: Instant,
    pub(super) is_offered: bool,
    /// What its pieces are verified by.
    pub(super) candidate: Arc<Candidate>,
}

impl Known {
    /// Returns a candidate of which nothing is known but its name.
    pub(super) const fn new(
        publisher: PublisherId,
        model: ModelName,
        tag: Option<Tag>,
        bytes: u64,
        part: Part,
    ) -> Self {
        Self {
            publisher,
            model,
            tag,
            part,
            bytes,
            counted_since: None,
            zones: 0,
            rose: None,
            held_since: None,
            kept_since: 0,
            refused: None,
            failures: 0,
            next_try: 0,
            verdict: None,
            looked: None,
            is_whole: false,
        }
    }

    /// Returns the key of its record in the store.
    pub(super) fn key(&self, manifest: &Digest) -> String {
        ModelRecord::key(manifest, self.publisher, &self.model)
    }

    /// Returns the reference of this version.
    pub(super) fn reference(&self, manifest: Digest) -> Reference {
        Reference {
            publisher: Publisher::Id(self.publisher),
            model: self.model.clone(),
            tag: None,
            digest: Some(manifest),
        }
    }

    /// Returns what a decision reads of a donation.
    pub(super) fn held(&self) -> Option<Held> {
        (self.part == Part::Donation).then_some(())?;
        Some(Held { since: self.held_since?, rose: self.rose })
    }

    /// Takes a count. Returns whether it is another one.
    pub(super) fn count(&mut self, elsewhere: &Replicas, now: Moment) -> bool {
        if elsewhere.zones > self.zones {
            self.rose = Some(now);
        }
        std::mem::replace(&mut self.zones, elsewhere.zones) != elsewhere.zones
    }

    /// Makes it one that is only remembered.
    pub(super) fn let_go(&mut self, verdict: DonateVerdict) {
        (self.part, self.held_since, self.looked, self.failures) = (Part::Past, None, None, 0);
        self.verdict = Some(verdict);
    }
}

/// What a donor knows.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) settings: Option<DonateSettings>,
    pub(super) models: BTreeMap<Digest, Known>,
    /// When the last decision was made, in the time of audits and in seconds since 1970.
    pub(super) decided: Option<Moment>,
    pub(super) decided_at: Option<u64>,
}

impl State {
    /// Returns the models that play a part.
    pub(super) fn of(&self, part: Part) -> impl Iterator<Item = (&Digest, &Known)> {
        self.models.iter().filter(move |(_, it)| it.part == part)
    }

    /// Forgets what was decided long ago, and the oldest decisions where they are too many.
    pub(super) fn forget(&mut self, now: u64) {
        let at = |it: &Known| it.verdict.as_ref().and_then(|it| it.at).unwrap_or(0);
        self.models.retain(|_, it| it.part != Part::Past || now.saturating_sub(at(it)) < PAST_FOR);
        let mut past: Vec<(u64, Digest)> =
            self.of(Part::Past).map(|(manifest, it)| (at(it), *manifest)).collect();
        past.sort_unstable();
        for (_, manifest) in past.iter().take(past.len().saturating_sub(PAST_MAX)) {
            self.models.remove(manifest);
        }
    }
}

#[cfg(test)]
mod tests {
    use reg_api::donate::DonateAction;

    use super::*;

    fn known(part: Part) -> Known {
        let (publisher, model) = (PublisherId::from_bytes([1; 32]), "tiny".parse().unwrap());
        Known::new(publisher, model, None, 1, part)
    }

    fn verdict(at: u64) -> DonateVerdict {
        DonateVerdict {
            action: DonateAction::Leave,
            code: "enough".to_owned(),
            reason: String::new(),
            at: Some(at),
        }
    }

    #[test]
    fn what_is_past_is_bounded_and_forgotten_after_a_week() {
        let mut state = State::default();
        for n in 0..PAST_MAX as u64 + 10 {
            let mut it = known(Part::Past);
            it.let_go(verdict(1000 + n));
            state.models.insert(Digest::of(&n.to_le_bytes()), it);
        }
        let kept = Digest::of(b"kept");
        state.models.insert(kept, known(Part::Donation));
        state.forget(2000);
        assert_eq!(state.models.len(), PAST_MAX + 1);
        assert!(!state.models.contains_key(&Digest::of(&9u64.to_le_bytes())), "the oldest go");
        state.forget(1000 + 2 * PAST_FOR);
        assert_eq!(state.models.keys().collect::<Vec<_>>(), [&kept]);
    }

    #[test]
    fn a_rise_is_noted() {
        let mut it = known(Part::Donation);
        let (one, at) = (Replicas { zones: 1, ..Replicas::default() }, Moment::from_seconds);
        assert!(it.count(&one, at(5)) && !it.count(&one, at(6)));
        assert_eq!(it.rose, Some(at(5)));
        assert!(it.count(&Replicas::default(), at(7)));
        assert_eq!(it.rose, Some(at(5)));
    }
}
