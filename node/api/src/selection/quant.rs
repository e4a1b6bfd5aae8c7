//! [`Quant`]: chooses the GGUF files of one quantisation, as llama.cpp does with `-hf name:TAG`.
//!
//! A file has a quantisation if its path contains the tag with `.` or `-` after it, in any case. The first such file in
//! the order of paths is chosen, with all of its splits (`-00001-of-00003`). The projector (`mmproj`) that is nearest
//! to it, with the most similar number of bits, is chosen too.

use std::fmt;
use std::str::FromStr;

use reg_proto::path::SafePath;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Most characters of a tag. The longest tags in use have fewer than twenty.
pub const QUANT_CHARS_MAX: usize = 64;

/// Words in the names of files that accompany a model and are not one.
const SIDECARS: [&str; 6] = ["mmproj", "mtp", "eagle3", "dflash", "dspark", "imatrix"];

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

/// The files of one quantisation.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Picked<'a> {
    /// The model with all its splits, and its projector.
    pub files: Vec<&'a SafePath>,
    /// The other models of the same quantisation, each by its first file.
    pub others: Vec<&'a SafePath>,
}

impl Quant {
    /// Chooses from the paths of a model's files. Returns no file where none has this quantisation.
    pub fn pick<'a>(&self, paths: &[&'a SafePath]) -> Picked<'a> {
        let mut models: Vec<&SafePath> = paths.iter().copied().filter(|path| is_model(path)).collect();
        models.sort();
        let first_split = |path: &&SafePath| split(path.as_str()).is_none_or(|split| split.number == 1);
        let of = |by: fn(&str, &str) -> bool| -> Vec<&'a SafePath> {
            let wanted = self.0.to_ascii_lowercase();
            let is_it = |path: &&SafePath| by(&path.as_str().to_ascii_lowercase(), &wanted);
            models.iter().copied().filter(first_split).filter(is_it).collect()
        };
        // `Q4_XS` is also the end of `IQ4_XS`, so paths where the tag is a whole word are preferred.
        let exact = of(has_word);
        let mut found = if exact.is_empty() { of(has_tag) } else { exact }.into_iter();
        let Some(first) = found.next() else { return Picked::default() };
        let mut files: Vec<&SafePath> = match split(first.as_str()) {
            Some(of) => models
                .iter()
                .copied()
                .filter(|path| {
                    split(path.as_str()).is_some_and(|it| (it.stem, it.total) == (of.stem, of.total))
                })
                .collect(),
            None => vec![first],
        };
        files.extend(projector(first, paths));
        Picked { files, others: found.collect() }
    }

    /// Returns the quantisation as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the names of the GGUF models among `paths`. A split model is returned once.
pub(super) fn models<'a>(paths: &[&'a SafePath]) -> Vec<&'a SafePath> {
    let first = |path: &&SafePath| split(path.as_str()).is_none_or(|split| split.number == 1);
    paths.iter().copied().filter(|path| is_model(path)).filter(first).collect()
}

fn is_gguf(path: &SafePath) -> bool {
    path.as_str().to_ascii_lowercase().ends_with(".gguf")
}

fn is_model(path: &SafePath) -> bool {
    let words =
        |name: &str| -> Vec<String> { name.split(['-', '.', '_']).map(str::to_ascii_lowercase).collect() };
    is_gguf(path) && !words(path.file_name()).iter().any(|word| SIDECARS.contains(&word.as_str()))
}

/// Tells whether `path` contains `tag` with `.` or `-` after it.
fn has_tag(path: &str, tag: &str) -> bool {
    path.match_indices(tag).any(|(at, _)| path[at + tag.len()..].starts_with(['.', '-']))
}

/// Tells whether `path` contains `tag` in that way as a whole word.
fn has_word(path: &str, tag: &str) -> bool {
    let begins =
        |at: usize| !path[..at].ends_with(|before: char| before.is_ascii_alphanumeric() || before == '_');
    path.match_indices(tag).any(|(at, _)| begins(at) && path[at + tag.len()..].starts_with(['.', '-']))
}

struct Split<'a> {
    stem: &'a str,
    number: u32,
    total: u32,
}

/// Reads `<stem>-00001-of-00003.gguf`.
fn split(path: &str) -> Option<Split<'_>> {
    let (name, _extension) = path.rsplit_once('.')?;
    let (name, total) = name.rsplit_once("-of-")?;
    let (stem, number) = name.rsplit_once('-')?;
    let read = |text: &str| (text.len() == 5).then(|| text.parse().ok()).flatten();
    Some(Split { stem, number: read(number)?, total: read(total)? })
}

/// Returns the projector in the model's directory, or in the nearest directory above, with about as many bits as the
/// model.
fn projector<'a>(model: &SafePath, paths: &[&'a SafePath]) -> Option<&'a SafePath> {
    let dir = |path: &SafePath| path.as_str().rfind('/').map_or(0, |end| end + 1);
    let model_dir = &model.as_str()[..dir(model)];
    let is_it = |path: &&SafePath| {
        let is_named = path.file_name().to_ascii_lowercase().contains("mmproj");
        is_gguf(path) && is_named && model_dir.starts_with(&path.as_str()[..dir(path)])
    };
    let far = |path: &SafePath| bits(path).abs_diff(bits(model));
    let candidates = paths.iter().copied().filter(is_it);
    candidates.min_by_key(|path| (usize::MAX - dir(path), far(path), path.as_str()))
}

/// Returns the first number in the last part of a file's name: 4 of `x-Q4_K_M.gguf`, 16 of `mmproj-F16.gguf`.
fn bits(path: &SafePath) -> u32 {
    let name = split(path.as_str()).map_or(path.as_str(), |split| split.stem);
    let name = name.strip_suffix(".gguf").unwrap_or(name);
    let tag = name.rsplit(['-', '.', '/']).next().unwrap_or(name);
    let digits: String =
        tag.chars().skip_while(|it| !it.is_ascii_digit()).take_while(char::is_ascii_digit).take(4).collect();
    digits.parse().unwrap_or(0)
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
mod tests {
    use super::*;

    fn picked(tag: &str, paths: &[&str]) -> (Vec<String>, usize) {
        let paths: Vec<SafePath> = paths.iter().map(|path| path.parse().expect("a path")).collect();
        let tag: Quant = tag.parse().expect("a tag");
        let picked = tag.pick(&paths.iter().collect::<Vec<_>>());
        (picked.files.iter().map(|path| path.to_string()).collect(), picked.others.len())
    }

    #[test]
    fn takes_the_splits_and_the_nearest_projector() {
        let paths = [
            "README.md",
            "mmproj-F16.gguf",
            "mmproj-Q8_0.gguf",
            "x-IQ4_XS.gguf",
            "x-Q4_K_M-00001-of-00002.gguf",
            "x-Q4_K_M-00002-of-00002.gguf",
            "x-Q8_0.gguf",
            "x-mtp-Q8_0.gguf",
        ];
        let split = ["x-Q4_K_M-00001-of-00002.gguf", "x-Q4_K_M-00002-of-00002.gguf", "mmproj-Q8_0.gguf"];
        assert_eq!(picked("q4_k_m", &paths).0, split);
        assert_eq!(picked("Q8_0", &paths).0, ["x-Q8_0.gguf", "mmproj-Q8_0.gguf"]);
        assert_eq!(
            picked("Q4_XS", &paths).0[0],
            "x-IQ4_XS.gguf",
            "as llama.cpp does where no name is nearer"
        );
        assert!(picked("Q2_K", &paths).0.is_empty());
        assert!(picked("Q4_K", &paths).0.is_empty(), "a tag ends before `.` or `-`");
    }

    #[test]
    fn one_directory_for_each_quantisation_is_told_apart() {
        let paths = ["Q4_K_M/x-Q4_K_M.gguf", "Q8_0/mmproj-F16.gguf", "Q8_0/x-Q8_0.gguf", "mmproj-BF16.gguf"];
        assert_eq!(picked("Q8_0", &paths).0, ["Q8_0/x-Q8_0.gguf", "Q8_0/mmproj-F16.gguf"]);
        assert_eq!(picked("Q4_K_M", &paths).0, ["Q4_K_M/x-Q4_K_M.gguf", "mmproj-BF16.gguf"]);
        let twice = ["a-Q4_0.gguf", "b-Q4_0.gguf"];
        assert_eq!(picked("Q4_0", &twice), (vec!["a-Q4_0.gguf".to_owned()], 1));
    }

    #[test]
    fn a_tag_is_a_word() {
        assert!("Q4_K_M".parse::<Quant>().is_ok() && "UD-Q4_K_XL".parse::<Quant>().is_ok());
        assert!(["", "Q4 K", "*", &"Q".repeat(65)].iter().all(|text| text.parse::<Quant>().is_err()));
    }
}
