//! What is told of a publication, whichever command has made it.

use reg_api::report::Published;
use serde_json::{Value, json};

use crate::args::Global;
use crate::error::CliError;
use crate::output::{self, size};

/// Tells what was published, in JSON together with the fields of `more`; tells whether more is to be said in words.
pub fn tell(global: &Global, published: &Published, more: Value) -> Result<bool, CliError> {
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

/// Says that what was published is not to be had from this machine, for it runs no daemon.
pub fn note_no_daemon() {
    eprintln!(
        "note: no daemon runs here, so nobody can fetch it from this machine: start one with `reg daemon`"
    );
}
