//! Keeps and returns the tombstones of tags: for each tag the one that takes most records out of catalogues.
//!
//! A catalogue may be lost, and is filled again by peers. So a publisher's own node keeps its tombstones as documents.

use reg_proto::catalogue::SignedTombstone;
use reg_proto::key::KeyHistory;
use reg_proto::limits::TOMBSTONE_BYTES_MAX;
use reg_proto::name::{ModelName, Tag};

use super::documents::tag_key;
use super::error::TagsError;
use crate::store::{DocumentKind, Store};

/// Keeps a tombstone that the keys stand for, unless a known one is of the same or a higher number. Returns whether it was kept.
pub fn keep(store: &Store, keys: &KeyHistory, offered: &SignedTombstone) -> Result<bool, TagsError> {
    let publisher = keys.publisher();
    let said = offered.tombstone();
    let key = tag_key(&publisher, &said.model, &said.tag);
    // Two callers at once must not each decide by the tombstone that was there before.
    let _lock = store.lock_document(&format!("tombstone {key}"));
    let known = tombstone(store, keys, &said.model, &said.tag)?;
    if known.is_some_and(|known| said.order() <= known.tombstone().order()) {
        return Ok(false);
    }
    store
        .put_document(DocumentKind::Tombstone, &key, offered.envelope().as_bytes())
        .map_err(|source| TagsError::Write { publisher, source })?;
    Ok(true)
}

/// Returns the tombstone of a tag, if `keys` stand for it.
pub fn tombstone(
    store: &Store,
    keys: &KeyHistory,
    model: &ModelName,
    tag: &Tag,
) -> Result<Option<SignedTombstone>, TagsError> {
    let publisher = keys.publisher();
    let read = store
        .get_document(DocumentKind::Tombstone, &tag_key(&publisher, model, tag))
        .map_err(|source| TagsError::Read { publisher, source })?;
    Ok(read.and_then(|bytes| verified(&bytes, keys)))
}

/// Returns the tombstones of a publisher that `keys` stand for.
pub fn tombstones(store: &Store, keys: &KeyHistory) -> Result<Vec<SignedTombstone>, TagsError> {
    let publisher = keys.publisher();
    let documents = store
        .list_documents(DocumentKind::Tombstone, &format!("{publisher}/"))
        .map_err(|source| TagsError::Read { publisher, source })?;
    Ok(documents.iter().filter_map(|(_, bytes)| verified(bytes, keys)).collect())
}

fn verified(bytes: &[u8], keys: &KeyHistory) -> Option<SignedTombstone> {
    let text = std::str::from_utf8(bytes).ok().filter(|it| it.len() <= TOMBSTONE_BYTES_MAX)?;
    SignedTombstone::verify(text, keys).ok()
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use reg_proto::catalogue::{TOMBSTONE_TYPE, Tombstone};
    use reg_proto::envelope::{Envelope, PublicKey};
    use reg_proto::key::{Inheritance, KeyDocument, Next, NextKeys, publisher_id};

    use super::*;
    use crate::store::CacheLimits;

    #[test]
    fn the_highest_number_stays_and_a_retired_key_says_nothing() {
        let [old, new] = [1, 2].map(|seed| SigningKey::from_bytes(&[seed; 32]));
        let committed = |key: &SigningKey| Next::Keys(NextKeys::of(&[PublicKey::of(key)], 1));
        let sign = |document: &KeyDocument, key: &SigningKey| {
            Envelope::sign(document.payload_type(), document.to_payload(), &[key]).to_json()
        };
        let first = KeyDocument { next: committed(&new), ..KeyDocument::first(PublicKey::of(&old)) };
        let id = publisher_id(&first.to_payload());
        let first = sign(&first, &old);
        let before = KeyHistory::verify(id, std::slice::from_ref(&first)).unwrap();
        // The newer keys take nothing over.
        let list = Inheritance::of([]).unwrap();
        let second = KeyDocument {
            version: 2,
            previous: Some(before.head()),
            next: committed(&old),
            inherits: Some(list.digest()),
            ..KeyDocument::first(PublicKey::of(&new))
        };
        let after = KeyHistory::verify(id, &[first, sign(&second, &new), list.to_text()]).unwrap();
        let (model, tag): (ModelName, Tag) = ("tiny".parse().unwrap(), Tag::latest());
        let text = |seq, key_document, key: &SigningKey| {
            let (model, tag) = (model.clone(), tag.clone());
            let said =
                Tombstone { publisher: id, model, tag, seq, key_document, issued: 1_700_000_000 + seq };
            Envelope::sign(TOMBSTONE_TYPE, said.to_payload(), &[key]).to_json()
        };
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), CacheLimits::default()).unwrap();
        let offer = |keys: &KeyHistory, text: &str| {
            let signed = SignedTombstone::verify(text, keys).ok()?;
            Some(keep(&store, keys, &signed).unwrap())
        };
        let known = |keys: &KeyHistory| {
            tombstone(&store, keys, &model, &tag).unwrap().map(|it| it.tombstone().order())
        };
        assert_eq!(known(&before), None);
        assert_eq!(offer(&before, &text(3, 1, &old)), Some(true));
        for (seq, expected) in [(3, false), (2, false), (4, true)] {
            assert_eq!(offer(&before, &text(seq, 1, &old)), Some(expected), "{seq}");
        }
        assert_eq!((known(&before), tombstones(&store, &before).unwrap().len()), (Some((1, 4)), 1));
        assert_eq!(known(&after), None, "the newer keys do not take it over");
        for (version, key) in [(1, &old), (2, &old)] {
            assert_eq!(offer(&after, &text(9, version, key)), None, "a thief of the retired key");
        }
        assert_eq!(offer(&after, &text(5, 2, &new)), Some(true));
        assert_eq!(known(&after), Some((2, 5)));
    }
}
