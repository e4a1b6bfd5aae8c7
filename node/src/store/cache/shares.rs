//! How much of the store is kept, how much may be evicted, and how much is kept for others.

use std::collections::BTreeSet;

use reg_proto::digest::Digest;

use super::super::documents::DocumentKind;
use super::super::error::ReadError;
use super::super::front::Store;
use super::super::partial::Partial;
use super::ModelBlobs;

/// The bytes of the store. No byte is in two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shares {
    /// Whole blobs of models that are never evicted.
    pub kept: u64,
    /// Other whole blobs of the owner.
    pub evictable: u64,
    /// Whole blobs that are kept for others alone.
    pub donated: u64,
    /// Verified bytes of partial blobs.
    pub partial: u64,
}

impl Store {
    /// Returns what the bytes of the store are for. Reads the records of the models that are kept, and no file.
    ///
    /// # Errors
    /// The documents cannot be read.
    pub fn shares(&self) -> Result<Shares, ReadError> {
        let mut blobs = BTreeSet::<Digest>::new();
        for (key, _) in self.list_documents(DocumentKind::Pin, "")? {
            let Some(record) = self.get_document(DocumentKind::Model, &key)? else { continue };
            if let Ok(ModelBlobs { blobs: own }) = serde_json::from_slice(&record) {
                blobs.extend(own);
            }
        }
        let kept = blobs.iter().filter_map(|it| self.blob_size(it)).sum();
        let donated = self.donations()?.bytes();
        Ok(Shares {
            kept,
            donated,
            evictable: self.used().saturating_sub(kept).saturating_sub(donated),
            partial: self.all_partials().iter().map(Partial::verified_bytes).sum(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::CacheLimits;
    use super::*;

    #[test]
    fn every_byte_is_in_one_share() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), CacheLimits::default()).unwrap();
        let put = |bytes: &[u8]| store.put_blob(bytes).unwrap();
        let [own, shared, other, others] = [put(&[1; 10]), put(&[2; 20]), put(&[3; 40]), put(&[4; 80])];
        let model = |key: &str, blobs: &[Digest]| {
            let record = serde_json::json!({ "blobs": blobs }).to_string();
            store.put_document(DocumentKind::Model, key, record.as_bytes()).unwrap();
        };
        let key = |n: u8| format!("{} publisher/model", Digest::of(&[n]));
        model(&key(1), &[own, shared]);
        model(&key(2), &[shared, other]);
        model(&key(3), &[others]);
        let evictable = Shares { evictable: 150, ..Shares::default() };
        assert_eq!(store.shares().unwrap(), evictable);
        store.put_document(DocumentKind::Pin, &key(1), b"reference").unwrap();
        store.keep_donated(&key(3), 5).unwrap();
        let expected = Shares { kept: 30, evictable: 40, donated: 80, partial: 0 };
        assert_eq!(store.shares().unwrap(), expected);
        // A pin of a model that has gone keeps nothing.
        store.put_document(DocumentKind::Pin, &key(9), b"reference").unwrap();
        assert_eq!(store.shares().unwrap(), expected);
    }
}
