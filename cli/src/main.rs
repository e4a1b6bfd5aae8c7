//! `reg`: publishes, finds, pulls and shares open model weights. Each command has a file under `command/`.

#![expect(unreachable_pub, reason = "no crate depends on a binary")]

mod arenas;
mod args;
mod choice;
mod client;
mod command;
mod error;
mod frozen;
mod hugging_face;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    if matches!(args.command, Command::Daemon(_)) {
        arenas::limit();
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime cannot be started: {error}");
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
