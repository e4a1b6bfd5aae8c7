//! [`ModelPackClass`]: the kind of ModelPack layer for a file.
//!
//! The class is part of a layer's media type, and so of the manifest's digest. The same directory must give the same
//! digest in every later version, so this table is frozen. A kind that a later version distinguishes keeps the class that
//! its files had. The first rule that matches counts:
//!
//! | class           | files                                                                                       |
//! |-----------------|---------------------------------------------------------------------------------------------|
//! | `code`          | code, executables                                                                           |
//! | `dataset`       | datasets                                                                                    |
//! | `weight`        | safetensors, GGUF, ONNX, other weights, engines, pickles, archives, unrecognised files;     |
//! |                 | text in UTF-16 or with U+007F, which the first versions took for unrecognised               |
//! | `doc`           | media; text with a name that ends in `.md`, `.rst`, `.adoc`, `.bib`, `.svg` or `.cff`, or   |
//! |                 | that begins with `readme`, `license`, `licence`, `copying`, `notice`, `authors`,            |
//! |                 | `changelog`, `citation` or `use_policy`, in any case                                        |
//! | `weight.config` | JSON, vocabularies, all other text                                                          |

use std::fmt;

use super::kind::{ContentKind, Ends};
use super::text;

/// A class of layers of the ModelPack specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModelPackClass {
    Weight,
    WeightConfig,
    Doc,
    Code,
    Dataset,
}

const DOC_EXTENSIONS: [&str; 6] = ["adoc", "bib", "cff", "md", "rst", "svg"];
const DOC_NAMES: [&str; 9] =
    ["authors", "changelog", "citation", "copying", "licence", "license", "notice", "readme", "use_policy"];

impl ModelPackClass {
    /// Returns the class of a file at `path` by its format.
    pub(super) fn of_ends(path: &str, ends: Ends) -> Self {
        if ends.is_new_text { Self::Weight } else { Self::of(path, ends.format.kind()) }
    }

    /// Returns the class of a file of kind `kind` at `path`.
    pub fn of(path: &str, kind: ContentKind) -> Self {
        match kind {
            ContentKind::Code | ContentKind::Executable => Self::Code,
            ContentKind::Dataset => Self::Dataset,
            ContentKind::Safetensors | ContentKind::Gguf | ContentKind::Onnx => Self::Weight,
            ContentKind::Pickle | ContentKind::Archive | ContentKind::UnknownBinary => Self::Weight,
            ContentKind::Weights | ContentKind::EmbeddedCode | ContentKind::Engine => Self::Weight,
            ContentKind::Malformed => Self::Weight,
            ContentKind::Media => Self::Doc,
            ContentKind::Text if is_doc(path) => Self::Doc,
            ContentKind::Json | ContentKind::TokenizerModel | ContentKind::Text => Self::WeightConfig,
        }
    }

    /// Returns the class's name in a media type: `application/vnd.cncf.model.<class>.v1.raw`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::WeightConfig => "weight.config",
            Self::Doc => "doc",
            Self::Code => "code",
            Self::Dataset => "dataset",
        }
    }
}

impl fmt::Display for ModelPackClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn is_doc(path: &str) -> bool {
    let name = text::file_name(path);
    DOC_EXTENSIONS.contains(&text::extension(&name)) || DOC_NAMES.iter().any(|begin| name.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digests of manifests depend on this table. A line may be added, and none may change.
    #[test]
    fn the_table_is_frozen() {
        let table = [
            ("model.safetensors", ContentKind::Safetensors, "weight"),
            ("model.gguf", ContentKind::Gguf, "weight"),
            ("model.onnx", ContentKind::Onnx, "weight"),
            ("pytorch_model.bin", ContentKind::Pickle, "weight"),
            ("model.keras", ContentKind::Archive, "weight"),
            ("tf_model.h5", ContentKind::UnknownBinary, "weight"),
            ("modeling.py", ContentKind::Code, "code"),
            ("libx.so", ContentKind::Executable, "code"),
            ("train.parquet", ContentKind::Dataset, "dataset"),
            ("README.md", ContentKind::Text, "doc"),
            ("License.txt", ContentKind::Text, "doc"),
            ("docs/logo.png", ContentKind::Media, "doc"),
            ("CITATION.cff", ContentKind::Text, "doc"),
            ("config.json", ContentKind::Json, "weight.config"),
            ("README.json", ContentKind::Json, "weight.config"),
            ("tokenizer.model", ContentKind::TokenizerModel, "weight.config"),
            ("merges.txt", ContentKind::Text, "weight.config"),
            ("chat_template.jinja", ContentKind::Text, "weight.config"),
            (".gitattributes", ContentKind::Text, "weight.config"),
        ];
        for (path, kind, class) in table {
            assert_eq!(ModelPackClass::of(path, kind).name(), class, "{path}");
        }
    }
}
