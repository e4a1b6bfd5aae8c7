//! Prints results to standard output, and what accompanies them to standard error: lines, tables, JSON. Everything goes
//! through [`Printable`], so no name or message from elsewhere steers the terminal. A closed pipe is not an error.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use reg_api::printable::Printable;
use reg_api::size::{Given, Size};
use serde::Serialize;

use crate::args::Global;
use crate::colour;
use crate::error::CliError;
use crate::pager;
use crate::table::{Column, Table};
use crate::wrap;

/// Columns of a line where no terminal says how many it has.
const COLUMNS: usize = 80;
/// Lines are no longer than that, because longer ones are hard to follow with the eye.
const COLUMNS_MAX: usize = 120;
/// And no shorter, however narrow the terminal is: words would be broken.
const COLUMNS_MIN: usize = 40;
/// Fewest columns of text in the last column of a table.
const TEXT_MIN: usize = 24;

/// Prints a line.
pub fn line(text: impl AsRef<str>) -> Result<(), CliError> {
    put(&Printable::line(text.as_ref()), "\n")
}

/// Prints one JSON document.
pub fn json(value: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string(value).map_err(|error| CliError::new("other", error))?;
    put(&Printable::json(&text), "\n")
}

/// Prints `text`, which may have several lines, without a line break at its end.
pub fn write(text: &str) -> Result<(), CliError> {
    put(&Printable::lines(text), "")
}

/// Prints a help text, with its headings in bold where colours are wanted.
pub fn help(text: &str) -> Result<(), CliError> {
    let text = Printable::lines(text);
    if colour::is_wanted(io::stdout().is_terminal()) {
        return send(&colour::headings(&text));
    }
    put(&text, "")
}

/// Prints a line of a result that has sentences, ids or paths, in as many lines as it needs on the terminal. As with
/// [`message`], it stays whole where nothing says how wide a line may be.
pub fn sentence(text: impl AsRef<str>) -> Result<(), CliError> {
    let text = Printable::line(text.as_ref());
    match columns().or_else(|| width(terminal_size::terminal_size_of(io::stdout()))) {
        Some(room) => put(&Printable::lines(&wrap::filled(text.as_str(), bounded(room))), "\n"),
        None => put(&text, "\n"),
    }
}

/// Prints a line to standard error, where no result is ever printed, in as many lines as it needs on the terminal.
pub fn say(text: impl Display) {
    message(&Printable::line(&text.to_string()));
}

/// Prints a message to standard error, in lines that fit the terminal. Without a terminal, and where `COLUMNS` says nothing,
/// its lines stay whole: programs and logs read them.
pub fn message(text: &Printable) {
    match columns().or_else(|| width(terminal_size::terminal_size_of(io::stderr()))) {
        Some(room) => tell(&Printable::lines(&wrap::filled(text.as_str(), bounded(room))), "\n"),
        None => tell(text, "\n"),
    }
}

/// Tells whether a user sees results as they are printed.
pub fn is_result_seen() -> bool {
    io::stdout().is_terminal()
}

/// Tells whether a user sees what is printed to standard error.
pub fn is_seen() -> bool {
    io::stderr().is_terminal()
}

/// Prints printable text to standard error, and what ends it. A standard error that is closed is not an error.
pub fn tell(text: &Printable, end: &str) {
    if pager::write_note(text, end) {
        return;
    }
    let mut out = io::stderr().lock();
    let written = match colour::is_wanted(out.is_terminal()) {
        true => write!(out, "{}{end}", colour::messages(text)),
        false => write!(out, "{text}{end}"),
    };
    drop(written.and_then(|()| out.flush()));
}

fn put(text: &Printable, end: &str) -> Result<(), CliError> {
    send(&format!("{text}{end}"))
}

/// Whether the program that reads the output has ended.
static READER_HAS_GONE: AtomicBool = AtomicBool::new(false);

/// Tells whether the program that reads the output has ended, so that more output is for nothing.
pub fn reader_has_gone() -> bool {
    READER_HAS_GONE.load(Ordering::Relaxed)
}

/// Writes a text that has been made printable.
fn send(text: &str) -> Result<(), CliError> {
    let written = pager::write(text).unwrap_or_else(|| {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    });
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            READER_HAS_GONE.store(true, Ordering::Relaxed);
            Ok(())
        }
        Err(error) => Err(CliError::new("other", format_args!("standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Prints a table that fits the terminal, or whole where the user asks for that. Names the columns that are left out.
pub fn draw(global: &Global, table: &Table) -> Result<(), CliError> {
    // A table without rows has nothing to say, not even a blank line.
    if table.is_empty() {
        return Ok(());
    }
    let drawn = table.draw((!global.view.full).then(room));
    put(&Printable::lines(&drawn.text), "")?;
    if !drawn.left_out.is_empty() && !global.quiet {
        say(format_args!("--full shows more: {}", drawn.left_out.join(", ").to_lowercase()));
    }
    Ok(())
}

/// Prints a sentence, in as many lines as it needs on the terminal.
pub fn text(global: &Global, text: impl AsRef<str>) -> Result<(), CliError> {
    let mut table = Table::new([Column::text("", TEXT_MIN)]);
    table.row([text.as_ref().to_owned()]);
    draw(global, &table)
}

/// Prints rows as [`table`] does, on a terminal that is cleared first.
pub fn redraw(rows: &[Vec<String>]) -> Result<(), CliError> {
    /// To the first line, and nothing below it.
    const CLEAR: &str = "\x1b[H\x1b[2J";
    send(&format!("{CLEAR}{}", drawn(rows)))
}

/// Prints rows that have no titles. The last column of each is text that goes on in further lines.
pub fn table(rows: &[Vec<String>]) -> Result<(), CliError> {
    put(&drawn(rows), "")
}

fn drawn(rows: &[Vec<String>]) -> Printable {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let last = (columns > 1).then(|| Column::text("", TEXT_MIN));
    let mut table = Table::new((1..columns.max(2)).map(|_| Column::named("", TEXT_MIN)).chain(last));
    rows.iter().for_each(|row| table.row(row.iter().cloned()));
    Printable::lines(&table.draw(Some(room())).text)
}

/// Returns how many columns a line may have: those of the terminal, within bounds; 80 where nothing says otherwise.
pub fn room() -> usize {
    let of_terminal = || width(terminal_size::terminal_size_of(io::stdout()));
    bounded(columns().or_else(of_terminal).unwrap_or(COLUMNS))
}

fn bounded(columns: usize) -> usize {
    columns.clamp(COLUMNS_MIN, COLUMNS_MAX)
}

/// Returns the columns that the user's shell names.
fn columns() -> Option<usize> {
    std::env::var("COLUMNS").ok().and_then(|it| it.parse().ok()).filter(|it| *it > 0)
}

/// Returns the columns of a terminal; `None` where there is none.
fn width(of: Option<(terminal_size::Width, terminal_size::Height)>) -> Option<usize> {
    of.map(|(width, _)| usize::from(width.0)).filter(|it| *it > 0)
}

/// Returns a number of bytes in binary units: `1.2 MiB`.
pub fn size(bytes: u64) -> String {
    Size(bytes).to_string()
}

/// Returns a number of bytes that the user has set, in the units in which it was written: `1 GB` or `1 GiB`.
pub fn given(bytes: u64) -> String {
    Given(bytes).to_string()
}

/// Returns a time, given in seconds since 1970, as UTC text: `2026-11-24 10:17`.
pub fn time(seconds: u64) -> String {
    let form = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]");
    let time = i64::try_from(seconds).ok().and_then(|it| time::OffsetDateTime::from_unix_timestamp(it).ok());
    time.and_then(|time| time.format(form).ok()).unwrap_or_else(|| format!("{seconds} s after 1970"))
}

/// Returns a digest cut to twelve hex digits, enough to tell models apart.
pub fn short(digest: &reg_proto::digest::Digest) -> String {
    format!("sha256:{}", &digest.hex()[..12])
}

/// Returns the exit code of a command that has succeeded.
pub const fn ok() -> ExitCode {
    ExitCode::SUCCESS
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Random strings that are tried at every place that prints.
    const STRINGS: usize = 10_000;

    /// Returns strings of control characters, escape sequences and letters, each time the same.
    pub(crate) fn hostile() -> impl Iterator<Item = String> {
        const PARTS: [&str; 16] = [
            "\x1b]52;c;ZXZpbA==\x07",
            "\x1b[2J",
            "\u{9b}31m",
            "\u{9d}0;title\u{9c}",
            "\r",
            "\n",
            "\t",
            "\x08",
            "\x7f",
            "\0",
            "\u{202e}",
            "\u{2028}",
            "\u{e0041}",
            "name",
            "日本",
            "\x1bP",
        ];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        (0..STRINGS).map(move |_| {
            let length = next() % 12 + 1;
            let one = |word: u64| match word % 3 {
                0 => char::from((word >> 8) as u8).to_string(),
                _ => PARTS[(word >> 16) as usize % PARTS.len()].to_owned(),
            };
            (0..length).map(|_| one(next())).collect()
        })
    }

    /// Fails if a terminal would act on a text, line breaks apart.
    pub(crate) fn assert_tame(text: &str) {
        let steers = |it: char| (it.is_control() && it != '\n') || "\u{202e}\u{2028}\u{e0041}".contains(it);
        assert!(!text.contains(steers), "{text:?}");
    }

    #[test]
    fn no_string_steers_the_terminal_by_a_line_or_json() {
        for text in hostile() {
            let line = Printable::line(&text);
            assert!(!line.as_str().contains('\n'), "{line:?}");
            let json = Printable::json(&serde_json::to_string(&text).expect("a string is JSON"));
            assert_eq!(serde_json::from_str::<String>(json.as_str()).expect("it stays JSON"), text);
            for printable in [&line, &json, &Printable::lines(&text)] {
                assert_tame(printable.as_str());
            }
        }
    }
}
