//! [`CheckedOut`]: what a directory of the user was filled with, as the store remembers it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use reg_api::selection::Part;
use reg_proto::digest::Digest;
use reg_proto::manifest::Manifest;
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::path::SafePath;
use serde::{Deserialize, Serialize};

use super::record::{self, ModelRecord};
use crate::store::{DocumentKind, Fingerprint, ReadError, Store, WriteError};

/// The version of the stored form. The one before had no number: a line for the digest of the manifest, and one for each file
/// where they are not all of the model.
const VERSION: u32 = 2;

/// The name of a model. The case of its letters does not count.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Named {
    pub publisher: PublisherId,
    pub model: ModelName,
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.publisher == other.publisher && self.model.folded() == other.model.folded()
    }
}

impl Eq for Named {}

/// The tag record by which a directory was filled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByTag {
    pub tag: Tag,
    pub key_document: u64,
    pub seq: u64,
}

/// A file of a directory, as it was when it had the bytes of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub fingerprint: Fingerprint,
    /// Whether it was a link to the blob in the store: then a write to one of them is a write to both.
    pub is_link: bool,
}

/// What a directory was filled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedOut {
    /// The models that it may be: one, but where publishers have the same manifest and an earlier version of this program has
    /// filled the directory; none where that is not known any more.
    pub named: Vec<Named>,
    pub manifest: Digest,
    /// The files that were put there, with the digests of their bytes. Some may be of the version before.
    pub files: BTreeMap<SafePath, Digest>,
    /// The tag that was asked for; `None` for a digest, and where an earlier version has filled the directory.
    pub by_tag: Option<ByTag>,
    /// The files that had their bytes when the directory was last filled. An earlier version has kept none.
    pub stamps: BTreeMap<SafePath, Stamp>,
    /// Files of versions before that this one has not, and that were left where they are.
    pub left: BTreeSet<SafePath>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    named: Vec<Named>,
    manifest: Digest,
    files: BTreeMap<SafePath, Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by_tag: Option<ByTag>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    stamps: BTreeMap<SafePath, Stamp>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    left: BTreeSet<SafePath>,
}

impl CheckedOut {
    /// Returns what the store remembers of a directory; `None` where it was never filled. Of a directory that an earlier version of
    /// this program has filled, the files are known while the store has the manifest. Blocks.
    ///
    /// # Errors
    /// Fails where the store cannot be read.
    pub fn load(store: &Store, dir: &Path) -> Result<Option<Self>, ReadError> {
        let Some(document) = store.get_document(DocumentKind::Checkout, &dir.to_string_lossy())? else {
            return Ok(None);
        };
        if let Ok(Written { version: VERSION, named, manifest, files, by_tag, stamps, left }) =
            serde_json::from_slice(&document)
        {
            return Ok(Some(Self { named, manifest, files, by_tag, stamps, left }));
        }
        let text = String::from_utf8_lossy(&document);
        let mut lines = text.lines();
        let Some(digest) = lines.next().and_then(|line| line.parse().ok()) else { return Ok(None) };
        let paths: BTreeSet<SafePath> = lines.filter_map(|line| line.parse().ok()).collect();
        let part = if paths.is_empty() { Part::Whole } else { Part::Files(paths) };
        let files = record::manifest(store, &digest).map(|it| files_of(&part, &it)).unwrap_or_default();
        let records = ModelRecord::of_manifest(store, &digest).into_iter();
        let named = records.map(|it| Named { publisher: it.publisher, model: it.model }).collect();
        let (by_tag, stamps, left) = (None, BTreeMap::new(), BTreeSet::new());
        Ok(Some(Self { named, manifest: digest, files, by_tag, stamps, left }))
    }

    /// Returns the directories that have a file of one of these blobs, with what each was filled with. Blocks.
    ///
    /// # Errors
    /// Fails where the store cannot be read.
    pub fn with_any(store: &Store, blobs: &BTreeSet<Digest>) -> Result<Vec<(PathBuf, Self)>, ReadError> {
        let mut found = Vec::new();
        for key in store.document_keys(DocumentKind::Checkout, "")? {
            let dir = PathBuf::from(key);
            let held = Self::load(store, &dir)?;
            let held = held.filter(|it| it.files.values().any(|file| blobs.contains(file)));
            found.extend(held.map(|it| (dir, it)));
        }
        Ok(found)
    }

    /// Remembers it. Blocks.
    ///
    /// # Errors
    /// Fails where the store cannot be written.
    pub fn save(&self, store: &Store, dir: &Path) -> Result<(), WriteError> {
        let Self { named, manifest, files, by_tag, stamps, left } = self.clone();
        let written = Written { version: VERSION, named, manifest, files, by_tag, stamps, left };
        let document = serde_json::to_vec(&written).unwrap_or_default();
        store.put_document(DocumentKind::Checkout, &dir.to_string_lossy(), &document)
    }

    /// Returns the part of its version that was put into the directory.
    pub fn part(&self, manifest: &Manifest) -> Part {
        let files = manifest.files().iter().filter(|file| self.files.get(&file.path) == Some(&file.digest));
        Part::of(manifest, files.map(|file| file.path.clone()).collect())
    }
}

/// Returns the files of a part with their digests.
pub fn files_of(part: &Part, manifest: &Manifest) -> BTreeMap<SafePath, Digest> {
    part.files(manifest).map(|file| (file.path.clone(), file.digest)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::CacheLimits;

    #[test]
    fn what_an_earlier_version_has_written_is_read() {
        let home = tempfile::tempdir().expect("a folder");
        let store = Store::open(home.path(), CacheLimits::default()).expect("it opens");
        let dir = Path::new("/models/llama");
        assert_eq!(CheckedOut::load(&store, dir).expect("read"), None);
        let put = |text: &str| {
            let key = dir.to_string_lossy();
            store.put_document(DocumentKind::Checkout, &key, text.as_bytes()).expect("written");
        };
        let manifest = Digest::of(b"a manifest that is not here");
        // A line for the manifest, and one for each file of a part.
        put(&format!("{manifest}\nREADME.md\na.json"));
        let found = CheckedOut::load(&store, dir).expect("read").expect("there");
        assert_eq!((found.manifest, found.files.len()), (manifest, 0));
        put("something else");
        assert_eq!(CheckedOut::load(&store, dir).expect("read"), None);
        let files = BTreeMap::from([("a.json".parse().expect("a path"), Digest::of(b"a"))]);
        let named = vec![Named {
            publisher: PublisherId::from_bytes([1; 32]),
            model: "llama".parse().expect("a name"),
        }];
        let held_tag = ByTag { tag: "v1".parse().expect("a tag"), key_document: 0, seq: 3 };
        let path: SafePath = "a.json".parse().expect("a path");
        let here = home.path().join("a.json");
        std::fs::write(&here, "a").expect("written");
        let fingerprint = Fingerprint::of(&std::fs::metadata(here).expect("there"));
        let stamps = BTreeMap::from([(path.clone(), Stamp { fingerprint, is_link: true })]);
        let (by_tag, left) = (Some(held_tag), BTreeSet::from([path]));
        let written = CheckedOut { named, manifest, files, by_tag, stamps, left };
        written.save(&store, dir).expect("written");
        assert_eq!(CheckedOut::load(&store, dir).expect("read"), Some(written));
    }
}
