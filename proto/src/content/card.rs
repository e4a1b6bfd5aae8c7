//! Reads the YAML front matter of a model card (`README.md`), as Hugging Face defines it. All of it is only claimed.

use serde::Deserialize;
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Budget, Options};
use thiserror::Error;

use super::label::Label;
use super::loose::Loose;

/// Bytes of a card's YAML. Cards with the results of a hundred benchmarks have 500 kB.
pub const CARD_YAML_BYTES_MAX: usize = 1 << 20;
/// Values of a card's YAML, with nested ones. The same benchmarks have some 20,000.
pub const CARD_NODES_MAX: usize = 200_000;
/// Nesting of a card's YAML. Results of evaluations have six levels.
pub const CARD_DEPTH_MAX: usize = 16;

/// The claims of a model card.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Card {
    pub licenses: Vec<Label>,
    /// The name of a licence that is not on Hugging Face's list.
    pub license_name: Option<Label>,
    pub license_link: Option<Label>,
    /// The models that this one was derived from.
    pub base_models: Vec<Label>,
    /// The kind of derivation: `finetune`, `quantized`, `adapter` or `merge`.
    pub base_model_relation: Option<Label>,
    pub languages: Vec<Label>,
    pub pipeline_tag: Option<Label>,
    pub library_name: Option<Label>,
    pub tags: Vec<Label>,
    pub datasets: Vec<Label>,
}

/// Why the YAML of a card cannot be parsed.
#[derive(Debug, Error)]
pub enum CardError {
    #[error("card is not UTF-8")]
    Text,
    #[error("card has YAML that does not end within {CARD_YAML_BYTES_MAX} bytes")]
    NoEnd,
    #[error("card has YAML that cannot be parsed")]
    Yaml(#[source] Box<serde_saphyr::Error>),
}

/// Parses a card from its first bytes. [`CARD_YAML_BYTES_MAX`] and a few more are enough. A card without YAML claims
/// nothing.
///
/// # Errors
/// If the YAML does not end, is too large or too deep, or has anchors, aliases, merge keys, custom tags or duplicate keys.
pub fn parse(bytes: &[u8]) -> Result<Card, CardError> {
    let Some(yaml) = front_matter(bytes)? else { return Ok(Card::default()) };
    if yaml.trim().is_empty() {
        return Ok(Card::default());
    }
    let raw: Raw = serde_saphyr::from_str_with_options(yaml, options())
        .map_err(|error| CardError::Yaml(Box::new(error)))?;
    Ok(Card {
        licenses: raw.license.labels(),
        license_name: raw.license_name.label(),
        license_link: raw.license_link.label(),
        base_models: raw.base_model.labels(),
        base_model_relation: raw.base_model_relation.label(),
        languages: raw.language.labels(),
        pipeline_tag: raw.pipeline_tag.label(),
        library_name: raw.library_name.label(),
        tags: raw.tags.labels(),
        datasets: raw.datasets.labels(),
    })
}

/// Returns the text between the first line, which must be `---`, and the next such line. `None` if there is no such text.
fn front_matter(bytes: &[u8]) -> Result<Option<&str>, CardError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let first_end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (first, rest) = bytes.split_at(first_end);
    if first.trim_ascii_end() != b"---" {
        return Ok(None);
    }
    let within = &rest[..rest.len().min(CARD_YAML_BYTES_MAX)];
    let mut end = 0;
    for line in within.split_inclusive(|byte| *byte == b'\n') {
        if line.trim_ascii_end() == b"---" {
            return std::str::from_utf8(&within[..end]).map(Some).map_err(|_| CardError::Text);
        }
        end += line.len();
    }
    Err(CardError::NoEnd)
}

/// The YAML of a card, as written.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    license: Loose,
    license_name: Loose,
    license_link: Loose,
    base_model: Loose,
    base_model_relation: Loose,
    language: Loose,
    pipeline_tag: Loose,
    library_name: Loose,
    tags: Loose,
    datasets: Loose,
}

/// Returns parser options that refuse references, and keep every scalar as written: `no` is Norwegian.
fn options() -> Options {
    serde_saphyr::options! {
        budget: budget(),
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn budget() -> Option<Budget> {
    serde_saphyr::budget! {
        max_aliases: 0,
        max_anchors: 0,
        max_merge_keys: 0,
        max_documents: 1,
        max_depth: CARD_DEPTH_MAX,
        flow_nesting_limit: CARD_DEPTH_MAX,
        max_nodes: CARD_NODES_MAX,
        max_events: 2 * CARD_NODES_MAX,
        max_total_scalar_bytes: CARD_YAML_BYTES_MAX,
        max_inclusion_depth: 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(labels: &[Label]) -> Vec<&str> {
        labels.iter().map(Label::as_str).collect()
    }

    const SAMPLE: &str = "---\nlicense: apache-2.0\nlanguage:\n- en\n- no\nbase_model: org/Base-7B\nbase_model_relation: quantized\n\
        pipeline_tag: text-generation\nlibrary_name: transformers\ntags: [chat, 2024, \"a: b\"]\ndatasets:\n  - org/data\n\
        model-index:\n- name: x\n  results:\n  - metrics:\n    - {type: acc, value: 0.5, verified: false}\n---\n# Title\n---\n";

    #[test]
    fn reads_a_card() {
        let card = parse(SAMPLE.as_bytes()).unwrap();
        assert_eq!(labels(&card.licenses), ["apache-2.0"]);
        assert_eq!(labels(&card.languages), ["en", "no"]);
        assert_eq!(labels(&card.base_models), ["org/Base-7B"]);
        assert_eq!(card.base_model_relation.as_ref().map(Label::as_str), Some("quantized"));
        assert_eq!(labels(&card.tags), ["chat", "2024", "a: b"]);
        assert_eq!(labels(&card.datasets), ["org/data"]);
    }

    #[test]
    fn takes_one_or_many_and_leaves_out_what_is_neither() {
        let read = |yaml: &str| parse(format!("---\n{yaml}\n---\n").as_bytes()).unwrap();
        assert_eq!(labels(&read("base_model: [a/b, c/d]").base_models), ["a/b", "c/d"]);
        assert_eq!(labels(&read("language: no").languages), ["no"]);
        assert_eq!(labels(&read("license: {a: b}").licenses), [""; 0]);
        assert_eq!(labels(&read("license: \"a\\eb\"").licenses), [""; 0]);
        assert_eq!(labels(&read("license: null\ntags: [~, x, .nan]").tags), ["x", ".nan"]);
        assert_eq!(read(""), Card::default());
    }

    #[test]
    fn a_readme_without_yaml_says_nothing() {
        for text in ["", "# Title\n---\nlicense: mit\n---\n", "--- x\n", "----\n"] {
            assert_eq!(parse(text.as_bytes()).unwrap(), Card::default(), "{text}");
        }
        assert_eq!(
            labels(&parse(b"\xef\xbb\xbf\r\n---\r\nlicense: mit\r\n---\r\n").unwrap().licenses),
            ["mit"]
        );
    }

    #[test]
    fn refuses_hostile_yaml() {
        let laughs = "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nlicense: *c".to_owned();
        let many = format!("tags: [{}]", "a,".repeat(CARD_NODES_MAX));
        let cases = [
            ("aliases", laughs),
            ("an anchor", "license: &a mit".to_owned()),
            ("a merge", "<<: {license: mit}".to_owned()),
            ("a tag of its own", "license: !!python/object/apply:os.system [id]".to_owned()),
            ("a local tag", "license: !run mit".to_owned()),
            ("a key twice", "license: mit\nlicense: gpl".to_owned()),
            ("a key twice, unknown", "x: 1\nx: 2".to_owned()),
            ("deep flow", format!("tags: {}", "[".repeat(100_000))),
            ("deep flow, closed", format!("tags: {}{}", "[".repeat(20), "]".repeat(20))),
            ("deep blocks", (0..40).map(|it| format!("{}a:\n", " ".repeat(it))).collect()),
            ("many values", many),
            ("two documents", "license: mit\n...\n%YAML 1.2\n--- \nlicense: gpl".to_owned()),
            ("a list", "- a".to_owned()),
            ("a word", "mit".to_owned()),
            ("an include", "license: !include /etc/passwd".to_owned()),
        ];
        for (what, yaml) in cases {
            assert!(parse(format!("---\n{yaml}\n---\n").as_bytes()).is_err(), "{what}");
        }
        assert!(matches!(parse(b"---\nlicense: mit\n"), Err(CardError::NoEnd)));
        let long = format!("---\n#{}\n---\n", "a".repeat(CARD_YAML_BYTES_MAX));
        assert!(matches!(parse(long.as_bytes()), Err(CardError::NoEnd)));
        assert!(matches!(parse(b"---\nlicense: \xff\n---\n"), Err(CardError::Text)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

        #[test]
        fn never_panics(at in 0..400_usize, byte: u8, cut in 0..420_usize, noise in "[\\[\\]{}\",:&*!|>%@`#?a-c0-9\\n -]{0,60}") {
            let mut bytes = SAMPLE.as_bytes().to_vec();
            if let Some(it) = bytes.get_mut(at) { *it = byte }
            bytes.truncate(cut);
            let _ = parse(&bytes);
            let _ = parse(format!("---\n{noise}\n---\n").as_bytes());
        }
    }
}
