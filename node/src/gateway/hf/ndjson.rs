//! [`CommitLines`]: reads the lines of a commit as they arrive, so that a file sent within one takes no memory.
//!
//! A line is a JSON object `{"key": …, "value": {"content": …}}`. Some clients put files of any size into `content`, in
//! base64. The lines are handed over whole up to a bound; the `content` of a longer one is handed over piece by
//! piece, and the line with an empty `content`.

/// Bytes of a `content` that stays in its line: more than any file that belongs there has.
const CONTENT_BYTES_MAX: usize = 1 << 20;
/// Bytes of a line without its `content`: a path of 4 KiB, and a message.
const LINE_BYTES_MAX: usize = 1 << 20;

/// What has arrived of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Arrived {
    /// The next part of the `content` of the line that is under way.
    Content(Vec<u8>),
    /// A line. Its `content` is empty if parts of it were handed over.
    Line(Vec<u8>),
}

/// A line is longer than a commit's lines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineTooLong;

/// Cuts a commit into lines.
#[derive(Debug, Default)]
pub(super) struct CommitLines {
    line: Vec<u8>,
    /// Where the `content` begins in the line, while its bytes arrive.
    content: Option<usize>,
    /// Whether parts of the line's `content` were handed over.
    is_handed_over: bool,
    scan: Scan,
}

/// Where in a JSON text the next byte stands.
#[derive(Debug, Default)]
struct Scan {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// The last string, or its beginning; then the key, once a colon has come.
    last: Vec<u8>,
    /// Whether the next value belongs to the key `content` of the inner object.
    is_content: bool,
}

/// What a byte begins or ends.
enum Step {
    Other,
    ContentBegins,
    StringEnds,
}

impl Scan {
    fn step(&mut self, byte: u8) -> Step {
        const CONTENT: &[u8] = b"content";
        if self.in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => {
                    self.in_string = false;
                    return Step::StringEnds;
                }
                // One more than the key that is looked for.
                _ if self.last.len() <= CONTENT.len() => self.last.push(byte),
                _ => {}
            }
            return Step::Other;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                self.last.clear();
                if std::mem::take(&mut self.is_content) {
                    return Step::ContentBegins;
                }
            }
            b'{' | b'[' => {
                self.depth += 1;
                self.is_content = false;
            }
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b':' => self.is_content = self.depth == 2 && self.last == CONTENT,
            b',' => self.is_content = false,
            _ => {}
        }
        Step::Other
    }
}

impl CommitLines {
    /// Takes the next bytes, and returns what is complete.
    ///
    /// # Errors
    /// A line is too long, its `content` apart.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Arrived>, LineTooLong> {
        let mut arrived = Vec::new();
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            let run = self.plain_content(rest);
            if run > 0 {
                self.line.extend_from_slice(&rest[..run]);
                rest = &rest[run..];
            } else if *byte == b'\n' {
                arrived.extend(self.end());
                rest = after;
            } else {
                self.take(*byte, &mut arrived);
                rest = after;
            }
            match self.content {
                Some(begin) if self.line.len() - begin >= CONTENT_BYTES_MAX => {
                    self.is_handed_over = true;
                    arrived.push(Arrived::Content(self.line.split_off(begin)));
                }
                None if self.line.len() > LINE_BYTES_MAX + CONTENT_BYTES_MAX => return Err(LineTooLong),
                _ => {}
            }
        }
        Ok(arrived)
    }

    /// Returns how many of the next bytes are `content` and nothing else, up to the bound of what is kept.
    fn plain_content(&self, rest: &[u8]) -> usize {
        let Some(begin) = self.content.filter(|_| !self.scan.is_escaped) else { return 0 };
        let room = CONTENT_BYTES_MAX.saturating_sub(self.line.len() - begin.min(self.line.len()));
        let near = &rest[..rest.len().min(room)];
        near.iter().position(|it| matches!(it, b'"' | b'\\' | b'\n')).unwrap_or(near.len())
    }

    fn take(&mut self, byte: u8, arrived: &mut Vec<Arrived>) {
        match self.scan.step(byte) {
            Step::ContentBegins => self.content = Some(self.line.len() + 1),
            Step::StringEnds => {
                if let Some(begin) = self.content.take()
                    && self.is_handed_over
                {
                    arrived.push(Arrived::Content(self.line.split_off(begin)));
                }
            }
            Step::Other => {}
        }
        self.line.push(byte);
    }

    /// Returns the last line, which may have no end.
    pub(super) fn end(&mut self) -> Option<Arrived> {
        let line = std::mem::take(&mut self.line);
        *self = Self::default();
        (!line.trim_ascii().is_empty()).then_some(Arrived::Line(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], chunk: usize) -> (Vec<String>, Vec<usize>) {
        let mut lines = CommitLines::default();
        let mut arrived = Vec::new();
        for chunk in text.chunks(chunk) {
            arrived.extend(lines.feed(chunk).expect("short lines"));
        }
        arrived.extend(lines.end());
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        for it in arrived {
            match it {
                Arrived::Content(part) => parts.push(part.len()),
                Arrived::Line(line) => whole.push(String::from_utf8(line).expect("text")),
            }
        }
        (whole, parts)
    }

    #[test]
    fn short_lines_stay_whole_and_a_long_content_is_handed_over_however_the_bytes_come() {
        let header = r#"{"key":"header","value":{"summary":"a \"content\": {","content":"short"}}"#;
        let long = "A".repeat(3 * CONTENT_BYTES_MAX + 10);
        let file = |content: &str| {
            format!(
                r#"{{"key": "file", "value": {{"content" : "{content}", "path": "a\"b", "encoding": "base64"}}}}"#
            )
        };
        let text = format!("{header}\n\n{}\n{}", file(&long), file("QUJD"));
        for chunk in [1, 7, 1000, text.len()] {
            let (lines, parts) = read(text.as_bytes(), chunk);
            assert_eq!(lines, [header.to_owned(), file(""), file("QUJD")], "chunks of {chunk}");
            assert_eq!(parts.iter().sum::<usize>(), long.len());
            assert!(parts.iter().all(|it| *it <= CONTENT_BYTES_MAX));
        }
    }

    #[test]
    fn only_the_content_of_a_file_may_be_long() {
        let long = "A".repeat(4 * CONTENT_BYTES_MAX);
        for text in [
            format!(r#"{{"content":"{long}"}}"#),
            format!(r#"{{"key":"file","value":{{"path":"{long}"}}}}"#),
            format!(r#"{{"key":"file","value":{{"content":["{long}"]}}}}"#),
            long,
        ] {
            assert_eq!(CommitLines::default().feed(text.as_bytes()), Err(LineTooLong), "{}", &text[..40]);
        }
    }
}
