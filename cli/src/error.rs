//! Reports errors to the user: what failed, why, what to do next, and an exit code.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use reg_api::fault::{self, Fault, FaultKind};
use reg_api::printable::Printable;
use reg_node::gateway::admin::error::{ErrorDocument, FrozenTag};
use serde_json::json;

use crate::output::tell;

/// An error that ends a command.
#[derive(Debug)]
pub struct CliError {
    code: u8,
    document: ErrorDocument,
}

/// Exit code of an interrupted command.
pub const INTERRUPTED: u8 = 130;

impl CliError {
    /// Returns an error of `kind` with a message. The kind sets the exit code; an unknown kind counts as "other".
    pub fn new(kind: &str, message: impl ToString) -> Self {
        let document = ErrorDocument {
            kind: kind.to_owned(),
            message: Printable::lines(&message.to_string()),
            causes: Vec::new(),
            hint: None,
            frozen: None,
        };
        Self { code: code(kind), document }
    }

    /// Returns an error of `kind` with the message of `error`, and its sources as causes. A full disk is neither a
    /// mistake of the user nor an unknown failure: it has a code of its own.
    pub fn from_error(kind: &str, error: &dyn std::error::Error) -> Self {
        let failed = fault::system_call(error.source());
        let mut it = Self::new(kind_of(kind, failed), error);
        if matches!(kind, "other" | "invalid")
            && let Some(hint) = failed.and_then(fault::disk_hint)
        {
            it = it.hint(hint);
        }
        let mut source = error.source();
        while let Some(cause) = source {
            it.document.causes.push(Printable::lines(&cause.to_string()));
            source = cause.source();
        }
        it
    }

    /// Returns the error of a file at `path` that this command cannot write.
    pub fn of_file(path: &Path, error: &io::Error) -> Self {
        let kind = match FaultKind::of_path(error) {
            FaultKind::Invalid => "invalid",
            FaultKind::DiskFull => "disk_full",
            _ => "other",
        };
        let it = Self::new(kind, format_args!("{} cannot be written: {error}", path.display()));
        match fault::disk_hint(error) {
            Some(hint) => it.hint(hint),
            None => it,
        }
    }

    /// Returns an error with the kind, causes and hint of `error`.
    pub fn from_fault(error: &dyn Fault) -> Self {
        ErrorDocument::of(error).into()
    }

    /// Adds what to do next.
    pub fn hint(mut self, hint: impl ToString) -> Self {
        self.document.hint = Some(Printable::lines(&hint.to_string()));
        self
    }

    /// Tells whether the error offers a flag as a way on.
    pub fn offers(&self, flag: &str) -> bool {
        self.document.hint.as_ref().is_some_and(|hint| hint.as_str().contains(flag))
    }

    /// Returns the error of a command that the user has interrupted, with what to do next.
    pub fn interrupted(hint: &str) -> Self {
        let mut it = Self::new("interrupted", "interrupted").hint(hint);
        it.code = INTERRUPTED;
        it
    }

    /// Returns the frozen tag that the error is about.
    pub const fn frozen(&self) -> Option<&FrozenTag> {
        self.document.frozen.as_ref()
    }

    /// Replaces the hint, and adds a cause.
    pub fn explained(mut self, cause: String, hint: String) -> Self {
        self.document.causes.push(Printable::lines(&cause));
        self.document.hint = Some(Printable::lines(&hint));
        self
    }

    /// Returns the document that programs read.
    pub const fn document(&self) -> &ErrorDocument {
        &self.document
    }

    /// Returns the exit code of a command that ends with it.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }

    /// Prints it to standard error, and returns the exit code.
    pub fn report(&self, as_json: bool) -> ExitCode {
        tell(&self.shown(as_json), "\n");
        self.exit_code()
    }

    /// Returns what is printed. Further lines of a message are indented, so that none looks like a hint of ours.
    fn shown(&self, as_json: bool) -> Printable {
        if as_json {
            return Printable::json(&json!({ "error": self.document }).to_string());
        }
        let indented = |text: &Printable| text.as_str().replace('\n', "\n    ");
        let mut text = format!("error: {}", indented(&self.document.message));
        for cause in &self.document.causes {
            text.push_str(&format!("\n  because {}", indented(cause)));
        }
        if let Some(hint) = &self.document.hint {
            text.push_str(&format!("\nhint: {}", indented(hint)));
        }
        Printable::lines(&text)
    }
}

impl From<ErrorDocument> for CliError {
    fn from(document: ErrorDocument) -> Self {
        Self { code: code(&document.kind), document }
    }
}

/// Returns the kind of an error that comes from a failed call of the system.
fn kind_of<'a>(kind: &'a str, failed: Option<&io::Error>) -> &'a str {
    match failed {
        Some(error) if fault::is_disk_full(error) && matches!(kind, "other" | "invalid") => "disk_full",
        _ => kind,
    }
}

fn code(kind: &str) -> u8 {
    match kind {
        "invalid" => 2,
        "not_found" => 3,
        "verification" => 4,
        "unreachable" => 5,
        "denied" => 6,
        "disk_full" => 7,
        "no_match" => 8,
        "retry_later" => 75,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tests::{assert_tame, hostile};

    #[test]
    fn no_string_steers_the_terminal_by_an_error_or_looks_like_a_hint() {
        for text in hostile() {
            let error = CliError::new("other", &text).explained(text.clone(), format!("try {text}"));
            let shown = error.shown(false);
            assert_tame(shown.as_str());
            assert!(
                shown
                    .as_str()
                    .lines()
                    .all(|it| ["error: ", "  ", "hint: try"].iter().any(|own| it.starts_with(own)))
            );
            assert_tame(error.shown(true).as_str());
        }
    }
}
