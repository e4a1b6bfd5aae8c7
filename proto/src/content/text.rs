//! Distinguishes text from binary data, and kinds of text by the file's name.

use super::kind::ContentKind;

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

/// Returns the kind of text of a file with this path, head and tail, or `None` if it is not text.
pub(super) fn sniff(path: &str, head: &[u8], tail: &[u8]) -> Option<ContentKind> {
    if !is_text(head) || !is_text(tail) {
        return None;
    }
    let name = file_name(path);
    let extension = extension(&name);
    Some(if is_code(&name, extension, head) {
        ContentKind::Code
    } else if DATASET.contains(&extension) {
        ContentKind::Dataset
    } else if is_json(head, tail) {
        ContentKind::Json
    } else {
        ContentKind::Text
    })
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
/// Text has no control characters but tabs, line ends, form feeds, and escapes for colour. In binary data, about every tenth
/// byte is a control character.
fn is_text(bytes: &[u8]) -> bool {
    !bytes.iter().any(|byte| matches!(byte, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f | 0x7f))
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

    fn whole(path: &str, text: &[u8]) -> Option<ContentKind> {
        sniff(path, text, text)
    }

    #[test]
    fn text_has_no_control_characters() {
        assert_eq!(whole("a.txt", "Grüße\r\n\t日本\x1b[0m".as_bytes()), Some(ContentKind::Text));
        assert_eq!(whole("a.txt", b"caf\xe9"), Some(ContentKind::Text));
        assert_eq!(whole("a.txt", b"a\0b"), None);
        assert_eq!(whole("a.txt", b"\xff\xfea\0"), None);
        assert_eq!(sniff("a.txt", b"a", b"\x01"), None);
    }

    #[test]
    fn code_is_known_by_name_or_by_its_first_line() {
        for (path, text) in [
            ("modeling.py", "import os"),
            ("A/B.PY", ""),
            ("Dockerfile", "FROM x"),
            ("notebook.ipynb", "{}"),
            ("run", "#!/bin/sh\n"),
            ("notes.txt", "#!/usr/bin/env python3\n"),
            ("page.txt", "\u{feff} <!DOCTYPE HTML>"),
        ] {
            assert_eq!(whole(path, text.as_bytes()), Some(ContentKind::Code), "{path}");
        }
    }

    #[test]
    fn lists_are_sorted() {
        for list in [CODE, CODE_NAMES, DATASET] {
            assert!(list.is_sorted(), "{list:?}");
        }
    }
}
