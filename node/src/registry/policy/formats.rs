//! [`judge`]: from a file's kind to a [`Verdict`], for every publisher alike.
//!
//! Weights and documents pass. Files that run when they are loaded, programs, archives and unrecognised bytes need the
//! user's consent, on publish and on pull. A verdict of "allow" promises nothing about what the content does.

use reg_proto::content::kind::{ContentKind, Risk};

/// The verdict of the policy on a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    /// The file needs the user's consent.
    Deny {
        reason: &'static str,
    },
}

/// Judges a file by its kind, which was computed from its bytes.
pub const fn judge(kind: ContentKind) -> Verdict {
    let reason = match kind.risk() {
        None => return Verdict::Allow,
        Some(Risk::RunsWhenLoaded) => "loading it runs code from the file",
        Some(Risk::Program) => "it is a program",
        Some(Risk::HiddenFiles) => "it holds files that were not inspected",
        Some(Risk::NotRecognised) => "its bytes are not recognised",
    };
    Verdict::Deny { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_and_documents_pass_and_what_runs_does_not() {
        for kind in ContentKind::ALL {
            let passes =
                ["safetensors", "gguf", "onnx", "json", "text", "tokenizer_model", "media", "dataset"];
            assert_eq!(judge(kind) == Verdict::Allow, passes.contains(&kind.name()), "{kind}");
        }
    }
}
