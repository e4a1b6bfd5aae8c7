//! Prints the result of a publication, for every command that publishes.

use std::process::ExitCode;

use reg_api::counted::counted;
use reg_api::ingest::IngestPlan;
use serde_json::{Value, json};

use crate::args::Global;
use crate::command::publish::Done;
use crate::error::CliError;
use crate::left_out;
use crate::output::{self, size};

/// Prints what was published, then `lines` about it, what was left out, and a note if no daemon serves it.
///
/// With `--json`, prints one document, with the fields of `more`. With `--quiet`, prints the reference only.
pub fn report(
    global: &Global,
    done: &Done,
    more: Value,
    lines: impl IntoIterator<Item = String>,
    is_served: bool,
) -> Result<(), CliError> {
    if global.json {
        return output::json(&document(done, more));
    }
    show(global, done, lines)?;
    note(global, is_served);
    Ok(())
}

fn document(done: &Done, more: Value) -> Value {
    let mut document = json!(done.published);
    document["stored_bytes"] = json!(done.stored);
    if let Value::Object(document) = &mut document {
        for more in [left_out::fields(&done.left_out), more] {
            if let Value::Object(more) = more {
                document.extend(more);
            }
        }
    }
    document
}

fn show(global: &Global, done: &Done, lines: impl IntoIterator<Item = String>) -> Result<(), CliError> {
    let Done { published, left_out, copied, stored, dropped } = done;
    output::line(published.reference.to_string())?;
    if global.quiet {
        return Ok(());
    }
    output::say(format_args!(
        "{}, {}, {}",
        counted(published.files, "file"),
        size(published.bytes),
        published.manifest
    ));
    for line in lines.into_iter().chain(left_out::lines(left_out)).chain(dropped.iter().cloned()) {
        output::say(line);
    }
    if let Some(bytes) = stored {
        output::say(format_args!("the store grew by {}", size(*bytes)));
    }
    if *copied {
        output::say(
            "note: large files were copied: no link to them can be made in the store, which may be on another disk",
        );
    }
    Ok(())
}

fn note(global: &Global, is_served: bool) {
    if !is_served && !global.quiet {
        output::say(
            "note: no daemon runs, so no peer can fetch the model from this machine: start one with `reg daemon`",
        );
    }
}

/// Prints the results of several publications: as text one after the other, as JSON in one document at the end.
#[derive(Debug)]
pub struct Several<'a> {
    global: &'a Global,
    models: Vec<Value>,
    failed: Vec<Value>,
    /// The names that the command skipped because they are no models; `None` for commands that skip nothing.
    skipped: Option<Vec<String>>,
    /// The exit code of the first failure.
    code: Option<ExitCode>,
}

impl<'a> Several<'a> {
    /// Returns a report without a result yet.
    pub const fn new(global: &'a Global) -> Self {
        Self { global, models: Vec::new(), failed: Vec::new(), skipped: None, code: None }
    }

    /// Adds a model that was published.
    pub fn add(
        &mut self,
        done: &Done,
        more: Value,
        lines: impl IntoIterator<Item = String>,
    ) -> Result<(), CliError> {
        if self.global.json {
            self.models.push(document(done, more));
            return Ok(());
        }
        show(self.global, done, lines)
    }

    /// Adds what would be published of a source.
    pub fn plan(&mut self, source: &str, plan: &IngestPlan, document: Value) -> Result<(), CliError> {
        if self.global.json {
            self.models.push(document);
            return Ok(());
        }
        if !self.global.quiet {
            output::say(source);
        }
        left_out::print(self.global, plan)
    }

    /// Adds names that the command skipped because they are no models.
    pub fn skipped(&mut self, names: Vec<String>) {
        if !self.global.quiet {
            for name in &names {
                output::say(format_args!("note: {name} is skipped: its name or its files make no model"));
            }
        }
        self.skipped = Some(names);
    }

    /// Adds a model that was not published.
    pub fn failed(&mut self, source: &str, error: CliError) -> Result<(), CliError> {
        if self.global.json {
            self.failed.push(json!({ "source": source, "error": error.document() }));
        } else {
            output::say(format_args!("{source}:"));
            error.report(false);
        }
        self.code.get_or_insert(error.exit_code());
        Ok(())
    }

    /// Prints the document, and returns the exit code of the first failure.
    pub fn end(self, is_served: bool) -> Result<ExitCode, CliError> {
        if self.global.json {
            let mut document = json!({ "models": self.models, "failed": self.failed });
            if let Some(skipped) = self.skipped {
                document["skipped"] = json!(skipped);
            }
            output::json(&document)?;
        } else {
            note(self.global, is_served);
        }
        Ok(self.code.unwrap_or_else(output::ok))
    }
}
