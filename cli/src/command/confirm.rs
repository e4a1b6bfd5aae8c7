//! Asks the user before a command does what cannot be undone.

use std::io::{self, BufRead, IsTerminal};

use reg_api::printable::Printable;

use crate::error::CliError;
use crate::output;

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 1024;

/// Asks `question` on the terminal, unless the user has said `yes` beforehand.
///
/// Refuses as `invalid` where there is no terminal, and as `denied` where the user does not agree.
pub fn confirm(yes: bool, question: &str) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    let answer = ask(&format!("{question} [y/N] "), "--yes")?;
    if is_yes(&answer) {
        return Ok(());
    }
    Err(CliError::new("denied", "nothing was changed"))
}

/// Asks a question that a script is not asked: where there is no terminal, the answer is no.
pub fn agrees(question: &str) -> Result<bool, CliError> {
    if !io::stdin().is_terminal() || !output::is_seen() {
        return Ok(false);
    }
    let answer = ask(&format!("{question} [y/N] "), "--public")?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.to_lowercase().as_str())
}

/// Asks for a line on the terminal. Where there is no terminal, refuses as `invalid` and names the flag to use instead.
pub fn ask(question: &str, flag: &str) -> Result<String, CliError> {
    if !io::stdin().is_terminal() {
        return Err(CliError::new(
            "invalid",
            "this command asks before it goes on, and there is no terminal",
        )
        .hint(format_args!("read what it shows above, and add {flag}")));
    }
    let failed = |error| CliError::from_error("other", &error);
    output::tell(&Printable::lines(question), "");
    let mut answer = String::new();
    let mut input = io::Read::take(io::stdin().lock(), ANSWER_BYTES_MAX);
    input.read_line(&mut answer).map_err(failed)?;
    Ok(answer.trim().to_owned())
}
