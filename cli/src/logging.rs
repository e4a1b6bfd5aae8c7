//! Decides what a command logs, and where.

use reg_node::daemon::telemetry::{self, Logging};

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
    let filter = match global.verbose {
        0 => filter,
        1 => VERBOSE,
        _ => MORE_VERBOSE,
    };
    let file = global.log_file.as_deref();
    let logging = Logging { filter, has_colours: colour::is_wanted(output::is_seen()), file };
    telemetry::start(logging).map_err(|error| match file {
        Some(path) => CliError::of_file(path, &error),
        None => CliError::new("other", error),
    })
}
