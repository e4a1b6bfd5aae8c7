//! Prints the result of a publication, for every command that publishes.

use reg_api::report::Published;
use serde_json::{Value, json};

use crate::args::Global;
use crate::error::CliError;
use crate::output::{self, size};

/// Prints what was published, then `lines` about it, and a note if no daemon serves it.
///
/// With `--json`, prints one document, with the fields of `more`. With `--quiet`, prints the reference only.
pub fn report(
    global: &Global,
    published: &Published,
    more: Value,
    lines: impl IntoIterator<Item = String>,
    is_served: bool,
) -> Result<(), CliError> {
    if global.json {
        let mut document = json!(published);
        if let (Value::Object(document), Value::Object(more)) = (&mut document, more) {
            document.extend(more);
        }
        return output::json(&document);
    }
    output::line(published.reference.to_string())?;
    if global.quiet {
        return Ok(());
    }
    output::say(format_args!("{} files, {}, {}", published.files, size(published.bytes), published.manifest));
    for line in lines {
        output::say(format_args!("{line}"));
    }
    if !is_served {
        output::say(format_args!(
            "note: no daemon runs, so no peer can fetch the model from this machine: start one with `reg daemon`"
        ));
    }
    Ok(())
}
