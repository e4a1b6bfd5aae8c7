//! [`donate_all`]: the task that keeps models for others, until the node ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reg_commons::Chance;
use reg_proto::digest::Digest;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::Donating;
use crate::registry::chance::draw;

/// How often the task looks whether a donation gives way. A download that does so goes on for as long at most.
const WATCH: Duration = Duration::from_secs(1);
/// How often the free space of the disk is looked at.
const DISK: Duration = Duration::from_secs(5);
/// The first decision comes so long after the start, or at the usual time if that is shorter: peers are found first.
const FIRST: Duration = Duration::from_secs(20);
/// Donations that are pulled at once.
const PULLS_MAX: usize = 2;

/// A donation that is being pulled.
struct Running {
    manifest: Digest,
    key: String,
    task: AbortHandle,
}

/// Decides again and again, fetches what was decided, and gives way to the owner, until the node ends.
pub async fn donate_all(donating: Arc<Donating>) {
    let Some(mut chance) = draw().map(Chance::new) else {
        warn!(
            "nothing is kept for others: the system gives no random numbers, and donors that act alike do harm"
        );
        return;
    };
    let mut tick = interval(WATCH);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut pulls, mut running) = (JoinSet::new(), BTreeMap::<Id, Running>::new());
    let mut rounds = JoinSet::new();
    let (mut next_round, mut next_look) = (Instant::now() + FIRST.min(donating.config.every), Instant::now());
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = donating.changed.notified() => next_round = Instant::now(),
            Some(ended) = pulls.join_next_with_id() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                running.remove(&id);
            }
            Some(_) = rounds.join_next() => {}
        }
        let keys: Vec<(Id, String)> = running.iter().map(|(id, it)| (*id, it.key.clone())).collect();
        let looks_at_disk = Instant::now() >= next_look;
        if looks_at_disk {
            next_look = Instant::now() + DISK;
        }
        let watched =
            donating.on_blocking_thread(move |donating| donating.watch_store(&keys, looks_at_disk)).await;
        let Ok(Watched { is_idle, ended }) = watched else { continue };
        for id in ended {
            if let Some(running) = running.get(&id) {
                running.task.abort();
            }
        }
        if is_idle {
            continue;
        }
        if rounds.is_empty() && Instant::now() >= next_round {
            next_round = Instant::now() + donating.config.every;
            rounds.spawn(Box::pin(donating.clone().round(chance.next())));
        }
        while pulls.len() < PULLS_MAX {
            let under_way: BTreeSet<Digest> = running.values().map(|it| it.manifest).collect();
            let Some((manifest, known)) = donating.to_pull(&under_way) else { break };
            let key = known.key(&manifest);
            let task = pulls.spawn(Box::pin(donating.clone().pull(manifest, known)));
            running.insert(task.id(), Running { manifest, key, task });
        }
    }
}

/// What was seen in the store.
struct Watched {
    /// Whether nothing is donated, and nothing kept for others.
    is_idle: bool,
    /// The pulls of donations that are none any more.
    ended: Vec<Id>,
}

impl Donating {
    /// Looks which pulls are of no use any more; gives way where the disk is nearly full. Blocks.
    fn watch_store(&self, pulls: &[(Id, String)], looks_at_disk: bool) -> Watched {
        let store = &self.puller.store;
        if looks_at_disk {
            match store.give_way() {
                Ok(gone) if gone.is_empty() => {}
                Ok(gone) => info!(
                    models = gone.len(),
                    "the disk is nearly full: models that were kept for others are removed"
                ),
                Err(error) => warn!(%error, "models that are kept for others do not give way"),
            }
        }
        let ended: Vec<Id> =
            pulls.iter().filter(|(_, key)| !store.is_donated(key)).map(|(id, _)| *id).collect();
        if !ended.is_empty() {
            // So that none of them begins again.
            let _changing = self.change();
            self.settle();
        }
        let is_idle = self.state().settings.is_none() && pulls.is_empty();
        Watched { is_idle, ended }
    }
}
