//! Follows publishers: pulls their new versions by itself, after a delay, and keeps the newest of them.
//!
//! In: what the user wants of a publisher, and heads of tags that this node hears of or asks for. Out: models in the store, and
//! reports. Promise: no version is pulled before its delay has passed, and every pull obeys the user's rules. The newest version
//! that has been in the store for longer than a week is never evicted.

mod error;
mod follows;
mod stored;

mod plan;

mod hearing;
mod keeping;
mod marks;

mod look;
mod turns;
mod watch;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::registry::pull::Puller;

pub use self::error::FollowError;
pub use self::watch::watch;

/// The follows of the user.
#[derive(Debug)]
pub struct Following {
    puller: Arc<Puller>,
    /// Held while a follow is read, changed and written.
    changing: Mutex<()>,
    /// Wakes the task that pulls: a follow was added or changed.
    changed: Notify,
    /// Keys of documents that cannot be read, of which the log has been told.
    warned: Mutex<BTreeSet<String>>,
}

impl Following {
    /// Returns the follows in the store of `puller`.
    pub fn new(puller: Arc<Puller>) -> Self {
        Self { puller, changing: Mutex::default(), changed: Notify::new(), warned: Mutex::default() }
    }
}
