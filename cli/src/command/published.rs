//! Prints the result of a publication, for every command that publishes.

use reg_api::report::Published;
use serde_json::{Value, json};

use crate::args::Global;
use crate::error::CliError;
use crate::output::{self, size};

/// Prints what was published. With `--json`, adds the fields of `more`.
///
/// Returns whether the caller may print more text: not with `--json` or `--quiet`.
pub fn print(global: &Global, published: &Published, more: Value) -> Result<bool, CliError> {
    if global.json {
        let mut document = json!(published);
        if let (Value::Object(document), Value::Object(more)) = (&mut document, more) {
            document.extend(more);
        }
        output::json(&document)?;
        return Ok(false);
    }
    output::line(published.reference.to_string())?;
    if !global.quiet {
        eprintln!("{} files, {}, {}", published.files, size(published.bytes), published.manifest);
    }
    Ok(!global.quiet)
}

/// Notes that peers cannot fetch the model from this machine, because no daemon runs.
pub fn note_no_daemon() {
    eprintln!(
        "note: no daemon runs, so no peer can fetch the model from this machine: start one with `reg daemon`"
    );
}
