//! Shows long results page by page, as git does: through `REG_PAGER`, `PAGER` or `less -FRX`, on a terminal only.
//!
//! The pager starts with the first line of a result. From then on everything that the command prints goes through it, notes
//! and errors too, and the command ends when the user leaves the pager. A pager that cannot be started is left out.

use std::io::{self, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use reg_api::printable::Printable;

use crate::args::{Args, CollectionCommand, Command as Asked, Global, Trust};
use crate::output;

/// The pager where the user names none: it ends by itself where all fits the screen (F), keeps colours (R), and leaves what it
/// showed on the screen (X).
const DEFAULT: [&str; 2] = ["less", "-FRX"];
/// The value of `LESS` where the environment has none, as git sets it.
const LESS: &str = "FRX";
/// Characters by which git knows that a shell has to read the name of a pager.
const OF_A_SHELL: &str = "|&;<>()$`\\\"' \t\n*?[#~=%";

/// The pager of this process. A command has one standard output.
static PAGER: Mutex<State> = Mutex::new(State::Off);

#[derive(Debug)]
enum State {
    /// Output goes to standard output.
    Off,
    /// The first output starts the pager.
    Wanted,
    Running {
        child: Child,
        input: ChildStdin,
        _interrupts: Interrupts,
    },
    /// The user has left the pager. Further output is dropped.
    Left(Child),
}

/// Lets the first output of a command start the pager, if the result may be long and goes to a terminal.
pub fn allow(args: &Args) {
    if may_be_long(&args.command) {
        want(&args.global);
    }
}

/// Lets the first output start the pager, unless the user wants no pager or the output goes to no terminal.
fn want(global: &Global) {
    let is_off = global.json || global.quiet || global.view.no_pager || !output::is_result_seen();
    if !is_off {
        *state() = State::Wanted;
    }
}

/// Lets the first output start the pager, if the user has asked for help.
pub fn want_for_help(asked: &clap::Error) {
    let has_none = std::env::args_os().any(|it| it == "--no-pager");
    if asked.kind() == clap::error::ErrorKind::DisplayHelp && !has_none && output::is_result_seen() {
        *state() = State::Wanted;
    }
}

/// Tells whether the result of a command is a list or a report, and not a word or two.
fn may_be_long(command: &Asked) -> bool {
    matches!(
        command,
        Asked::Ls(_)
            | Asked::Log(_)
            | Asked::Help(_)
            | Asked::Info(_)
            | Asked::Files(_)
            | Asked::Search(_)
            | Asked::Formats
            | Asked::Diff { .. }
            | Asked::Trust(Trust::Show { .. } | Trust::Ls)
            | Asked::Collection(CollectionCommand::Show(_))
    )
}

/// Writes a result, made printable, to the pager; `None` where there is none, and the caller writes to standard output.
pub fn write(text: &str) -> Option<io::Result<()>> {
    let mut state = state();
    if matches!(*state, State::Wanted) {
        *state = start();
    }
    put(&mut state, text)
}

/// Writes a note to the pager, if it runs and would be overwritten by a note on the same terminal; returns whether it did.
pub fn write_note(text: &Printable, end: &str) -> bool {
    output::is_seen() && put(&mut state(), &format!("{text}{end}")).is_some()
}

/// Waits until the user has left the pager, if there is one.
pub fn finish() {
    let ended = std::mem::replace(&mut *state(), State::Off);
    if let State::Running { mut child, input, _interrupts } = ended {
        drop(input);
        drop(child.wait());
    } else if let State::Left(mut child) = ended {
        drop(child.wait());
    }
}

fn state() -> std::sync::MutexGuard<'static, State> {
    PAGER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn put(state: &mut State, text: &str) -> Option<io::Result<()>> {
    let written = match state {
        State::Off | State::Wanted => return None,
        State::Left(_) => return Some(Ok(())),
        State::Running { input, .. } => input.write_all(text.as_bytes()).and_then(|()| input.flush()),
    };
    if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        if let State::Running { child, .. } = std::mem::replace(state, State::Off) {
            *state = State::Left(child);
        }
        return Some(Ok(()));
    }
    Some(written)
}

/// Starts the pager, which handles interrupts from then on: in less, Ctrl-C stops a search, not the command.
fn start() -> State {
    let Some(mut command) = command(|name| std::env::var(name).ok()) else { return State::Off };
    let Ok(mut child) = command.stdin(Stdio::piped()).spawn() else { return State::Off };
    match child.stdin.take() {
        Some(input) => State::Running { child, input, _interrupts: Interrupts::heard() },
        None => State::Off,
    }
}

/// Returns the pager that the user wants; `None` where it is none, or `cat`.
fn command(variable: impl Fn(&str) -> Option<String>) -> Option<Command> {
    let named = variable("REG_PAGER").or_else(|| variable("PAGER"));
    let mut command = match named.as_deref().map(str::trim) {
        Some("" | "cat") => return None,
        Some(named) if named.contains(|it| OF_A_SHELL.contains(it)) => {
            let mut shell = Command::new("sh");
            shell.args(["-c", named]);
            shell
        }
        Some(named) => Command::new(named),
        None => {
            let mut less = Command::new(DEFAULT[0]);
            less.args(&DEFAULT[1..]);
            less
        }
    };
    if variable("LESS").is_none() {
        command.env("LESS", LESS);
    }
    Some(command)
}

/// Keeps interrupts from ending this process before the pager.
#[derive(Debug)]
struct Interrupts {
    #[cfg(unix)]
    _heard: Option<tokio::signal::unix::Signal>,
}

impl Interrupts {
    /// Registers for interrupts. Without a runtime, they end this process as before.
    fn heard() -> Self {
        Self {
            #[cfg(unix)]
            _heard: tokio::runtime::Handle::try_current()
                .ok()
                .and_then(|_| tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pager_is_what_the_user_names_and_else_less() {
        for (own, general, expected) in [
            (None, None, Some(vec!["less", "-FRX"])),
            (None, Some("more"), Some(vec!["more"])),
            (Some("bat"), Some("more"), Some(vec!["bat"])),
            (None, Some("less -S"), Some(vec!["sh", "-c", "less -S"])),
            (None, Some("cat"), None),
            (None, Some(""), None),
            (Some(""), Some("more"), None),
        ] {
            let variable = |name: &str| match name {
                "REG_PAGER" => own.map(str::to_owned),
                "PAGER" => general.map(str::to_owned),
                _ => None,
            };
            let found = command(variable).map(|it| {
                let words = std::iter::once(it.get_program()).chain(it.get_args());
                words.map(|it| it.to_string_lossy().into_owned()).collect::<Vec<_>>()
            });
            assert_eq!(found, expected.map(|it| it.into_iter().map(str::to_owned).collect()));
        }
    }
}
