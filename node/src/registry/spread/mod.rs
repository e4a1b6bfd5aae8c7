//! Keeps N copies of each published model in a private swarm, in different zones: fetches what is missing, keeps it, and gives up
//! what is too much.
//!
//! In: the user's [`SpreadSettings`], the models in the store, and what the members of the swarm say of theirs. Out: models that
//! are fetched and kept, copies that are given up, and reports. Promise: a claim that decides what this node does is checked by a
//! piece first; every fetch obeys the user's rules; a copy is given up only where as many as asked for have just been proven
//! elsewhere; what the user keeps is never given up; and a drained node is done only when its models are held elsewhere.
//!
//! What to do is decided in [`reg_commons::swarm`], by each node for itself. This room gathers the facts, and acts.

mod error;
mod settings;

mod drive;

mod ask;
mod probe;

mod decide;
mod own;
mod state;
mod written;

mod drain;
mod take;

mod report;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reg_api::clock;
use reg_commons::Moment;
use reg_proto::swarm_state::SwarmModel;
use tokio::sync::Notify;

use self::ask::Dial;
use self::own::{Known, Own};
use self::report::Outlook;
use self::state::{Key, State};
use self::take::Refusal;
use crate::registry::pull::Puller;

pub use self::drive::spread_all;
pub use self::error::SpreadError;
pub use self::settings::SpreadSettings;

/// What this node knows and does about the copies of its swarm.
#[derive(Debug)]
pub struct Spreading {
    puller: Arc<Puller>,
    settings: SpreadSettings,
    state: Mutex<State>,
    /// What members are told; `None` until the store was looked at.
    own: Mutex<Option<Arc<Own>>>,
    known: Mutex<BTreeMap<Key, Known>>,
    /// The models that are being fetched.
    fetching: Mutex<BTreeMap<Key, SwarmModel>>,
    /// The models that could not be taken.
    refusals: Mutex<BTreeMap<Key, Refusal>>,
    /// When peers that are away, or that members have named, were dialled.
    dialled: Mutex<BTreeMap<Dial, Moment>>,
    outlook: Mutex<Arc<Outlook>>,
    /// Wakes the task: something was changed here.
    changed: Notify,
}

impl Spreading {
    /// Returns the copies of a node that has asked no member yet.
    pub fn new(puller: Arc<Puller>, settings: SpreadSettings) -> Self {
        Self {
            puller,
            settings,
            state: Mutex::default(),
            own: Mutex::default(),
            known: Mutex::default(),
            fetching: Mutex::default(),
            refusals: Mutex::default(),
            dialled: Mutex::default(),
            outlook: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Tells whether this node keeps copies for a swarm.
    pub fn is_on(&self) -> bool {
        self.settings.acting().is_some()
    }

    fn now(&self) -> Moment {
        Moment::from_seconds(clock::now())
    }

    fn own(&self) -> Option<Arc<Own>> {
        lock(&self.own).clone()
    }

    fn publish_own(&self, own: Own) {
        *lock(&self.own) = Some(Arc::new(own));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Key, Known>> {
        lock(&self.known)
    }

    fn fetching(&self) -> MutexGuard<'_, BTreeMap<Key, SwarmModel>> {
        lock(&self.fetching)
    }

    fn refusals(&self) -> MutexGuard<'_, BTreeMap<Key, Refusal>> {
        lock(&self.refusals)
    }

    fn dialled(&self) -> MutexGuard<'_, BTreeMap<Dial, Moment>> {
        lock(&self.dialled)
    }

    fn outlook(&self) -> Arc<Outlook> {
        lock(&self.outlook).clone()
    }

    fn publish_outlook(&self, outlook: Outlook) {
        *lock(&self.outlook) = Arc::new(outlook);
    }

    /// Runs `work`, which reads or writes the store, on a thread that may block.
    async fn on_blocking_thread<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, SpreadError> + Send + 'static,
    ) -> Result<T, SpreadError> {
        let spreading = self.clone();
        tokio::task::spawn_blocking(move || work(&spreading)).await?
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
