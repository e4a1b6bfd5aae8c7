//! [`Envelope`]: a signed payload (DSSE, <https://github.com/secure-systems-lab/dsse>, protocol v1.0.2).
//!
//! A signature is over `PAE(payload type, payload)`, with the payload's bytes as they are transmitted. So a verifier never
//! serialises a payload again. The payload type keeps a record of one kind from passing for one of another.
//!
//! A signature counts only if it names its key, and of the signatures that name one key only the first is looked at. So an
//! envelope costs at most one verification for each key that is asked about, whatever is in it.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, BASE64URL, HEXLOWER};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::bounded::Bounded;
use crate::digest::Digest;
use crate::json::{self, JsonError};
use crate::limits::SIGNATURES_MAX;
use crate::verification;

/// An ed25519 public key, written `ed25519:<64 lower-case hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// Why a text is not a public key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PublicKeyError {
    #[error("key is not of the form `ed25519:<64 hex digits>`")]
    Form,
    #[error("key is not a point of the curve, or is a weak one")]
    Weak,
}

/// A payload with its type and the signatures over both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub payload_type: String,
    pub payload: Vec<u8>,
    signatures: Vec<KeySignature>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct KeySignature {
    key_id: String,
    signature: [u8; 64],
}

/// Why some bytes are not an envelope.
#[derive(Debug, Error)]
pub enum EnvelopeError {
    #[error("envelope cannot be parsed")]
    Json(#[from] JsonError),
    #[error("envelope's payload is not base64")]
    Payload,
    #[error("envelope has a signature that is not 64 bytes in base64")]
    Signature,
    #[error("envelope has no signature")]
    NoSignature,
}

/// Why an envelope's signatures do not suffice.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignatureError {
    #[error("payload is of type {found:?}, not {expected:?}")]
    PayloadType { found: String, expected: &'static str },
    #[error("{valid} of {threshold} required signatures are valid")]
    TooFew { valid: usize, threshold: usize },
    #[error(
        "{valid} of {threshold} required signatures are valid, and the publisher has revoked {revoked} of the keys"
    )]
    Revoked { valid: usize, threshold: usize, revoked: usize },
    #[error(
        "its keys, those of key document {version}, are retired, and key document {newest} does not take it over"
    )]
    Retired { version: u64, newest: u64 },
    #[error(
        "its keys, those of key document {version}, are retired, and the list of what key document {newest} takes over is missing"
    )]
    ListMissing { version: u64, newest: u64 },
}

/// DSSE's JSON form. Readers ignore unknown fields.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnvelopeJson {
    payload: String,
    payload_type: String,
    signatures: Bounded<SignatureJson, SIGNATURES_MAX>,
}

#[derive(Serialize, Deserialize)]
struct SignatureJson {
    #[serde(default)]
    keyid: String,
    sig: String,
}

impl PublicKey {
    /// Returns the public half of `key`.
    pub fn of(key: &SigningKey) -> Self {
        Self(key.verifying_key().to_bytes())
    }

    /// Returns the 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the key's id in envelopes: the SHA-256 of its bytes, in hex.
    pub fn key_id(&self) -> String {
        Digest::of(&self.0).hex()
    }

    /// Returns whether `signature` is valid ([`verification`]).
    fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        verification::is_valid(&self.0, message, signature)
    }
}

impl Envelope {
    /// Returns `payload` signed by `keys`.
    pub fn sign(payload_type: &str, payload: Vec<u8>, keys: &[&SigningKey]) -> Self {
        let message = pae(payload_type, &payload);
        let signatures = keys
            .iter()
            .map(|key| KeySignature {
                key_id: PublicKey::of(key).key_id(),
                signature: key.sign(&message).to_bytes(),
            })
            .collect();
        Self { payload_type: payload_type.to_owned(), payload, signatures }
    }

    /// Returns `payload` in an envelope without signatures.
    pub fn unsigned(payload_type: &str, payload: Vec<u8>) -> Self {
        Self { payload_type: payload_type.to_owned(), payload, signatures: Vec::new() }
    }

    /// Adds the signature of `key`, in place of an earlier one by the same key.
    pub fn add(&mut self, key: &PublicKey, signature: [u8; 64]) {
        let key_id = key.key_id();
        self.signatures.retain(|it| it.key_id != key_id);
        self.signatures.push(KeySignature { key_id, signature });
    }

    /// Returns those of `keys` that have a valid signature on the envelope. It costs at most one verification for each.
    pub fn signers(&self, keys: &[PublicKey]) -> Vec<PublicKey> {
        let message = pae(&self.payload_type, &self.payload);
        keys.iter().filter(|key| self.is_signed_by(key, &message)).copied().collect()
    }

    /// Parses an envelope of at most `max` bytes. Verifies no signature.
    ///
    /// # Errors
    /// If `bytes` are too many or not DSSE's JSON form, or have no signature or too many.
    pub fn from_bytes(bytes: &[u8], max: usize) -> Result<Self, EnvelopeError> {
        let EnvelopeJson { payload, payload_type, signatures } = json::from_slice(bytes, max)?;
        let payload = base64(&payload).ok_or(EnvelopeError::Payload)?;
        if signatures.is_empty() {
            return Err(EnvelopeError::NoSignature);
        }
        let signatures = signatures.into_vec().into_iter().map(|SignatureJson { keyid, sig }| {
            let signature =
                base64(&sig).and_then(|bytes| bytes.try_into().ok()).ok_or(EnvelopeError::Signature)?;
            Ok(KeySignature { key_id: keyid, signature })
        });
        Ok(Self { payload_type, payload, signatures: signatures.collect::<Result<_, EnvelopeError>>()? })
    }

    /// Returns DSSE's JSON form.
    pub fn to_json(&self) -> String {
        let signatures = self
            .signatures
            .iter()
            .map(|it| SignatureJson { keyid: it.key_id.clone(), sig: BASE64.encode(&it.signature) });
        let form = EnvelopeJson {
            payload: BASE64.encode(&self.payload),
            payload_type: self.payload_type.clone(),
            signatures: Bounded::first_of(signatures),
        };
        String::from_utf8(json::to_vec(&form)).expect("JSON is UTF-8")
    }

    /// Verifies that the payload is of this type, and signed by at least `threshold` different ones of `keys`. It costs at
    /// most one verification for each key, and ends when the threshold is reached.
    ///
    /// # Errors
    /// If the type is another one, or valid signatures are too few.
    pub fn verify(
        &self,
        payload_type: &'static str,
        keys: &[PublicKey],
        threshold: usize,
    ) -> Result<(), SignatureError> {
        if self.payload_type != payload_type {
            return Err(SignatureError::PayloadType {
                found: self.payload_type.clone(),
                expected: payload_type,
            });
        }
        let message = pae(&self.payload_type, &self.payload);
        let mut distinct = keys.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let needed = threshold.max(1);
        let valid = distinct.iter().filter(|key| self.is_signed_by(key, &message)).take(needed).count();
        if valid < needed { Err(SignatureError::TooFew { valid, threshold }) } else { Ok(()) }
    }

    /// Returns whether the first signature that names `key` is valid over `message`.
    ///
    /// DSSE calls the key id a hint, and lets a reader try a signature without one with every key. This reader does not:
    /// 32 such signatures and 16 keys would cost 512 verifications.
    fn is_signed_by(&self, key: &PublicKey, message: &[u8]) -> bool {
        let key_id = key.key_id();
        let named = self.signatures.iter().find(|it| it.key_id == key_id);
        named.is_some_and(|it| key.verify(message, &it.signature))
    }
}

/// Returns DSSE's pre-authentication encoding, which is the message that keys sign.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// Decodes base64 in the standard or the URL-safe alphabet, as DSSE requires of readers.
fn base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.as_bytes()).or_else(|_| BASE64URL.decode(text.as_bytes())).ok()
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{}", HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        let hex = text.strip_prefix("ed25519:").ok_or(PublicKeyError::Form)?;
        let bytes = HEXLOWER.decode(hex.as_bytes()).map_err(|_| PublicKeyError::Form)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| PublicKeyError::Form)?;
        match VerifyingKey::from_bytes(&bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(bytes)),
            _ => Err(PublicKeyError::Weak),
        }
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verification::Budget;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    #[test]
    fn pae_is_that_of_the_specification() {
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn counts_keys_not_signatures() {
        let (one, two) = (key(1), key(2));
        let keys = [PublicKey::of(&one), PublicKey::of(&two)];
        let twice = Envelope::sign("t", b"p".to_vec(), &[&one, &one]);
        assert_eq!(twice.verify("t", &keys, 2), Err(SignatureError::TooFew { valid: 1, threshold: 2 }));
        assert_eq!(
            twice.verify("t", &[keys[0], keys[0]], 2),
            Err(SignatureError::TooFew { valid: 1, threshold: 2 })
        );
        assert_eq!(Envelope::sign("t", b"p".to_vec(), &[&one, &two]).verify("t", &keys, 2), Ok(()));
        assert_eq!(twice.verify("t", &keys, 0), Ok(()));
        assert!(Envelope::sign("t", b"p".to_vec(), &[&key(3)]).verify("t", &keys, 0).is_err());
    }

    /// Returns an envelope of this payload with 32 signatures that do not hold, each of which names `key_id`.
    fn wrong(payload: &[u8], key_id: &str) -> Envelope {
        let wrong = |number: u8| KeySignature { key_id: key_id.to_owned(), signature: [number; 64] };
        let signatures = (1..=32).map(wrong).collect();
        Envelope { payload_type: "t".to_owned(), payload: payload.to_vec(), signatures }
    }

    #[test]
    fn a_signature_names_its_key_and_is_tried_once() {
        let keys: Vec<PublicKey> = (1..=16).map(|seed| PublicKey::of(&key(seed))).collect();
        let cost = |envelope: &Envelope, threshold: usize| {
            let mut budget = Budget::new(1000);
            let verified = budget.run(|| envelope.verify("t", &keys, threshold)).unwrap();
            (budget.spent(), verified.is_ok())
        };
        assert_eq!(cost(&wrong(b"no key ids", ""), 1), (0, false));
        assert_eq!(cost(&wrong(b"other keys", &PublicKey::of(&key(17)).key_id()), 1), (0, false));
        assert_eq!(cost(&wrong(b"one key", &keys[3].key_id()), 1), (1, false));
        let all: Vec<SigningKey> = (1..=16).map(key).collect();
        let signed = |payload: &[u8]| Envelope::sign("t", payload.to_vec(), &all.iter().collect::<Vec<_>>());
        assert_eq!(cost(&signed(b"one of 16"), 1), (1, true));
        assert_eq!(cost(&signed(b"nine of 16"), 9), (9, true));
        assert_eq!(cost(&signed(b"nine of 16"), 9), (0, true), "what was valid is remembered");
        let mut nameless = signed(b"sixteen without key ids");
        nameless.signatures.iter_mut().for_each(|it| it.key_id.clear());
        assert_eq!(cost(&nameless, 1), (0, false));
        assert_eq!(nameless.signers(&keys), []);
        // The first signature that names a key is the one that is looked at.
        let mut second = wrong(b"valid, but second", &keys[0].key_id());
        second.signatures.push(Envelope::sign("t", second.payload.clone(), &[&all[0]]).signatures.remove(0));
        assert_eq!(cost(&second, 1), (1, false));
    }

    #[test]
    fn a_change_anywhere_is_seen() {
        let envelope = Envelope::sign("type", b"payload".to_vec(), &[&key(1)]);
        let keys = [PublicKey::of(&key(1))];
        let read = Envelope::from_bytes(envelope.to_json().as_bytes(), 1000).unwrap();
        assert_eq!(read, envelope);
        assert_eq!(read.verify("type", &keys, 1), Ok(()));
        assert!(read.verify("other", &keys, 1).is_err());
        let changed = Envelope { payload: b"Payload".to_vec(), ..read.clone() };
        assert!(changed.verify("type", &keys, 1).is_err());
        assert!(read.verify("type", &[PublicKey::of(&key(2))], 1).is_err());
    }

    #[test]
    fn weak_keys_are_none() {
        let identity = format!("ed25519:01{}", "00".repeat(31));
        assert_eq!(identity.parse::<PublicKey>(), Err(PublicKeyError::Weak));
        assert_eq!("ed25519:00".parse::<PublicKey>(), Err(PublicKeyError::Form));
    }
}
