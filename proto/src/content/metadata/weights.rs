//! Groups weight files into sets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::ggml;
use super::super::inspect::Facts;
use super::super::kind::ContentKind;
use super::super::model_config::Quantization;
use crate::path::SafePath;

/// One weight file, or the shards that a loader loads as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightSet {
    /// The file's path, with `*` in place of a shard's number.
    pub files: String,
    pub format: ContentKind,
    /// Number of files of the set in the model.
    pub count: u64,
    /// Number of files of the set according to their names.
    pub of: u64,
    /// Size of all files in bytes.
    pub size: u64,
    /// Number of tensor elements by type; empty for formats without a parsed header.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub elements: BTreeMap<String, u64>,
    /// The quantisation of most tensors, if the file names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
}

impl WeightSet {
    /// Returns the number of tensor elements, or `None` for formats without a parsed header.
    pub fn parameters(&self) -> Option<u64> {
        (!self.elements.is_empty())
            .then(|| self.elements.values().fold(0_u64, |sum, it| sum.saturating_add(*it)))
    }
}

/// The sets by name and format.
#[derive(Debug, Default)]
pub(super) struct WeightSets(BTreeMap<(String, ContentKind), WeightSet>);

impl WeightSets {
    /// Adds a file, if it is a weight file.
    pub(super) fn file(&mut self, path: &SafePath, size: u64, format: ContentKind, facts: &Facts) {
        use ContentKind::{EmbeddedCode, Engine, Gguf, Onnx, Pickle, Safetensors, Weights};
        if !matches!(format, Safetensors | Gguf | Onnx | Weights | Pickle | EmbeddedCode | Engine) {
            return;
        }
        let (files, of) = set_of(path.as_str());
        let empty = WeightSet {
            files: files.clone(),
            format,
            count: 0,
            of,
            size: 0,
            elements: BTreeMap::new(),
            quantization: None,
        };
        let set = self.0.entry((files, format)).or_insert(empty);
        set.count += 1;
        set.size = set.size.saturating_add(size);
        for (name, count) in elements(facts) {
            let sum = set.elements.entry(name).or_default();
            *sum = sum.saturating_add(count);
        }
        // The shards of a set should agree. If they do not, the lowest name wins, in any order of arrival.
        let quantization = quantization(facts);
        let lower = |old: &Quantization| quantization.as_ref().is_some_and(|new| new.method < old.method);
        if set.quantization.as_ref().is_none_or(lower) {
            set.quantization = quantization;
        }
    }

    pub(super) fn finish(self) -> Vec<WeightSet> {
        self.0.into_values().collect()
    }
}

/// Returns the quantisation of the sets that name one, if it is the same for all.
pub(super) fn only_quantization(sets: &[WeightSet]) -> Option<Quantization> {
    let mut named = sets.iter().filter_map(|set| set.quantization.as_ref());
    let first = named.next()?;
    named.all(|other| other == first).then(|| first.clone())
}

fn elements(facts: &Facts) -> BTreeMap<String, u64> {
    let mut elements = BTreeMap::new();
    match facts {
        Facts::Safetensors(file) => {
            for tensor in &file.tensors {
                let sum: &mut u64 = elements.entry(tensor.dtype.to_string()).or_default();
                *sum = sum.saturating_add(tensor.elements());
            }
        }
        Facts::Gguf(file) => {
            elements.extend(file.parameters().into_iter().map(|(kind, count)| (kind.to_string(), count)));
        }
        _ => {}
    }
    elements
}

fn quantization(facts: &Facts) -> Option<Quantization> {
    let Facts::Gguf(file) = facts else { return None };
    let method = ggml::file_type_name(file.file_type?)?.parse().ok()?;
    Some(Quantization { method, bits: None })
}

/// Returns the name of the set that a file belongs to, and the number of files that the set should have.
fn set_of(path: &str) -> (String, u64) {
    shard(path).unwrap_or_else(|| (path.to_owned(), 1))
}

/// Parses `<stem>-00001-of-00003.<extension>`.
fn shard(path: &str) -> Option<(String, u64)> {
    let (stem, extension) = path.rsplit_once('.')?;
    let (stem, total) = stem.rsplit_once("-of-")?;
    let (stem, number) = stem.rsplit_once('-')?;
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(total) || !is_number(number) {
        return None;
    }
    Some((format!("{stem}-*-of-{total}.{extension}"), total.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_form_a_set() {
        let set = |path: &str| set_of(path);
        assert_eq!(
            set("a/model-00002-of-00003.safetensors"),
            ("a/model-*-of-00003.safetensors".to_owned(), 3)
        );
        for alone in
            ["model.safetensors", "model-2-of-3.gguf", "a-of-b/x.bin", "-of-.x", "00001-of-00002.bin"]
        {
            assert_eq!(set(alone), (alone.to_owned(), 1));
        }
    }
}
