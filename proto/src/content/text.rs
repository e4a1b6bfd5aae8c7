//! Distinguishes text from binary data, and formats of text by the file's name.

use std::borrow::Cow;

use super::format::Format;
use super::kind::Ends;

/// Extensions of programs, and of files that the tools for them build or run.
const CODE: &[&str] = &[
    "bash", "bat", "c", "cc", "cjs", "cmake", "cmd", "cpp", "cs", "csh", "cu", "cuh", "cxx", "desktop",
    "fish", "go", "h", "hpp", "hta", "htm", "html", "ipynb", "java", "jl", "js", "jsx", "ksh", "kt", "kts",
    "lua", "m", "mjs", "mk", "php", "pl", "pm", "ps1", "psd1", "psm1", "pth", "py", "pyi", "pyw", "pyx", "r",
    "rb", "reg", "rs", "scala", "service", "sh", "swift", "tcl", "ts", "tsx", "vbe", "vbs", "wsf", "xhtml",
    "zsh",
];

/// Names of files that are programs, in lower case.
const CODE_NAMES: &[&str] = &[
    "cmakelists.txt",
    "containerfile",
    "dockerfile",
    "gnumakefile",
    "jenkinsfile",
    "justfile",
    "makefile",
    "rakefile",
];

/// Extensions of text files with rows of data.
const DATASET: &[&str] = &["csv", "jsonl", "ndjson", "tsv"];

/// Returns the format of text of a file with this path, head and tail, or `None` if it is not text.
pub(super) fn sniff(path: &str, head: &[u8], tail: &[u8]) -> Option<Ends> {
    let (head, tail, is_utf16) = decoded(head, tail)?;
    if !is_text(&head) || !is_text(&tail) {
        return None;
    }
    let name = file_name(path);
    let extension = extension(&name);
    let format = if is_code(&name, extension, &head) {
        match extension {
            "ipynb" => Format::Notebook,
            "py" | "pyi" | "pyw" | "pyx" => Format::Python,
            "pth" => Format::Pth,
            _ => Format::Program,
        }
    } else if DATASET.contains(&extension) {
        Format::Table
    } else if is_json(&head, &tail) {
        Format::Json
    } else {
        Format::Text
    };
    let is_new_text = is_utf16 || head.contains(&0x7f) || tail.contains(&0x7f);
    Some(Ends { format, is_new_text })
}

type Decoded<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>, bool);

/// Returns head and tail in UTF-8, where a byte order mark says that they are in UTF-16, and whether it does.
///
/// A tail may begin within a character: the tail of a file of an even length does not begin within two bytes.
fn decoded<'a>(head: &'a [u8], tail: &'a [u8]) -> Option<Decoded<'a>> {
    let unit: fn([u8; 2]) -> u16 = match head {
        // UTF-32 begins with the same bytes as UTF-16.
        [0xff, 0xfe, 0, 0, ..] => return Some((head.into(), tail.into(), false)),
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return Some((head.into(), tail.into(), false)),
    };
    let decode = |bytes: &[u8], is_tail: bool| -> Option<Vec<u8>> {
        let bytes = if is_tail { &bytes[bytes.len() % 2..] } else { &bytes[..bytes.len() / 2 * 2] };
        let units: Vec<u16> = bytes.as_chunks().0.iter().map(|it| unit(*it)).collect();
        let (first, last) = (units.first().copied(), units.last().copied());
        // A cut may divide a pair of surrogates.
        let begin = usize::from(is_tail && first.is_some_and(|it| (0xdc00..0xe000).contains(&it)));
        let end = units.len() - usize::from(last.is_some_and(|it| (0xd800..0xdc00).contains(&it)));
        String::from_utf16(units.get(begin..end)?).ok().map(String::into_bytes)
    };
    Some((decode(head, false)?.into(), decode(tail, true)?.into(), true))
}

/// Returns the last segment of a path, with ASCII letters in lower case.
pub(super) fn file_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase()
}

/// Returns the part after the last dot of a file's name, or an empty text.
pub(super) fn extension(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

fn is_code(name: &str, extension: &str, head: &[u8]) -> bool {
    let start = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    CODE.contains(&extension)
        || CODE_NAMES.contains(&name)
        || head.starts_with(b"#!")
        || [b"<?php".as_slice(), b"<script", b"<html", b"<!doctype html"]
            .iter()
            .any(|it| start.get(..it.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(it)))
}

/// Returns whether `bytes` are text, in UTF-8 or an older encoding.
///
/// Text has no control characters but tabs, line ends, form feeds, escapes for colour, and U+007F, which vocabularies have.
/// In binary data, about every tenth byte is a control character.
fn is_text(bytes: &[u8]) -> bool {
    !bytes.iter().any(|byte| matches!(byte, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f))
}

/// Returns whether the text begins and ends like a JSON object or list.
fn is_json(head: &[u8], tail: &[u8]) -> bool {
    let start = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start().first();
    let end = tail.trim_ascii_end().last();
    matches!((start, end), (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(path: &str, text: &[u8]) -> Option<Format> {
        sniff(path, text, text).map(|it| it.format)
    }

    #[test]
    fn text_has_no_control_characters() {
        assert_eq!(whole("a.txt", "Grüße\r\n\t日本\x1b[0m".as_bytes()), Some(Format::Text));
        assert_eq!(whole("a.txt", b"caf\xe9"), Some(Format::Text));
        assert_eq!(whole("a.txt", b"a\0b"), None);
        assert_eq!(sniff("a.txt", b"a", b"\x01"), None);
    }

    #[test]
    fn vocabularies_have_the_character_delete() {
        let found = sniff("vocab.json", b"{\"\x7f\": 1}", b"{\"\x7f\": 1}");
        assert_eq!(found, Some(Ends { format: Format::Json, is_new_text: true }));
    }

    #[test]
    fn text_in_utf16_is_text_by_its_byte_order_mark() {
        let le = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let be = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
        for (text, format) in [
            ("\u{feff}Lizenz: frei, für alle 🤗\r\n", Format::Text),
            ("\u{feff}{\"a\": 1}", Format::Json),
            ("\u{feff}<html>", Format::Program),
        ] {
            for bytes in [le(text), be(text)] {
                assert_eq!(whole("a.txt", &bytes), Some(format), "{text}");
                assert!(sniff("a.txt", &bytes, &bytes).is_some_and(|it| it.is_new_text));
            }
        }
        assert_eq!(whole("a.ps1", &le("\u{feff}dir")), Some(Format::Program));
        assert_eq!(whole("a.txt", &le("no mark")), None);
        assert_eq!(whole("a.txt", &le("\u{feff}a\u{1}b")), None);
        assert_eq!(whole("a.txt", b"\xff\xfe\0\xd8a\0"), None, "half a pair");
        assert_eq!(whole("a.txt", b"\xff\xfe\0\0a\0\0\0"), None, "UTF-32");
        let long = le(&format!("\u{feff}{}", "🤗".repeat(100)));
        for cut in 0..8 {
            assert!(sniff("a.txt", &long[..64 + cut], &long[long.len() - 100 - cut..]).is_some(), "{cut}");
        }
    }

    #[test]
    fn code_is_known_by_name_or_by_its_first_line() {
        for (path, text, format) in [
            ("modeling.py", "import os", Format::Python),
            ("A/B.PY", "", Format::Python),
            ("Dockerfile", "FROM x", Format::Program),
            ("notebook.ipynb", "{}", Format::Notebook),
            ("site.pth", "import os", Format::Pth),
            ("run", "#!/bin/sh\n", Format::Program),
            ("notes.txt", "#!/usr/bin/env python3\n", Format::Program),
            ("page.txt", "\u{feff} <!DOCTYPE HTML>", Format::Program),
        ] {
            assert_eq!(whole(path, text.as_bytes()), Some(format), "{path}");
        }
    }

    #[test]
    fn lists_are_sorted() {
        for list in [CODE, CODE_NAMES, DATASET] {
            assert!(list.is_sorted(), "{list:?}");
        }
    }
}
