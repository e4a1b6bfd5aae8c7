//! [`SafePath`]: the path of a file inside a model, which is safe on every file system.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::limits::{PATH_BYTES_MAX, PATH_SEGMENT_BYTES_MAX, PATH_SEGMENTS_MAX};

/// A relative path with `/` between its segments, in Unicode NFC.
///
/// It stays inside its directory on every system. Where a file system cannot hold it, [`SafePath::portable`] stands in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SafePath(String);

/// Bytes of a path before it is normalised: its normal form may have a third of them.
const NORMALISED_BYTES_MAX: usize = 3 * PATH_BYTES_MAX;

/// Characters that file systems of Windows refuse, and that Hugging Face's hub takes.
const MAPPED: &str = r#":*?"<>|"#;

/// Why a text is not a safe path.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PathError {
    #[error("path is empty, begins or ends with `/`, or has an empty segment")]
    EmptySegment,
    #[error("path has more than {PATH_BYTES_MAX} bytes")]
    TooLong,
    #[error("path has more than {PATH_SEGMENTS_MAX} segments")]
    TooDeep,
    #[error("path has a segment of more than {PATH_SEGMENT_BYTES_MAX} bytes")]
    SegmentTooLong,
    #[error("path has a segment `.` or `..`")]
    Dots,
    #[error("path has the character {character:?}, which some file systems refuse or hide")]
    Character { character: char },
    #[error("path has a segment of dots and spaces only")]
    Edge,
    #[error("path has the segment {segment:?}, which names a device on Windows")]
    Device { segment: String },
    #[error("path has the segment {segment:?}, which names a drive or a hidden stream on Windows")]
    Drive { segment: String },
    #[error("path has the segment {segment:?}, which controls a version control system")]
    Repository { segment: String },
    #[error("path is not in Unicode normal form C")]
    NotNfc,
}

/// Why two paths of one model cannot be in one directory tree.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CollisionError {
    #[error(
        "{first} and {second} are the same file on file systems that ignore case or the spelling of characters"
    )]
    SameFile { first: SafePath, second: SafePath },
    #[error("{file} is both a file and the directory of {inside}")]
    FileIsDirectory { file: SafePath, inside: SafePath },
}

impl SafePath {
    /// Returns the path as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the segments in order. The last one is the file's name.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// Returns the last segment.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// Reads a path from elsewhere. Its characters may be spelled in another normal form, as old macOS volumes and archives
    /// spell them.
    ///
    /// # Errors
    /// If it is not a safe path in normal form C either.
    pub fn in_any_form(text: &str) -> Result<Self, PathError> {
        if text.len() > NORMALISED_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        text.nfc().collect::<String>().parse()
    }

    /// Returns a name from elsewhere in normal form C, whether it is safe or not.
    pub fn normal_form(name: &str) -> String {
        name.nfc().collect()
    }

    /// Returns the path as file systems hold it that refuse some characters and names: those of Windows, FAT and exFAT.
    ///
    /// A character that they refuse becomes `%` and its two hex digits, as in a URL.
    pub fn portable(&self) -> String {
        let segments: Vec<String> = self.segments().map(portable_segment).collect();
        segments.join("/")
    }

    /// Returns a form that is equal for two paths that some file system treats as the same, by case, by normalisation, or
    /// because it drops dots and spaces at an end, and for two paths that look alike.
    fn folded(&self) -> String {
        let shown: Vec<String> = self
            .segments()
            .map(|segment| portable_segment(segment.trim_end_matches(['.', ' '])).replace(is_joiner, ""))
            .collect();
        // Upper case first gives full case folding: ß and SS are one name on some file systems.
        shown.join("/").nfkc().collect::<String>().to_uppercase().to_lowercase().nfkc().collect()
    }
}

/// Checks that all `paths` can be files of one directory tree, on every file system.
///
/// # Errors
/// If two paths differ only in case or normalisation, or if one path is the directory of another.
pub fn check_collisions<'a>(paths: impl IntoIterator<Item = &'a SafePath>) -> Result<(), CollisionError> {
    let mut files: BTreeMap<String, &SafePath> = BTreeMap::new();
    for path in paths {
        if let Some(first) = files.insert(path.folded(), path) {
            return Err(CollisionError::SameFile { first: first.clone(), second: path.clone() });
        }
    }
    for (folded, inside) in &files {
        for (end, _) in folded.match_indices('/') {
            if let Some(file) = files.get(&folded[..end]) {
                return Err(CollisionError::FileIsDirectory {
                    file: (*file).clone(),
                    inside: (*inside).clone(),
                });
            }
        }
    }
    Ok(())
}

impl FromStr for SafePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        if text.split('/').count() > PATH_SEGMENTS_MAX {
            return Err(PathError::TooDeep);
        }
        check_characters(text)?;
        text.split('/').try_for_each(check_segment)?;
        if !is_nfc(text) {
            return Err(PathError::NotNfc);
        }
        Ok(Self(text.to_owned()))
    }
}

fn check_segment(segment: &str) -> Result<(), PathError> {
    if segment.is_empty() {
        return Err(PathError::EmptySegment);
    }
    if segment.len() > PATH_SEGMENT_BYTES_MAX {
        return Err(PathError::SegmentTooLong);
    }
    if segment == "." || segment == ".." {
        return Err(PathError::Dots);
    }
    if segment.trim_matches(['.', ' ']).is_empty() {
        return Err(PathError::Edge);
    }
    if is_device(segment) && !segment.contains('.') {
        return Err(PathError::Device { segment: segment.to_owned() });
    }
    let is_drive = matches!(segment.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    if is_drive || segment.contains(":$") {
        return Err(PathError::Drive { segment: segment.to_owned() });
    }
    if [".git", "git~1", ".hg", ".svn", ".bzr"].iter().any(|name| segment.eq_ignore_ascii_case(name)) {
        return Err(PathError::Repository { segment: segment.to_owned() });
    }
    Ok(())
}

/// Returns whether Windows takes `segment` for a device, with any extension and in any case.
///
/// Source: Microsoft, "Naming Files, Paths, and Namespaces".
fn is_device(segment: &str) -> bool {
    let stem = segment.split('.').next().unwrap_or(segment).trim_end().to_uppercase();
    if ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem.as_str()) {
        return true;
    }
    let number = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    number.is_some_and(|number| {
        let mut characters = number.chars();
        let digit = characters.next().is_some_and(|it| it.is_ascii_digit() || "¹²³".contains(it));
        digit && characters.next().is_none()
    })
}

/// Returns a segment with each character encoded that Windows refuses, or that makes it a device or another name there.
fn portable_segment(segment: &str) -> String {
    let (last, is_device) = (segment.chars().count().saturating_sub(1), is_device(segment));
    let mut out = String::new();
    for (at, character) in segment.chars().enumerate() {
        let is_mapped = MAPPED.contains(character)
            || (at == last && matches!(character, '.' | ' '))
            || (at == 0 && is_device);
        if is_mapped {
            out.push_str(&format!("%{:02X}", u32::from(character)));
        } else {
            out.push(character);
        }
    }
    out
}

/// Refuses characters that hide, steer a terminal, or separate on some system. Emoji sequences have invisible characters
/// that are taken only in their places there.
fn check_characters(text: &str) -> Result<(), PathError> {
    let mut before = None;
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        let after = rest.peek().copied();
        if is_refused(character) && !(is_joiner(character) && is_emoji_part(before, character, after)) {
            return Err(PathError::Character { character });
        }
        before = Some(character);
    }
    Ok(())
}

/// Returns whether `character` is a control character, a separator on another system, invisible, or a mark that changes the
/// direction of text.
fn is_refused(character: char) -> bool {
    character.is_control()
        || character == '\\'
        || matches!(character,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Returns whether `character` joins emoji to one, or asks for the coloured form of a symbol.
fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200d}' | '\u{fe0f}')
}

/// Returns whether a joiner stands where an emoji sequence has one (Unicode, UTS #51).
fn is_emoji_part(before: Option<char>, joiner: char, after: Option<char>) -> bool {
    let pictograph = |it: Option<char>| it.is_some_and(is_pictograph);
    match joiner {
        '\u{200d}' => (pictograph(before) || before == Some('\u{fe0f}')) && pictograph(after),
        _ => {
            let is_keycap = before.is_some_and(|it| it.is_ascii_digit() || "#*".contains(it));
            pictograph(before) || (is_keycap && after == Some('\u{20e3}'))
        }
    }
}

/// Returns whether `character` can be shown as an emoji, or changes the skin tone of one.
fn is_pictograph(character: char) -> bool {
    matches!(character,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2194}'..='\u{21aa}'
        | '\u{231a}'..='\u{23ff}' | '\u{24c2}' | '\u{25aa}'..='\u{25fe}' | '\u{2600}'..='\u{27bf}'
        | '\u{2934}'..='\u{2935}' | '\u{2b05}'..='\u{2b55}' | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}'
        | '\u{1f000}'..='\u{1faff}')
}

impl fmt::Display for SafePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SafePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for SafePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SafePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::json::text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_what_models_are_made_of() {
        for path in [
            "config.json",
            "1_Pooling/config.json",
            "model-00001-of-00002.safetensors",
            ".gitattributes",
            "a b/c d.txt",
            "modèle/été.md",
            "日本語/読んで.md",
            "onnx/model_q4.onnx",
            "...x",
            "con_fig",
            "aux.json",
            "what?.md",
            "step:1000/loss=0.3*.ckpt",
            "say \"hi\" <now> | later",
            " a",
            "a. ",
            "\u{1f917}.md",
            "\u{2764}\u{fe0f}.md",
            "1\u{fe0f}\u{20e3}.md",
            "\u{1f469}\u{1f3fd}\u{200d}\u{1f4bb}/\u{1f3f3}\u{fe0f}\u{200d}\u{1f308}.txt",
            "COM10",
            "LPT",
        ] {
            assert_eq!(path.parse::<SafePath>().map(|it| it.to_string()), Ok(path.to_owned()));
        }
    }

    /// The names of T4 in the threat model. Each leaves the directory, is hidden, or names another file on some system.
    #[test]
    fn refuses_hostile_names() {
        let long_segment = "a".repeat(256);
        let long_path = "a/".repeat(511) + "abcd";
        let deep = "a/".repeat(32) + "a";
        let names = [
            "",
            "/",
            "/etc/passwd",
            "//etc/passwd",
            "a//b",
            "a/",
            "./a",
            "a/.",
            "..",
            "../a",
            "a/../b",
            "a/..",
            "../../x",
            "..\\a",
            "a\\b",
            "\\\\host\\share",
            "C:\\x",
            "C:x",
            "c:/x",
            "a:b",
            "a:$DATA",
            "file::$INDEX",
            "nul",
            "NUL",
            "con",
            "dir/aux",
            "prn",
            "com1",
            "com¹",
            "lpt1",
            "LPT0",
            "conin$",
            "CONOUT$",
            "a\0b",
            "a\nb",
            "a\rb",
            "a\tb",
            "a\u{7f}b",
            "a\u{1b}[31m",
            "a\u{202e}txt.exe",
            "a\u{200f}b",
            "a\u{2066}b",
            "a\u{200b}b",
            "a\u{200d}b",
            "a\u{feff}b",
            "a\u{ad}b",
            "a\u{2028}b",
            "a\u{fe0f}b",
            "a\u{e0041}b",
            "e\u{301}",
            "\u{212b}ngstrom",
            "\u{1100}\u{1161}",
            ".git",
            ".git/hooks/post-checkout",
            "x/.GIT/config",
            ".Git",
            "git~1/x",
            ".hg/hgrc",
            ".svn/x",
            "a/...",
            "a/....",
            "x/. .",
            "a\u{200d}\u{1f469}",
            "\u{1f469}\u{200d}b",
            "a\u{fe0f}",
            "\u{1f3f4}\u{e0067}\u{e007f}",
            ".. /x",
            "..\u{200b}/x",
            &long_segment,
            &long_path,
            &deep,
        ];
        for name in names {
            assert!(name.parse::<SafePath>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn other_normal_forms_are_read_and_not_parsed() {
        for text in ["mode\u{300}le/re\u{301}sume\u{301}.md", "\u{1112}\u{1161}\u{11ab}.txt"] {
            assert_eq!(text.parse::<SafePath>(), Err(PathError::NotNfc));
            let path = SafePath::in_any_form(text).unwrap();
            assert_eq!(path.as_str(), text.nfc().collect::<String>());
        }
        assert!(SafePath::in_any_form("../a").is_err());
        assert!(SafePath::in_any_form(&"e\u{301}".repeat(PATH_BYTES_MAX)).is_err());
    }

    #[test]
    fn what_windows_cannot_hold_is_mapped() {
        let mapped = |text: &str| text.parse::<SafePath>().unwrap().portable();
        for same in ["config.json", "a b/c", "100%/x", "日本語.md"] {
            assert_eq!(mapped(same), same);
        }
        assert_eq!(mapped("what?/step:1 c|d.md"), "what%3F/step%3A1 c%7Cd.md");
        assert_eq!(mapped("aux.json"), "%61ux.json");
        assert_eq!(mapped("x. /y."), "x.%20/y%2E");
    }

    #[test]
    fn refuses_files_that_fall_together() {
        let check = |names: &[&str]| {
            let paths: Vec<SafePath> = names.iter().map(|name| name.parse().unwrap()).collect();
            check_collisions(&paths)
        };
        assert_eq!(check(&["a/b", "a/c", "ab", "a-b"]), Ok(()));
        for names in [
            ["a", "A"],
            ["README.md", "readme.MD"],
            ["x/a", "X/A"],
            ["a", "a"],
            ["straße", "STRAßE"],
            ["ﬁle", "file"],
            ["a", "a. "],
            ["a?", "a%3f"],
            ["\u{2764}.md", "\u{2764}\u{fe0f}.md"],
        ] {
            assert!(matches!(check(&names), Err(CollisionError::SameFile { .. })), "{names:?}");
        }
        for names in [["a", "a/b"], ["A", "a/b"], ["x/y", "x/y/z/w"]] {
            assert!(matches!(check(&names), Err(CollisionError::FileIsDirectory { .. })), "{names:?}");
        }
    }

    proptest! {
        #[test]
        fn never_leaves_its_directory(text in "[./\\\\a\u{0}: ]{0,12}|\\PC{0,40}") {
            if let Ok(path) = text.parse::<SafePath>() {
                let mut depth = 0;
                for part in std::path::Path::new(path.as_str()).components() {
                    prop_assert!(matches!(part, std::path::Component::Normal(_)));
                    depth += 1;
                }
                prop_assert!(depth >= 1);
            }
        }
    }
}
