//! Which files of a directory become part of a model, how the store takes them, and what was left out.

use serde::{Deserialize, Serialize};

use crate::selection::{Pattern, listed};

/// The user's choice among the files of a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ingest {
    /// Take only files that match one of these; all, where there are none.
    #[serde(default)]
    pub include: Vec<Pattern>,
    /// Leave out what matches one of these.
    #[serde(default)]
    pub exclude: Vec<Pattern>,
    /// Take hidden files and directories: those with a name that begins with a dot.
    #[serde(default)]
    pub hidden: bool,
    /// Take files that look like secrets and match one of these, hidden ones too.
    #[serde(default)]
    pub secrets: Vec<Pattern>,
    /// Take what a `.regignore` names too: the files are of another author.
    #[serde(default)]
    pub no_ignore_files: bool,
    /// Link large files into the store instead of copying them. They become read-only.
    #[serde(default)]
    pub link: bool,
}

impl Ingest {
    /// Returns the rules of versions that had no such choice: nothing is left out for being hidden, for looking like a secret,
    /// or because a `.regignore` names it. A publication that such a version has prepared is finished by them.
    pub fn of_before() -> Self {
        let all = "*".parse().expect("it is a pattern");
        Self { hidden: true, secrets: vec![all], no_ignore_files: true, ..Self::default() }
    }
}

/// Why a file or directory is not part of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOutReason {
    /// Its name begins with a dot.
    Hidden,
    /// It looks like a secret.
    Secret,
    /// A `.regignore` names it.
    Ignored,
    /// The user has excluded it.
    Excluded,
    /// The user has included other files only.
    NotIncluded,
    /// It is a link to a directory that contains it.
    Loop,
    /// It is never part of a model: version control, caches, and what editors and downloads leave behind.
    Never,
}

impl LeftOutReason {
    /// Returns the reason in words, for one file or many.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Hidden => "hidden",
            Self::Secret => "looks like a secret",
            Self::Ignored => "named in a .regignore",
            Self::Excluded => "excluded",
            Self::NotIncluded => "not included",
            Self::Loop => "a link to a directory around it",
            Self::Never => "never part of a model",
        }
    }
}

/// A file or directory that is not part of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The path from the model's top. That of a directory ends with a slash.
    pub path: String,
    pub reason: LeftOutReason,
    /// What makes it look like a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

/// What was left out: a bounded list, and how many more there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutList {
    pub entries: Vec<LeftOut>,
    pub more: usize,
    /// Texts that are part of the model, and too long to be searched to their end for secrets.
    #[serde(default)]
    pub unsearched: Vec<String>,
}

/// Entries of a list: more than a person reads. A directory that is left out is one entry.
const ENTRIES_MAX: usize = 1000;

impl LeftOutList {
    /// Adds an entry, or counts it where the list is full.
    pub fn push(&mut self, path: String, reason: LeftOutReason, found: Option<String>) {
        if self.entries.len() < ENTRIES_MAX {
            self.entries.push(LeftOut { path, reason, found });
        } else {
            self.more += 1;
        }
    }

    /// Adds a text that was not searched to its end, as far as the list has room.
    pub fn push_unsearched(&mut self, path: &str) {
        if self.unsearched.len() < ENTRIES_MAX {
            self.unsearched.push(path.to_owned());
        }
    }

    /// Returns the first entries with their reasons, as many as fit into one line.
    pub fn named(&self) -> String {
        let name = |it: &LeftOut| format!("{} ({})", it.path, it.reason.words());
        listed(&self.entries.iter().map(name).collect::<Vec<_>>())
    }

    /// Returns how many files and directories were left out.
    pub const fn count(&self) -> usize {
        self.entries.len() + self.more
    }

    /// Tells whether nothing was left out, and everything was searched.
    pub const fn is_empty(&self) -> bool {
        self.count() == 0 && self.unsearched.is_empty()
    }
}

/// What would be published of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestPlan {
    pub files: Vec<IngestFile>,
    pub bytes: u64,
    #[serde(default)]
    pub left_out: LeftOutList,
}

/// A file that would be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestFile {
    pub path: reg_proto::path::SafePath,
    /// Bytes.
    pub size: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{ImportRequest, IngestRequest};

    #[test]
    fn what_an_earlier_version_has_asked_leaves_nothing_out() {
        let text = r#"{"endpoint":"http://x","repository":"a/b","revision":"main"}"#;
        let request: ImportRequest = serde_json::from_str(text).expect("a request");
        assert_eq!(request.ingest, Ingest::of_before());
        assert!(request.ingest.secrets.iter().all(|it| it.matches("a/.env")));
        let request: IngestRequest = serde_json::from_str(r#"{"path":"/x"}"#).expect("a request");
        assert_eq!(request.ingest, Ingest::default());
    }

    #[test]
    fn a_list_is_bounded_and_counts_the_rest() {
        let mut list = LeftOutList::default();
        assert!(list.is_empty());
        for number in 0..=ENTRIES_MAX {
            list.push(number.to_string(), LeftOutReason::Hidden, None);
            list.push_unsearched("x");
        }
        assert_eq!((list.entries.len(), list.more, list.count()), (ENTRIES_MAX, 1, ENTRIES_MAX + 1));
        assert_eq!(list.unsearched.len(), ENTRIES_MAX);
    }
}
