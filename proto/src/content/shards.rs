//! Reads which files hold the tensors of TensorFlow.js and of MLC LLM: shards without a header, which a JSON file names.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::format::Format;
use crate::path::SafePath;

/// Bytes of a JSON file that names shards. The graph of TensorFlow.js lies in it too.
pub const SHARDS_JSON_BYTES_MAX: usize = 24 << 20;
/// How the names of lists end that hold the shards of TensorFlow.js without a graph.
pub(super) const MANIFEST_END: &str = "weights_manifest.json";
/// Files that are taken of one list.
pub const SHARDS_MAX: usize = 10_000;

/// The shards that a file names, relative to its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shards {
    pub format: Format,
    pub files: BTreeSet<SafePath>,
}

#[derive(Deserialize)]
struct Tfjs {
    #[serde(rename = "weightsManifest")]
    manifest: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    paths: Vec<SafePath>,
}

#[derive(Deserialize)]
struct Mlc {
    records: Vec<Record>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    data_path: SafePath,
}

/// Returns the shards that a `model.json` of TensorFlow.js names, or a `weights_manifest.json`, which is the list alone; `None` if
/// it is neither.
pub fn tfjs(bytes: &[u8]) -> Option<Shards> {
    let groups: Vec<Group> = if bytes.trim_ascii_start().starts_with(b"[") {
        serde_json::from_slice(bytes).ok()?
    } else {
        serde_json::from_slice::<Tfjs>(bytes).ok()?.manifest
    };
    taken(Format::TfjsShard, groups.into_iter().flat_map(|it| it.paths))
}

/// Returns the shards that an `ndarray-cache.json` or `tensor-cache.json` of MLC names, or `None` if it is none.
pub fn mlc(bytes: &[u8]) -> Option<Shards> {
    let cache: Mlc = serde_json::from_slice(bytes).ok()?;
    taken(Format::MlcShard, cache.records.into_iter().map(|it| it.data_path))
}

fn taken(format: Format, files: impl Iterator<Item = SafePath>) -> Option<Shards> {
    let files: BTreeSet<SafePath> = files.collect();
    (files.len() <= SHARDS_MAX).then_some(Shards { format, files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_shards_of_both() {
        let names = |it: Option<Shards>| -> Vec<String> {
            it.into_iter().flat_map(|it| it.files).map(|it| it.to_string()).collect()
        };
        let model = br#"{"format":"graph-model","weightsManifest":[{"paths":["g-shard1of2.bin","g-shard2of2.bin"],"weights":[]}]}"#;
        assert_eq!(names(tfjs(model)), ["g-shard1of2.bin", "g-shard2of2.bin"]);
        let cache = br#"{"metadata":{},"records":[{"dataPath":"params_shard_0.bin","nbytes":4}]}"#;
        assert_eq!(names(mlc(cache)), ["params_shard_0.bin"]);
        let manifest = br#" [{"weights":[],"paths":["a-shard1"]},{"weights":[],"paths":["b.bin"]}]"#;
        assert_eq!(names(tfjs(manifest)), ["a-shard1", "b.bin"]);
        for other in ["{}", r#"{"records":[{"dataPath":"../x"}]}"#, r#"{"weightsManifest":[{}]}"#, "[1]"] {
            assert!(tfjs(other.as_bytes()).is_none() && mlc(other.as_bytes()).is_none(), "{other}");
        }
    }
}
