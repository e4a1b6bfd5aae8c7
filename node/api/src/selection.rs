//! [`Selection`]: the user's choice of a model's files, and [`Part`]: the files that it chose.

mod gguf_name;
mod ignore;
mod pattern;
mod quant;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use reg_proto::digest::Digest;
use reg_proto::manifest::{Manifest, ModelFile};
use reg_proto::path::SafePath;
use reg_proto::piece::BlobLayout;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::gguf_name::{is_quantisation, quantisations};
pub use self::ignore::{IGNORE_FILE_BYTES_MAX, IgnoreError, IgnoreFile};
pub use self::pattern::{PATTERN_BYTES_MAX, Pattern, PatternError};
pub use self::quant::{PickError, Picked, QUANT_CHARS_MAX, Quant, QuantError, pick_default};

/// Media types of layers that `--quant` includes beside the weights.
const DOCUMENT_TYPES: [&str; 2] =
    ["application/vnd.cncf.model.doc.v1.raw", "application/vnd.cncf.model.weight.config.v1.raw"];

/// The files that a user wants: those that `quant` or any pattern of `include` chooses, without those that match a
/// pattern of `exclude`. An empty selection chooses all files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    #[serde(default)]
    pub include: Vec<Pattern>,
    #[serde(default)]
    pub exclude: Vec<Pattern>,
    #[serde(default)]
    pub quant: Option<Quant>,
}

/// Why a selection chooses no file of a model.
#[derive(Debug, Error)]
pub enum SelectError {
    #[error("no file of the model matches {pattern}")]
    NoMatch { pattern: Pattern, files: Vec<SafePath> },
    #[error(transparent)]
    Quant(#[from] PickError),
    #[error("nothing is left of the model: every file that was wanted is left out again")]
    Nothing,
}

impl SelectError {
    /// Returns what the user can do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoMatch { files, .. } => Some(format!("it has {}", listed(files))),
            Self::Quant(source) => Some(source.hint()),
            Self::Nothing => Some("leave out less, or want more".to_owned()),
        }
    }
}

impl Selection {
    /// Chooses among the files of a model. Appends what the user should know of the choice to `notes`.
    ///
    /// # Errors
    /// A pattern or the quantisation matches no file, or the patterns of `exclude` leave no file.
    pub fn choose(&self, manifest: &Manifest, notes: &mut Vec<String>) -> Result<Part, SelectError> {
        let paths: Vec<&SafePath> = manifest.files().iter().map(|file| &file.path).collect();
        for pattern in self.include.iter().chain(&self.exclude) {
            if !paths.iter().any(|path| pattern.matches(path.as_str())) {
                let files = paths.iter().copied().cloned().collect();
                return Err(SelectError::NoMatch { pattern: pattern.clone(), files });
            }
        }
        let mut wanted: BTreeSet<SafePath> = if self.include.is_empty() && self.quant.is_none() {
            paths.iter().copied().cloned().collect()
        } else {
            let is_included = |path: &&SafePath| self.include.iter().any(|it| it.matches(path.as_str()));
            paths.iter().copied().filter(is_included).cloned().collect()
        };
        if let Some(quant) = &self.quant {
            wanted.extend(quant_files(quant, manifest, &paths, notes)?);
        }
        wanted.retain(|path| !self.exclude.iter().any(|pattern| pattern.matches(path.as_str())));
        if wanted.is_empty() {
            return Err(SelectError::Nothing);
        }
        Ok(Part::of(manifest, wanted))
    }
}

/// Returns the names of files for a hint, as many as fit into one line.
pub fn listed<S: Display>(all: &[S]) -> String {
    const NAMES_MAX: usize = 8;
    let mut names: Vec<String> = all.iter().take(NAMES_MAX).map(ToString::to_string).collect();
    if all.len() > NAMES_MAX {
        names.push("…".to_owned());
    }
    names.join(", ")
}

/// Returns the weights of one quantisation, and the documents beside them.
fn quant_files(
    quant: &Quant,
    manifest: &Manifest,
    paths: &[&SafePath],
    notes: &mut Vec<String>,
) -> Result<Vec<SafePath>, SelectError> {
    let picked = quant.pick(paths)?;
    if !picked.others.is_empty() {
        let others: Vec<&str> = picked.others.iter().map(|path| path.as_str()).collect();
        notes.push(format!(
            "{} is the first of several files of {quant}; --include takes others: {}",
            picked.weights[0],
            others.join(", ")
        ));
    }
    let documents = manifest.files().iter().filter(|file| DOCUMENT_TYPES.contains(&file.media_type.as_str()));
    Ok(picked.files().cloned().chain(documents.map(|file| file.path.clone())).collect())
}

/// The files of a model that a use case is about: all or some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// Some of them, and not all.
    Files(BTreeSet<SafePath>),
}

impl Part {
    /// Returns the part of a model that has these files.
    pub fn of(manifest: &Manifest, files: BTreeSet<SafePath>) -> Self {
        if manifest.files().iter().all(|file| files.contains(&file.path)) {
            Self::Whole
        } else {
            Self::Files(files)
        }
    }

    /// Tells whether the part contains a file.
    pub fn contains(&self, path: &SafePath) -> bool {
        match self {
            Self::Whole => true,
            Self::Files(files) => files.contains(path),
        }
    }

    /// Returns the files of a model that the part contains.
    pub fn files<'a>(&'a self, manifest: &'a Manifest) -> impl Iterator<Item = &'a ModelFile> {
        manifest.files().iter().filter(|file| self.contains(&file.path))
    }

    /// Returns the blobs that the part needs. The config is always one of them.
    pub fn blobs(&self, manifest: &Manifest) -> BTreeMap<Digest, BlobLayout> {
        let wanted: BTreeSet<Digest> =
            self.files(manifest).map(|file| file.digest).chain([manifest.config().digest]).collect();
        let mut blobs = manifest.blobs();
        blobs.retain(|blob, _| wanted.contains(blob));
        blobs
    }

    /// Returns the size of the part in bytes. A file that occurs twice counts twice.
    pub fn bytes(&self, manifest: &Manifest) -> u64 {
        self.files(manifest).map(|file| file.layout.size()).sum()
    }

    /// Returns the union of this part and other files.
    pub fn with(&self, other: &BTreeSet<SafePath>, manifest: &Manifest) -> Self {
        match self {
            Self::Whole => Self::Whole,
            Self::Files(files) => Self::of(manifest, files.union(other).cloned().collect()),
        }
    }

    /// Returns the paths of the files; `None` for the whole model.
    pub const fn paths(&self) -> Option<&BTreeSet<SafePath>> {
        match self {
            Self::Whole => None,
            Self::Files(files) => Some(files),
        }
    }
}

#[cfg(test)]
mod tests {
    use reg_proto::descriptor::Descriptor;
    use reg_proto::manifest::MODEL_CONFIG_TYPE;

    use super::*;

    fn manifest(paths: &[(&str, &str)]) -> Manifest {
        let file = |(path, class): &(&str, &str)| ModelFile {
            path: path.parse().expect("a path"),
            digest: Digest::of(path.as_bytes()),
            layout: BlobLayout::new(10).expect("a size"),
            media_type: format!("application/vnd.cncf.model.{class}.v1.raw"),
        };
        let files = paths.iter().map(file).collect();
        Manifest::new(Descriptor::of(MODEL_CONFIG_TYPE, b"{}"), files).expect("a manifest")
    }

    fn selection(include: &[&str], exclude: &[&str], quant: Option<&str>) -> Selection {
        let read = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("a pattern")).collect();
        let quant = quant.map(|text| text.parse().expect("a tag"));
        Selection { include: read(include), exclude: read(exclude), quant }
    }

    fn chosen(of: &Selection, from: &Manifest) -> Result<Vec<String>, SelectError> {
        of.choose(from, &mut Vec::new())
            .map(|part| part.files(from).map(|file| file.path.to_string()).collect())
    }

    #[test]
    fn includes_less_what_is_excluded() {
        let model = manifest(&[("a.gguf", "weight"), ("b/c.bin", "weight"), ("README.md", "doc")]);
        let choose = |include: &[&str], exclude: &[&str]| chosen(&selection(include, exclude, None), &model);
        assert_eq!(choose(&["*.gguf"], &[]).expect("some"), ["a.gguf"]);
        assert_eq!(choose(&[], &["b/"]).expect("some"), ["README.md", "a.gguf"]);
        assert_eq!(choose(&["*.gguf", "b/**"], &["*.bin"]).expect("some"), ["a.gguf"]);
        assert!(matches!(choose(&["*.onnx"], &[]), Err(SelectError::NoMatch { .. })));
        assert!(matches!(choose(&[], &["*.onnx"]), Err(SelectError::NoMatch { .. })));
        assert!(matches!(choose(&["*.gguf"], &["a*"]), Err(SelectError::Nothing)));
        let part = selection(&["*"], &[], None).choose(&model, &mut Vec::new());
        assert_eq!(part.expect("all"), Part::Whole);
    }

    #[test]
    fn a_quantisation_brings_its_documents_and_says_what_there_is() {
        let paths = [
            ("README.md", "doc"),
            ("x-Q4_0.gguf", "weight"),
            ("x-Q8_0.gguf", "weight"),
            ("y-Q8_0.gguf", "weight"),
            ("run.py", "code"),
        ];
        let model = manifest(&paths);
        let of = |quant, exclude: &[&str]| chosen(&selection(&[], exclude, Some(quant)), &model);
        assert_eq!(of("q4_0", &[]).expect("some"), ["README.md", "x-Q4_0.gguf"]);
        assert_eq!(of("Q4_0", &["*.md"]).expect("some"), ["x-Q4_0.gguf"]);
        let mut notes = Vec::new();
        drop(selection(&[], &[], Some("Q8_0")).choose(&model, &mut notes));
        assert!(notes[0].contains("y-Q8_0.gguf"), "{notes:?}");
        let none = of("Q2_K", &[]).expect_err("there is none");
        assert!(none.hint().expect("a hint").contains("x-Q4_0.gguf"));
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let model = manifest(&[("a", "doc"), ("b", "doc")]);
        let a = selection(&["a"], &[], None).choose(&model, &mut Vec::new()).expect("a part");
        assert_eq!((a.blobs(&model).len(), a.bytes(&model)), (2, 10), "the config is fetched too");
        assert_eq!(a.with(&["b".parse().expect("a path")].into(), &model), Part::Whole);
    }
}
