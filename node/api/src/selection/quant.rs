//! [`Quant`]: chooses the GGUF files of one quantisation. Every dialect asks this one picker: `reg pull --quant`, Ollama's
//! and llama.cpp's references.
//!
//! A file has a quantisation if its name contains the tag as a whole word, in any case: `Q4_K_M` is a word of
//! `x-Q4_K_M.gguf` and of `x-i1-Q4_K_M.gguf`, and `F16` is none of `x-BF16.gguf`. The plainest name wins. A split model is
//! chosen with all of its files, or not at all. The projector (`mmproj`) that is nearest to the model, with the most
//! similar number of bits, is chosen too.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use reg_proto::path::SafePath;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::gguf_name::GgufName;

/// Most characters of a tag. The longest tags in use have fewer than twenty.
pub const QUANT_CHARS_MAX: usize = 64;

/// The quantisations that are preferred where none is wanted, as in llama.cpp.
const PREFERRED: [&str; 2] = ["Q4_K_M", "Q8_0"];

/// A quantisation by its usual name, such as `Q4_K_M`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Quant(String);

/// Why a text is not a quantisation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{text:?} is no quantisation: letters, digits, `_`, `-` and at most {QUANT_CHARS_MAX} of them, as in Q4_K_M"
)]
pub struct QuantError {
    text: String,
}

/// Why no files are picked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PickError {
    #[error("model has no GGUF file")]
    NoGguf,
    #[error("model has no GGUF file of quantisation {quant}")]
    NoQuant { quant: Quant, models: Vec<SafePath> },
    #[error("{first} is one of {total} files of a split model, and {missing} of them are missing")]
    Incomplete { first: SafePath, total: u32, missing: u32 },
}

/// The files of one quantisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked<'a> {
    /// The model: one file, or all its splits in order.
    pub weights: Vec<&'a SafePath>,
    pub projector: Option<&'a SafePath>,
    /// The quantisation in upper case, where the name of the file tells it.
    pub quantisation: Option<String>,
    /// Other models of the same quantisation, each by its first file.
    pub others: Vec<&'a SafePath>,
}

impl Quant {
    /// Chooses from the paths of a model's files.
    ///
    /// # Errors
    /// No file has this quantisation, or splits of the model are missing.
    pub fn pick<'a>(&self, paths: &[&'a SafePath]) -> Result<Picked<'a>, PickError> {
        let models = Models::of(paths);
        let found = models.with(&self.0);
        match found.first() {
            Some(_) => models.picked(&found),
            None if models.first.is_empty() => Err(PickError::NoGguf),
            None => Err(PickError::NoQuant { quant: self.clone(), models: models.names() }),
        }
    }

    /// Returns the quantisation as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Chooses from the paths of a model's files where no quantisation is wanted: `Q4_K_M`, else `Q8_0`, else the first model.
/// With `whole_first` a model in one file is preferred to one that is split.
///
/// # Errors
/// There is no GGUF file, or splits of the model are missing.
pub fn pick_default<'a>(paths: &[&'a SafePath], whole_first: bool) -> Result<Picked<'a>, PickError> {
    let models = Models::of(paths);
    if whole_first && let Ok(picked) = models.clone().in_one_file().default() {
        return Ok(picked);
    }
    models.default()
}

/// The GGUF models among the files of a model.
#[derive(Debug, Clone)]
struct Models<'a> {
    /// The first file of each, in the order of paths.
    first: Vec<GgufName<'a>>,
    all: Vec<GgufName<'a>>,
}

impl<'a> Models<'a> {
    fn of(paths: &[&'a SafePath]) -> Self {
        let mut all: Vec<GgufName<'a>> = paths.iter().filter_map(|path| GgufName::read(path)).collect();
        all.sort_by_key(|it| it.path);
        let models = all.iter().filter(|it| it.is_model());
        let mut first: Vec<GgufName<'a>> = models.clone().filter(|it| it.is_first()).cloned().collect();
        // Where the first file of a split model is missing, the next one stands for it.
        for other in models.filter(|it| !it.is_first()) {
            if !first.iter().any(|it| is_same_model(it, other)) {
                first.push(other.clone());
            }
        }
        Self { first, all }
    }

    fn in_one_file(mut self) -> Self {
        self.first.retain(|it| it.split.is_none());
        self
    }

    fn names(&self) -> Vec<SafePath> {
        self.first.iter().map(|it| it.path.clone()).collect()
    }

    fn default(&self) -> Result<Picked<'a>, PickError> {
        for tag in PREFERRED {
            let found = self.with(tag);
            if !found.is_empty() {
                return self.picked(&found);
            }
        }
        let first = self.first.first().ok_or(PickError::NoGguf)?;
        // Any quantisation will do, but of one model.
        let mut found = vec![first];
        for other in &self.first {
            if found.iter().all(|it| it.rest().model != other.rest().model) {
                found.push(other);
            }
        }
        self.picked(&found)
    }

    /// Returns the models of a quantisation. Of one model that was quantised in several ways, returns the one with the
    /// plainest name: `x-Q4_K_M` comes before `x-i1-Q4_K_M`.
    fn with(&self, tag: &str) -> Vec<&GgufName<'a>> {
        let tag = tag.to_ascii_lowercase();
        let named = self.first.iter().filter_map(|it| Some((it, it.without(&tag)?)));
        let mut found: Vec<_> = named.collect();
        if found.is_empty() {
            found = self.first.iter().filter(|it| it.lies_in(&tag)).map(|it| (it, it.rest())).collect();
        }
        found.sort_by_key(|(it, rest)| (rest.flavours, it.depth(), it.path));
        let mut plainest = BTreeMap::new();
        for (it, rest) in found {
            plainest.entry(rest.model).or_insert(it);
        }
        let mut plainest: Vec<&GgufName<'a>> = plainest.into_values().collect();
        plainest.sort_by_key(|it| it.path);
        plainest
    }

    /// Returns the first of the models that were found, with its splits and its projector.
    fn picked(&self, found: &[&GgufName<'a>]) -> Result<Picked<'a>, PickError> {
        let [first, others @ ..] = found else { return Err(PickError::NoGguf) };
        let mut files: Vec<&GgufName<'a>> = self.all.iter().filter(|it| is_same_model(first, it)).collect();
        files.sort_by_key(|it| it.split.map(|it| it.number));
        if let Some(split) = first.split {
            let here =
                files.iter().filter(|it| it.split.is_some_and(|it| (1..=it.total).contains(&it.number)));
            let missing = split.total.saturating_sub(u32::try_from(here.count()).unwrap_or(u32::MAX));
            if missing > 0 {
                return Err(PickError::Incomplete { first: first.path.clone(), total: split.total, missing });
            }
        }
        Ok(Picked {
            weights: files.iter().map(|it| it.path).collect(),
            projector: self.projector(first),
            quantisation: first.quantisation(),
            others: others.iter().map(|it| it.path).collect(),
        })
    }

    /// Returns the projector in the model's folder, or in the nearest folder above, with about as many bits as the model.
    fn projector(&self, model: &GgufName<'a>) -> Option<&'a SafePath> {
        let folder = |path: &SafePath| path.as_str().rfind('/').map_or(0, |end| end + 1);
        let own = &model.path.as_str()[..folder(model.path)];
        let is_near = |it: &&GgufName<'a>| own.starts_with(&it.path.as_str()[..folder(it.path)]);
        let candidates = self.all.iter().filter(|it| it.is_projector()).filter(is_near);
        let nearest = |it: &&GgufName<'a>| {
            (usize::MAX - folder(it.path), it.bits().abs_diff(model.bits()), it.path.as_str())
        };
        candidates.min_by_key(nearest).map(|it| it.path)
    }
}

/// Tells whether two files are splits of one model, or the same file.
fn is_same_model(one: &GgufName<'_>, other: &GgufName<'_>) -> bool {
    match (one.split, other.split) {
        (Some(one), Some(other)) => (one.prefix, one.total) == (other.prefix, other.total),
        (None, None) => one.path == other.path,
        _ => false,
    }
}

impl Picked<'_> {
    /// Returns the files: the model, and its projector.
    pub fn files(&self) -> impl Iterator<Item = &SafePath> {
        self.weights.iter().copied().chain(self.projector)
    }
}

impl PickError {
    /// Returns what the user can do next.
    pub fn hint(&self) -> String {
        match self {
            Self::NoGguf => "choose files with --include".to_owned(),
            Self::NoQuant { models, .. } => format!("it has {}", super::listed(models)),
            Self::Incomplete { .. } => {
                "take another quantisation, or ask the publisher for the rest".to_owned()
            }
        }
    }
}

impl FromStr for Quant {
    type Err = QuantError;

    fn from_str(text: &str) -> Result<Self, QuantError> {
        let is_word = text.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '_' | '-'));
        if text.is_empty() || text.len() > QUANT_CHARS_MAX || !is_word {
            return Err(QuantError { text: text.chars().take(QUANT_CHARS_MAX).collect() });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Quant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Quant {
    type Error = QuantError;

    fn try_from(text: String) -> Result<Self, QuantError> {
        text.parse()
    }
}

impl From<Quant> for String {
    fn from(quant: Quant) -> Self {
        quant.0
    }
}

#[cfg(test)]
mod tests;
