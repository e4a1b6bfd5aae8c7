//! [`BranchTurns`]: publishes the commits to one branch one after the other.
//!
//! A commit changes the version that its branch has, and keeps the files that it does not name. Two that were published at once
//! would each lack the files of the other. The turn is taken once the whole body is here, so a slow client keeps no other waiting.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use reg_proto::name::{ModelName, PublisherId, Tag};
use tokio::sync::OwnedMutexGuard;

/// A branch of a repository.
pub(super) type Branch = (PublisherId, ModelName, Tag);

type Key = (PublisherId, String, Tag);

/// The branches to which commits are being published. There are never more of them than requests.
#[derive(Debug, Default)]
pub(super) struct BranchTurns(Mutex<BTreeMap<Key, Arc<tokio::sync::Mutex<()>>>>);

impl BranchTurns {
    /// Waits until no other commit to the branch is being published. The turn ends when the result is dropped.
    pub(super) async fn take(&self, (publisher, model, tag): &Branch) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry((*publisher, model.folded(), tag.clone())).or_default().clone()
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_commits_to_the_same_branch_wait() {
        let turns = BranchTurns::default();
        let publisher = PublisherId::from_bytes([1; 32]);
        let branch = |model: &str, tag: &str| -> Branch {
            (publisher, model.parse().expect("a name"), tag.parse().expect("a tag"))
        };
        let first = turns.take(&branch("m", "latest")).await;
        let other = turns.take(&branch("m", "v2")).await;
        let upper = branch("M", "latest");
        let same = turns.take(&upper);
        tokio::pin!(same);
        assert!(futures::poll!(same.as_mut()).is_pending(), "case makes no other model");
        drop(first);
        assert!(futures::poll!(same.as_mut()).is_ready());
        drop(other);
        drop(turns.take(&branch("n", "latest")).await);
        assert_eq!(turns.0.lock().expect("not poisoned").len(), 1, "the others are forgotten");
    }
}
