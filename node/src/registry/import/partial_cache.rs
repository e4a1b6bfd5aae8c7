//! Finds what a repository in the cache of Hugging Face's clients lacks: files that a client has not fetched, or not to the end.
//!
//! A client that fetches a whole repository keeps the list of its files (huggingface_hub, `_tree_cache.py`). Where there is no
//! list, an interrupted download or a model without weights tells the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use reg_api::ingest::Ingest;
use reg_proto::path::SafePath;
use serde::Deserialize;

use crate::registry::model::tree::{Listing, SourceFile, judge_path};

/// Bytes of a list of files: 20,000 entries of 400 bytes.
const TREE_BYTES_MAX: u64 = 8 << 20;
/// Bytes of a file that holds weights, under any name.
const WEIGHTS_BYTES_MIN: u64 = 1 << 20;
const WEIGHTS: [&str; 11] =
    ["bin", "ckpt", "gguf", "h5", "keras", "msgpack", "onnx", "pt", "pth", "safetensors", "tflite"];

#[derive(Deserialize)]
struct Tree {
    files: BTreeMap<String, serde::de::IgnoredAny>,
}

/// Returns what the cache of the repository at `root` lacks of the commit that `snapshot` holds. What is left out of the model is
/// not lacking.
pub(super) fn lacking(root: &Path, snapshot: &Path, listing: &Listing, ingest: &Ingest) -> Vec<String> {
    let commit = snapshot.file_name().unwrap_or_default().to_string_lossy();
    let is_wanted = |path: &&String| match SafePath::in_any_form(path) {
        Ok(path) => judge_path(&path, ingest).is_none(),
        Err(_) => !ingest.exclude.iter().any(|it| it.matches(path)),
    };
    match tree(&root.join("trees").join(format!("{commit}.json"))) {
        Some(tree) => {
            let lacks = |path: &&String| !snapshot.join(path.as_str()).exists();
            tree.files.keys().filter(is_wanted).filter(lacks).cloned().collect()
        }
        None => without_list(root, listing),
    }
}

fn tree(path: &Path) -> Option<Tree> {
    let is_small = fs::metadata(path).is_ok_and(|it| it.len() <= TREE_BYTES_MAX);
    is_small.then(|| serde_json::from_slice(&fs::read(path).ok()?).ok())?
}

fn without_list(root: &Path, listing: &Listing) -> Vec<String> {
    let mut lacking = Vec::new();
    for entry in fs::read_dir(root.join("blobs")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(part) = name.strip_suffix(".incomplete") else { continue };
        // An interrupted download is left behind where a later one of the same file has ended.
        let blob = part.split('.').next().unwrap_or(part);
        if !root.join("blobs").join(blob).exists() {
            // Nothing says of which revision or file it is.
            lacking.push(format!(
                "blob {blob}: its download was interrupted (if it is of another revision, or of a file that you leave out, \
                 remove {})",
                entry.path().display()
            ));
        }
    }
    let has_weights_name = |path: &str| {
        let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
        WEIGHTS.contains(&extension)
    };
    let is_weights = |it: &SourceFile| it.size >= WEIGHTS_BYTES_MIN || has_weights_name(it.path.as_str());
    let has_config = listing.files.iter().any(|it| it.path.as_str() == "config.json");
    let has_weights = listing.files.iter().any(is_weights)
        || listing.left_out.entries.iter().any(|it| has_weights_name(&it.path));
    if has_config && !has_weights {
        lacking.push("the weights that config.json describes".to_owned());
    }
    lacking
}

#[cfg(test)]
mod tests {
    use reg_api::ingest::{LeftOutList, LeftOutReason};

    use super::*;

    fn listing(paths: &[&str]) -> Listing {
        let file = |path: &&str| SourceFile {
            path: path.parse().unwrap(),
            shown: path.into(),
            source: path.into(),
            size: 10,
        };
        Listing { files: paths.iter().map(file).collect(), left_out: LeftOutList::default() }
    }

    #[test]
    fn a_list_says_what_is_missing() {
        let root = tempfile::tempdir().unwrap();
        let snapshot = root.path().join("snapshots/abc");
        fs::create_dir_all(root.path().join("trees")).unwrap();
        fs::create_dir_all(&snapshot).unwrap();
        let list = r#"{"format_version":1,"files":{"config.json":{"size":1},".gitattributes":{},"model.safetensors":{},"old.bin":{}}}"#;
        fs::write(root.path().join("trees/abc.json"), list).unwrap();
        fs::write(snapshot.join("config.json"), "{}").unwrap();
        let (here, all) = (listing(&["config.json"]), Ingest::default());
        assert_eq!(lacking(root.path(), &snapshot, &here, &all), ["model.safetensors", "old.bin"]);
        let without = Ingest { exclude: vec!["*.bin".parse().unwrap()], ..Ingest::default() };
        assert_eq!(lacking(root.path(), &snapshot, &here, &without), ["model.safetensors"]);
        fs::write(snapshot.join("model.safetensors"), "x").unwrap();
        assert!(lacking(root.path(), &snapshot, &here, &without).is_empty());
    }

    #[test]
    fn without_a_list_an_interrupted_download_tells() {
        let root = tempfile::tempdir().unwrap();
        let (blobs, snapshot) = (root.path().join("blobs"), root.path().join("snapshots/abc"));
        fs::create_dir_all(&blobs).unwrap();
        let lacking = |listing: &Listing| lacking(root.path(), &snapshot, listing, &Ingest::default()).len();
        let whole = listing(&["config.json", "model.safetensors"]);
        assert_eq!(lacking(&whole), 0);
        let mut part = listing(&["config.json"]);
        assert_eq!(lacking(&part), 1, "no weights");
        part.left_out.push("model.safetensors".to_owned(), LeftOutReason::Excluded, None);
        assert_eq!(lacking(&part), 0, "the user has left them out");
        fs::write(blobs.join("5f3c.1a2b.incomplete"), b"x").unwrap();
        assert_eq!(lacking(&whole), 1);
        let said = super::lacking(root.path(), &snapshot, &whole, &Ingest::default());
        assert!(said[0].contains("another revision") && said[0].contains("5f3c.1a2b.incomplete"), "{said:?}");
        fs::write(blobs.join("5f3c"), b"x").unwrap();
        assert_eq!(lacking(&whole), 0, "it was fetched later");
    }
}
