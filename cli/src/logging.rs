//! Decides what a command logs, and where.

use reg_node::daemon::{LogSettings, telemetry};

use crate::args::Global;
use crate::colour;
use crate::error::CliError;
use crate::output;

/// The filter for the node of a command: only its errors, because the command itself uses standard error.
pub const OF_COMMAND: &str = "off,reg=error";
/// With `-v`: information of our own code, and errors of libraries.
const VERBOSE: &str = "error,reg=info,rustls=off,libp2p_gossipsub=off";
/// With `-vv`: details of our own code, and information of libraries.
const MORE_VERBOSE: &str = "info,reg=debug";

/// Starts logging with `filter`, or with what `-v` asks for.
pub fn start(global: &Global, filter: &str) -> Result<(), CliError> {
    start_as(global, LogSettings { filter: filter.to_owned(), ..LogSettings::default() })
}

/// Starts logging as a daemon, with the settings of its configuration. `-v` and `--log-file` win over them.
pub fn start_as(global: &Global, settings: LogSettings) -> Result<(), CliError> {
    if global.verbose > 0 {
        telemetry::fix_filter();
    }
    let filter = match global.verbose {
        0 => settings.filter,
        1 => VERBOSE.to_owned(),
        _ => MORE_VERBOSE.to_owned(),
    };
    let file = global.log_file.clone().or(settings.file);
    let settings = LogSettings { filter, file, ..settings };
    telemetry::start(&settings, colour::is_wanted(output::is_seen())).map_err(|error| match &settings.file {
        Some(path) => CliError::of_file(path, &error),
        None => CliError::new("other", error),
    })
}
