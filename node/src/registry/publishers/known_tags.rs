//! Verifies tag records of the store, and keeps those in memory that were verified last: several steps that follow each other
//! read the same record, and its signature costs more than all else.
//!
//! A record is kept with the whole key history that it was verified against. So a rotation, a revocation or another byte of the
//! record has it verified again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::tag::{SignedTag, TagError};

use crate::registry::limits::KNOWN_TAGS_MAX;

/// The records that were verified last.
static KNOWN: Mutex<KnownTags> = Mutex::new(KnownTags { by_text: BTreeMap::new(), keys: None });

#[derive(Debug)]
struct KnownTags {
    by_text: BTreeMap<Digest, (Arc<KeyHistory>, SignedTag)>,
    /// The history of the last record, which the next one mostly shares.
    keys: Option<Arc<KeyHistory>>,
}

impl KnownTags {
    fn get(&self, text: &Digest, keys: &KeyHistory) -> Option<SignedTag> {
        let (of, tag) = self.by_text.get(text)?;
        (of.as_ref() == keys).then(|| tag.clone())
    }

    fn keep(&mut self, text: Digest, keys: &KeyHistory, tag: SignedTag, max: usize) {
        if self.by_text.len() >= max {
            self.by_text.clear();
        }
        let shared = self.keys.clone().filter(|it| it.as_ref() == keys);
        let shared = shared.unwrap_or_else(|| Arc::new(keys.clone()));
        self.keys = Some(shared.clone());
        self.by_text.insert(text, (shared, tag));
    }
}

/// Verifies an envelope of the store as [`SignedTag::verify`] does.
///
/// # Errors
/// As [`SignedTag::verify`].
pub(super) fn verify(text: &str, keys: &KeyHistory) -> Result<SignedTag, TagError> {
    let digest = Digest::of(text.as_bytes());
    let lock = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(tag) = lock().get(&digest, keys) {
        return Ok(tag);
    }
    let tag = SignedTag::verify(text, keys)?;
    lock().keep(digest, keys, tag.clone(), KNOWN_TAGS_MAX);
    Ok(tag)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use reg_proto::bounded::Bounded;
    use reg_proto::envelope::{Envelope, PublicKey};
    use reg_proto::key::{KeyDocument, publisher_id};
    use reg_proto::name::Tag;
    use reg_proto::revocation::{REVOCATION_TYPE, Reason, Revocation, Revoked};
    use reg_proto::tag::{ManifestPointer, TAG_RECORD_TYPE, TagRecord};

    use super::*;

    fn signed(key: &SigningKey, keys: &KeyHistory, seq: u64) -> String {
        let record = TagRecord {
            publisher: keys.publisher(),
            model: "tiny".parse().unwrap(),
            tag: Tag::latest(),
            seq,
            prev: None,
            manifest: ManifestPointer { digest: Digest::of(b"m"), size: 1 },
            key_document: 1,
            issued: 1_700_000_000,
            fresh_until: None,
            expires: None,
            settles: Bounded::empty(),
            min_usable: None,
        };
        Envelope::sign(TAG_RECORD_TYPE, record.to_payload(), &[key]).to_json()
    }

    #[test]
    fn a_record_is_known_under_the_keys_that_verified_it_and_no_others() {
        let key = SigningKey::from_bytes(&[91; 32]);
        let first = KeyDocument::first(PublicKey::of(&key));
        let id = publisher_id(&first.to_payload());
        let mut keys = KeyHistory::verify(id, &[first.sign(&key).to_json()]).unwrap();
        let text = signed(&key, &keys, 1);
        let tag = verify(&text, &keys).unwrap();
        assert_eq!(verify(&text, &keys).unwrap(), tag, "from memory");
        assert!(verify(&text.replace("\"sig\":\"", "\"sig\":\"AA"), &keys).is_err());
        let revocation = Revocation {
            publisher: id,
            subject: Revoked::Key(PublicKey::of(&key)),
            key_document: 1,
            issued: 1_700_000_000,
            reason: Reason::default(),
        };
        let envelope = Envelope::sign(REVOCATION_TYPE, revocation.to_payload(), &[&key]).to_json();
        keys.take_revocations([envelope.as_str()]);
        assert!(verify(&text, &keys).is_err(), "its key has been revoked since");
        let other = SigningKey::from_bytes(&[92; 32]);
        let first = KeyDocument::first(PublicKey::of(&other));
        let others =
            KeyHistory::verify(publisher_id(&first.to_payload()), &[first.sign(&other).to_json()]).unwrap();
        assert!(verify(&text, &others).is_err());
    }

    #[test]
    fn what_is_known_is_bounded() {
        let key = SigningKey::from_bytes(&[93; 32]);
        let first = KeyDocument::first(PublicKey::of(&key));
        let keys =
            KeyHistory::verify(publisher_id(&first.to_payload()), &[first.sign(&key).to_json()]).unwrap();
        let mut known = KnownTags { by_text: BTreeMap::new(), keys: None };
        for seq in 1..20 {
            let text = signed(&key, &keys, seq);
            let tag = SignedTag::verify(&text, &keys).unwrap();
            known.keep(Digest::of(text.as_bytes()), &keys, tag, 8);
            assert!(known.by_text.len() <= 8 && known.get(&Digest::of(text.as_bytes()), &keys).is_some());
        }
    }
}
