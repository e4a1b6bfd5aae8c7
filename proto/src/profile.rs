//! [`Profile`]: what a publisher says of itself: the domain that stands for it, a title, and the address of a page.
//!
//! A domain names a publisher, and the profile names the domain back. So neither the owner of a domain nor a publisher can
//! claim the other one alone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::content::label::Label;
use crate::digest::Digest;
use crate::domain::Domain;
use crate::envelope::{Envelope, EnvelopeError, SignatureError};
use crate::json::{self, JsonError, present};
use crate::key::KeyHistory;
use crate::limits::{HOMEPAGE_BYTES_MAX, PROFILE_BYTES_MAX, SEQ_MAX};
use crate::name::PublisherId;

/// Payload type of a profile.
pub const PROFILE_TYPE: &str = "application/vnd.reg.profile.v1+json";

/// What a publisher says of itself from now on. Profiles of one publisher are numbered and chained, like the records of a tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub publisher: PublisherId,
    /// The profile's number: one more than the previous profile's.
    pub seq: u64,
    /// The digest of the previous profile's payload, as the signer knew it; `None` in the first.
    #[serde(deserialize_with = "present")]
    pub prev: Option<Digest>,
    /// The domain that stands for the publisher; `None` if none does.
    #[serde(deserialize_with = "present")]
    pub domain: Option<Domain>,
    #[serde(deserialize_with = "present")]
    pub title: Option<Label>,
    #[serde(deserialize_with = "present")]
    pub url: Option<Homepage>,
    /// Version of the key document that the signing keys belong to.
    pub key_document: u64,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub issued: u64,
}

/// The address of a page: `https://`, then printable ASCII without quotes and angle brackets, at most 200 bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Homepage(String);

/// Why a text is not the address of a page.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{text:?} is not the address of a page: https:// and at most {HOMEPAGE_BYTES_MAX} printable ASCII characters"
)]
pub struct HomepageError {
    text: String,
}

/// Why an envelope is not a profile of a publisher.
#[derive(Debug, Error)]
pub enum ProfileError {
    #[error("profile is not an envelope")]
    Envelope(#[from] EnvelopeError),
    #[error("profile cannot be parsed")]
    Json(#[from] JsonError),
    #[error("profile is that of publisher {found}, not of {expected}")]
    OtherPublisher { found: PublisherId, expected: PublisherId },
    #[error("profile has number {seq}, above {SEQ_MAX}")]
    Seq { seq: u64 },
    #[error("profile is not signed by key document {version} of its publisher")]
    Signature { version: u64, source: SignatureError },
}

/// A profile with a verified signature, and its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedProfile {
    profile: Profile,
    payload: Digest,
    envelope: String,
}

impl Profile {
    /// Returns the bytes to sign.
    pub fn to_payload(&self) -> Vec<u8> {
        json::to_vec(self)
    }

    /// Parses a payload. Verifies nothing.
    ///
    /// # Errors
    /// If `payload` is not a profile.
    pub fn from_payload(payload: &[u8]) -> Result<Self, JsonError> {
        json::from_slice(payload, PROFILE_BYTES_MAX)
    }

    /// Returns the sort key of profiles: key document, then number. Newer keys outrank every number of older ones.
    pub const fn order(&self) -> (u64, u64) {
        (self.key_document, self.seq)
    }
}

impl SignedProfile {
    /// Verifies the envelope `text` against a publisher's keys. What a retired key has signed counts only where the newest key
    /// document inherits it.
    ///
    /// # Errors
    /// If `text` is no profile in an envelope, is by another publisher, or is not signed.
    pub fn verify(text: &str, keys: &KeyHistory) -> Result<Self, ProfileError> {
        let envelope = Envelope::from_bytes(text.as_bytes(), PROFILE_BYTES_MAX)?;
        let profile = Profile::from_payload(&envelope.payload)?;
        let (found, expected) = (profile.publisher, keys.publisher());
        if found != expected {
            return Err(ProfileError::OtherPublisher { found, expected });
        }
        if profile.seq > SEQ_MAX {
            return Err(ProfileError::Seq { seq: profile.seq });
        }
        let version = profile.key_document;
        keys.check(&envelope, PROFILE_TYPE, version)
            .map_err(|source| ProfileError::Signature { version, source })?;
        Ok(Self { profile, payload: Digest::of(&envelope.payload), envelope: text.to_owned() })
    }

    /// Returns the signed profile.
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Returns the digest of the payload. The next profile names it as `prev`.
    pub const fn payload_digest(&self) -> Digest {
        self.payload
    }

    /// Returns the envelope, byte for byte.
    pub fn envelope(&self) -> &str {
        &self.envelope
    }

    /// Returns whether this profile takes the place of `known`. Of two profiles with one number, the first one that was seen
    /// stays.
    pub fn replaces(&self, known: &Self) -> bool {
        self.profile.order() > known.profile.order()
    }
}

impl Homepage {
    /// Returns the address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Homepage {
    type Err = HomepageError;

    fn from_str(text: &str) -> Result<Self, HomepageError> {
        let is_fit = |byte: u8| byte.is_ascii_graphic() && !b"\"'<>\\`".contains(&byte);
        let rest = text.strip_prefix("https://").filter(|it| !it.is_empty() && !it.starts_with('/'));
        if rest.is_some() && text.len() <= HOMEPAGE_BYTES_MAX && text.bytes().all(is_fit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(HomepageError { text: text.chars().take(80).collect() })
        }
    }
}

impl fmt::Display for Homepage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Homepage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Homepage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Homepage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::envelope::PublicKey;
    use crate::key::{Inheritance, KeyDocument, Next, NextKeys, publisher_id};

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn keys(seed: u8) -> KeyHistory {
        let document = KeyDocument::first(PublicKey::of(&key(seed)));
        let id = publisher_id(&document.to_payload());
        KeyHistory::verify(id, &[document.sign(&key(seed)).to_json()]).unwrap()
    }

    fn profile(keys: &KeyHistory, seq: u64) -> Profile {
        Profile {
            publisher: keys.publisher(),
            seq,
            prev: None,
            domain: Some("acme.org".parse().unwrap()),
            title: Some("Acme Research".parse().unwrap()),
            url: Some("https://acme.org/models".parse().unwrap()),
            key_document: 1,
            issued: 1_700_000_000,
        }
    }

    fn sign(profile: &Profile, seed: u8) -> String {
        Envelope::sign(PROFILE_TYPE, profile.to_payload(), &[&key(seed)]).to_json()
    }

    #[test]
    fn only_the_publishers_keys_sign_its_profile() {
        let keys = keys(1);
        let signed = SignedProfile::verify(&sign(&profile(&keys, 1), 1), &keys).unwrap();
        assert_eq!(signed.profile().domain.as_ref().map(Domain::as_str), Some("acme.org"));
        let forged = SignedProfile::verify(&sign(&profile(&keys, 1), 2), &keys);
        assert!(matches!(forged, Err(ProfileError::Signature { .. })));
        let other = self::keys(2);
        let of_other = SignedProfile::verify(&sign(&profile(&other, 1), 2), &keys);
        assert!(matches!(of_other, Err(ProfileError::OtherPublisher { .. })));
        let as_tag = Envelope::sign(crate::tag::TAG_RECORD_TYPE, profile(&keys, 1).to_payload(), &[&key(1)]);
        let as_tag = SignedProfile::verify(&as_tag.to_json(), &keys);
        assert!(matches!(as_tag, Err(ProfileError::Signature { .. })), "a signature is for one type");
        let past = SignedProfile::verify(&sign(&profile(&keys, SEQ_MAX + 1), 1), &keys);
        assert!(matches!(past, Err(ProfileError::Seq { .. })));
    }

    #[test]
    fn a_higher_number_replaces_a_lower_one_and_an_equal_one_does_not() {
        let keys = keys(1);
        let [one, two] =
            [1, 2].map(|seq| SignedProfile::verify(&sign(&profile(&keys, seq), 1), &keys).unwrap());
        let retitled = Profile { title: None, ..profile(&keys, 2) };
        let also_two = SignedProfile::verify(&sign(&retitled, 1), &keys).unwrap();
        assert!(two.replaces(&one) && !one.replaces(&two));
        assert!(!also_two.replaces(&two) && !two.replaces(&also_two));
    }

    #[test]
    fn a_retired_key_signs_no_profile_that_counts_unless_it_is_listed() {
        let first = KeyDocument::first(PublicKey::of(&key(1)));
        let id = publisher_id(&first.to_payload());
        let before = KeyHistory::verify(id, &[first.sign(&key(1)).to_json()]).unwrap();
        let [kept, left_out] = [1, 2].map(|seq| sign(&profile(&before, seq), 1));
        let payload = SignedProfile::verify(&kept, &before).unwrap().payload_digest();
        let list = Inheritance::of([payload]).unwrap();
        let second = KeyDocument {
            version: 2,
            keys: vec![PublicKey::of(&key(2))],
            next: Next::Keys(NextKeys::of(&[PublicKey::of(&key(3))], 1)),
            previous: Some(Digest::of(&first.to_payload())),
            inherits: Some(list.digest()),
            ..first.clone()
        };
        let envelope = Envelope::sign(second.payload_type(), second.to_payload(), &[&key(1), &key(2)]);
        let texts = [first.sign(&key(1)).to_json(), envelope.to_json(), list.to_text()];
        let after = KeyHistory::verify(id, &texts).unwrap();
        assert!(SignedProfile::verify(&kept, &after).is_ok(), "the list names it");
        let refused = SignedProfile::verify(&left_out, &after);
        let is_retired =
            matches!(refused, Err(ProfileError::Signature { source: SignatureError::Retired { .. }, .. }));
        assert!(is_retired, "{refused:?}");
    }

    #[test]
    fn a_profile_has_one_spelling() {
        let text = String::from_utf8(profile(&keys(1), 3).to_payload()).unwrap();
        assert!(Profile::from_payload(text.as_bytes()).is_ok());
        for (from, to) in [
            (r#""prev":null,"#, ""),
            (r#""seq":3"#, r#""seq":3,"seq":4"#),
            (r#""seq":3"#, r#""seq":3,"more":1"#),
            ("acme.org\"", "acme\""),
            ("https://acme.org/models", "http://acme.org/models"),
            ("https://acme.org/models", "https:///models"),
            ("Acme Research", "Acme\\u001b[31m"),
        ] {
            let other = text.replacen(from, to, 1);
            assert_ne!(other, text, "{from}");
            assert!(Profile::from_payload(other.as_bytes()).is_err(), "{other}");
        }
    }
}
