//! Tells the user once when a model that is kept falls below its target, and once when it has recovered: in the log and by a
//! webhook.

use std::sync::Arc;

use reg_api::clock;
use reg_api::health::{HealthEvent, HealthEventKind};
use reg_commons::Event;
use reg_proto::digest::Digest;
use reg_proto::json;
use tokio::sync::mpsc::Receiver;
use tracing::{info, warn};

use super::Health;
use crate::registry::publishers::tags;

/// Events that wait for the webhook: a few hundred models that fall at once, as after a failure of a site. Further ones are in
/// the log only.
pub(super) const ALARMS_WAITING_MAX: usize = 256;

/// A model with what is new about it.
#[derive(Debug)]
pub(super) struct Alarm {
    manifest: Digest,
    event: Event,
}

impl Health {
    /// Compares the count of each model that the user keeps with its target. Returns what is new, which must be written before
    /// it is told.
    pub(super) fn observe_all(&self) -> Vec<Alarm> {
        let (now, target) = (self.pace.now(), self.settings.target);
        let mut state = self.state();
        let state = &mut *state;
        let mut new = Vec::new();
        for (manifest, _) in state.models.iter().filter(|(_, it)| it.is_told) {
            let zones = state.auditor.audits().count(manifest, now).zones;
            let event = state.observations.observe(*manifest, zones, target, now);
            new.extend(event.map(|event| Alarm { manifest: *manifest, event }));
        }
        state.has_changed |= !new.is_empty();
        new
    }

    /// Describes an event. Blocks.
    fn describe(&self, alarm: &Alarm) -> HealthEvent {
        let names = self.state().models.get(&alarm.manifest).map(|it| it.names.clone()).unwrap_or_default();
        let (event, replicas, target) = match alarm.event {
            Event::Endangered { replicas, target } => (HealthEventKind::Endangered, replicas, target),
            Event::Recovered { replicas, target } => (HealthEventKind::Recovered, replicas, target),
        };
        let first = names.into_iter().next();
        let tags = first.as_ref().and_then(|(publisher, model)| {
            let records = tags::records(&self.store, *publisher, Some(model)).ok()?;
            let of_model = records.iter().filter(|it| it.record().manifest.digest == alarm.manifest);
            Some(of_model.map(|it| it.record().tag.clone()).collect())
        });
        let (publisher, model) = first.unzip();
        HealthEvent {
            event,
            manifest: alarm.manifest,
            publisher,
            model,
            tags: tags.unwrap_or_default(),
            replicas,
            target,
            at: clock::now(),
            node: self.network.peer_id(),
        }
    }
}

/// Tells events one after the other. A webhook that cannot be reached is told in the log once, until it takes an event.
pub(super) async fn tell_all(health: Arc<Health>, mut alarms: Receiver<Alarm>) {
    let mut has_failed = false;
    while let Some(alarm) = alarms.recv().await {
        let of = health.clone();
        let Ok(told) = tokio::task::spawn_blocking(move || of.describe(&alarm)).await else { continue };
        let HealthEvent { manifest, replicas, target, .. } = &told;
        let name = told.name();
        match told.event {
            HealthEventKind::Endangered => {
                warn!(model = name, %manifest, replicas, target, "a model is endangered: too few replicas are proven at other nodes");
            }
            HealthEventKind::Recovered => {
                info!(model = name, %manifest, replicas, target, "a model has recovered: enough replicas are proven at other nodes");
            }
        }
        let Some(webhook) = health.webhook() else { continue };
        match webhook.send(json::to_vec(&told)).await {
            Ok(()) => has_failed = false,
            Err(error) if !std::mem::replace(&mut has_failed, true) => {
                warn!(%error, "health.webhook does not take an event");
            }
            Err(_) => {}
        }
    }
}
