//! Changes what the user donates, and shows what is kept for others and why.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use reg_api::clock;
use reg_api::donate::{
    DonateAction, DonateReport, DonateRequest, DonateScope, DonateSettings, DonateVerdict, DonateWhy,
    DonatedModel, StopDonating,
};
use reg_api::follow::Followed;
use reg_proto::digest::Digest;
use reg_proto::name::{Publisher, Reference, Tag};

use super::candidates::is_in_scope;
use super::error::{LIMIT_MIN, SIZE_MIN};
use super::known::{CANDIDATES_MAX, Known, Part};
use super::words::verdict;
use super::{DonateError, Donating, written};
use crate::registry::model::record::ModelRecord;
use crate::registry::model::whole;

impl Donating {
    /// Donates from now on, or changes what is donated. When this returns, it survives a power cut.
    ///
    /// # Errors
    /// The request is out of bounds, a stranger's models are not confirmed or without a denylist, or the disk refuses.
    pub async fn donate(self: &Arc<Self>, request: DonateRequest) -> Result<DonateReport, DonateError> {
        self.on_blocking_thread(move |donating| {
            let DonateRequest { size, scope, limit, confirmed } = request;
            if size < SIZE_MIN {
                return Err(DonateError::Size { size });
            }
            if let Some(limit) = limit.filter(|it| *it < LIMIT_MIN) {
                return Err(DonateError::Limit { limit });
            }
            let trust = &donating.puller.trust.file;
            let scope = match scope {
                DonateScope::Models(Followed { publisher, models }) => {
                    let publisher = Publisher::Id(trust.resolve(&publisher)?);
                    DonateScope::Models(Followed { publisher, models })
                }
                DonateScope::Everything if trust.load()?.denylists.is_empty() => {
                    return Err(DonateError::NoDenylist);
                }
                DonateScope::Everything if !confirmed => return Err(DonateError::NotConfirmed),
                scope => scope,
            };
            let _changing = donating.change();
            let since = donating.state().settings.as_ref().map_or_else(clock::now, |it| it.since);
            let settings = DonateSettings { size, scope, limit, since };
            written::write_settings(&donating.puller.store, Some(&settings))?;
            donating.state().settings = Some(settings);
            donating.settle();
            donating.changed.notify_one();
            donating.report()
        })
        .await?
    }

    /// Shows what is kept for others.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn donations(self: &Arc<Self>) -> Result<DonateReport, DonateError> {
        self.on_blocking_thread(|donating| {
            let _changing = donating.change();
            donating.settle();
            donating.report()
        })
        .await?
    }

    /// Donates no longer. Returns what was kept for others. It is given back, or the owner's from now on.
    ///
    /// # Errors
    /// Nothing is donated, or the disk refuses.
    pub async fn stop(self: &Arc<Self>, request: StopDonating) -> Result<DonateReport, DonateError> {
        self.on_blocking_thread(move |donating| {
            let _changing = donating.change();
            donating.settle();
            let report = donating.report()?;
            if report.settings.is_none() && report.models.is_empty() {
                return Err(DonateError::Nothing);
            }
            let store = &donating.puller.store;
            // First, so that nothing is taken again.
            written::write_settings(store, None)?;
            donating.state().settings = None;
            for key in store.donated()?.keys() {
                let manifest = key.split(' ').next().and_then(|it| it.parse::<Digest>().ok());
                let is_whole = manifest.is_some_and(|it| whole::is_complete(store, &it));
                match request.keep && is_whole {
                    true => store.end_donation(key)?,
                    false => store.give_back(key)?,
                }
            }
            {
                let mut state = donating.state();
                state.models.retain(|_, it| it.part == Part::Past);
                written::write_state(store, &state, donating.health.pace())?;
            }
            donating.health.set_candidates(BTreeMap::new(), BTreeSet::new());
            donating.settle();
            donating.changed.notify_one();
            Ok(report)
        })
        .await?
    }

    /// Says why a model is kept for others, or not.
    ///
    /// # Errors
    /// The publisher is not known, or the store cannot be read.
    pub async fn why(self: &Arc<Self>, reference: Reference) -> Result<DonateWhy, DonateError> {
        self.on_blocking_thread(move |donating| {
            let publisher = donating.puller.trust.file.resolve(&reference.publisher)?;
            let tag = reference.tag.clone().unwrap_or_else(Tag::latest);
            let listed = donating.catalogue.listed_or_denied(publisher, &reference.model, &tag);
            let here = donating.puller.resolver.model_here(&reference).ok();
            let manifest = reference.digest.or_else(|| listed.map(|it| it.manifest));
            let manifest = manifest.or_else(|| here.map(|it| it.manifest));
            let Some(manifest) = manifest else {
                let reason = "this node does not know it: its catalogue has no such tag";
                let verdict = verdict(DonateAction::Leave, "not-known", reason, None);
                return Ok(DonateWhy { reference, manifest: None, replicas: None, verdict });
            };
            let _changing = donating.change();
            donating.settle();
            let state = donating.state();
            let known = state.models.get(&manifest);
            let (counted, decided) = (
                known.is_some_and(|it| it.counted_since.is_some() || it.part == Part::Donation),
                known.and_then(|it| it.verdict.clone()),
            );
            let settings = state.settings.clone();
            drop(state);
            let verdict = decided
                .unwrap_or_else(|| donating.undecided(settings.as_ref(), manifest, &reference, counted));
            let replicas = counted.then(|| donating.health.replicas(&manifest).zones);
            Ok(DonateWhy { reference, manifest: Some(manifest), replicas, verdict })
        })
        .await?
    }

    /// Says why nothing was decided about a model yet.
    fn undecided(
        &self,
        settings: Option<&DonateSettings>,
        manifest: Digest,
        reference: &Reference,
        counts: bool,
    ) -> DonateVerdict {
        let leave = |code, reason: &str| verdict(DonateAction::Leave, code, reason, None);
        let Some(settings) = settings else {
            return leave("not-donating", "nothing is donated: `reg donate SIZE` begins");
        };
        let Ok(publisher) = self.puller.trust.file.resolve(&reference.publisher) else {
            return leave("not-known", "its publisher is not known");
        };
        if !ModelRecord::of_manifest(&self.puller.store, &manifest).is_empty() {
            return leave("own", "it is in the store for a reason of yours");
        }
        let denials = self.puller.trust.file.load().map(|it| self.puller.trust.denials(&it));
        if let Ok(denials) = denials
            && let Some((denied, denial)) = denials.of_model(publisher, &manifest, [])
        {
            return leave("denied", &format!("{denied} is on {}: {}", denial.list, denial.reason));
        }
        if !is_in_scope(&settings.scope, &self.users(), publisher, &reference.model) {
            return leave("out-of-scope", "it is outside the scope of what you donate to");
        }
        if !self.health.is_auditing() {
            return leave("no-audits", "this node counts no replicas, so it does not know what is scarce");
        }
        if counts {
            return leave("not-counted-yet", "its replicas are counted, and nothing is decided yet");
        }
        leave(
            "not-looked-at",
            &format!(
                "it is not among the models of which replicas are counted, at most {CANDIDATES_MAX} at once: they are chosen \
                 by chance, and change"
            ),
        )
    }

    fn report(&self) -> Result<DonateReport, DonateError> {
        let bytes = self.puller.store.donated_bytes()?;
        let petnames = self.puller.trust.petnames();
        let state = self.state();
        let model = |(manifest, known): (&Digest, &Known)| {
            let replicas = self.health.replicas(manifest);
            let seconds = |it| self.health.seconds(it);
            DonatedModel {
                publisher: known.publisher,
                petname: petnames.get(&known.publisher).cloned(),
                model: known.model.clone(),
                tag: known.tag.clone(),
                manifest: *manifest,
                bytes: bytes.get(&known.key(manifest)).copied().unwrap_or(0),
                whole: known.is_whole,
                since: known.kept_since,
                replicas: replicas.zones,
                oldest_proof: replicas.oldest.map(seconds),
                newest_proof: replicas.newest.map(seconds),
                why: known.verdict.clone().unwrap_or_else(|| {
                    verdict(DonateAction::Keep, "kept", "it was kept when the daemon started", None)
                }),
            }
        };
        let mut models: Vec<DonatedModel> = state.of(Part::Donation).map(model).collect();
        models.sort_by_key(|it| (it.replicas, it.manifest));
        Ok(DonateReport {
            settings: state.settings.clone(),
            used: bytes.values().sum(),
            models,
            candidates: state.of(Part::Candidate).count(),
            target: self.health.target(),
            auditing: self.health.is_auditing(),
            decided: state.decided_at,
            gave_way: self.gave_way.load(Ordering::Relaxed),
        })
    }
}
