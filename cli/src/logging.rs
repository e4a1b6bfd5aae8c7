//! Decides what a command logs, and where.

use reg_node::daemon::telemetry::{self, Logging};

use crate::args::Global;
use crate::colour;
use crate::error::CliError;
use crate::output;

/// What the node of a command logs: failures of its own. Standard error is the command's.
pub const OF_COMMAND: &str = "off,reg=error";
/// With `-v`: what our own code does, and failures of libraries.
const VERBOSE: &str = "error,reg=info,rustls=off,libp2p_gossipsub=off";
/// With `-vv`: all that our own code says, and what libraries do.
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
