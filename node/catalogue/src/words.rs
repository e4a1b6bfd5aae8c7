//! Cuts text into words, in the same way for what is indexed and for what is searched.
//!
//! A chunk is a run of letters and digits, with single dots between digits: `Qwen2.5-0.5B` has the chunks `qwen2.5` and
//! `0.5b`. A chunk has parts, cut between letters and digits and inside camel case: `qwen`, `2.5` and `0.5`, `b`. Both are
//! words of the index, so that a user may write either.

use tantivy::tokenizer::{Language, Stemmer, TextAnalyzer, Token, TokenStream, Tokenizer, TokenizerManager};

/// Name of the analyser for names, titles and short facts.
pub(crate) const WORDS: &str = "reg_words";
/// Name of the analyser for summaries: the same words, without their English endings.
pub(crate) const STEMS: &str = "reg_stems";

/// Bytes of a chunk that count. The id of a publisher has 52.
const CHUNK_BYTES_MAX: usize = 64;
/// Parts of a chunk that count: names of models have up to six.
const PARTS_MAX: usize = 24;

/// A chunk, in lower case, with its parts if it has several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) whole: String,
    pub(crate) parts: Vec<String>,
}

/// Returns the words of `text`.
pub(crate) fn words(text: &str) -> impl Iterator<Item = Word> {
    chunks(text).map(|chunk| {
        let parts = parts(chunk);
        Word { whole: lower(chunk), parts: if parts.len() > 1 { parts } else { Vec::new() } }
    })
}

/// Returns the form of `text` in which facts are compared with a filter.
pub(crate) fn folded(text: &str) -> String {
    lower(text.trim())
}

/// Returns the analysers for the index.
pub(crate) fn analysers() -> TokenizerManager {
    let manager = TokenizerManager::default();
    manager.register(WORDS, TextAnalyzer::from(Cutter));
    manager.register(STEMS, stems());
    manager
}

/// Returns the analyser for summaries.
pub(crate) fn stems() -> TextAnalyzer {
    TextAnalyzer::builder(Cutter).filter(Stemmer::new(Language::English)).build()
}

fn lower(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Returns the runs of letters and digits in `text`, each cut to `CHUNK_BYTES_MAX`.
fn chunks(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find(char::is_alphanumeric)?;
        rest = &rest[start..];
        let mut previous = ' ';
        let mut chars = rest.char_indices().peekable();
        let mut end = rest.len();
        while let Some((at, char)) = chars.next() {
            let next = chars.peek().map_or(' ', |(_, next)| *next);
            let is_point = char == '.' && previous.is_ascii_digit() && next.is_ascii_digit();
            if !char.is_alphanumeric() && !is_point {
                end = at;
                break;
            }
            previous = char;
        }
        let chunk = &rest[..end];
        rest = &rest[end..];
        Some(&chunk[..chunk.floor_char_boundary(CHUNK_BYTES_MAX)])
    })
}

/// What kind of run a character belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    Number,
    Lower,
    Upper,
    /// A character that is a word of its own, as in Chinese and Japanese.
    Alone,
}

fn run(char: char) -> Run {
    match char {
        '.' => Run::Number,
        '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' => Run::Alone,
        _ if char.is_numeric() => Run::Number,
        _ if char.is_uppercase() => Run::Upper,
        _ => Run::Lower,
    }
}

/// Returns the parts of a chunk in lower case, at most `PARTS_MAX`.
fn parts(chunk: &str) -> Vec<String> {
    let chars: Vec<(usize, char)> = chunk.char_indices().collect();
    let (mut parts, mut start) = (Vec::new(), 0);
    for pair in 1..chars.len() {
        let (before, here) = (run(chars[pair - 1].1), run(chars[pair].1));
        let after = chars.get(pair + 1).map(|(_, char)| run(*char));
        let is_border = match (before, here) {
            (Run::Alone, _) | (_, Run::Alone) => true,
            (Run::Upper, Run::Lower) => false,
            (Run::Upper, Run::Upper) => after == Some(Run::Lower),
            _ => before != here,
        };
        if is_border && parts.len() + 1 < PARTS_MAX {
            parts.push(lower(&chunk[start..chars[pair].0]));
            start = chars[pair].0;
        }
    }
    parts.push(lower(&chunk[start..]));
    parts
}

/// Gives tantivy the words of a text.
#[derive(Clone)]
struct Cutter;

/// The tokens of one text, the last one first.
struct Tokens {
    waiting: Vec<String>,
    token: Token,
}

impl Tokenizer for Cutter {
    type TokenStream<'a> = Tokens;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Tokens {
        let mut waiting: Vec<String> =
            words(text).flat_map(|word| std::iter::once(word.whole).chain(word.parts)).collect();
        waiting.reverse();
        Tokens { waiting, token: Token::default() }
    }
}

impl TokenStream for Tokens {
    fn advance(&mut self) -> bool {
        let Some(text) = self.waiting.pop() else { return false };
        self.token.text = text;
        self.token.position = self.token.position.wrapping_add(1);
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_cut_where_people_cut_them() {
        type Expected = &'static [(&'static str, &'static [&'static str])];
        let table: [(&str, Expected); 9] = [
            ("Qwen2.5-0.5B", &[("qwen2.5", &["qwen", "2.5"]), ("0.5b", &["0.5", "b"])]),
            ("TinyLlama_v1.0", &[("tinyllama", &["tiny", "llama"]), ("v1.0", &["v", "1.0"])]),
            ("GGUFModel", &[("ggufmodel", &["gguf", "model"])]),
            ("Q4_K_M", &[("q4", &["q", "4"]), ("k", &[]), ("m", &[])]),
            ("Mixtral8x7B", &[("mixtral8x7b", &["mixtral", "8", "x", "7", "b"])]),
            ("model.gguf e.g. 3.", &[("model", &[]), ("gguf", &[]), ("e", &[]), ("g", &[]), ("3", &[])]),
            ("翻译x", &[("翻译x", &["翻", "译", "x"])]),
            ("Über", &[("über", &[])]),
            (" --- ", &[]),
        ];
        for (text, expected) in table {
            let found: Vec<Word> = words(text).collect();
            let expected: Vec<Word> = expected
                .iter()
                .map(|(whole, parts)| Word {
                    whole: (*whole).to_owned(),
                    parts: parts.iter().map(|it| (*it).to_owned()).collect(),
                })
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn summaries_lose_their_endings() {
        let mut analyser = stems();
        let mut stream = analyser.token_stream("Translating models");
        let mut found = Vec::new();
        while let Some(token) = stream.next() {
            found.push(token.text.clone());
        }
        assert_eq!(found, ["translat", "model"]);
    }

    proptest! {
        #[test]
        fn any_text_gives_short_words(text in any::<String>()) {
            for word in words(&text) {
                prop_assert!(!word.whole.is_empty());
                prop_assert!(word.parts.len() <= PARTS_MAX && word.parts.len() != 1);
                prop_assert!(word.parts.iter().all(|it| !it.is_empty()));
            }
        }

        #[test]
        fn parts_are_the_chunk(text in "[A-Za-z0-9.]{1,40}") {
            for word in words(&text).filter(|it| !it.parts.is_empty()) {
                prop_assert_eq!(word.parts.concat(), word.whole);
            }
        }
    }
}
