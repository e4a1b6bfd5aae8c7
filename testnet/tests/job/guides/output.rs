//! Compares what a command prints with what a page shows. `…` stands for any text within a line, and a line of `...` for any
//! lines. What differs between two runs is written as `…` when the page is renewed.

use std::collections::BTreeMap;

use snapbox::Data;
use snapbox::filter::NormalizeToExpected;

/// Words in capitals that stand for values of one run, such as ids.
#[derive(Debug, Default)]
pub(super) struct Words(BTreeMap<String, String>);

impl Words {
    pub(super) fn set(&mut self, word: &str, value: String) {
        self.0.insert(word.to_owned(), value);
    }

    /// Puts the values in place of the words.
    pub(super) fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (word, value) in &self.0 {
            let is_part = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
            let is_whole =
                |at: usize| !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part);
            let places: Vec<usize> =
                text.match_indices(word.as_str()).map(|(at, _)| at).filter(|at| is_whole(*at)).collect();
            for at in places.into_iter().rev() {
                text.replace_range(at..at + word.len(), value);
            }
        }
        text
    }

    /// Puts the words in place of the values: the longest values first, since one may be part of another.
    pub(super) fn hide(&self, text: &str) -> String {
        let mut all: Vec<(&String, &String)> = self.0.iter().collect();
        all.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        all.into_iter().fold(text.to_owned(), |text, (word, value)| text.replace(value.as_str(), word))
    }
}

/// Returns the output in the form of the one that is shown: equal to it where they match. Where they do not, it is what the
/// page has to show.
pub(super) fn in_the_form_of(shown: &str, printed: &str) -> String {
    let pattern = shown.replace('…', "[..]") + "\n";
    let normal = NormalizeToExpected::new().redact();
    let normalized = normal.normalize(Data::text(trimmed(printed) + "\n"), &Data::text(pattern.clone()));
    let normalized = normalized.render().unwrap_or_default();
    let known: Vec<&str> = pattern.lines().collect();
    let lines = normalized
        .lines()
        .map(|line| if known.contains(&line) { line.replace("[..]", "…") } else { veil(line) });
    lines.collect::<Vec<_>>().join("\n")
}

/// Removes the space at the ends of lines, and blank lines at the end.
pub(super) fn trimmed(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_owned()
}

/// What ids begin with. Shorter texts behind it are no ids.
const IDS: [&str; 6] = ["sha256:", "ed25519:", "12D3KooW", "reg:q", "/tcp/", "/udp/"];

/// Digits of a port that was picked at the start. That of the documents has four.
const PORT_DIGITS: usize = 5;

/// Hides what differs between two runs: ids, ports, points in time.
fn veil(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let is_word = |it: char| it.is_ascii_alphanumeric() || ":-+.".contains(it);
        if let Some(id) = IDS.iter().find(|it| rest.starts_with(**it)) {
            let end = rest[id.len()..]
                .find(|it: char| !it.is_ascii_alphanumeric())
                .unwrap_or(rest.len() - id.len());
            let word = &rest[..id.len() + end];
            let is_port = id.starts_with('/');
            out.push_str(if is_port && end < PORT_DIGITS { word } else { id });
            if end > 0 && !(is_port && end < PORT_DIGITS) {
                out.push('…');
            }
            rest = &rest[id.len() + end..];
        } else if is_word(first) {
            let end = rest.find(|it: char| !is_word(it)).unwrap_or(rest.len());
            let word = &rest[..end];
            let is_id = word.len() >= 40 && word.chars().all(|it| it.is_ascii_alphanumeric());
            let is_date = word.len() >= 10 && word.starts_with("20") && word.as_bytes()[4] == b'-';
            let is_time = word.contains('.') && word.parse::<f64>().is_ok() && rest[end..].starts_with(" s");
            out.push_str(if is_id || is_date || is_time { "…" } else { word });
            rest = &rest[end..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

#[test]
fn output_is_compared_and_renewed() {
    assert_eq!(in_the_form_of("one\n...", "one\n"), "one\n...");
    let shown = "pulled ACME/m, sha256:…\n...\ndone in … s";
    let printed = "pulled ACME/m, sha256:123\none\ntwo\ndone in 0.3 s\n";
    assert_eq!(in_the_form_of(shown, printed), shown);
    let other = "fetched ACME/m, sha256:0123\none\ntwo\ndone in 0.3 s\n";
    assert_eq!(in_the_form_of(shown, other), "fetched ACME/m, sha256:…\n...\ndone in … s");
    assert_ne!(in_the_form_of("nothing", printed), "nothing");
    assert_eq!(
        veil("listen /ip4/127.0.0.1/tcp/41234/p2p/12D3KooWabc 2026-12-01 /tcp/4600 3 files in 0.1 s"),
        "listen /ip4/127.0.0.1/tcp/…/p2p/12D3KooW… … /tcp/4600 3 files in … s"
    );
    let mut words = Words::default();
    words.set("ID", "abc".to_owned());
    words.set("KEY", "ed:abc".to_owned());
    assert_eq!(words.fill("pull ID/m ID-X KEY:x"), "pull abc/m ID-X ed:abc:x");
    assert_eq!(words.hide("ed:abc abc"), "KEY ID");
}
