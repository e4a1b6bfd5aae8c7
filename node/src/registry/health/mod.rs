//! Counts the replicas of models by audit: asks holders for random pieces, and verifies them by the piece states of the store.
//!
//! In: the models that are whole in the store, peers that say they hold them, and the user's [`HealthSettings`]. Out: how many
//! replicas of each model were proven and when, and one event when a model that the user keeps falls below its target, and one
//! when it has recovered. Promise: a claim alone counts for nothing, copies in one zone count as one, audits fetch no more bytes
//! an hour than the user allows, and what was counted survives a kill.
//!
//! What to ask next, and what counts, is decided in [`reg_commons`]. This room asks and verifies. A model that the node does not
//! share is not audited, because the questions would tell peers of it. This node's own copy is in no count.

mod settings;

mod alarms;
mod candidates;
mod drive;
mod holders;
mod models;
mod piece;

mod pace;
mod spent;
mod state;
mod written;

mod report;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use reg_commons::Replicas;
use reg_proto::digest::Digest;

use self::candidates::Candidates;
use self::pace::Pace;
use self::spent::Spent;
use self::state::State;
use crate::net::Network;
use crate::registry::announce::News;
use crate::registry::fetch::Fetching;
use crate::registry::resolve::Resolver;
use crate::registry::trust::Trust;
use crate::store::Store;
use crate::webhook::{Webhook, WebhookUrl};

pub use self::candidates::Candidate;
pub use self::drive::audit_all;
pub use self::settings::{HealthSettings, PACE_MAX, TARGET, Zones};

/// What this node knows of the replicas of its models.
#[derive(Debug)]
pub struct Health {
    store: Store,
    network: Network,
    trust: Arc<Trust>,
    news: Arc<News>,
    resolver: Arc<Resolver>,
    fetching: Arc<Fetching>,
    settings: HealthSettings,
    pace: Pace,
    /// Read from its file at the first use, so that a command without a need for it does not read it.
    state: OnceLock<Mutex<State>>,
    /// Held while the file is written.
    writing: Mutex<()>,
    spent: Spent,
    webhook: Mutex<Option<Arc<Webhook>>>,
    candidates: Mutex<Candidates>,
}

impl Health {
    /// Returns the knowledge of a node. It audits only where [`audit_all`] runs.
    pub fn new(
        store: Store,
        network: Network,
        trust: Arc<Trust>,
        news: Arc<News>,
        resolver: Arc<Resolver>,
        fetching: Arc<Fetching>,
        settings: HealthSettings,
    ) -> Self {
        let (pace, state, spent) = (Pace::new(settings.pace), OnceLock::new(), Spent::default());
        let webhook = Mutex::new(settings.webhook.clone().map(|url| Arc::new(Webhook::new(url))));
        let (writing, candidates) = (Mutex::default(), Mutex::default());
        Self {
            store,
            network,
            trust,
            news,
            resolver,
            fetching,
            settings,
            pace,
            state,
            writing,
            spent,
            webhook,
            candidates,
        }
    }

    /// Returns where events are sent.
    fn webhook(&self) -> Option<Arc<Webhook>> {
        self.webhook.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes where events are sent.
    pub fn set_webhook(&self, url: Option<WebhookUrl>) {
        let webhook = url.map(|url| Arc::new(Webhook::new(url)));
        *self.webhook.lock().unwrap_or_else(PoisonError::into_inner) = webhook;
    }

    /// Reads the file, which may have 128 MiB, on a thread that may block.
    async fn open(self: &Arc<Self>) {
        let health = self.clone();
        drop(tokio::task::spawn_blocking(move || drop(health.state())).await);
    }

    /// Returns how many replicas of a model are proven at other nodes.
    pub fn replicas(&self, manifest: &Digest) -> Replicas {
        self.state().auditor.audits().count(manifest, self.pace.now())
    }

    /// Returns the audited models that have fewer proven replicas at other nodes than the target, at most `max`, those with
    /// the fewest first. A model that was never audited counts as one without replicas.
    pub fn scarce(&self, max: usize) -> Vec<(Digest, Replicas)> {
        self.state().scarce(self.settings.target, max, self.pace.now())
    }

    /// Returns the models that are audited.
    pub fn audited(&self) -> BTreeSet<Digest> {
        self.state().models.keys().copied().collect()
    }

    /// Writes what was counted, if it has changed. A failure is told in the log; the counts are then lost at the next start.
    pub async fn save(self: &Arc<Self>) {
        let health = self.clone();
        drop(tokio::task::spawn_blocking(move || health.write()).await);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let read = || Mutex::new(State::read(&self.settings, self.pace));
        self.state.get_or_init(read).lock().unwrap_or_else(PoisonError::into_inner)
    }
}
