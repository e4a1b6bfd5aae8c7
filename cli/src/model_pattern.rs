//! [`ModelPattern`]: which models of the store a user means: `acme/llama-*:v1`, `acme`, `sha256:ab12cd34`.

use std::str::FromStr;

use reg_api::report::ModelSummary;
use reg_api::selection::Pattern;
use reg_proto::domain::Domain;
use reg_proto::name::PublisherId;

use crate::ids::DIGITS_MIN;

/// How a digest begins.
const SHA256: &str = "sha256:";

/// A pattern of names. `*` stands for any text, `?` for one character, `[ab]` for one of several. It ignores case.
#[derive(Debug, Clone)]
pub struct ModelPattern {
    typed: String,
    name: Name,
    tag: Option<Pattern>,
    digits: Option<String>,
}

#[derive(Debug, Clone)]
enum Name {
    Any,
    /// A publisher or a model.
    Either(Pattern),
    Both {
        publisher: Pattern,
        model: Pattern,
    },
}

impl FromStr for ModelPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A name that `reg ls` has shown, with a shortened id.
        let whole = text.replace('…', "*");
        let (name, digest) = match (whole.split_once('@'), whole.strip_prefix(SHA256)) {
            (Some((name, digest)), _) => (name, Some(digest.strip_prefix(SHA256).unwrap_or(digest))),
            (None, Some(digest)) => ("", Some(digest)),
            (None, None) => (whole.as_str(), None),
        };
        if digest.is_some_and(|it| !is_hex(it)) {
            return Err(format!("{text:?} has no hex digits where a digest begins"));
        }
        let parsed = |text: &str| {
            let text = if text.is_empty() { "*" } else { text };
            text.to_ascii_lowercase().parse::<Pattern>().map_err(|error| error.to_string())
        };
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) => (name, Some(parsed(tag)?)),
            None => (name, None),
        };
        let name = match name.split_once('/') {
            Some((_, model)) if model.contains('/') => {
                return Err(format!("{text:?} has more than one slash: a pattern is publisher/model[:tag]"));
            }
            Some((publisher, model)) => Name::Both { publisher: parsed(publisher)?, model: parsed(model)? },
            None if name.is_empty() => Name::Any,
            None => Name::Either(parsed(name)?),
        };
        Ok(Self { typed: text.to_owned(), name, tag, digits: digest.map(str::to_owned) })
    }
}

impl ModelPattern {
    /// Returns the pattern as it was typed.
    pub fn as_str(&self) -> &str {
        &self.typed
    }

    /// Tells whether a model is meant. `domains` are those that the user has pinned.
    pub fn covers(&self, model: &ModelSummary, domains: &[(Domain, PublisherId)]) -> bool {
        let hex = model.manifest.hex();
        let names = |pattern: &Pattern| {
            let of =
                domains.iter().filter(|(_, id)| *id == model.publisher).map(|(domain, _)| domain.to_string());
            let names =
                of.chain(model.petname.iter().map(ToString::to_string)).chain([model.publisher.to_string()]);
            names.into_iter().any(|it| pattern.matches(&it))
        };
        let is_named = match &self.name {
            Name::Any => true,
            Name::Either(pattern) => {
                let digits = self.typed.as_str();
                let is_digest = digits.len() >= DIGITS_MIN && is_hex(digits) && hex.starts_with(digits);
                pattern.matches(&model.model.folded()) || names(pattern) || is_digest
            }
            Name::Both { publisher, model: pattern } => {
                pattern.matches(&model.model.folded()) && names(publisher)
            }
        };
        let has_tag = |pattern: &Pattern| {
            model.tags.iter().any(|it| pattern.matches(&it.as_str().to_ascii_lowercase()))
        };
        is_named
            && self.tag.as_ref().is_none_or(has_tag)
            && self.digits.as_ref().is_none_or(|it| hex.starts_with(it.as_str()))
    }
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use reg_proto::digest::Digest;

    use super::*;

    #[test]
    fn a_pattern_covers_publishers_by_each_of_their_names_models_tags_and_digests() {
        let id = PublisherId::from_bytes([1; 32]);
        let model: ModelSummary = serde_json::from_value(serde_json::json!({
            "publisher": id.to_string(), "petname": "acme", "model": "Llama-3", "tags": ["v1", "latest"],
            "manifest": Digest::from_hex(&format!("{:0<64}", "ab12cd34")).expect("digits").to_string(),
            "bytes": 1, "files": 1, "pinned": false, "complete": true, "last_used": null,
        }))
        .expect("a summary");
        let domains = [
            ("acme.org".parse().expect("a domain"), id),
            ("other.org".parse().expect("a domain"), PublisherId::from_bytes([2; 32])),
        ];
        let short = format!("{}…/llama-3", &id.to_string()[..8]);
        for (text, is_meant) in [
            ("acme/llama-3", true),
            ("acme/LLAMA-*", true),
            ("acme/llama", false),
            ("acme", true),
            ("acme/", true),
            ("llama-?", true),
            ("llama", false),
            ("*3", true),
            ("acme.org/*", true),
            ("other.org/*", false),
            ("*/llama-3:v[12]", true),
            ("acme/llama-3:v2", false),
            ("llama-3:latest", true),
            ("sha256:ab12", true),
            ("sha256:ab13", false),
            ("acme/llama-3@sha256:ab12cd34", true),
            ("acme/llama-3@ab", true),
            ("ab12cd34", true),
            ("ab12cd35", false),
            (&short, true),
        ] {
            let pattern: ModelPattern = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(pattern.covers(&model, &domains), is_meant, "{text}");
        }
        for text in ["a/b/c", "acme/x@sha256:", "acme/x@sha256:zz", "[a", "!acme"] {
            assert!(text.parse::<ModelPattern>().is_err(), "{text}");
        }
    }
}
