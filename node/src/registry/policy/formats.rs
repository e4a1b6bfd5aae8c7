//! [`judge`]: from a file's kind and the user's consent to a [`Verdict`], for every publisher alike.
//!
//! Weights and documents pass. Files that run when they are loaded, programs, archives and unrecognised bytes need the
//! user's consent to their kind, on publish and on pull. A verdict of "allow" promises nothing about what the content does.

use reg_api::consent::Consent;
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
pub fn judge(kind: ContentKind, consent: &Consent) -> Verdict {
    let reason = match kind.risk().filter(|_| !consent.covers(kind)) {
        None => return Verdict::Allow,
        Some(Risk::CallsCode) => "its graph calls code",
        Some(Risk::Ambiguous) => "two programs may read it differently",
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
            let passes = [
                "safetensors",
                "gguf",
                "onnx",
                "json",
                "text",
                "tokenizer_model",
                "media",
                "dataset",
                "weights",
            ];
            assert_eq!(
                judge(kind, &Consent::default()) == Verdict::Allow,
                passes.contains(&kind.name()),
                "{kind}"
            );
            assert_eq!(judge(kind, &Consent::new(false, [kind].into())), Verdict::Allow);
        }
    }
}
