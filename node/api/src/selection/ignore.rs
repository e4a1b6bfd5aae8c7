//! [`IgnoreFile`]: the lines of a `.regignore`, with the meaning that git gives to those of a `.gitignore`.

use thiserror::Error;

use super::pattern::{Pattern, PatternError};

/// Bytes of a file: more patterns than a person writes.
pub const IGNORE_FILE_BYTES_MAX: usize = 64 << 10;

/// The parsed patterns of one file, in order. The last one that matches an entry decides about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnoreFile(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    pattern: Pattern,
    /// Whether the line begins with `!`, and so takes back what a line before it ignores.
    is_taken_back: bool,
}

/// Why a text is not the content of such a file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IgnoreError {
    #[error("more than {IGNORE_FILE_BYTES_MAX} bytes")]
    TooLong,
    #[error("line {line} is not a pattern")]
    Line { line: usize, source: PatternError },
}

impl IgnoreFile {
    /// Parses the lines of a file. A line that is empty or begins with `#` means nothing.
    ///
    /// # Errors
    /// The text is too long, or a line is not a pattern.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        if text.len() > IGNORE_FILE_BYTES_MAX {
            return Err(IgnoreError::TooLong);
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = without_end(line);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (is_taken_back, line) = match line.strip_prefix('!') {
                Some(line) => (true, line),
                None => (false, line),
            };
            let pattern = line.parse().map_err(|source| IgnoreError::Line { line: number + 1, source })?;
            rules.push(Rule { pattern, is_taken_back });
        }
        Ok(Self(rules))
    }

    /// Tells whether the entry at `path`, as the file's own directory sees it, is ignored; `None` where no line matches.
    ///
    /// The caller asks for each directory on the way first: nothing below an ignored one can be taken back.
    pub fn decides(&self, path: &str, is_directory: bool) -> Option<bool> {
        let last = self.0.iter().rev().find(|rule| rule.pattern.matches_entry(path, is_directory));
        last.map(|rule| !rule.is_taken_back)
    }
}

/// Returns a line without the spaces at its end, but for one that a backslash protects.
fn without_end(line: &str) -> &str {
    let shorter = line.trim_end_matches(' ');
    match shorter.len() < line.len() && shorter.ends_with('\\') {
        true => &line[..shorter.len() + 1],
        false => shorter,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// Returns the files among `paths` that are not ignored, as a walk finds them.
    fn kept<'a>(file: &IgnoreFile, paths: &'a [String]) -> Vec<&'a str> {
        let is_ignored = |path: &str| {
            let ends = path.match_indices('/').map(|(at, _)| (&path[..at], true)).chain([(path, false)]);
            ends.into_iter().any(|(entry, is_directory)| file.decides(entry, is_directory) == Some(true))
        };
        paths.iter().map(String::as_str).filter(|path| !is_ignored(path)).collect()
    }

    #[test]
    fn comments_and_spaces_mean_nothing() {
        let file = IgnoreFile::parse("\u{feff}# a\n\n*.log  \r\n!keep.log\nb\\ \n\\#c\n").expect("patterns");
        let paths = ["a.log", "keep.log", "b ", "#c", "b"].map(str::to_owned);
        assert_eq!(kept(&file, &paths), ["keep.log", "b"]);
        assert!(matches!(IgnoreFile::parse("a\n[b"), Err(IgnoreError::Line { line: 2, .. })));
        assert_eq!(IgnoreFile::parse(&"a\n".repeat(IGNORE_FILE_BYTES_MAX)), Err(IgnoreError::TooLong));
    }

    #[test]
    fn agrees_with_git() {
        const CASES: u32 = 48;
        let dir = tempfile::tempdir().expect("a directory");
        let git = |args: &[&str]| Command::new("git").args(args).current_dir(dir.path()).output();
        if !git(&["init", "--quiet"]).is_ok_and(|it| it.status.success()) {
            println!("SKIPPED: git is not installed");
            return;
        }
        let paths = prop::collection::btree_set("[abc]{1,2}(/[abc]{1,2}){0,3}", 1..20);
        let line = "!?/?([abc?]{1,2}|\\*|a\\*|\\*\\*)(/([abc]|\\*|\\*\\*)){0,2}/?";
        let lines = prop::collection::vec(line, 1..6);
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(CASES));
        runner
            .run(&(lines, paths), |(lines, paths)| {
                // A path that is also the directory of another path is not a file.
                let is_dir = |path: &String| paths.iter().any(|it| it.starts_with(&format!("{path}/")));
                let files: Vec<String> = paths.iter().filter(|path| !is_dir(path)).cloned().collect();
                let work = dir.path().join("work");
                drop(fs::remove_dir_all(&work));
                for file in &files {
                    let path = work.join(file);
                    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
                    fs::write(path, b"").expect("written");
                }
                let text = lines.join("\n");
                fs::write(work.join(".gitignore"), &text).expect("written");
                let args = ["ls-files", "--others", "--exclude-standard", "--exclude=.gitignore", "work"];
                let said = git(&args).expect("git runs").stdout;
                let said = String::from_utf8_lossy(&said).into_owned();
                let mut expected: Vec<&str> =
                    said.lines().filter_map(|it| it.strip_prefix("work/")).collect();
                expected.sort_unstable();
                let parsed = IgnoreFile::parse(&text).expect("patterns");
                let mut found = kept(&parsed, &files);
                found.sort_unstable();
                prop_assert_eq!(found, expected, "{}", text);
                Ok(())
            })
            .expect("git agrees");
    }
}
