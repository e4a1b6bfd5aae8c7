//! Decides what to take, to keep and to give back, and does it but for the fetching.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reg_api::check::CheckResult;
use reg_api::clock;
use reg_api::donate::{DonateAction, DonateScope, DonateSettings};
use reg_commons::{
    Action, Chance, DAY, Donor, HOUR, Model, Moment, Reason, Refusal, Replicas, SETTLES_AFTER, Verdict,
    decide,
};
use reg_proto::digest::Digest;
use tracing::{info, warn};

use super::Donating;
use super::candidates::{Users, asks_for};
use super::known::{Known, Part, Refused};
use super::settings::guess_donors;
use super::words::{OWNER_NEEDS_DISK, in_words, verdict};
use super::written;
use crate::registry::model::record::ModelRecord;
use crate::store::WriteError;

impl Donating {
    /// Chooses candidates, looks at them, and decides. The models that are to be fetched are donations then.
    pub(super) async fn round(self: Arc<Self>, seed: u64) {
        let settings = self.on_blocking_thread(move |donating| donating.begin_round(seed)).await;
        let Ok(Some(settings)) = settings else { return };
        self.look().await;
        let decided = self.on_blocking_thread(move |donating| donating.end_round(&settings, seed)).await;
        if let Ok(Err(error)) = decided {
            warn!(%error, "a decision about donated models is not carried out as a whole");
        }
    }

    /// Takes note of what has happened to donations meanwhile, and chooses candidates. Returns what the user donates. Blocks.
    fn begin_round(&self, seed: u64) -> Option<DonateSettings> {
        let settings = {
            let _changing = self.change();
            self.settle();
            self.state().settings.clone()?
        };
        if self.health.is_auditing() {
            self.choose(&settings, &mut Chance::new(seed));
        }
        Some(settings)
    }

    /// Makes what is known agree with the donations in the store. Blocks.
    pub(super) fn settle(&self) {
        let store = &self.puller.store;
        let donated = match store.donated() {
            Ok(donated) => donated,
            Err(error) => return warn!(%error, "donated models cannot be listed"),
        };
        let (now, at) = (self.health.now(), clock::now());
        let mut state = self.state();
        for manifest in written::reconcile(&mut state, &donated, now) {
            let Some(known) = state.models.get_mut(&manifest) else { continue };
            let is_here = ModelRecord::load(store, &manifest, known.publisher, &known.model);
            let said = match is_here.is_ok_and(|it| it.is_some()) {
                true => verdict(DonateAction::Leave, "own", "you keep it for yourself now", Some(at)),
                false => {
                    self.gave_way.fetch_add(known.bytes, Ordering::Relaxed);
                    verdict(DonateAction::GiveBack, "owner-needs-disk", OWNER_NEEDS_DISK, Some(at))
                }
            };
            known.let_go(said);
        }
        drop(state);
        self.note_whole();
        self.limit_sending(donated.keys());
    }

    /// Tells the upload queue for which blobs the limit of donated models holds.
    fn limit_sending<'a>(&self, keys: impl Iterator<Item = &'a String>) {
        let rate = self.state().settings.as_ref().and_then(|it| it.limit);
        let of = |key: &String| {
            let manifest = key.split(' ').next()?.parse().ok()?;
            Some(ModelRecord::of_manifest(&self.puller.store, &manifest))
        };
        let blobs: BTreeSet<Digest> = match rate {
            Some(_) => keys.filter_map(of).flatten().flat_map(|it| it.blobs).collect(),
            None => BTreeSet::new(),
        };
        self.limit.set(rate, blobs);
    }

    /// Decides, and does it. Blocks.
    fn end_round(&self, settings: &DonateSettings, seed: u64) -> Result<(), WriteError> {
        let _changing = self.change();
        // The user may have changed it meanwhile.
        if self.state().settings.as_ref() != Some(settings) {
            return Ok(());
        }
        self.settle();
        self.refuse_donations();
        let (now, at) = (self.health.now(), clock::now());
        let models = self.models(settings, now);
        let donor = self.donor(settings, now);
        let verdicts = decide(&donor, &models, now, &mut Chance::new(seed ^ 1));
        let counts: BTreeMap<Digest, Replicas> = models.iter().map(|it| (it.model, it.elsewhere)).collect();
        // What is given back makes room for what is taken.
        let order = |it: &&Verdict| u8::from(it.action != Action::GiveBack);
        let mut in_order: Vec<&Verdict> = verdicts.iter().collect();
        in_order.sort_by_key(order);
        let acted = in_order.into_iter().try_for_each(|it| {
            let elsewhere = counts.get(&it.model).copied().unwrap_or_default();
            self.act(it, &elsewhere, now, at)
        });
        let mut state = self.state();
        (state.decided, state.decided_at) = (Some(now), Some(at));
        state.forget(at);
        let written = written::write_state(&self.puller.store, &state, self.health.pace());
        acted.and(written)
    }

    /// Gives back what rules or denylists of today refuse.
    fn refuse_donations(&self) {
        let (trust, store) = (&self.puller.trust, &self.puller.store);
        let donations: Vec<(Digest, Known)> =
            self.state().of(Part::Donation).map(|(manifest, it)| (*manifest, it.clone())).collect();
        for (manifest, known) in donations {
            let here = ModelRecord::load(store, &manifest, known.publisher, &known.model);
            let Some(record) = here.ok().flatten() else { continue };
            let said = self.puller.resolver.said_here(&manifest, &record);
            // Where the trust file cannot be read, nothing is known to be refused.
            let checks = trust.judge_here(&manifest, &record, &said, None).unwrap_or_default();
            if let Some(denied) = checks.iter().find(|it| it.result == CheckResult::Deny) {
                let by = if denied.check == "denylists" { Refusal::Denylist } else { Refusal::Rule };
                let why = format!("{}: {}", denied.check, denied.detail);
                info!(%manifest, why, "a model that was kept for others is refused");
                if self.give_back(&manifest, &known.key(&manifest)) {
                    self.refuse(&manifest, Refused { by, why });
                }
            }
        }
    }

    /// Returns the models that are decided about: donations, and candidates that were looked at.
    fn models(&self, settings: &DonateSettings, now: Moment) -> Vec<Model> {
        let users: Users = self.users();
        let state = self.state();
        let mut models = Vec::new();
        for (manifest, known) in &state.models {
            let is_looked_at = known.looked.is_some() && known.counted_since.is_some();
            let is_meant = known.part == Part::Donation || known.part == Part::Candidate && is_looked_at;
            if !is_meant {
                continue;
            }
            let is_asked_for = asks_for(&settings.scope, known.publisher, &known.model);
            models.push(Model {
                model: *manifest,
                bytes: known.bytes,
                standing: users.standing(&known.publisher, is_asked_for),
                refused: known.refused.as_ref().map(|it| it.by),
                elsewhere: self.health.replicas(manifest),
                counted_since: known.counted_since.unwrap_or(now),
                is_offered: known.looked.as_ref().is_some_and(|it| it.is_offered)
                    && self.health.is_auditing(),
                held: known.held(),
            });
        }
        models
    }

    fn donor(&self, settings: &DonateSettings, now: Moment) -> Donor {
        let known_peers = self.puller.network.remembered().list().len();
        let state = self.state();
        let elapsed = state.decided.map(|it| now.since(it));
        Donor {
            committed: self.committed(settings, state.of(Part::Donation).map(|(_, it)| it.bytes).sum()),
            takes_strangers: settings.scope == DonateScope::Everything && self.has_denylists(),
            donors: self.config.donors.unwrap_or_else(|| guess_donors(known_peers)),
            target: self.health.target(),
            round: elapsed.unwrap_or_else(|| self.health.passing(self.config.every)).min(DAY),
        }
    }

    /// Returns the bytes that may be used now: what the user donates, as far as the disk has room for it. Beside what stays free for
    /// the owner, as much again stays free, so that donations do not come and go with each file.
    fn committed(&self, settings: &DonateSettings, held: u64) -> u64 {
        let store = &self.puller.store;
        let here: u64 = store.donated_bytes().map_or(0, |it| it.values().sum());
        let to_come = held.saturating_sub(here);
        let kept_free = store.limits().min_free.saturating_mul(2).saturating_add(to_come);
        let free = store.free_space().unwrap_or(u64::MAX).saturating_sub(kept_free);
        settings.size.min(held.saturating_add(free))
    }

    /// Tells whether every denylist that the user has subscribed to is here, and there is one.
    pub(super) fn has_denylists(&self) -> bool {
        let trust = &self.puller.trust;
        trust
            .file
            .load()
            .is_ok_and(|entries| are_all_here(entries.denylists.len(), trust.denials(&entries).lists))
    }

    fn act(&self, verdict: &Verdict, elsewhere: &Replicas, now: Moment, at: u64) -> Result<(), WriteError> {
        let Verdict { model: manifest, action, reason } = *verdict;
        let store = &self.puller.store;
        let (key, has_changed, refused) = {
            let mut state = self.state();
            let Some(known) = state.models.get_mut(&manifest) else { return Ok(()) };
            let has_changed = known.count(elsewhere, now);
            (known.key(&manifest), has_changed, known.refused.as_ref().map(|it| it.why.clone()))
        };
        let said = in_words(action, reason, refused.as_deref(), now, self.health.pace(), at);
        match action {
            Action::Take => store.keep_donated(&key, elsewhere.zones)?,
            Action::Keep if has_changed => store.keep_donated(&key, elsewhere.zones)?,
            Action::GiveBack => store.give_back(&key)?,
            Action::Keep | Action::Leave => {}
        }
        if matches!(action, Action::Take | Action::GiveBack) {
            info!(model = key, reason = said.reason, ?action, "decided about a donated model");
        }
        let mut state = self.state();
        let Some(known) = state.models.get_mut(&manifest) else { return Ok(()) };
        let counted = known.counted_since.map_or(Duration::ZERO, |it| now.since(it));
        match action {
            Action::Take => {
                (known.part, known.held_since, known.kept_since) = (Part::Donation, Some(now), at);
                (known.failures, known.next_try, known.verdict) = (0, 0, Some(said));
            }
            Action::GiveBack => known.let_go(said),
            Action::Leave if is_settled(&reason, counted) => known.let_go(said),
            Action::Keep | Action::Leave => known.verdict = Some(said),
        }
        Ok(())
    }
}

/// Tells whether all of the denylists that the user has subscribed to are here, and there is one.
fn are_all_here(subscribed: usize, here: usize) -> bool {
    subscribed > 0 && here == subscribed
}

/// Tells whether a candidate that is left alone makes room for another one.
fn is_settled(reason: &Reason, counted: Duration) -> bool {
    /// A count may rise for as long as its peers are still asked.
    const COUNTED: Duration = Duration::from_secs(SETTLES_AFTER.as_secs() + 2 * HOUR.as_secs());
    match reason {
        // A model that finds no room, or no peer that offers it, keeps no better one out.
        Reason::Enough { .. } | Reason::NoRoom { .. } | Reason::NotOffered => counted >= COUNTED,
        Reason::Refused(_) | Reason::LargerThanCommitted | Reason::OutOfScope => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The user may end a subscription after the donation has begun, and a list may not be here yet.
    #[test]
    fn models_of_strangers_are_taken_only_while_every_denylist_is_here() {
        for (subscribed, here, expected) in
            [(0, 0, false), (1, 0, false), (2, 1, false), (1, 1, true), (2, 2, true)]
        {
            assert_eq!(are_all_here(subscribed, here), expected, "{here} of {subscribed}");
        }
    }

    #[test]
    fn a_candidate_makes_room_once_it_is_known_to_be_of_no_use() {
        let enough = Reason::Enough { elsewhere: 4, target: 4 };
        for (reason, counted, expected) in [
            (enough, SETTLES_AFTER, false),
            (enough, SETTLES_AFTER + HOUR * 3, true),
            (Reason::NoRoom { free: 1 }, SETTLES_AFTER, false),
            (Reason::NoRoom { free: 1 }, SETTLES_AFTER + HOUR * 3, true),
            (Reason::NotOffered, SETTLES_AFTER, false),
            (Reason::NotOffered, SETTLES_AFTER + HOUR * 3, true),
            (Reason::LargerThanCommitted, Duration::ZERO, true),
            (Reason::NotCountedYet, DAY * 9, false),
            (Reason::LeftToOthers, DAY * 9, false),
        ] {
            assert_eq!(is_settled(&reason, counted), expected, "{reason:?}");
        }
    }
}
