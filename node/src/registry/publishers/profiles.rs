//! Keeps and returns the profiles of publishers: for each publisher the one with the highest number that its keys have signed.

use reg_proto::key::KeyHistory;
use reg_proto::limits::PROFILE_BYTES_MAX;
use reg_proto::profile::SignedProfile;
use reg_proto::wire::ProfileText;

use super::error::TagsError;
use crate::store::{DocumentKind, Store};

/// Keeps `text` if it is a profile by the publisher of `keys` and newer than the known one. Returns whether it was kept.
///
/// A lower number never replaces a higher one, and of two profiles with one number the first stays. So a peer that answers
/// with an old profile brings no old domain back.
pub fn keep(store: &Store, keys: &KeyHistory, text: &str) -> Result<bool, TagsError> {
    let publisher = keys.publisher();
    let Ok(offered) = SignedProfile::verify(text, keys) else { return Ok(false) };
    let key = publisher.to_string();
    // Two callers at once must not each decide by the profile that was there before.
    let _lock = store.lock_document(&format!("profile {key}"));
    if profile(store, keys)?.is_some_and(|known| !offered.replaces(&known)) {
        return Ok(false);
    }
    store
        .put_document(DocumentKind::Profile, &key, text.as_bytes())
        .map_err(|source| TagsError::Write { publisher, source })?;
    Ok(true)
}

/// Returns the newest known profile that counts by `keys`.
pub fn profile(store: &Store, keys: &KeyHistory) -> Result<Option<SignedProfile>, TagsError> {
    let publisher = keys.publisher();
    let read = store
        .get_document(DocumentKind::Profile, &publisher.to_string())
        .map_err(|source| TagsError::Read { publisher, source })?;
    let text = read.filter(|it| it.len() <= PROFILE_BYTES_MAX).and_then(|it| String::from_utf8(it).ok());
    Ok(text.and_then(|it| SignedProfile::verify(&it, keys).ok()))
}

/// Returns the newest known profile that counts by `keys`, as it is sent on. What cannot be read is left out.
pub fn text(store: &Store, keys: &KeyHistory) -> Option<ProfileText> {
    let known = profile(store, keys).ok().flatten()?;
    ProfileText::new(known.envelope().to_owned())
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use reg_proto::envelope::{Envelope, PublicKey};
    use reg_proto::key::{KeyDocument, publisher_id};
    use reg_proto::profile::{PROFILE_TYPE, Profile};

    use super::*;
    use crate::store::CacheLimits;

    #[test]
    fn a_lower_number_is_refused_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let key = SigningKey::from_bytes(&[1; 32]);
        let document = KeyDocument::first(PublicKey::of(&key));
        let id = publisher_id(&document.to_payload());
        let keys = KeyHistory::verify(id, &[document.sign(&key).to_json()]).unwrap();
        let signed = |seq: u64, domain: &str, by: &SigningKey| {
            let domain = Some(domain.parse().unwrap());
            let profile = Profile {
                publisher: id,
                seq,
                prev: None,
                domain,
                title: None,
                url: None,
                key_document: 1,
                issued: 1_700_000_000,
            };
            Envelope::sign(PROFILE_TYPE, profile.to_payload(), &[by]).to_json()
        };
        let known = |store: &Store| {
            let it = profile(store, &keys).unwrap().unwrap();
            (it.profile().seq, it.profile().domain.clone().unwrap().to_string())
        };
        let store = Store::open(dir.path(), CacheLimits::default()).unwrap();
        assert!(profile(&store, &keys).unwrap().is_none());
        assert!(keep(&store, &keys, &signed(2, "acme.org", &key)).unwrap());
        for (seq, domain) in [(1, "old.example"), (2, "other.example"), (2, "acme.org")] {
            assert!(!keep(&store, &keys, &signed(seq, domain, &key)).unwrap(), "{seq} {domain}");
        }
        let thief = SigningKey::from_bytes(&[2; 32]);
        assert!(!keep(&store, &keys, &signed(9, "thief.example", &thief)).unwrap());
        drop(store);
        let store = Store::open(dir.path(), CacheLimits::default()).unwrap();
        assert_eq!(known(&store), (2, "acme.org".to_owned()));
        assert!(!keep(&store, &keys, &signed(1, "old.example", &key)).unwrap());
        assert!(keep(&store, &keys, &signed(3, "new.example", &key)).unwrap());
        assert_eq!(known(&store), (3, "new.example".to_owned()));
    }
}
