//! [`Turns`]: publications of one tag are one after the other, from the number of the record to its commit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use reg_api::clock::age;
use reg_api::reporter::Reporter;
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use super::Publishing;
use super::error::PublishError;
use crate::registry::limits::{TURN_LOOK, TURN_TIMEOUT};

/// A lock for each tag that is being published.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>);

/// The right to number and move a tag. Others wait until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    tag: String,
    _guard: OwnedMutexGuard<()>,
}

impl Turn {
    /// Returns the key of the tag.
    pub(super) fn tag(&self) -> &str {
        &self.tag
    }
}

impl Turns {
    fn lock_of(&self, tag: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.lock().expect("no holder of this lock panics");
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        locks.entry(tag.to_owned()).or_default().clone()
    }
}

impl Publishing {
    /// Waits until no other publication of a tag is under way. `tag` is the key of the tag's document.
    ///
    /// A preparation with a command that has ended without a word is taken over.
    ///
    /// # Errors
    /// The others take too long.
    pub(super) async fn turn(&self, tag: String, reporter: &Reporter) -> Result<Turn, PublishError> {
        let lock = self.turns.lock_of(&tag);
        if let Ok(guard) = lock.clone().try_lock_owned() {
            return Ok(Turn { tag, _guard: guard });
        }
        let start = Instant::now();
        reporter.stage("waiting", self.holder_of(&tag));
        while start.elapsed() < TURN_TIMEOUT {
            if let Ok(guard) = timeout(TURN_LOOK, lock.clone().lock_owned()).await {
                return Ok(Turn { tag, _guard: guard });
            }
            self.preparations.take_over(&tag);
        }
        Err(PublishError::Busy { waited: start.elapsed() })
    }

    fn holder_of(&self, tag: &str) -> String {
        match self.preparations.waiting(tag) {
            Some(since) => {
                let since = age(since.elapsed().as_secs());
                format!("another publication of this tag has waited for its signature for {since}")
            }
            None => "another publication of this tag is under way".to_owned(),
        }
    }
}
