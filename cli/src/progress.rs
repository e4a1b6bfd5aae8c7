//! Shows the progress of a long command on standard error: a bar on a terminal, else a line every ten seconds.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reg_api::printable::Printable;
use reg_api::progress::Progress;

use crate::output::{size, tell};

/// Time between two lines if standard error is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The progress display of one command.
pub struct Shown {
    bar: Option<ProgressBar>,
    quiet: bool,
    explain: bool,
    last_line: Instant,
}

impl Shown {
    /// Returns an empty display. It prints nothing if `quiet`, and checks only if `explain`.
    pub fn new(quiet: bool, explain: bool) -> Self {
        let terminal = std::io::stderr().is_terminal() && !quiet;
        let bar = terminal.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(ProgressStyle::default_spinner());
            bar
        });
        Self { bar, quiet, explain, last_line: Instant::now() }
    }

    /// Prints one progress event.
    pub fn show(&mut self, progress: &Progress) {
        if self.quiet {
            return;
        }
        match (progress, line(progress, self.explain)) {
            (Progress::Bytes { done, total, peers }, _) => self.bytes(*done, *total, *peers),
            (Progress::Stage { .. }, Some(text)) => self.stage(&text),
            (_, Some(text)) => self.print(&text),
            (_, None) => {}
        }
    }

    fn print(&self, text: &Printable) {
        match &self.bar {
            Some(bar) => bar.suspend(|| tell(text, "\n")),
            None => tell(text, "\n"),
        }
    }

    fn stage(&mut self, text: &Printable) {
        match &self.bar {
            Some(bar) => {
                bar.reset();
                bar.set_style(ProgressStyle::default_spinner());
                bar.set_message(text.to_string());
                bar.enable_steady_tick(Duration::from_millis(120));
            }
            None => tell(text, "\n"),
        }
    }

    fn bytes(&mut self, done: u64, total: u64, peers: usize) {
        let from = if peers > 0 {
            format!(" from {peers} peer{}", if peers == 1 { "" } else { "s" })
        } else {
            String::new()
        };
        if let Some(bar) = &self.bar {
            if bar.length() != Some(total) {
                let template = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}";
                bar.set_style(
                    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
                );
                bar.set_length(total);
            }
            bar.set_position(done);
            bar.set_message(from);
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            self.print(&Printable::line(&format!("{} of {}{from}", size(done), size(total))));
        }
    }
}

/// Returns the line of a progress event that has one.
fn line(progress: &Progress, explain: bool) -> Option<Printable> {
    let text = match progress {
        Progress::Stage { stage, detail } => format!("{stage} {detail}"),
        Progress::Note { text } => format!("note: {text}"),
        Progress::Check(it) if explain => {
            format!("{:8}  {}: {}", it.result.to_string(), it.check, it.detail)
        }
        Progress::Check(_) | Progress::Bytes { .. } => return None,
    };
    Some(Printable::line(&text))
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tests::{assert_tame, hostile};

    #[test]
    fn no_string_steers_the_terminal_by_progress() {
        for text in hostile() {
            let stage = Progress::Stage { stage: text.clone(), detail: text.clone() };
            for progress in [stage, Progress::Note { text: text.clone() }] {
                let shown = line(&progress, true).expect("it has a line");
                assert!(!shown.as_str().contains('\n'), "{shown:?}");
                assert_tame(shown.as_str());
            }
        }
    }
}
