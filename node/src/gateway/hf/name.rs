//! Converts repository names and revisions of this dialect.

use reg_proto::name::Tag;
use serde::Deserialize;

use super::error::HfError;
pub(super) use crate::registry::pull::{COMMIT_DIGITS, commit};
use crate::registry::resolve::Revision;

/// A repository in a URL.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Repo {
    pub(super) owner: String,
    pub(super) model: String,
}

/// A repository and a revision in a URL, and the path of a file where there is one.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct At {
    pub(super) owner: String,
    pub(super) model: String,
    pub(super) revision: String,
    #[serde(default)]
    pub(super) path: String,
}

impl At {
    /// Returns the newest version of a repository.
    pub(super) fn main(Repo { owner, model }: Repo) -> Self {
        Self { owner, model, revision: "main".to_owned(), path: String::new() }
    }

    /// Returns the name of the repository.
    pub(super) fn id(&self) -> String {
        format!("{}/{}", self.owner, self.model)
    }
}

/// Reads a revision: `main` and `HEAD` are the tag `latest`, 40 hex digits are a commit, 64 are a digest.
///
/// # Errors
/// A malformed revision is one that does not exist.
pub(super) fn revision(text: &str) -> Result<Revision, HfError> {
    let text = text.strip_prefix("refs/heads/").or_else(|| text.strip_prefix("refs/tags/")).unwrap_or(text);
    let is_hex = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if matches!(text, "main" | "HEAD") {
        return Ok(Revision::Tag(Tag::latest()));
    }
    if let Ok(digest) = text.parse() {
        return Ok(Revision::Digest(digest));
    }
    if is_hex && text.len() == 2 * reg_proto::digest::Digest::LEN {
        let digest = format!("sha256:{text}").parse();
        return digest.map(Revision::Digest).map_err(|_| HfError::RevisionNotFound(text.to_owned()));
    }
    if is_hex && text.len() == COMMIT_DIGITS {
        return Ok(Revision::Prefix(text.to_owned()));
    }
    text.parse().map(Revision::Tag).map_err(|error| HfError::RevisionNotFound(format!("{text}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_read_as_clients_write_them() {
        assert_eq!(revision("main").unwrap(), Revision::Tag(Tag::latest()));
        assert_eq!(revision("HEAD").unwrap(), Revision::Tag(Tag::latest()));
        assert_eq!(revision("refs/heads/main").unwrap(), Revision::Tag(Tag::latest()));
        assert_eq!(revision("v1.0").unwrap(), Revision::Tag("v1.0".parse().unwrap()));
        assert_eq!(revision(&"a".repeat(40)).unwrap(), Revision::Prefix("a".repeat(40)));
        assert!(matches!(revision(&"a".repeat(64)).unwrap(), Revision::Digest(_)));
        assert!(matches!(revision("refs/pr/1"), Err(HfError::RevisionNotFound(_))));
    }
}
