//! Reports what is known of the replicas of models.

use std::collections::BTreeSet;

use reg_api::clock;
use reg_api::health::{Audited, HealthReport, HolderFailure, HolderHealth, ModelHealth};
use reg_api::report::ModelSummary;
use reg_commons::{Failure, PASSES_NEEDED, PeerCopy};

use super::Health;
use crate::metrics::ReplicaStates;

impl Health {
    /// Returns the bytes that audits have fetched.
    pub fn spent(&self) -> Audited {
        let since_start = self.fetching.metrics.audited_bytes();
        Audited { last_hour: self.spent.last_hour(clock::now()), since_start }
    }

    /// Counts the audited models in the store by their replicas. Where this node has audited nothing, there are none.
    pub fn states(&self) -> ReplicaStates {
        let mut counted = ReplicaStates::default();
        // The file of an earlier node is not read for this.
        if !self.settings.audits || self.state.get().is_none() {
            return counted;
        }
        let elsewhere = self.elsewhere();
        let (state, now) = (self.state(), self.pace.now());
        for manifest in state.models.keys().filter(|it| !elsewhere.contains(it)) {
            let is_endangered = state.observations.get(manifest).is_some_and(|it| it.is_endangered);
            let has_enough = state.auditor.audits().count(manifest, now).zones >= self.settings.target;
            match (is_endangered, has_enough) {
                (true, _) => counted.endangered += 1,
                (false, true) => counted.enough += 1,
                (false, false) => counted.scarce += 1,
            }
        }
        counted
    }

    /// Reports on models in the store.
    pub fn report(&self, models: Vec<ModelSummary>) -> HealthReport {
        let asked = self.spent.by_model(clock::now());
        let models = models.into_iter().map(|model| {
            let asked = asked.get(&model.manifest).copied().unwrap_or(0);
            self.report_model(model, asked)
        });
        HealthReport {
            models: models.collect(),
            auditing: self.settings.audits,
            target: self.settings.target,
            budget_per_hour: self.settings.budget,
            pace: self.pace.get(),
            passes_needed: PASSES_NEEDED as u32,
            audited: self.spent(),
            swarm: None,
        }
    }

    fn report_model(&self, model: ModelSummary, asked_last_hour: u64) -> ModelHealth {
        let ModelSummary { publisher, petname, model, tags, manifest, .. } = model;
        let (state, now) = (self.state(), self.pace.now());
        let audits = state.auditor.audits();
        let replicas = audits.count(&manifest, now);
        let copies = audits.copies(&manifest);
        let mut claimed = state.models.get(&manifest).map(|it| it.claimed.clone()).unwrap_or_default();
        claimed.extend(copies.into_iter().flat_map(|it| it.iter().map(|(peer, _)| *peer)));
        let proven = copies.into_iter().flat_map(|it| it.iter()).filter(|(_, it)| it.is_proven(now));
        let zones: BTreeSet<String> = proven.map(|(_, it)| it.zone.to_string()).collect();
        let holder = |copy: &PeerCopy| {
            let passes = copy.passes.fresh(now);
            let failed = copy.failed.as_ref().map(|it| match it.why {
                Failure::NotGiven => HolderFailure::NotGiven,
                Failure::Wrong => HolderFailure::Wrong,
            });
            (copy.zone.to_string(), u32::try_from(passes.count()).unwrap_or(u32::MAX), failed)
        };
        let holders = copies.into_iter().flat_map(|it| it.iter()).map(|(peer, copy)| {
            let (zone, passes, failed) = holder(copy);
            let newest_pass = copy.passes.newest().map(|it| self.pace.seconds(it));
            HolderHealth { peer: *peer, zone, proven: copy.is_proven(now), passes, newest_pass, failed }
        });
        ModelHealth {
            holders: holders.collect(),
            publisher,
            petname,
            model,
            tags,
            manifest,
            audited: state.models.contains_key(&manifest) && self.settings.audits,
            replicas: replicas.zones,
            copies: replicas.copies,
            claimed: u32::try_from(claimed.len()).unwrap_or(u32::MAX),
            zones: zones.into_iter().collect(),
            oldest_proof: replicas.oldest.map(|it| self.pace.seconds(it)),
            newest_proof: replicas.newest.map(|it| self.pace.seconds(it)),
            endangered: state.observations.get(&manifest).is_some_and(|it| it.is_endangered),
            asked_last_hour,
        }
    }
}
