//! Shows the progress of a long command on standard error: a few lines that are drawn anew on a terminal, else a line every ten
//! seconds.
//!
//! Drawing costs nothing that is felt: whatever the rate of events is, it happens at most four times a second.

mod rate;

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reg_api::printable::Printable;
use reg_api::progress::{Progress, Transfer, Waiting};

use self::rate::Rate;
use crate::output::{message, size};
use crate::table::cut;

/// Time between two lines if standard error is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Time between two drawings on a terminal.
const DRAW_EVERY: Duration = Duration::from_millis(250);
/// Time after which a command that says nothing says what it does.
const SILENT_MAX: Duration = Duration::from_secs(1);
/// Columns of a drawn line: one less than those of a usual terminal, where a full line would begin another one.
const COLUMNS: usize = 79;
/// Time without a byte after which this is said.
const STALLED_AFTER: Duration = Duration::from_secs(5);

/// The progress display of one command.
pub struct Shown {
    bar: Option<ProgressBar>,
    quiet: bool,
    explain: bool,
    /// When the last line or drawing was.
    last: Option<Instant>,
    rate: Rate,
    amounts: Amounts,
    transfer: Transfer,
    /// Whether the user was told what was here before.
    has_told_here: bool,
}

/// The bytes of a stage, and from how many sources they come.
#[derive(Debug, Clone, Copy, Default)]
struct Amounts {
    done: u64,
    total: u64,
    sources: usize,
}

/// How far the transfer of this process is, for a user that interrupts it. A command has one transfer at a time.
static LAST: Mutex<Option<(u64, u64, usize, usize)>> = Mutex::new(None);

/// Returns what is kept of a transfer that ends now, in words; `None` where no byte was fetched.
pub fn kept() -> Option<String> {
    let (done, total, files_done, files) = (*LAST.lock().unwrap_or_else(PoisonError::into_inner))?;
    let of_files =
        if files < 2 { String::new() } else { format!(", and {files_done} of {files} files are complete") };
    (done > 0).then(|| format!("{} of {} are kept{of_files}", size(done), size(total)))
}

impl Shown {
    /// Returns an empty display. It prints nothing if `quiet`, and checks only if `explain`.
    pub fn new(quiet: bool, explain: bool) -> Self {
        let terminal = std::io::stderr().is_terminal() && !quiet;
        let bar = terminal.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(4));
            bar.set_style(spinner());
            bar
        });
        Self {
            bar,
            quiet,
            explain,
            last: None,
            rate: Rate::default(),
            amounts: Amounts::default(),
            transfer: Transfer::default(),
            has_told_here: false,
        }
    }

    /// Prints one progress event.
    pub fn show(&mut self, progress: &Progress) {
        self.remember(progress);
        if self.quiet {
            return;
        }
        match (progress, line(progress, self.explain)) {
            (Progress::Bytes { done, total, peers }, _) => {
                self.amounts = Amounts { done: *done, total: *total, sources: *peers };
                self.amounts(Instant::now());
            }
            (Progress::Transfer(transfer), _) => self.transfer(transfer),
            (Progress::Stage { .. }, Some(text)) => self.stage(&text),
            (_, Some(text)) => self.print(&text),
            (_, None) => {}
        }
    }

    /// Notes how far the transfer is, also where nothing is shown.
    fn remember(&self, progress: &Progress) {
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            // What other stages count is no transfer.
            Progress::Stage { stage, .. } => *last = (stage == "fetching").then(Default::default),
            Progress::Bytes { done, total, .. } => {
                *last = last.map(|(_, _, files_done, files)| (*done, *total, files_done, files));
            }
            Progress::Transfer(it) => {
                *last = last.map(|(done, total, ..)| (done, total, it.files_done, it.files));
            }
            Progress::Note { .. } | Progress::Check(_) => {}
        }
    }

    fn print(&self, text: &Printable) {
        match &self.bar {
            Some(bar) => bar.suspend(|| message(text)),
            None => message(text),
        }
    }

    fn stage(&mut self, text: &Printable) {
        (self.rate, self.transfer, self.amounts) = Default::default();
        match &self.bar {
            Some(bar) => {
                bar.set_style(spinner());
                bar.set_message(cut(text.as_str(), COLUMNS - 2));
                bar.enable_steady_tick(DRAW_EVERY);
            }
            None => message(text),
        }
        // The first amounts of a stage are shown at once on a terminal, and after a while in a log.
        self.last = self.bar.is_none().then(Instant::now);
    }

    fn transfer(&mut self, transfer: &Transfer) {
        self.transfer = transfer.clone();
        if transfer.here > 0 && !self.has_told_here {
            self.has_told_here = true;
            let here = size(transfer.here);
            self.print(&Printable::line(&format!(
                "{here} of that was here already: only the rest is fetched"
            )));
        }
    }

    fn amounts(&mut self, now: Instant) {
        let Amounts { done, total, .. } = self.amounts;
        self.rate.add(now, done);
        let every = if self.bar.is_some() { DRAW_EVERY } else { LINE_EVERY };
        if self.last.get_or_insert_with(|| now - every).elapsed() < every {
            return;
        }
        self.last = Some(now);
        let (how, sources) =
            (how_far(self.amounts, &self.rate), sources(self.amounts, &self.transfer, &self.rate, now));
        match &self.bar {
            Some(bar) => {
                bar.disable_steady_tick();
                bar.set_style(plain());
                bar.set_message(
                    drawn(&format!("{} {how}", bar_of(done, total)), &sources, &self.transfer).join("\n"),
                );
            }
            None => {
                let parts = [how, sources, complete(&self.transfer)];
                let said: Vec<&str> = parts.iter().map(String::as_str).filter(|it| !it.is_empty()).collect();
                self.print(&Printable::line(&said.join("; ")));
            }
        }
    }
}

/// Runs `work`, and says what it does if that takes longer than a second and a user sees it.
pub async fn while_waiting<T>(quiet: bool, what: &str, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    if let Ok(done) = tokio::time::timeout(SILENT_MAX, &mut work).await {
        return done;
    }
    let mut shown = Shown::new(quiet, false);
    shown.show(&Progress::Stage { stage: what.to_owned(), detail: String::new() });
    work.await
}

fn spinner() -> ProgressStyle {
    ProgressStyle::default_spinner()
}

fn plain() -> ProgressStyle {
    ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Characters of a drawn bar.
const BAR: u64 = 16;

/// Returns a bar of characters that every terminal has.
fn bar_of(done: u64, total: u64) -> String {
    let full = done.saturating_mul(BAR).checked_div(total).unwrap_or(0).min(BAR) as usize;
    format!("[{}{}]", "=".repeat(full), " ".repeat(BAR as usize - full))
}

/// Returns how far a stage is: its bytes, its rate, and the time that is left.
fn how_far(amounts: Amounts, rate: &Rate) -> String {
    let Amounts { done, total, .. } = amounts;
    let percent = done.saturating_mul(100).checked_div(total).unwrap_or(0).min(100);
    let mut text = format!("{percent} %, {} of {}", size(done), size(total));
    if let Some(per_second) = rate.per_second().filter(|it| *it > 0) {
        text.push_str(&format!(", {}/s", size(per_second)));
        if done < total {
            let left = Duration::from_secs(total.saturating_sub(done) / per_second);
            text.push_str(&format!(", {} left", in_words(left)));
        }
    }
    text
}

/// Returns where the bytes come from, and what they wait for.
fn sources(amounts: Amounts, transfer: &Transfer, rate: &Rate, now: Instant) -> String {
    let web = transfer.web.min(amounts.sources);
    let named = [(amounts.sources - web, "peer"), (web, "web seed")];
    let of = |(count, what): &(usize, &str)| format!("{count} {what}{}", if *count == 1 { "" } else { "s" });
    let from: Vec<String> = named.iter().filter(|(count, _)| *count > 0).map(of).collect();
    let from = if from.is_empty() { String::new() } else { format!("from {}", from.join(" and ")) };
    let waits = match transfer.waits_for {
        Some(Waiting::Turn) => "waits for its turn: it is paused, or another pull comes first".to_owned(),
        Some(Waiting::Peers) => "waits for a peer that has it".to_owned(),
        None if rate.silent_for(now) > STALLED_AFTER && amounts.done < amounts.total => {
            format!("no byte for {}", in_words(rate.silent_for(now)))
        }
        None => String::new(),
    };
    [from, waits].into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join(", ")
}

/// Returns the lines of a drawing: how far it is, the files that are running, then the sources and how many files are left.
fn drawn(how: &str, sources: &str, transfer: &Transfer) -> Vec<String> {
    let mut lines = vec![cut(how, COLUMNS)];
    let running = if transfer.files > 1 { transfer.running.as_slice() } else { &[] };
    for file in running {
        let percent = file.done.saturating_mul(100).checked_div(file.total).unwrap_or(0);
        let name = Printable::line(&file.path);
        let how = format!("{percent:3} %  {} of {}", size(file.done), size(file.total));
        let room = COLUMNS.saturating_sub(how.len() + 4);
        lines.push(format!("  {how}  {}", cut(name.as_str(), room)));
    }
    let last = [sources.to_owned(), complete(transfer)];
    let last: Vec<&str> = last.iter().map(String::as_str).filter(|it| !it.is_empty()).collect();
    if !last.is_empty() {
        lines.push(cut(&format!("  {}", last.join("; ")), COLUMNS));
    }
    lines
}

/// Returns how many files are complete, where there are several.
fn complete(transfer: &Transfer) -> String {
    let Transfer { files_done, files, .. } = transfer;
    if *files < 2 { String::new() } else { format!("{files_done} of {files} files complete") }
}

/// Returns a time as people say it: the two largest units.
fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
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
        Progress::Check(_) | Progress::Bytes { .. } | Progress::Transfer(_) => return None,
    };
    Some(Printable::line(text.trim_end()))
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
    use reg_api::progress::FileAmount;

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
            let running = vec![FileAmount { path: text, done: 1, total: 2 }];
            let lines = drawn("x", "", &Transfer { running, files: 2, ..Transfer::default() });
            assert_eq!(lines.len(), 3);
            lines.iter().for_each(|it| assert_tame(it));
        }
    }

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_summary_says_rate_time_sources_and_what_it_waits_for() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut rate = Rate::default();
        rate.add(start, 0);
        rate.add(at(2), 200 * MIB);
        let amounts = Amounts { done: 200 * MIB, total: 1000 * MIB, sources: 3 };
        assert_eq!(how_far(amounts, &rate), "20 %, 200.0 MiB of 1000.0 MiB, 100.0 MiB/s, 8 s left");
        let of = |transfer: &Transfer, now| sources(amounts, transfer, &rate, now);
        let web = Transfer { web: 1, ..Transfer::default() };
        assert_eq!(of(&web, at(2)), "from 2 peers and 1 web seed");
        assert_eq!(of(&web, at(12)), "from 2 peers and 1 web seed, no byte for 10 s");
        let waits = |waits_for| Transfer { waits_for: Some(waits_for), ..Transfer::default() };
        assert!(of(&waits(Waiting::Turn), at(2)).ends_with("paused, or another pull comes first"));
        assert!(of(&waits(Waiting::Peers), at(2)).contains("waits for a peer"));
        assert_eq!(in_words(Duration::from_secs(3725)), "1 h 2 min");
    }

    #[test]
    fn an_interrupted_transfer_says_what_is_kept() {
        let mut shown = Shown::new(true, false);
        let stage = |stage: &str| Progress::Stage { stage: stage.to_owned(), detail: String::new() };
        let bytes = Progress::Bytes { done: MIB, total: 4 * MIB, peers: 1 };
        for progress in [
            stage("fetching"),
            Progress::Transfer(Transfer { files_done: 1, files: 3, ..Transfer::default() }),
            bytes.clone(),
        ] {
            shown.show(&progress);
        }
        assert_eq!(kept().as_deref(), Some("1.0 MiB of 4.0 MiB are kept, and 1 of 3 files are complete"));
        [stage("hashing"), bytes].iter().for_each(|it| shown.show(it));
        assert_eq!(kept(), None);
    }

    #[test]
    fn a_drawing_names_a_few_files_and_counts_the_others() {
        let file = |name: &str| FileAmount { path: name.to_owned(), done: MIB, total: 4 * MIB };
        let running = vec![file("a.safetensors"), file(&"long".repeat(40))];
        let transfer = Transfer { running, files_done: 3, files: 30, ..Transfer::default() };
        let lines = drawn("how", "from 1 peer", &transfer);
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[1], "   25 %  1.0 MiB of 4.0 MiB  a.safetensors");
        assert_eq!(lines[3], "  from 1 peer; 3 of 30 files complete");
        assert!(lines.iter().all(|it| it.chars().count() <= COLUMNS), "{lines:?}");
        assert_eq!(drawn("x", "", &Transfer { files: 1, ..transfer }).len(), 1, "one file is the first line");
        assert_eq!(bar_of(1, 2), "[========        ]");
    }
}
