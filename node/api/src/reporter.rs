//! [`Reporter`]: where a long use case tells how far it is.

use tokio::sync::mpsc;

use crate::check::Check;
use crate::progress::Progress;

/// Where progress goes; a slow listener misses events, it does not slow the work. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reporter(mpsc::Sender<Progress>);

impl Reporter {
    /// Returns a reporter that sends to `listener`.
    pub const fn new(listener: mpsc::Sender<Progress>) -> Self {
        Self(listener)
    }

    /// Returns a reporter that nobody listens to.
    pub fn silent() -> Self {
        Self(mpsc::channel(1).0)
    }

    /// Tells the listener, if it keeps up.
    pub fn tell(&self, progress: Progress) {
        drop(self.0.try_send(progress));
    }

    /// Tells that a new stage begins.
    pub fn stage(&self, stage: &str, detail: impl ToString) {
        self.tell(Progress::Stage { stage: stage.to_owned(), detail: detail.to_string() });
    }

    /// Tells what was looked at, and keeps it.
    pub fn checks(&self, new: Vec<Check>, all: &mut Vec<Check>) {
        for check in new {
            self.tell(Progress::Check(check.clone()));
            all.push(check);
        }
    }

    /// Tells something the user should know now.
    pub fn note(&self, text: impl ToString) {
        self.tell(Progress::Note { text: text.to_string() });
    }
}
