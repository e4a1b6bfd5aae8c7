//! [`judge`]: from a file's kind to a [`Verdict`], whoever has published it.
//!
//! Weights and documents pass. What runs when it is loaded, programs, archives and bytes that nobody recognises need the
//! user's consent, on publish and on pull. Nothing here says that a file is safe.

use reg_proto::content::kind::{ContentKind, Risk};

/// What a policy says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    /// Only with the user's consent.
    Deny {
        reason: &'static str,
    },
}

/// Judges a file by what its bytes are.
pub const fn judge(kind: ContentKind) -> Verdict {
    let reason = match kind.risk() {
        None => return Verdict::Allow,
        Some(Risk::RunsWhenLoaded) => "loading it runs whatever it says",
        Some(Risk::Program) => "it is a program",
        Some(Risk::HiddenFiles) => "it holds files that nobody has looked at",
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
