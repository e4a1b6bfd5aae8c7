//! Reports errors to the user: what failed, why, what to do next, and an exit code.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use reg_api::fault::{self, Fault, FaultKind};
use reg_api::printable::Printable;
use reg_node::gateway::admin::error::{ErrorDocument, FrozenTag};
use serde_json::json;

use crate::output::{message, tell};
use crate::progress;

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
            FaultKind::Internal => "other",
            kind => kind.name(),
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

    /// Returns the error of a transfer that the user has interrupted: what is kept, and how it goes on.
    pub fn interrupted_transfer() -> Self {
        let kept = progress::kept().map_or_else(String::new, |it| format!("{it}; "));
        Self::interrupted(&format!("{kept}the same command goes on where it was"))
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
        match as_json {
            true => tell(&self.shown(true), "\n"),
            false => message(&self.shown(false)),
        }
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

/// Returns the exit code of a kind. One that this version does not know counts as "other".
fn code(kind: &str) -> u8 {
    FaultKind::named(kind).unwrap_or(FaultKind::Internal).exit_code()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use reg_node::gateway::admin::error::status;

    use super::*;
    use crate::output::tests::{assert_tame, hostile};

    /// A test that shows a command failing so, for every kind: the file, and the test in it or the exit code in a transcript.
    const SHOWN_BY: [(FaultKind, &str, &str); 9] = [
        (FaultKind::Internal, "cli/src/unstarted.rs", "a_disk_that_takes_no_file_says_so_with_its_exit_code"),
        (FaultKind::Invalid, "cli/tests/cmd/errors.md", "? 2"),
        (FaultKind::NotFound, "cli/tests/cmd/errors.md", "? 3"),
        (FaultKind::Verification, "testnet/tests/job/damage.rs", "a_verification_changes_no_file"),
        (FaultKind::Unreachable, "testnet/tests/job/main_job.rs", "failed(5"),
        (FaultKind::Denied, "testnet/tests/job/updating.rs", "a_folder_of_another_model_is_left_alone"),
        (FaultKind::DiskFull, "testnet/tests/job/disks.rs", "failed(7"),
        (FaultKind::NoMatch, "testnet/tests/job/selection.rs", "what_matches_nothing_is_an_error_of_its_own"),
        (FaultKind::RetryLater, "testnet/tests/job/shared.rs", "failed(75"),
    ];

    fn workspace() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    /// Returns the rows of the table of kinds, as docs/guide/troubleshooting.md shows it.
    fn table() -> String {
        let row = |kind: FaultKind| {
            let (name, code, status) = (kind.name(), kind.exit_code(), status(kind).as_u16());
            format!("| `{name}` | {code} | {status} | {} | {} |\n", kind.meaning(), kind.advice())
        };
        FaultKind::ALL.into_iter().map(row).collect()
    }

    /// With REG_BLESS=1, the table is written anew.
    #[test]
    fn the_guide_has_the_table_of_all_kinds() {
        let path = workspace().join("docs/guide/troubleshooting.md");
        let text = fs::read_to_string(&path).expect("a guide");
        let head =
            "| kind | exit code | status of the API | what it means | what to do |\n|---|---|---|---|---|\n";
        let (before, rest) = text.split_once(head).expect("the table begins");
        let end = rest.find("\n\n").map_or(rest.len(), |at| at + 1);
        if std::env::var_os("REG_BLESS").is_some() {
            fs::write(&path, format!("{before}{head}{}{}", table(), &rest[end..])).expect("written");
        } else {
            assert_eq!(&rest[..end], table(), "REG_BLESS=1 writes it anew");
        }
    }

    #[test]
    fn every_kind_is_shown_by_a_test() {
        for kind in FaultKind::ALL {
            let shown: Vec<_> = SHOWN_BY.iter().filter(|(it, _, _)| *it == kind).collect();
            assert_eq!(shown.len(), 1, "{kind:?}");
            for (_, file, what) in shown {
                let text = fs::read_to_string(workspace().join(file)).expect("a test");
                assert!(text.contains(what), "{file} does not show {kind:?}: {what}");
            }
            assert_eq!(code(kind.name()), kind.exit_code());
            assert_eq!(FaultKind::named(kind.name()), Some(kind));
        }
        assert_eq!((code("other"), code("of a later version")), (1, 1));
    }

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
