//! Reports errors to the user: what failed, why, what to do next, and an exit code.

use std::process::ExitCode;

use reg_api::fault::Fault;
use reg_node::gateway::admin::error::{ErrorDocument, FrozenTag};
use serde_json::json;

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
            message: message.to_string(),
            causes: Vec::new(),
            hint: None,
            frozen: None,
        };
        Self { code: code(kind), document }
    }

    /// Returns an error of `kind` with the message of `error`, and its sources as causes.
    pub fn from_error(kind: &str, error: &dyn std::error::Error) -> Self {
        let mut it = Self::new(kind, error);
        let mut source = error.source();
        while let Some(cause) = source {
            it.document.causes.push(cause.to_string());
            source = cause.source();
        }
        it
    }

    /// Returns an error with the kind, causes and hint of `error`.
    pub fn from_fault(error: &dyn Fault) -> Self {
        ErrorDocument::of(error).into()
    }

    /// Adds what to do next.
    pub fn hint(mut self, hint: impl ToString) -> Self {
        self.document.hint = Some(hint.to_string());
        self
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
        self.document.causes.push(cause);
        self.document.hint = Some(hint);
        self
    }

    /// Prints it to standard error, and returns the exit code.
    pub fn report(&self, as_json: bool) -> ExitCode {
        if as_json {
            eprintln!("{}", json!({ "error": self.document }));
            return ExitCode::from(self.code);
        }
        eprintln!("error: {}", self.document.message);
        for cause in &self.document.causes {
            eprintln!("  because {cause}");
        }
        if let Some(hint) = &self.document.hint {
            eprintln!("hint: {hint}");
        }
        ExitCode::from(self.code)
    }
}

impl From<ErrorDocument> for CliError {
    fn from(document: ErrorDocument) -> Self {
        Self { code: code(&document.kind), document }
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
