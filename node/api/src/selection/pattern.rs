//! [`Pattern`]: a glob on the paths of a model's files, with the syntax of `.gitignore`.
//!
//! `*` matches any run of characters in one segment, and `?` one character. `[a-z]` and `[!a-z]` match one character of
//! a class. `**` matches any run of segments. `\` makes the next character literal. A pattern without a slash before
//! its end matches a name at any depth; other patterns match a path from the model's top. A pattern that matches a
//! directory matches every file below it. A pattern with a slash at its end matches only directories. Braces have no
//! meaning. A pattern that begins with `!` is refused.

use std::fmt;
use std::str::FromStr;

use reg_proto::path::SafePath;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Most bytes of a pattern: a path with every character escaped, and a slash before it.
pub const PATTERN_BYTES_MAX: usize = 2 * reg_proto::limits::PATH_BYTES_MAX + 1;

/// A parsed glob. Matching does not backtrack over segments, so no pattern is slow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: String,
    segments: Vec<Segment>,
    /// Whether the pattern matches only directories and the files below them.
    is_directory: bool,
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PatternError {
    #[error("pattern is empty")]
    Empty,
    #[error("pattern has more than {PATTERN_BYTES_MAX} bytes")]
    TooLong,
    #[error("pattern {text:?} begins with `!`: say what is left out by --exclude")]
    Negated { text: String },
    #[error("pattern {text:?} has an empty segment")]
    EmptySegment { text: String },
    #[error("pattern {text:?} has a `[` without its `]`")]
    OpenClass { text: String },
    #[error("pattern {text:?} ends with `\\`")]
    Escape { text: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// `**`: any number of segments, also none.
    Any,
    Name(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Many,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Pattern {
    /// Tells whether the pattern matches the file at `path`, or a directory that contains it.
    pub fn matches(&self, path: &str) -> bool {
        let ends = self.ends(path);
        let directories = ends.len().saturating_sub(1);
        ends.iter().take(directories).any(|it| *it) || (!self.is_directory && ends.last() == Some(&true))
    }

    /// Tells whether the pattern matches the directory at `path`, or one that contains it. Then it matches every file below.
    pub fn matches_directory(&self, path: &str) -> bool {
        self.ends(path).contains(&true)
    }

    /// Tells whether the pattern matches the file or directory at `path` itself.
    pub fn matches_entry(&self, path: &str, is_directory: bool) -> bool {
        (is_directory || !self.is_directory) && self.ends(path).last() == Some(&true)
    }

    /// Returns for each segment of `path` whether the pattern matches the path up to it.
    fn ends(&self, path: &str) -> Vec<bool> {
        let end = self.segments.len();
        let mut at = vec![false; end + 1];
        at[0] = true;
        self.skip_any(&mut at);
        let mut ends = Vec::new();
        for name in path.split('/') {
            let mut next = vec![false; end + 1];
            for (place, segment) in self.segments.iter().enumerate().filter(|(place, _)| at[*place]) {
                match segment {
                    Segment::Any => next[place] = true,
                    Segment::Name(tokens) => next[place + 1] |= is_name(tokens, name),
                }
            }
            self.skip_any(&mut next);
            ends.push(next[end]);
            at = next;
        }
        ends
    }

    /// Returns the pattern that matches this one file; `None` where no pattern can.
    pub fn exactly(path: &SafePath) -> Option<Self> {
        let escaped: String = path
            .as_str()
            .chars()
            .flat_map(|it| matches!(it, '*' | '?' | '[' | '\\').then_some('\\').into_iter().chain([it]))
            .collect();
        format!("/{escaped}").parse().ok()
    }

    /// Returns the pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Skips `**`, which may match no segment.
    fn skip_any(&self, at: &mut [bool]) {
        for (place, segment) in self.segments.iter().enumerate() {
            if at[place] && *segment == Segment::Any {
                at[place + 1] = true;
            }
        }
    }
}

/// Tells whether `tokens` match the whole of `name`. Where the rest does not match, the last `*` takes one more
/// character.
fn is_name(tokens: &[Token], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let (mut token, mut at) = (0, 0);
    let mut last_many = None;
    while at < name.len() {
        if tokens.get(token) == Some(&Token::Many) {
            last_many = Some((token, at));
            token += 1;
        } else if tokens.get(token).is_some_and(|it| it.takes(name[at])) {
            token += 1;
            at += 1;
        } else if let Some((many, from)) = last_many {
            last_many = Some((many, from + 1));
            token = many + 1;
            at = from + 1;
        } else {
            return false;
        }
    }
    tokens[token..].iter().all(|it| *it == Token::Many)
}

impl Token {
    fn takes(&self, character: char) -> bool {
        match self {
            Self::Char(own) => *own == character,
            Self::One => true,
            Self::Many => false,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&character)) != *negated
            }
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong);
        }
        if text.starts_with('!') {
            return Err(PatternError::Negated { text: text.to_owned() });
        }
        let is_directory = text.ends_with('/');
        let inner = text.strip_suffix('/').unwrap_or(text);
        let is_anchored = inner.contains('/');
        let inner = inner.strip_prefix('/').unwrap_or(inner);
        let mut segments = if is_anchored { Vec::new() } else { vec![Segment::Any] };
        for name in inner.split('/') {
            match name {
                "" => return Err(PatternError::EmptySegment { text: text.to_owned() }),
                "**" => segments.push(Segment::Any),
                name => segments.push(Segment::Name(tokens(name, text)?)),
            }
        }
        if segments.last() == Some(&Segment::Any) {
            // `a/**` matches what is in `a`, not `a` itself.
            segments.push(Segment::Name(vec![Token::Many]));
        }
        Ok(Self { text: text.to_owned(), segments, is_directory })
    }
}

fn tokens(name: &str, text: &str) -> Result<Vec<Token>, PatternError> {
    let mut tokens = Vec::new();
    let mut characters = name.chars();
    while let Some(character) = characters.next() {
        tokens.push(match character {
            '*' => Token::Many,
            '?' => Token::One,
            '[' => class(&mut characters).ok_or_else(|| PatternError::OpenClass { text: text.to_owned() })?,
            '\\' => {
                Token::Char(characters.next().ok_or_else(|| PatternError::Escape { text: text.to_owned() })?)
            }
            character => Token::Char(character),
        });
    }
    Ok(tokens)
}

/// Reads a class after its `[`. A `]` in the first place is one of its characters.
fn class(characters: &mut std::str::Chars<'_>) -> Option<Token> {
    let mut next = characters.next()?;
    let negated = matches!(next, '!' | '^');
    if negated {
        next = characters.next()?;
    }
    let mut ranges = Vec::new();
    loop {
        let from = if next == '\\' { characters.next()? } else { next };
        let mut ahead = characters.clone();
        let is_range = ahead.next() == Some('-') && !matches!(ahead.next(), Some(']') | None);
        let to = if is_range {
            characters.next()?;
            match characters.next()? {
                '\\' => characters.next()?,
                to => to,
            }
        } else {
            from
        };
        ranges.push((from, to));
        next = characters.next()?;
        if next == ']' {
            return Some(Token::Class { negated, ranges });
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        pattern.parse::<Pattern>().unwrap_or_else(|error| panic!("{pattern}: {error}")).matches(path)
    }

    #[test]
    fn means_what_gitignore_means() {
        let table: [(&str, &[&str], &[&str]); 10] = [
            ("*.gguf", &["a.gguf", "x/y/b.gguf"], &["a.gguf.txt", "gguf"]),
            ("/*.json", &["config.json"], &["x/config.json"]),
            ("onnx", &["onnx/a", "x/onnx/b/c", "onnx"], &["onnx2/a"]),
            ("onnx/", &["onnx/a", "x/onnx/b"], &["onnx", "x/onnx"]),
            ("a/b", &["a/b", "a/b/c"], &["x/a/b", "a/c"]),
            ("a/**/z", &["a/z", "a/b/z", "a/b/c/z"], &["z", "b/a/z"]),
            ("a/**", &["a/b", "a/b/c"], &["a"]),
            ("**/q", &["q", "a/q", "a/b/q"], &["aq"]),
            ("model-0000[1-2]-?f-*", &["model-00001-of-00003.x"], &["model-00003-of-00003.x"]),
            ("[!a]\\*", &["b*"], &["a*", "bc"]),
        ];
        for (pattern, these, others) in table {
            assert!(these.iter().all(|path| matches(pattern, path)), "{pattern} {these:?}");
            assert!(!others.iter().any(|path| matches(pattern, path)), "{pattern} {others:?}");
        }
        for text in ["", "!a", "a//b", "/", "[a", "a\\", &"x".repeat(PATTERN_BYTES_MAX + 1)] {
            assert!(text.parse::<Pattern>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn no_pattern_is_slow() {
        let pattern = format!("{}b", "*a".repeat(400));
        assert!(!matches(&pattern, &"a".repeat(1000)));
        assert!(!matches(&format!("{}b", "**/a/".repeat(100)), &"a/".repeat(500)));
    }

    /// Asks git which of `paths` a `.gitignore` with one line would ignore; `None` where git is not installed.
    fn git_says(dir: &std::path::Path, pattern: &str, paths: &[String]) -> Option<Vec<String>> {
        std::fs::write(dir.join(".gitignore"), format!("{pattern}\n")).unwrap();
        let mut child = Command::new("git")
            .args(["check-ignore", "--no-index", "--stdin"])
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        child.stdin.take()?.write_all(format!("{}\n", paths.join("\n")).as_bytes()).ok()?;
        let out = child.wait_with_output().ok()?;
        Some(String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect())
    }

    #[test]
    fn agrees_with_git() {
        const CASES: u32 = 48;
        let dir = tempfile::tempdir().unwrap();
        if !Command::new("git")
            .args(["init", "--quiet"])
            .current_dir(dir.path())
            .status()
            .is_ok_and(|it| it.success())
        {
            println!("SKIPPED: git is not installed");
            return;
        }
        let paths = prop::collection::btree_set("[abc]{1,3}(/[abc]{1,3}){0,3}", 1..20);
        let pattern =
            "/?([abc?]{1,2}|\\*|a\\*|\\*b|\\*\\*|\\[!a\\]|\\[a-b\\]c?)(/([abc]|\\*|\\*\\*|c\\*)){0,3}/?";
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(CASES));
        runner
            .run(&(pattern, paths), |(pattern, paths)| {
                // A path that is also the directory of another path is not a file.
                let is_dir = |path: &String| paths.iter().any(|it| it.starts_with(&format!("{path}/")));
                let files: Vec<String> = paths.iter().filter(|path| !is_dir(path)).cloned().collect();
                let expected = git_says(dir.path(), &pattern, &files).expect("git runs");
                let parsed: Pattern = pattern.parse().expect("a pattern");
                let found: Vec<String> = files.iter().filter(|path| parsed.matches(path)).cloned().collect();
                prop_assert_eq!(found, expected, "{}", pattern);
                Ok(())
            })
            .unwrap();
    }
}
