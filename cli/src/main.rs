//! `reg`: publishes, finds, pulls and shares open model weights. Each command has a file under `command/`.

#![expect(unreachable_pub, reason = "no crate depends on a binary")]

mod agree;
mod arenas;
mod args;
mod choice;
mod client;
mod colour;
mod command;
mod complete;
mod draft;
mod error;
mod frozen;
mod grammar;
mod guide;
mod hugging_face;
mod ids;
mod last_search;
mod left_out;
mod logging;
mod markdown;
mod model_pattern;
mod ollama;
mod origin;
mod output;
mod pager;
mod place;
mod progress;
#[cfg(test)]
mod schemas;
mod short_names;
mod sources;
mod table;
mod ticketed;
#[cfg(test)]
mod transcripts;
mod unstarted;
mod wrap;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::args::Command;
use crate::short_names::Refused;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().map(place::expanded_word).collect();
    if words.len() < 2 {
        return output::help(grammar::FIRST_HELP)
            .map_or_else(|error| error.report(false), |()| ExitCode::SUCCESS);
    }
    let mut all = grammar::grammar();
    let (args, origins) = match short_names::parse(&mut all, words.clone()) {
        Ok(read) => read,
        Err(Refused::Usage(refused)) => return grammar::explain(&all, &words, refused),
        Err(Refused::Unclear { error, as_json }) => return error.report(as_json),
    };
    pager::allow(&args);
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
    let code = match runtime.block_on(command::run(args, origins)) {
        Ok(code) => code,
        Err(error) => frozen::explain(&global, error).report(global.json),
    };
    pager::finish();
    // Exit at once, even if a blocking task still reads.
    runtime.shutdown_background();
    code
}
