//! [`Label`]: a short text from an untrusted file that is safe to show on one line.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Bytes of a label. Names of models, licences and languages are much shorter.
pub const LABEL_BYTES_MAX: usize = 256;

/// One line of at most [`LABEL_BYTES_MAX`] bytes, without control characters and without characters that are invisible or
/// change the direction of text. It is safe to print to a terminal or a page.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

/// Why a text is not a label.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LabelError {
    #[error("text is empty")]
    Empty,
    #[error("text has {length} bytes, at most {LABEL_BYTES_MAX} are allowed")]
    TooLong { length: usize },
    #[error("text has the character {character:?}, which is not printable")]
    Character { character: char },
}

impl Label {
    /// Returns as much of a text as fits a label, on one line and without what a label refuses; `None` if nothing is left. A text
    /// that is cut ends with `…`.
    pub fn cut(text: &str) -> Option<Self> {
        const END: char = '…';
        let mut line: String = text
            .split_whitespace()
            .flat_map(|word| [" ", word])
            .flat_map(str::chars)
            .filter(|it| !is_refused(*it))
            .collect();
        if line.trim().len() > LABEL_BYTES_MAX {
            line = line.trim().to_owned();
            let room = LABEL_BYTES_MAX - END.len_utf8();
            let end = (0..=room).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
            line.truncate(end);
            line.push(END);
        }
        line.parse().ok()
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = LabelError;

    /// Parses `text`, without the white space around it.
    fn from_str(text: &str) -> Result<Self, LabelError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(LabelError::Empty);
        }
        if text.len() > LABEL_BYTES_MAX {
            return Err(LabelError::TooLong { length: text.len() });
        }
        match text.chars().find(|character| is_refused(*character)) {
            Some(character) => Err(LabelError::Character { character }),
            None => Ok(Self(text.to_owned())),
        }
    }
}

/// Returns whether `character` is a control character, a line separator, or a mark without width or with a direction.
fn is_refused(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff0}'..='\u{ffff}' | '\u{e0000}'..='\u{e0fff}')
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::json::text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_of_many_lines_is_cut_to_a_label() {
        let cut = |text: &str| Label::cut(text).map(|it| it.to_string());
        assert_eq!(cut("  one\n two\u{200b}\t three\u{1b}[2J "), Some("one two three[2J".to_owned()));
        assert_eq!(cut(" \n\u{200b}"), None);
        for letter in ["a", "é", "語"] {
            let long = cut(&letter.repeat(300)).unwrap();
            assert!(long.ends_with('…') && long.len() <= LABEL_BYTES_MAX && long.len() > LABEL_BYTES_MAX - 8);
            assert_eq!(cut(&"a".repeat(LABEL_BYTES_MAX)).map(|it| it.len()), Some(LABEL_BYTES_MAX));
        }
    }

    #[test]
    fn takes_a_line_and_nothing_that_moves_the_cursor() {
        assert_eq!(" apache-2.0\n".parse::<Label>().map(|it| it.to_string()), Ok("apache-2.0".to_owned()));
        assert_eq!("  ".parse::<Label>(), Err(LabelError::Empty));
        assert_eq!("a".repeat(257).parse::<Label>(), Err(LabelError::TooLong { length: 257 }));
        for text in ["a\u{1b}[2Jb", "a\nb", "a\u{202e}b", "a\u{200b}b", "a\u{2066}b", "a\0b"] {
            assert!(matches!(text.parse::<Label>(), Err(LabelError::Character { .. })), "{text:?}");
        }
    }
}
