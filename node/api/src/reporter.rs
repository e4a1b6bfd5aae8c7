//! [`Reporter`]: passes the progress of a long use case to its caller.

use tokio::sync::mpsc;

use crate::check::Check;
use crate::progress::Progress;

/// Sends progress to one listener. A slow listener misses events: the work never waits for it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reporter(mpsc::Sender<Progress>);

impl Reporter {
    /// Returns a reporter that sends to `listener`.
    pub const fn new(listener: mpsc::Sender<Progress>) -> Self {
        Self(listener)
    }

    /// Returns a reporter without a listener.
    pub fn silent() -> Self {
        Self(mpsc::channel(1).0)
    }

    /// Sends an event to the listener, unless the channel is full or closed.
    pub fn tell(&self, progress: Progress) {
        drop(self.0.try_send(progress));
    }

    /// Reports that a new stage begins.
    pub fn stage(&self, stage: &str, detail: impl ToString) {
        self.tell(Progress::Stage { stage: stage.to_owned(), detail: detail.to_string() });
    }

    /// Reports each of the `new` checks, and appends them to `all`.
    pub fn checks(&self, new: Vec<Check>, all: &mut Vec<Check>) {
        for check in new {
            self.tell(Progress::Check(check.clone()));
            all.push(check);
        }
    }

    /// Reports something that the user should know now.
    pub fn note(&self, text: impl ToString) {
        self.tell(Progress::Note { text: text.to_string() });
    }
}
