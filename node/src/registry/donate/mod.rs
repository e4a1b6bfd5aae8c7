//! Keeps the scarcest models for others, on disk space that the user donates.
//!
//! In: how much the user donates and of which models, what the catalogue lists, and how many replicas are proven elsewhere. Out:
//! models in the store beside the owner's, and the reason for each decision. Promise: what rules, denylists or missing consent refuse
//! is never kept; donations take nothing from the owner's cache, and give way at once where the owner needs the disk.
//!
//! What to take, keep and give back is decided in [`reg_commons`]. This room chooses candidates, has their replicas counted, and does
//! what was decided.

mod error;
mod known;
mod settings;
mod written;

mod candidates;
mod drive;
mod pulls;
mod round;
mod words;

mod report;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use self::known::State;
use crate::registry::catalogue::Cataloguing;
use crate::registry::health::Health;
use crate::registry::pull::Puller;
use crate::registry::serve::DonatedLimit;

pub use self::drive::donate_all;
pub use self::error::DonateError;
pub use self::settings::DonateConfig;

/// What the user donates, and what is kept for others.
#[derive(Debug)]
pub struct Donating {
    puller: Arc<Puller>,
    catalogue: Arc<Cataloguing>,
    health: Arc<Health>,
    /// How fast donated models are sent.
    limit: Arc<DonatedLimit>,
    config: DonateConfig,
    /// Read from the store at the first use.
    state: OnceLock<Mutex<State>>,
    /// Held while what the user donates is changed, and while a decision is carried out.
    changing: Mutex<()>,
    /// Wakes the task that decides: the user has changed what is donated.
    changed: Notify,
    /// Bytes that were given back because the owner needed the disk.
    gave_way: AtomicU64,
}

impl Donating {
    /// Returns the donations in the store of `puller`. Nothing is taken unless [`donate_all`] runs.
    pub fn new(
        puller: Arc<Puller>,
        catalogue: Arc<Cataloguing>,
        health: Arc<Health>,
        limit: Arc<DonatedLimit>,
        config: DonateConfig,
    ) -> Self {
        let (state, changing, changed, gave_way) =
            (OnceLock::new(), Mutex::default(), Notify::new(), AtomicU64::new(0));
        Self { puller, catalogue, health, limit, config, state, changing, changed, gave_way }
    }

    /// Returns what is known, read at the first call. Blocks.
    fn state(&self) -> MutexGuard<'_, State> {
        let read = || Mutex::new(written::read(&self.puller.store, self.health.pace()));
        self.state.get_or_init(read).lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no other caller changes what is donated or carries out a decision.
    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work`, which reads and writes the store, on a thread that may block.
    async fn on_blocking_thread<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        let donating = self.clone();
        tokio::task::spawn_blocking(move || work(&donating)).await
    }
}
