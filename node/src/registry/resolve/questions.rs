//! [`QuestionSlots`]: bounds the questions that are under way at once. A slow question gives its slot to the next one
//! and continues.
//!
//! Otherwise peers that delay their answers until the timeout would delay all questions behind them.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The free slots. The caller bounds how many slow questions continue without one.
#[derive(Debug, Clone)]
pub(super) struct QuestionSlots {
    free: Arc<Semaphore>,
    slow: Duration,
}

/// The right to begin one question.
#[derive(Debug)]
pub(super) struct QuestionSlot {
    permit: OwnedSemaphorePermit,
    slow: Duration,
}

impl QuestionSlots {
    /// Returns `count` slots. A question gives its slot up after `slow`.
    pub(super) fn new(count: usize, slow: Duration) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), slow }
    }

    /// Waits for a free slot.
    pub(super) async fn slot(&self) -> QuestionSlot {
        let permit = self.free.clone().acquire_owned().await.expect("it is never closed");
        QuestionSlot { permit, slow: self.slow }
    }
}

impl QuestionSlot {
    /// Runs `task`. Holds the slot until the task is done or slow.
    pub(super) async fn hold<T>(self, task: impl Future<Output = T>) -> T {
        let mut task = pin!(task);
        match timeout(self.slow, &mut task).await {
            Ok(done) => done,
            Err(_) => {
                drop(self.permit);
                task.await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_never_ends_holds_up_nothing() {
        let slots = QuestionSlots::new(2, Duration::from_millis(1));
        let mut stuck = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let slot = slots.slot().await;
            stuck.spawn(slot.hold(std::future::pending::<()>()));
        }
        let done = slots.slot().await.hold(async { 7 }).await;
        assert_eq!((done, stuck.len()), (7, 20));
        let (_one, _two) = (slots.slot().await, slots.slot().await);
        assert!(slots.slot().now_or_never().is_none(), "no more than two at once are not slow");
    }
}
