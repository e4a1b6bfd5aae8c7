//! [`Printable`]: text that steers no terminal. Names, messages and fields come from peers, files and endpoints. Whatever a
//! user reads on a terminal or in a log goes through this type first.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Text without control characters and without characters that change the direction or the order of what is shown. Each of
/// those stands in it as an escape, such as `\u{1b}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(transparent)]
pub struct Printable(String);

impl Printable {
    /// Makes text printable that is to stay on one line.
    pub fn line(text: &str) -> Self {
        Self(escaped(text, steers, in_text).into_owned())
    }

    /// Makes text printable that may have several lines.
    pub fn lines(text: &str) -> Self {
        let steers = |it| it != '\n' && steers(it);
        Self(escaped(text, steers, in_text).into_owned())
    }

    /// Makes a JSON document printable, which stays the same document. It has no line breaks outside its strings.
    pub fn json(document: &str) -> Self {
        Self(escaped(document, steers, in_json).into_owned())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Printable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for Printable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|it| Self::lines(&it))
    }
}

/// Tells whether a terminal acts on a character, or shows the text around it in another order.
fn steers(it: char) -> bool {
    it.is_control()
        || matches!(it,
            // Marks and overrides of direction.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
            // Line and paragraph separators.
            | '\u{2028}' | '\u{2029}'
            // Annotations and tags, which are invisible.
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn escaped(text: &str, steers: impl Fn(char) -> bool, escape: impl Fn(char) -> String) -> Cow<'_, str> {
    if !text.contains(&steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for it in text.chars() {
        if steers(it) {
            shown.push_str(&escape(it));
        } else {
            shown.push(it);
        }
    }
    Cow::Owned(shown)
}

/// Returns a character as a program's source escapes it.
fn in_text(it: char) -> String {
    match it {
        '\n' | '\r' | '\t' => it.escape_default().collect(),
        _ => it.escape_unicode().collect(),
    }
}

/// Returns a character as JSON escapes it: in one unit of UTF-16, or two.
fn in_json(it: char) -> String {
    it.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_steers_is_shown_and_the_rest_is_left_alone() {
        for (text, shown) in [
            ("Llama 3 – 8B, 日本語, naïve 🦙👩‍💻", "Llama 3 – 8B, 日本語, naïve 🦙👩‍💻"),
            ("\x1b]52;c;ZXZpbA==\x07", "\\u{1b}]52;c;ZXZpbA==\\u{7}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\rb\tc\x08\x7f\0", "a\\rb\\tc\\u{8}\\u{7f}\\u{0}"),
            ("model\u{202e}gpj", "model\\u{202e}gpj"),
            ("a\nhint: b", "a\\nhint: b"),
        ] {
            assert_eq!(Printable::line(text).as_str(), shown);
        }
        assert_eq!(Printable::lines("a\n\x1bb").as_str(), "a\n\\u{1b}b");
        let read: Printable = serde_json::from_str("\"a\\u001b[2J\\nb\"").unwrap();
        assert_eq!(read.as_str(), "a\\u{1b}[2J\nb");
    }

    proptest! {
        #[test]
        fn no_text_steers_and_json_stays_the_same(text in "(\\PC|\\pC|[\\x00-\\x9f]){0,60}") {
            for printable in [Printable::line(&text), Printable::json(&serde_json::to_string(&text).unwrap())] {
                prop_assert!(!printable.as_str().contains(steers));
            }
            prop_assert!(!Printable::lines(&text).as_str().replace('\n', "").contains(steers));
            let json = Printable::json(&serde_json::to_string(&text).unwrap());
            prop_assert_eq!(serde_json::from_str::<String>(json.as_str()).unwrap(), text);
        }
    }
}
