//! Tests that this machine does not allow: one line says what was not tried, and how to try it.

use std::io::Write as _;

/// Says on standard error that a test, or a part of it, was not tried: what, why not, and how to try it.
///
/// The line is written to standard error itself: what `println!` prints is kept back for a test that passes, and a test
/// that was not tried must not look like one that passed.
pub fn not_tried(what: &str, why: &str, how: &str) {
    let line = line(what, why, how);
    // A closed standard error is no reason to fail.
    let _shown = std::io::stderr().write_all(line.as_bytes());
}

/// One line, whatever a tool has said.
fn line(what: &str, why: &str, how: &str) -> String {
    let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("SKIPPED: {what}: {why}. To try it: {how}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_is_one_line() {
        let said = line("a full disk", "mount: only root\n  may do that", "run as root");
        assert_eq!(said, "SKIPPED: a full disk: mount: only root may do that. To try it: run as root\n");
    }
}
