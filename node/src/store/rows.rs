//! Rows that the caller derives from documents, so that a list reads neither documents nor signatures.
//!
//! The index keeps them, so they may be lost, and are derived anew then. The store says which documents have changed since
//! rows were derived, and whether blobs were lost. What a row says, and which documents it depends on, is the caller's.

use super::documents::DocumentKind;
use super::error::ReadError;
use super::front::Store;
use super::index::Changed;

/// What has happened since rows were last derived.
#[derive(Debug, Default)]
pub struct Changes {
    documents: Vec<Changed>,
    lost: Option<u64>,
}

impl Changes {
    /// Returns whether nothing has.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty() && self.lost.is_none()
    }

    /// Returns the documents that were written or removed.
    pub fn documents(&self) -> impl Iterator<Item = (DocumentKind, &str)> {
        let of = |(name, key)| Some((*DocumentKind::ALL.iter().find(|it| it.name() == name)?, key));
        self.documents.iter().filter_map(Changed::document).filter_map(of)
    }

    /// Returns whether a blob was lost that a model may need, so that rows may call a model whole that is not.
    pub fn has_lost_blobs(&self) -> bool {
        self.lost.is_some()
    }
}

impl Store {
    /// Returns what has happened since rows were last derived.
    ///
    /// # Errors
    /// Fails where the index cannot be read.
    pub fn changes(&self) -> Result<Changes, ReadError> {
        Ok(Changes { documents: self.index().changed(), lost: self.index().lost()? })
    }

    /// Writes rows that were derived after `changes`. A row without bytes is removed. What has changed again since stays changed.
    ///
    /// # Errors
    /// Fails where the index cannot be written.
    pub fn put_rows(&self, rows: &[(String, Option<Vec<u8>>)], changes: &Changes) -> Result<(), ReadError> {
        Ok(self.index().put_rows(rows, &changes.documents, changes.lost)?)
    }

    /// Returns at most `limit` rows with keys that begin with `prefix` and come after `after`, in the order of their keys.
    ///
    /// # Errors
    /// Fails where the index cannot be read.
    pub fn rows(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
        Ok(self.index().rows(prefix, after, limit)?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use reg_proto::digest::Digest;

    use super::*;
    use crate::store::CacheLimits;

    fn open(dir: &Path) -> Store {
        Store::open(dir, CacheLimits::default()).unwrap()
    }

    fn changed(store: &Store) -> Vec<String> {
        let changes = store.changes().unwrap();
        changes.documents().map(|(kind, key)| format!("{} {key}", kind.name())).collect()
    }

    fn settle(store: &Store) {
        store.put_rows(&[], &store.changes().unwrap()).unwrap();
        assert!(store.changes().unwrap().is_empty());
    }

    #[test]
    fn every_change_of_a_document_is_told_until_rows_were_derived_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        assert!(store.changes().unwrap().is_empty());
        store.put_document(DocumentKind::Tag, "p/m:t", b"one").unwrap();
        store.put_document(DocumentKind::Model, "long", &[7; 9000]).unwrap();
        store.put_document(DocumentKind::Pin, "m", b"p/m").unwrap();
        assert_eq!(changed(&store), ["model long", "tag p/m:t"], "no row depends on a pin");
        // This process ended before rows were derived.
        drop(store);
        store = open(dir.path());
        assert_eq!(changed(&store), ["model long", "tag p/m:t"]);
        settle(&store);
        drop(store);
        store = open(dir.path());
        assert!(store.changes().unwrap().is_empty());
        store.remove_document(DocumentKind::Tag, "p/m:t").unwrap();
        assert_eq!(changed(&store), ["tag p/m:t"]);
        settle(&store);
    }

    #[test]
    fn a_change_that_comes_while_rows_are_derived_is_told_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        store.put_document(DocumentKind::Tag, "a", b"one").unwrap();
        let before = store.changes().unwrap();
        store.put_document(DocumentKind::Tag, "a", b"two").unwrap();
        store.put_rows(&[], &before).unwrap();
        assert_eq!(changed(&store), ["tag a"]);
    }

    /// An earlier binary writes documents and knows no rows.
    #[test]
    fn what_another_binary_has_written_or_removed_is_told_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        for key in ["kept", "edited", "removed"] {
            store.put_document(DocumentKind::Tag, key, b"one").unwrap();
        }
        settle(&store);
        let path = |key: &str| store.paths().document("tag", key);
        fs::write(path("edited"), b"edited\ntwo").unwrap();
        fs::remove_file(path("removed")).unwrap();
        drop(store);
        let store = open(dir.path());
        assert_eq!(changed(&store), ["tag edited", "tag removed"]);
        settle(&store);
        // The index is lost, and with it all rows.
        drop(store);
        fs::remove_dir_all(dir.path().join("index")).unwrap();
        assert_eq!(changed(&open(dir.path())), ["tag edited", "tag kept"]);
    }

    #[test]
    fn a_lost_blob_is_told_and_an_unused_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let digest = store.put_blob(b"one").unwrap();
        store.gc(false).unwrap();
        assert!(!store.contains(&digest) && store.changes().unwrap().is_empty());
        let digest = store.put_blob(b"two").unwrap();
        fs::remove_file(store.paths().blob(&digest)).unwrap();
        drop(store);
        let store = open(dir.path());
        assert!(store.changes().unwrap().has_lost_blobs());
        settle(&store);
        drop(store);
        assert!(open(dir.path()).changes().unwrap().is_empty());
    }

    #[test]
    fn rows_are_paged_in_the_order_of_their_keys() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let row = |key: &str| (key.to_owned(), Some(Digest::of(key.as_bytes()).as_bytes().to_vec()));
        let keys = ["a/x 1", "a/x 2", "a/xy 1", "b/x 1"];
        store.put_rows(&keys.map(row), &Changes::default()).unwrap();
        let page = |prefix: &str, after: Option<&str>, limit: usize| -> Vec<String> {
            store.rows(prefix, after, limit).unwrap().into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(page("", None, 9), keys);
        assert_eq!(page("", Some("a/x 1"), 2), ["a/x 2", "a/xy 1"]);
        assert_eq!(page("a/x ", None, 9), ["a/x 1", "a/x 2"]);
        assert_eq!(page("a/x ", Some("a/x 2"), 9), [""; 0]);
        assert_eq!(page("b", Some("a/x 1"), 9), ["b/x 1"]);
        store.put_rows(&[("a/x 2".to_owned(), None)], &Changes::default()).unwrap();
        assert_eq!(page("", None, 9), ["a/x 1", "a/xy 1", "b/x 1"]);
    }
}
