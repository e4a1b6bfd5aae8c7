//! Prints results to standard output, and what accompanies them to standard error: lines, tables, JSON. Everything goes
//! through [`Printable`], so no name or message from elsewhere steers the terminal. A closed pipe is not an error.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use reg_api::printable::Printable;
use reg_api::size::Size;
use serde::Serialize;

use crate::error::CliError;

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

/// Prints a line to standard error, where no result is ever printed.
pub fn say(text: impl Display) {
    tell(&Printable::line(&text.to_string()), "\n");
}

/// Tells whether a user sees what is printed to standard error.
pub fn is_seen() -> bool {
    io::stderr().is_terminal()
}

/// Prints printable text to standard error, and what ends it. A standard error that is closed is not an error.
pub fn tell(text: &Printable, end: &str) {
    let mut out = io::stderr().lock();
    drop(write!(out, "{text}{end}").and_then(|()| out.flush()));
}

fn put(text: &Printable, end: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match write!(out, "{text}{end}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(CliError::new("other", format_args!("standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Prints rows with aligned columns; the last column is not padded.
pub fn table(rows: &[Vec<String>]) -> Result<(), CliError> {
    put(&aligned(rows), "")
}

fn aligned(rows: &[Vec<String>]) -> Printable {
    let rows: Vec<Vec<Printable>> =
        rows.iter().map(|row| row.iter().map(|cell| Printable::line(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|it| it.as_str().chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut shown = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            shown.push_str(cell.as_str());
            shown.push_str(&" ".repeat(width.saturating_sub(cell.as_str().chars().count()) + 2));
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    Printable::lines(&text)
}

/// Returns a number of bytes in binary units: `1.2 MiB`.
pub fn size(bytes: u64) -> String {
    Size(bytes).to_string()
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
    fn no_string_steers_the_terminal_by_a_line_a_table_or_json() {
        for text in hostile() {
            let line = Printable::line(&text);
            assert!(!line.as_str().contains('\n'), "{line:?}");
            let table = aligned(&[vec![text.clone(), "x".to_owned()], vec!["y".to_owned(), text.clone()]]);
            assert_eq!(table.as_str().lines().count(), 2, "{table:?}");
            let json = Printable::json(&serde_json::to_string(&text).expect("a string is JSON"));
            assert_eq!(serde_json::from_str::<String>(json.as_str()).expect("it stays JSON"), text);
            for printable in [&line, &table, &json, &Printable::lines(&text)] {
                assert_tame(printable.as_str());
            }
        }
    }
}
