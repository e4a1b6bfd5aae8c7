//! Prints results to standard output: lines, tables, JSON. A closed pipe is not an error.

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use crate::error::CliError;

/// Prints a line.
pub fn line(text: impl AsRef<str>) -> Result<(), CliError> {
    write(&format!("{}\n", text.as_ref()))
}

/// Prints one JSON document.
pub fn json(value: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string(value).map_err(|error| CliError::new("other", error))?;
    line(text)
}

/// Prints `text` without a line break.
pub fn write(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(CliError::new("other", format_args!("standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Prints rows with aligned columns; the last column is not padded.
pub fn table(rows: &[Vec<String>]) -> Result<(), CliError> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|it| it.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut shown = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            shown.push_str(cell);
            shown.push_str(&" ".repeat(width.saturating_sub(cell.chars().count()) + 2));
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    write(&text)
}

/// Returns a number of bytes in binary units: `1.2 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
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
