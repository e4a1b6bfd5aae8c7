//! Reads the file names in the index of a sharded model, `*.safetensors.index.json`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use thiserror::Error;

use crate::path::SafePath;

/// Bytes of an index. Mixtures of experts with 150,000 tensors have 15 MB.
pub const WEIGHT_INDEX_BYTES_MAX: usize = 32 << 20;
/// Tensors in an index.
pub const INDEX_TENSORS_MAX: usize = 400_000;
/// Files in an index.
pub const INDEX_FILES_MAX: usize = 10_000;

/// The facts in an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightIndex {
    /// The files that hold the tensors, relative to the index's directory.
    pub files: BTreeSet<SafePath>,
}

/// Why some bytes are not an index.
#[derive(Debug, Error)]
pub enum WeightIndexError {
    #[error("index has {length} bytes, at most {WEIGHT_INDEX_BYTES_MAX} are allowed")]
    TooLarge { length: usize },
    #[error("index is not JSON of the expected form")]
    Json(#[source] serde_json::Error),
}

/// Parses the bytes of an index. Ignores its total size, which is advisory.
///
/// # Errors
/// If there are too many bytes, tensors or files, the bytes are not JSON, a tensor is placed twice, or a file's name is not
/// a safe path.
pub fn parse(bytes: &[u8]) -> Result<WeightIndex, WeightIndexError> {
    if bytes.len() > WEIGHT_INDEX_BYTES_MAX {
        return Err(WeightIndexError::TooLarge { length: bytes.len() });
    }
    let raw: Raw = serde_json::from_slice(bytes).map_err(WeightIndexError::Json)?;
    Ok(WeightIndex { files: raw.weight_map.0 })
}

#[derive(Deserialize)]
struct Raw {
    weight_map: Files,
}

struct Files(BTreeSet<SafePath>);

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Places;

        impl<'de> Visitor<'de> for Places {
            type Value = Files;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object from tensors to files")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut places: A) -> Result<Files, A::Error> {
                let (mut tensors, mut files) = (BTreeSet::new(), BTreeSet::new());
                while let Some((tensor, file)) = places.next_entry::<String, Cow<'_, str>>()? {
                    let file = file.strip_prefix("./").unwrap_or(&file).parse().map_err(de::Error::custom)?;
                    if let Some(tensor) = tensors.replace(tensor) {
                        return Err(de::Error::custom(format_args!("tensor {tensor:?} is placed twice")));
                    }
                    files.insert(file);
                    if tensors.len() > INDEX_TENSORS_MAX || files.len() > INDEX_FILES_MAX {
                        return Err(de::Error::custom("more tensors or files than are allowed"));
                    }
                }
                Ok(Files(files))
            }
        }

        deserializer.deserialize_map(Places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_files() {
        let text = br#"{"metadata":{"total_size":1.5},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors","c":"m-1.safetensors"}}"#;
        let files: Vec<_> = parse(text).unwrap().files.into_iter().map(|it| it.to_string()).collect();
        assert_eq!(files, ["m-1.safetensors", "m-2.safetensors"]);
        let files = parse(br#"{"weight_map":{"a":"./m-1.bin","b":"m-1.bin"}}"#).unwrap().files;
        assert_eq!(files.into_iter().map(|it| it.to_string()).collect::<Vec<_>>(), ["m-1.bin"]);
    }

    #[test]
    fn refuses_paths_that_lead_elsewhere() {
        for path in [
            "../x",
            "/etc/passwd",
            "a/../../b",
            "C:\\\\x",
            "",
            "a\\u0000b",
            ".git/config",
            "~/../x",
            "./../x",
        ] {
            assert!(parse(format!(r#"{{"weight_map":{{"a":"{path}"}}}}"#).as_bytes()).is_err(), "{path}");
        }
        for text in [
            "",
            "{}",
            "[]",
            r#"{"weight_map":[]}"#,
            r#"{"weight_map":{"a":1}}"#,
            r#"{"weight_map":{"a":"x","a":"y"}}"#,
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
