//! `reg`: publishes, finds, pulls and shares open model weights. Each command has a file under `command/`.

#![expect(unreachable_pub, reason = "no crate depends on a binary")]

mod agree;
mod arenas;
mod args;
mod choice;
mod client;
mod command;
mod error;
mod frozen;
mod hugging_face;
mod left_out;
mod ollama;
mod output;
mod progress;
mod sources;
mod ticketed;
mod unstarted;

use std::process::ExitCode;

use clap::Parser;
use reg_api::printable::Printable;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(refused) => return explain(&refused),
    };
    if matches!(args.command, Command::Daemon(_)) {
        arenas::limit();
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::say(format_args!("error: the runtime cannot be started: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let global = args.global.clone();
    let code = match runtime.block_on(command::run(args)) {
        Ok(code) => code,
        Err(error) => frozen::explain(&global, error).report(global.json),
    };
    // Exit at once, even if a blocking task still reads.
    runtime.shutdown_background();
    code
}

/// Prints the help that the user asks for, or why the arguments are refused; returns the exit code. A refused argument may be
/// text from elsewhere.
fn explain(refused: &clap::Error) -> ExitCode {
    let text = refused.render().to_string();
    if refused.use_stderr() {
        output::tell(&Printable::lines(&text), "");
    } else if let Err(error) = output::write(&text) {
        return error.report(false);
    }
    ExitCode::from(u8::try_from(refused.exit_code()).unwrap_or(2))
}
