//! [`ChatTemplate`]: facts about a chat template, the program that turns a conversation into a prompt. It is never run.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Bytes of a template. Long ones, with tools and reasoning, have some 20,000.
pub const CHAT_TEMPLATE_BYTES_MAX: u64 = 1 << 20;

/// Facts about a Jinja template that need no run of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatTemplate {
    /// The SHA-256 of the template's text in UTF-8.
    pub sha256: Digest,
    /// Whether the template uses names by which known templates have left their sandbox.
    ///
    /// Ordinary templates use none of them. Their absence proves nothing.
    pub reaches_out: bool,
}

/// Attributes that lead from any object to the interpreter; the filter that reads attributes by name; imports.
const REACHING_OUT: [&str; 5] = ["__", "|attr", "| attr", "import ", "getattr"];

impl ChatTemplate {
    /// Returns the facts about the template `text`.
    pub fn of(text: &str) -> Self {
        let reaches_out = REACHING_OUT.iter().any(|it| text.contains(it));
        Self { sha256: Digest::of(text.as_bytes()), reaches_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_at_what_leaves_the_sandbox() {
        assert!(!ChatTemplate::of("{% for m in messages %}{{ m['content'] }}{% endfor %}").reaches_out);
        assert!(ChatTemplate::of("{{ ''.__class__.__mro__ }}").reaches_out);
        assert!(ChatTemplate::of("{% import 'x' as y %}").reaches_out);
        assert!(ChatTemplate::of("{{ m|attr('\\x5f\\x5fclass') }}").reaches_out);
    }
}
