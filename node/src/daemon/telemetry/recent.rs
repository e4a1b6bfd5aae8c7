//! [`Recent`]: the last lines of the log, for the page. They are numbered, and bounded in number and bytes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use reg_api::clock;
use reg_api::page::LogLine;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::fields::Fields;

/// Lines that are kept: what a screen or two shows.
const LINES_MAX: usize = 500;
/// Characters of a line that are kept.
const LINE_MAX: usize = 1000;

static RECENT: Mutex<Held> = Mutex::new(Held { last: 0, lines: VecDeque::new() });

struct Held {
    last: u64,
    lines: VecDeque<LogLine>,
}

fn held() -> MutexGuard<'static, Held> {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the lines after the one with the number `after` that are kept, the oldest first.
pub(crate) fn since(after: u64) -> Vec<LogLine> {
    let held = held();
    // A number of an earlier process is higher than any of this one.
    let after = if after > held.last { 0 } else { after };
    held.lines.iter().filter(|it| it.id > after).cloned().collect()
}

/// Keeps the last lines.
#[derive(Debug)]
pub(super) struct Recent;

impl<S: Subscriber> Layer<S> for Recent {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let (metadata, text) = (event.metadata(), Fields::of(event).line());
        let line = LogLine {
            id: 0,
            time: clock::now(),
            level: metadata.level().as_str().to_lowercase(),
            target: metadata.target().to_owned(),
            text: text.chars().take(LINE_MAX).collect(),
        };
        let mut held = held();
        held.last += 1;
        let id = held.last;
        held.lines.push_back(LogLine { id, ..line });
        while held.lines.len() > LINES_MAX {
            held.lines.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn the_last_lines_are_numbered_and_bounded() {
        let subscriber = tracing_subscriber::registry().with(Recent);
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..LINES_MAX + 10 {
                tracing::info!(number, name = "x\n", "one");
            }
        });
        let all = since(0);
        let last = all.last().expect("lines").clone();
        assert!(
            all.len() == LINES_MAX && last.text.starts_with("one") && last.text.contains("number=509"),
            "{last:?}"
        );
        assert!(!last.text.contains('\n') && last.level == "info", "{last:?}");
        assert_eq!(since(last.id - 2).len(), 2);
        assert_eq!(since(last.id + 1).len(), LINES_MAX, "of another process");
    }
}
