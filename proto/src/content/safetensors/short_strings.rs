//! [`ShortStrings`]: reads JSON and shortens its strings, so that a parser behind it holds no long one.
//!
//! A string that is too long loses its end, at the border of a character or escape. What stays is the same JSON otherwise.

use std::io::{self, Read};

/// JSON with strings of at most `max` bytes.
pub(super) struct ShortStrings<R> {
    inner: R,
    max: usize,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Outside,
    /// In a string: the bytes of it that were passed on, and the bytes of an escape that are still to come.
    Inside {
        length: usize,
        escape: u8,
    },
    /// In the end of a string, which is dropped.
    Dropping {
        escaped: bool,
    },
}

impl<R: Read> ShortStrings<R> {
    pub(super) const fn new(inner: R, max: usize) -> Self {
        Self { inner, max, state: State::Outside }
    }

    /// Returns whether a byte is passed on.
    fn passes(&mut self, byte: u8) -> bool {
        let (state, passes) = match (self.state, byte) {
            (State::Outside, b'"') => (State::Inside { length: 0, escape: 0 }, true),
            (State::Outside, _) => (State::Outside, true),
            (State::Inside { escape: 0, .. }, b'"') => (State::Outside, true),
            // Bytes from 0x80 to 0xbf go on with a character.
            (State::Inside { length, escape: 0 }, _)
                if length >= self.max && !(0x80..0xc0).contains(&byte) =>
            {
                (State::Dropping { escaped: byte == b'\\' }, false)
            }
            (State::Inside { length, escape: 0 }, b'\\') => {
                (State::Inside { length: length + 1, escape: 1 }, true)
            }
            // `\u` has four digits more. A pair of surrogates is two escapes: if it is divided, the parser refuses the string.
            (State::Inside { length, escape: 1 }, b'u') => {
                (State::Inside { length: length + 1, escape: 4 }, true)
            }
            (State::Inside { length, escape }, _) => {
                (State::Inside { length: length + 1, escape: escape.saturating_sub(1) }, true)
            }
            (State::Dropping { escaped: true }, _) => (State::Dropping { escaped: false }, false),
            (State::Dropping { .. }, b'"') => (State::Outside, true),
            (State::Dropping { .. }, _) => (State::Dropping { escaped: byte == b'\\' }, false),
        };
        self.state = state;
        passes
    }
}

impl<R: Read> Read for ShortStrings<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.inner.read(buffer)?;
            let mut kept = 0;
            for at in 0..read {
                let byte = buffer[at];
                if self.passes(byte) {
                    buffer[kept] = byte;
                    kept += 1;
                }
            }
            // Nothing is passed on of a part that is dropped, and zero would mean the end.
            if kept > 0 || read == 0 {
                return Ok(kept);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn short(text: &str, max: usize) -> String {
        let mut out = String::new();
        ShortStrings::new(text.as_bytes(), max).read_to_string(&mut out).expect("text");
        out
    }

    #[test]
    fn shortens_strings_and_nothing_else() {
        assert_eq!(short(r#"{"abcdef":[1,"xy"]}"#, 3), r#"{"abc":[1,"xy"]}"#);
        assert_eq!(short(r#"["a\"b\\","c"]"#, 2), r#"["a\"","c"]"#);
        assert_eq!(short(r#"["\u00e9xyz"]"#, 2), r#"["\u00e9"]"#);
        assert_eq!(short(r#"["éé"]"#, 1), r#"["é"]"#);
        assert_eq!(short(r#"["abc"]"#, 9), r#"["abc"]"#);
    }

    proptest! {
        #[test]
        fn what_was_json_is_json(text in "[a-z\"\\\\é\u{1f600}\n]{0,40}", max in 0..20_usize) {
            let json = serde_json::to_string(&vec![&text, &text]).expect("texts are JSON");
            let read: Vec<String> = serde_json::from_str(&short(&json, max)).expect("it is JSON still");
            prop_assert!(read.iter().all(|it| text.starts_with(it.as_str())));
        }
    }
}
