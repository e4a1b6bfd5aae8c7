//! [`Metadata`]: the facts about a model, with computed ones and claimed ones apart.

mod weights;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::card::Card;
use super::chat_template::ChatTemplate;
use super::format::Format;
use super::gguf::Gguf;
use super::hollow::Hollow;
use super::inspect::{Facts, Inspected};
use super::kind::ContentKind;
use super::label::{LABEL_BYTES_MAX, Label};
use super::model_config::{ModelConfig, Quantization};
use super::parts::{Gap, Parts, is_settled_by_others};
use crate::digest::Digest;
use crate::path::SafePath;

pub use weights::WeightSet;
use weights::WeightSets;

/// The facts about a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    pub computed: Computed,
    pub claimed: Claimed,
}

/// The facts that follow from the bytes that a loader uses. Every node computes the same ones from the same files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Computed {
    /// The kinds of its weight files.
    pub formats: BTreeSet<ContentKind>,
    /// The weight files in sets, such as the shards of one model.
    pub weights: Vec<WeightSet>,
    /// Number of tensor elements of the largest set. Packed weights count as they are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Label>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_type: Option<Label>,
    /// Length of the model's context, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<Label>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
    /// The file that holds the vocabulary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<ChatTemplate>,
    /// The file that holds the licence's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_text: Option<Digest>,
    /// Files that are more than data.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub risky: BTreeMap<SafePath, ContentKind>,
    /// Whether a loader with `trust_remote_code` would fetch and run Python code (`auto_map`).
    pub remote_code: bool,
    /// Files that another file needs and that the model does not have: shards, splits, tensors that an ONNX file keeps apart.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub missing: BTreeSet<SafePath>,
    /// Files that lack others of a set, and that the names of the set do not lead to.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub misnamed: BTreeSet<SafePath>,
    /// Lists and graphs that cannot be read, so that files may be missing.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unread: BTreeSet<SafePath>,
    /// How many files are missing, hollow, misnamed or unread beside those that are listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_gaps: usize,
    /// Files that are not what their names say: pointers of git-lfs, empty files and error pages in the place of weights.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hollow: BTreeMap<SafePath, Hollow>,
    /// Files that should hold facts and cannot be parsed, so that facts may be missing.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub not_understood: BTreeSet<SafePath>,
    /// Weight files with an invalid header, and the reason: holes, overlaps, duplicate names.
    ///
    /// Two loaders may read such a file differently, so a pull takes it only with the user's consent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub malformed: BTreeMap<SafePath, Label>,
}

impl Computed {
    /// Returns whether no file of the model is missing or not what its name says.
    pub fn is_whole(&self) -> bool {
        let listed = [&self.missing, &self.misnamed, &self.unread];
        listed.iter().all(|it| it.is_empty()) && self.hollow.is_empty() && self.more_gaps == 0
    }
}

/// Tells whether a number is left out of what is written.
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// The claims in the model card or in a header's notes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Claimed {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Label>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub licenses: Vec<Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license_name: Option<Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license_link: Option<Label>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub base_models: Vec<Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_model_relation: Option<Label>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline_tag: Option<Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library_name: Option<Label>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Label>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub datasets: Vec<Label>,
}

/// Collects the files of a model, in any order, into its [`Metadata`].
#[derive(Debug, Default)]
pub struct MetadataBuilder {
    parts: Parts,
    /// Files of no format, with their sizes. Another file may say what they are.
    unknown: BTreeMap<SafePath, u64>,
    risky: BTreeMap<SafePath, ContentKind>,
    not_understood: BTreeSet<SafePath>,
    malformed: BTreeMap<SafePath, Label>,
    weights: WeightSets,
    config: ModelConfig,
    card: Card,
    gguf: Option<(SafePath, GgufHead)>,
    remote_code: bool,
    /// Candidates by preference, with the lowest number first.
    tokenizers: BTreeMap<usize, Digest>,
    licenses: BTreeMap<usize, Digest>,
    chat_templates: BTreeMap<usize, ChatTemplate>,
}

/// The facts about the model in one GGUF file, without its tensors.
#[derive(Debug)]
struct GgufHead {
    architecture: Option<Label>,
    name: Option<Label>,
    license: Option<Label>,
    context_length: Option<u64>,
    chat_template: Option<ChatTemplate>,
}

/// Files that hold a vocabulary, in the order in which loaders prefer them.
const TOKENIZERS: [&str; 8] = [
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
    "vocab.json",
    "vocab.txt",
    "tiktoken.model",
];
/// Files that hold a licence's text.
const LICENSES: [&str; 7] =
    ["LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "COPYING", "license.txt"];

const TEMPLATE_FILE: usize = 0;
const TEMPLATE_IN_TOKENIZER_CONFIG: usize = 1;

impl MetadataBuilder {
    /// Adds the file at `path`, with its size in bytes, its digest, and the result of [`super::inspect::inspect`].
    pub fn file(&mut self, path: &SafePath, size: u64, digest: Digest, inspected: &Inspected) {
        let Inspected { kind, facts, .. } = inspected;
        self.parts.file(path, inspected);
        if is_settled_by_others(inspected.format) {
            self.unknown.insert(path.clone(), size);
        } else {
            if kind.risk().is_some() {
                self.risky.insert(path.clone(), *kind);
            }
            self.weights.file(path, size, *kind, facts);
        }
        let rank = |names: &[&str]| names.iter().position(|name| *name == path.as_str());
        self.tokenizers.extend(rank(&TOKENIZERS).map(|rank| (rank, digest)));
        self.licenses.extend(rank(&LICENSES).map(|rank| (rank, digest)));
        match facts {
            Facts::Safetensors(_) | Facts::Onnx(_) | Facts::None => {}
            Facts::WeightIndex(_) | Facts::Shards(_) | Facts::OpenVino => {}
            Facts::Gguf(gguf) => self.gguf(path, gguf),
            Facts::ModelConfig(config) => self.config = config.clone(),
            Facts::TokenizerConfig(config) => {
                let template = config.chat_template.clone();
                self.chat_templates.extend(template.map(|it| (TEMPLATE_IN_TOKENIZER_CONFIG, it)));
                self.remote_code |= config.remote_code;
            }
            Facts::ChatTemplate(template) => {
                self.chat_templates.insert(TEMPLATE_FILE, template.clone());
            }
            Facts::Card(card) => self.card = card.clone(),
            Facts::NotUnderstood => {
                self.not_understood.insert(path.clone());
            }
        }
    }

    /// Records why the header of the file at `path` is invalid.
    pub fn malformed(&mut self, path: &SafePath, reason: &str) {
        let mut short = reason.len().min(LABEL_BYTES_MAX);
        while !reason.is_char_boundary(short) {
            short -= 1;
        }
        let reason = reason[..short].parse();
        let unreadable = || "its header cannot be shown".parse().expect("a short line is a label");
        self.malformed.insert(path.clone(), reason.unwrap_or_else(|_| unreadable()));
    }

    /// Adds a file of the model that is not in the store, so that it does not count as missing of the model.
    pub fn listed(&mut self, path: &SafePath) {
        self.parts.listed(path);
    }

    /// Returns what the files are to each other, as far as they are added.
    pub const fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Keeps the facts of the GGUF file with the first path.
    fn gguf(&mut self, path: &SafePath, gguf: &Gguf) {
        if self.gguf.as_ref().is_none_or(|(first, _)| path < first) {
            let head = GgufHead {
                architecture: gguf.architecture.clone(),
                name: gguf.name.clone(),
                license: gguf.license.clone(),
                context_length: gguf.context_length,
                chat_template: gguf.chat_template.clone(),
            };
            self.gguf = Some((path.clone(), head));
        }
    }

    /// Returns the facts about the model.
    pub fn finish(mut self) -> Metadata {
        for (path, size) in std::mem::take(&mut self.unknown) {
            let kind = self.parts.format(&path).map_or(ContentKind::UnknownBinary, Format::kind);
            if kind.risk().is_some() {
                self.risky.insert(path, kind);
            } else {
                self.weights.file(&path, size, kind, &Facts::None);
            }
        }
        let gaps = GapsByKind::of(self.parts.gaps());
        let gguf = self.gguf.map(|(_, gguf)| gguf);
        let from_gguf = |read: fn(&GgufHead) -> Option<Label>| gguf.as_ref().and_then(read);
        let weights = self.weights.finish();
        let ModelConfig { architectures, model_type, context_length, dtype, quantization, remote_code } =
            self.config;
        let computed = Computed {
            formats: weights.iter().map(|set| set.format).collect(),
            parameters: weights.iter().filter_map(WeightSet::parameters).max(),
            quantization: quantization.or_else(|| weights::only_quantization(&weights)),
            weights,
            architecture: architectures
                .into_iter()
                .next()
                .or_else(|| from_gguf(|it| it.architecture.clone())),
            model_type,
            context_length: context_length.or_else(|| gguf.as_ref()?.context_length),
            dtype,
            tokenizer: self.tokenizers.into_values().next(),
            chat_template: self
                .chat_templates
                .into_values()
                .next()
                .or_else(|| gguf.as_ref()?.chat_template.clone()),
            license_text: self.licenses.into_values().next(),
            risky: self.risky,
            remote_code: remote_code || self.remote_code,
            missing: gaps.missing,
            misnamed: gaps.misnamed,
            unread: gaps.unread,
            more_gaps: gaps.more,
            hollow: self.parts.hollow().clone(),
            not_understood: self.not_understood,
            malformed: self.malformed,
        };
        let card = self.card;
        let license = from_gguf(|it| it.license.clone()).filter(|_| card.licenses.is_empty());
        let claimed = Claimed {
            name: from_gguf(|it| it.name.clone()),
            licenses: card.licenses.into_iter().chain(license).collect(),
            license_name: card.license_name,
            license_link: card.license_link,
            base_models: card.base_models,
            base_model_relation: card.base_model_relation,
            languages: card.languages,
            pipeline_tag: card.pipeline_tag,
            library_name: card.library_name,
            tags: card.tags,
            datasets: card.datasets,
        };
        Metadata { computed, claimed }
    }
}

/// The gaps of a model by what is wrong. Files that are not what their names say are kept apart.
#[derive(Debug, Default)]
struct GapsByKind {
    missing: BTreeSet<SafePath>,
    misnamed: BTreeSet<SafePath>,
    unread: BTreeSet<SafePath>,
    more: usize,
}

impl GapsByKind {
    fn of(gaps: Vec<Gap>) -> Self {
        let mut by_kind = Self::default();
        for gap in gaps {
            match gap {
                Gap::Hollow { .. } => {}
                Gap::Missing { path, .. } => by_kind.missing.extend([path]),
                Gap::Split { path, .. } => by_kind.misnamed.extend([path]),
                Gap::Unread { path } => by_kind.unread.extend([path]),
                Gap::More { count } => by_kind.more += count,
            }
        }
        by_kind
    }
}

/// Returns the path of `file` in the directory of `path`, or `None` if it is not a safe path.
pub(super) fn beside(path: &SafePath, file: &SafePath) -> Option<SafePath> {
    match path.as_str().rsplit_once('/') {
        None => Some(file.clone()),
        Some((directory, _)) => format!("{directory}/{file}").parse().ok(),
    }
}

#[cfg(test)]
mod tests;
