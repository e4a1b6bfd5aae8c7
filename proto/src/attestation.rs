//! Signed statements of any publisher about a manifest, in the in-toto format.
//!
//! An [`Attestation`] states the result of a scan, a review or a look at the licence. A [`Mirror`] states that the files
//! are those of a repository at a commit. A statement grants nothing by itself, but a policy may require some. None of
//! them states how a model will behave.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::content::label::Label;
use crate::digest::Digest;
use crate::envelope::Envelope;
use crate::json::{JsonError, present};
use crate::key::KeyHistory;
use crate::limits::KEY_ENVELOPE_BYTES_MAX;
use crate::name::PublisherId;
use crate::provenance::{ProvenanceError, STATEMENT_PAYLOAD_TYPE, read_statement, write_statement};

/// Artifact type of an attestation in its DSSE envelope.
pub const ATTESTATION_ARTIFACT_TYPE: &str = "application/vnd.reg.attestation.v1+json";
const MIRROR_PREDICATE_TYPE: &str = "urn:reg:attestation:mirror:v1";
const PREDICATE_TYPE: &str = "urn:reg:attestation:v1";

/// The kind of an attestation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttestationKind {
    /// A tool has searched the files for code and known flaws.
    Scan,
    /// The files are those of a repository at an endpoint.
    Mirror,
    /// The attestor has examined the licence terms.
    Licence,
    /// The attestor has examined the model.
    Review,
}

/// The result of an attestation. A check that was not done is stated, not left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttestationResult {
    Pass,
    Fail,
    NotDone,
}

/// A text is not one of the `known` names.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not one of {known}")]
pub struct AttestationWordError {
    text: String,
    known: String,
}

/// The statement of an attestor about a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// The attestor.
    pub publisher: PublisherId,
    /// Version of the key document that the signing keys belong to.
    pub key_document: u64,
    /// Time of signing, in seconds since 1970-01-01T00:00:00Z.
    pub issued: u64,
    pub kind: AttestationKind,
    pub result: AttestationResult,
    /// The tool that produced the result, with its version and rules, as in `picklescan 0.0.32`.
    #[serde(deserialize_with = "present")]
    pub tool: Option<Label>,
    /// A remark, such as an SPDX expression or `org/name@commit`.
    #[serde(deserialize_with = "present")]
    pub note: Option<Label>,
}

impl AttestationKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Scan, Self::Mirror, Self::Licence, Self::Review];

    /// Returns the kind's name on the wire, which never changes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Mirror => "mirror",
            Self::Licence => "licence",
            Self::Review => "review",
        }
    }
}

impl AttestationResult {
    /// All results.
    pub const ALL: [Self; 3] = [Self::Pass, Self::Fail, Self::NotDone];

    /// Returns the result's name on the wire, which never changes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::NotDone => "not_done",
        }
    }
}

fn by_name<T: Copy>(
    text: &str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<T, AttestationWordError> {
    all.iter().copied().find(|it| name(*it) == text).ok_or_else(|| AttestationWordError {
        text: text.chars().take(64).collect(),
        known: all.iter().map(|it| name(*it)).collect::<Vec<_>>().join(", "),
    })
}

impl FromStr for AttestationKind {
    type Err = AttestationWordError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        by_name(text, &Self::ALL, Self::name)
    }
}

impl FromStr for AttestationResult {
    type Err = AttestationWordError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        by_name(text, &Self::ALL, Self::name)
    }
}

impl fmt::Display for AttestationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for AttestationResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Attestation {
    /// Returns the bytes of the statement about `manifest`, to be signed.
    pub fn to_payload(&self, manifest: &Digest) -> Vec<u8> {
        let predicate = serde_json::to_value(self).expect("the predicate has only text keys");
        write_statement(&manifest.to_string(), manifest, PREDICATE_TYPE, predicate)
    }

    /// Parses the statement about `manifest`. Verifies no signature.
    ///
    /// # Errors
    /// If `payload` is not an in-toto statement of this type about this manifest.
    pub fn from_payload(payload: &[u8], manifest: &Digest) -> Result<Self, ProvenanceError> {
        let predicate = read_statement(payload, manifest, PREDICATE_TYPE)?;
        serde_json::from_value(predicate).map_err(|error| JsonError::Invalid(error).into())
    }
}

/// An attestation of either type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Attestation(Attestation),
    Mirror(Mirror),
}

impl Said {
    /// Parses the envelope `text` about `manifest`. Verifies no signature. The result names the attestor, so that the
    /// caller can look up the keys to verify it with.
    ///
    /// # Errors
    /// If `text` is not an envelope with a statement of these types about this manifest.
    pub fn read(text: &str, manifest: &Digest) -> Result<(Self, Envelope), ProvenanceError> {
        let envelope = Envelope::from_bytes(text.as_bytes(), KEY_ENVELOPE_BYTES_MAX)?;
        let said = match Mirror::from_payload(&envelope.payload, manifest) {
            Ok(mirror) => Self::Mirror(mirror),
            Err(ProvenanceError::Kind { .. }) => {
                Self::Attestation(Attestation::from_payload(&envelope.payload, manifest)?)
            }
            Err(error) => return Err(error),
        };
        Ok((said, envelope))
    }

    /// Verifies that the envelope `text` is about `manifest` and signed by `keys`.
    ///
    /// # Errors
    /// If either does not hold.
    pub fn verify(text: &str, keys: &KeyHistory, manifest: &Digest) -> Result<Self, ProvenanceError> {
        let (said, envelope) = Self::read(text, manifest)?;
        let (found, expected) = (said.by(), keys.publisher());
        if found != expected {
            return Err(ProvenanceError::Publisher { found, expected });
        }
        let version = said.key_document();
        keys.check(&envelope, STATEMENT_PAYLOAD_TYPE, version)
            .map_err(|source| ProvenanceError::Signature { publisher: found, version, source })?;
        Ok(said)
    }

    /// Returns the attestor.
    pub const fn by(&self) -> PublisherId {
        match self {
            Self::Attestation(it) => it.publisher,
            Self::Mirror(it) => it.publisher,
        }
    }

    /// Returns the version of the key document that the signing keys belong to.
    pub const fn key_document(&self) -> u64 {
        match self {
            Self::Attestation(it) => it.key_document,
            Self::Mirror(it) => it.key_document,
        }
    }

    /// Returns the time of signing, in seconds since 1970.
    pub const fn issued(&self) -> u64 {
        match self {
            Self::Attestation(it) => it.issued,
            Self::Mirror(it) => it.issued,
        }
    }

    /// Returns the kind.
    pub const fn kind(&self) -> AttestationKind {
        match self {
            Self::Attestation(it) => it.kind,
            Self::Mirror(_) => AttestationKind::Mirror,
        }
    }

    /// Returns the result.
    pub const fn result(&self) -> AttestationResult {
        match self {
            Self::Attestation(it) => it.result,
            Self::Mirror(_) => AttestationResult::Pass,
        }
    }
}

/// The statement of an attestor that a model's files are those of a repository at a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// The attestor.
    pub publisher: PublisherId,
    /// Version of the key document that the signing keys belong to.
    pub key_document: u64,
    /// Time of signing, in seconds since 1970-01-01T00:00:00Z.
    pub issued: u64,
    /// The endpoint's URL, as in `https://huggingface.co`.
    pub endpoint: String,
    /// The repository's name, as in `org/name`.
    pub repository: String,
    /// The commit's id at the endpoint.
    pub commit: String,
}

impl Mirror {
    /// Returns the bytes of the statement about `manifest`, to be signed.
    pub fn to_payload(&self, manifest: &Digest) -> Vec<u8> {
        let predicate = serde_json::to_value(self).expect("the predicate has only text keys");
        write_statement(
            &format!("{}/{}", self.endpoint, self.repository),
            manifest,
            MIRROR_PREDICATE_TYPE,
            predicate,
        )
    }

    /// Parses the statement about `manifest`. Verifies no signature.
    ///
    /// # Errors
    /// If `payload` is not an in-toto statement of this type about this manifest.
    pub fn from_payload(payload: &[u8], manifest: &Digest) -> Result<Self, ProvenanceError> {
        let predicate = read_statement(payload, manifest, MIRROR_PREDICATE_TYPE)?;
        serde_json::from_value(predicate).map_err(|error| JsonError::Invalid(error).into())
    }

    /// Verifies that the envelope `text` is about `manifest` and signed by `keys`.
    ///
    /// # Errors
    /// If either does not hold.
    pub fn verify(text: &str, keys: &KeyHistory, manifest: &Digest) -> Result<Self, ProvenanceError> {
        let envelope = Envelope::from_bytes(text.as_bytes(), KEY_ENVELOPE_BYTES_MAX)?;
        let mirror = Self::from_payload(&envelope.payload, manifest)?;
        let publisher = keys.publisher();
        if mirror.publisher != publisher {
            return Err(ProvenanceError::Publisher { found: mirror.publisher, expected: publisher });
        }
        let version = mirror.key_document;
        keys.check(&envelope, STATEMENT_PAYLOAD_TYPE, version)
            .map_err(|source| ProvenanceError::Signature { publisher, version, source })?;
        Ok(mirror)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::envelope::PublicKey;
    use crate::key::{KeyDocument, publisher_id};

    #[test]
    fn it_is_about_one_manifest_and_by_one_publisher() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let document = KeyDocument::first(PublicKey::of(&key));
        let publisher = publisher_id(&document.to_payload());
        let keys = KeyHistory::verify(publisher, &[document.sign(&key).to_json()]).unwrap();
        let mirror = Mirror {
            publisher,
            key_document: 1,
            issued: 1_700_000_000,
            endpoint: "https://hub.example".to_owned(),
            repository: "org/name".to_owned(),
            commit: "a".repeat(40),
        };
        let manifest = Digest::of(b"manifest");
        let payload = mirror.to_payload(&manifest);
        let sign =
            |key: &SigningKey| Envelope::sign(STATEMENT_PAYLOAD_TYPE, payload.clone(), &[key]).to_json();
        assert_eq!(Mirror::verify(&sign(&key), &keys, &manifest).unwrap(), mirror);
        assert!(matches!(Said::verify(&sign(&key), &keys, &manifest), Ok(Said::Mirror(it)) if it == mirror));
        assert!(Mirror::verify(&sign(&key), &keys, &Digest::of(b"another")).is_err());
        assert!(Mirror::verify(&sign(&SigningKey::from_bytes(&[2; 32])), &keys, &manifest).is_err());
    }

    #[test]
    fn an_attestation_is_about_one_manifest_and_by_the_attestor_it_names() {
        let keys = |seed: u8| {
            let key = SigningKey::from_bytes(&[seed; 32]);
            let document = KeyDocument::first(PublicKey::of(&key));
            let publisher = publisher_id(&document.to_payload());
            (KeyHistory::verify(publisher, &[document.sign(&key).to_json()]).unwrap(), key)
        };
        let ((mine, key), (theirs, other)) = (keys(1), keys(2));
        let attestation = Attestation {
            publisher: mine.publisher(),
            key_document: 1,
            issued: 1_700_000_000,
            kind: AttestationKind::Scan,
            result: AttestationResult::NotDone,
            tool: Some("scanner 1.2".parse().unwrap()),
            note: None,
        };
        let manifest = Digest::of(b"manifest");
        let payload = attestation.to_payload(&manifest);
        let sign = |key: &SigningKey, kind: &str| Envelope::sign(kind, payload.clone(), &[key]).to_json();
        let good = sign(&key, STATEMENT_PAYLOAD_TYPE);
        let said = Said::verify(&good, &mine, &manifest).unwrap();
        assert_eq!((said.by(), said.kind()), (mine.publisher(), AttestationKind::Scan));
        assert_eq!(said, Said::Attestation(attestation));
        assert!(matches!(Said::verify(&good, &theirs, &manifest), Err(ProvenanceError::Publisher { .. })));
        assert!(matches!(
            Said::verify(&good, &mine, &Digest::of(b"another")),
            Err(ProvenanceError::Subject { .. })
        ));
        for forged in [sign(&other, STATEMENT_PAYLOAD_TYPE), sign(&key, "text/plain")] {
            assert!(matches!(
                Said::verify(&forged, &mine, &manifest),
                Err(ProvenanceError::Signature { .. })
            ));
        }
        assert!(Mirror::verify(&good, &mine, &manifest).is_err(), "one kind is not read as another");
    }

    #[test]
    fn words_are_read_back_and_no_others() {
        for kind in AttestationKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        for result in AttestationResult::ALL {
            assert_eq!(result.to_string().parse(), Ok(result));
        }
        let error = "Scan".parse::<AttestationKind>().unwrap_err();
        assert_eq!(error.to_string(), "\"Scan\" is not one of scan, mirror, licence, review");
    }
}
