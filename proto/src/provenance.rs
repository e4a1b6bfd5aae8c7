//! [`Provenance`]: the in-toto statement, signed by a publisher, that a manifest is a certain model of that publisher.
//!
//! It is an in-toto Statement v1 (<https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>) in a DSSE
//! envelope. The predicate names the publisher, the model, and the states of each large blob. So one model cannot pass for
//! another, even in a pull by digest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::envelope::{Envelope, EnvelopeError, SignatureError};
use crate::json::{self, JsonError};
use crate::key::KeyHistory;
use crate::limits::PROVENANCE_BYTES_MAX;
use crate::manifest::Manifest;
use crate::name::{ModelName, PublisherId};

/// Payload type of an in-toto statement.
pub const STATEMENT_PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "urn:reg:provenance:v1";

/// The publisher's statement about a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    pub publisher: PublisherId,
    pub model: ModelName,
    /// Version of the key document that the signing keys belong to.
    pub key_document: u64,
    /// Time of signing, in seconds since 1970-01-01T00:00:00Z.
    pub issued: u64,
    /// The digest of the piece states of each blob of more than one piece.
    pub states: BTreeMap<Digest, Digest>,
}

/// Why an envelope is not the provenance of a manifest.
#[derive(Debug, Error)]
pub enum ProvenanceError {
    #[error("provenance is not an envelope")]
    Envelope(#[from] EnvelopeError),
    #[error("provenance cannot be parsed")]
    Json(#[from] JsonError),
    #[error("provenance is of type {found:?}, not an in-toto statement of the expected type")]
    Kind { found: String },
    #[error("provenance is about {found:?}, not about {expected}")]
    Subject { found: Vec<String>, expected: Digest },
    #[error("provenance is by publisher {found}, not by {expected}")]
    Publisher { found: PublisherId, expected: PublisherId },
    #[error("provenance is of model {found}, not of {expected}")]
    Model { found: ModelName, expected: ModelName },
    #[error("provenance is not signed by key document {version} of {publisher}")]
    Signature { publisher: PublisherId, version: u64, source: SignatureError },
    #[error("provenance names no states for blob {blob}")]
    NoStates { blob: Digest },
    #[error("provenance names states for blob {blob}, which is not in the manifest or has one piece only")]
    StrangeStates { blob: Digest },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
    predicate: serde_json::Value,
}

#[derive(Serialize, Deserialize)]
struct Subject {
    #[serde(default)]
    name: String,
    digest: BTreeMap<String, String>,
}

impl Provenance {
    /// Returns the bytes of the statement about `manifest`, to be signed.
    pub fn to_payload(&self, manifest: &Digest) -> Vec<u8> {
        let predicate = serde_json::to_value(self).expect("the predicate has only text keys");
        write_statement(&format!("{}/{}", self.publisher, self.model), manifest, PREDICATE_TYPE, predicate)
    }

    /// Verifies that the envelope `text` is signed by `keys`, names the manifest `digest` as `model`, and names states for
    /// exactly its large blobs.
    ///
    /// # Errors
    /// If any of this does not hold.
    pub fn verify(
        text: &str,
        keys: &KeyHistory,
        model: &ModelName,
        digest: &Digest,
        manifest: &Manifest,
    ) -> Result<Self, ProvenanceError> {
        let envelope = Envelope::from_bytes(text.as_bytes(), PROVENANCE_BYTES_MAX)?;
        let provenance = Self::from_payload(&envelope.payload, digest)?;
        let publisher = keys.publisher();
        if provenance.publisher != publisher {
            return Err(ProvenanceError::Publisher { found: provenance.publisher, expected: publisher });
        }
        let version = provenance.key_document;
        keys.check(&envelope, STATEMENT_PAYLOAD_TYPE, version)
            .map_err(|source| ProvenanceError::Signature { publisher, version, source })?;
        if provenance.model.folded() != model.folded() {
            return Err(ProvenanceError::Model { found: provenance.model, expected: model.clone() });
        }
        provenance.check_states(manifest)?;
        Ok(provenance)
    }

    /// Parses the statement about `manifest`. Verifies no signature.
    ///
    /// # Errors
    /// If `payload` is not an in-toto statement of this type about this manifest.
    pub fn from_payload(payload: &[u8], manifest: &Digest) -> Result<Self, ProvenanceError> {
        let predicate = read_statement(payload, manifest, PREDICATE_TYPE)?;
        serde_json::from_value(predicate).map_err(|error| JsonError::Invalid(error).into())
    }

    fn check_states(&self, manifest: &Manifest) -> Result<(), ProvenanceError> {
        let blobs = manifest.blobs();
        let large = |blob: &Digest| blobs.get(blob).is_some_and(|layout| layout.piece_count() > 1);
        if let Some(blob) = self.states.keys().find(|blob| !large(blob)) {
            return Err(ProvenanceError::StrangeStates { blob: *blob });
        }
        match blobs.keys().find(|blob| large(blob) && !self.states.contains_key(blob)) {
            Some(blob) => Err(ProvenanceError::NoStates { blob: *blob }),
            None => Ok(()),
        }
    }
}

/// Returns an in-toto statement about a manifest, with `name` as the subject's name.
pub(crate) fn write_statement(
    name: &str,
    manifest: &Digest,
    predicate_type: &str,
    predicate: serde_json::Value,
) -> Vec<u8> {
    json::to_vec(&Statement {
        kind: STATEMENT_TYPE.to_owned(),
        subject: vec![Subject {
            name: name.to_owned(),
            digest: BTreeMap::from([("sha256".to_owned(), manifest.hex())]),
        }],
        predicate_type: predicate_type.to_owned(),
        predicate,
    })
}

/// Returns the predicate of an in-toto statement, if it is of the expected type and about the expected manifest.
pub(crate) fn read_statement(
    payload: &[u8],
    manifest: &Digest,
    expected: &str,
) -> Result<serde_json::Value, ProvenanceError> {
    let Statement { kind, subject, predicate_type, predicate } =
        json::from_slice(payload, PROVENANCE_BYTES_MAX)?;
    if kind != STATEMENT_TYPE {
        return Err(ProvenanceError::Kind { found: kind });
    }
    if predicate_type != expected {
        return Err(ProvenanceError::Kind { found: predicate_type });
    }
    let found: Vec<String> =
        subject.iter().take(8).filter_map(|it| it.digest.get("sha256").cloned()).collect();
    if subject.len() != 1 || found != [manifest.hex()] {
        return Err(ProvenanceError::Subject { found, expected: *manifest });
    }
    Ok(predicate)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::descriptor::Descriptor;
    use crate::envelope::PublicKey;
    use crate::key::{KeyDocument, publisher_id};
    use crate::manifest::{MODEL_CONFIG_TYPE, ModelFile, RAW_LAYER_TYPES};
    use crate::piece::{BlobLayout, PIECE_LEN};

    struct World {
        key: SigningKey,
        keys: KeyHistory,
        manifest: Manifest,
        provenance: Provenance,
    }

    fn world(seed: u8) -> World {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let document = KeyDocument::first(PublicKey::of(&key));
        let publisher = publisher_id(&document.to_payload());
        let keys = KeyHistory::verify(publisher, &[document.sign(&key).to_json()]).unwrap();
        let file = |path: &str, size| ModelFile {
            path: path.parse().unwrap(),
            digest: Digest::of(path.as_bytes()),
            layout: BlobLayout::new(size).unwrap(),
            media_type: RAW_LAYER_TYPES[0].to_owned(),
        };
        let files = vec![file("large", PIECE_LEN + 1), file("small", PIECE_LEN)];
        let manifest = Manifest::new(Descriptor::of(MODEL_CONFIG_TYPE, b"{}"), files).unwrap();
        let provenance = Provenance {
            publisher,
            model: "Tiny".parse().unwrap(),
            key_document: 1,
            issued: 1_700_000_000,
            states: BTreeMap::from([(Digest::of(b"large"), Digest::of(b"states"))]),
        };
        World { key, keys, manifest, provenance }
    }

    impl World {
        fn check(&self, provenance: &Provenance, model: &str) -> Result<Provenance, ProvenanceError> {
            let digest = Digest::of(&self.manifest.to_bytes());
            let payload = provenance.to_payload(&digest);
            let envelope = Envelope::sign(STATEMENT_PAYLOAD_TYPE, payload, &[&self.key]).to_json();
            Provenance::verify(&envelope, &self.keys, &model.parse().unwrap(), &digest, &self.manifest)
        }
    }

    #[test]
    fn one_model_cannot_be_passed_off_as_another() {
        let (mine, other) = (world(1), world(2));
        assert!(mine.check(&mine.provenance, "Tiny").is_ok());
        assert!(mine.check(&mine.provenance, "tiny").is_ok());
        assert!(matches!(mine.check(&mine.provenance, "Other"), Err(ProvenanceError::Model { .. })));
        assert!(matches!(mine.check(&other.provenance, "Tiny"), Err(ProvenanceError::Publisher { .. })));
        let forged = World { key: other.key, ..world(1) };
        assert!(matches!(forged.check(&mine.provenance, "Tiny"), Err(ProvenanceError::Signature { .. })));
        let payload = mine.provenance.to_payload(&Digest::of(b"another manifest"));
        let digest = Digest::of(&mine.manifest.to_bytes());
        assert!(matches!(Provenance::from_payload(&payload, &digest), Err(ProvenanceError::Subject { .. })));
    }

    #[test]
    fn states_are_named_for_just_the_large_blobs() {
        let world = world(1);
        let with = |states: &[&[u8]]| {
            let states = states.iter().map(|blob| (Digest::of(blob), Digest::of(b"s"))).collect();
            world.check(&Provenance { states, ..world.provenance.clone() }, "Tiny")
        };
        assert!(with(&[b"large"]).is_ok());
        assert!(matches!(with(&[]), Err(ProvenanceError::NoStates { .. })));
        assert!(matches!(with(&[b"large", b"small"]), Err(ProvenanceError::StrangeStates { .. })));
        assert!(matches!(with(&[b"large", b"strange"]), Err(ProvenanceError::StrangeStates { .. })));
    }
}
