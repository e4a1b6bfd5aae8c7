//! [`Mirror`]: "these files are the ones that this repository had at this commit", as an in-toto statement about a manifest.
//!
//! It grants nothing by itself: it says where a model comes from, and who says so.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::envelope::Envelope;
use crate::json::JsonError;
use crate::key::KeyHistory;
use crate::limits::KEY_ENVELOPE_BYTES_MAX;
use crate::name::PublisherId;
use crate::provenance::{ProvenanceError, STATEMENT_PAYLOAD_TYPE, read_statement, write_statement};

/// Artifact type of an attestation in its DSSE envelope.
pub const ATTESTATION_ARTIFACT_TYPE: &str = "application/vnd.reg.attestation.v1+json";
const PREDICATE_TYPE: &str = "urn:reg:attestation:mirror:v1";

/// Where somebody says the files of a model come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// Who says so.
    pub publisher: PublisherId,
    /// Version of the key document whose threshold has signed.
    pub key_document: u64,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub issued: u64,
    /// As in `https://huggingface.co`.
    pub endpoint: String,
    /// As in `org/name`.
    pub repository: String,
    /// The commit, as the endpoint names it.
    pub commit: String,
}

impl Mirror {
    /// Returns the statement about `manifest` that is to be signed.
    pub fn to_payload(&self, manifest: &Digest) -> Vec<u8> {
        let predicate = serde_json::to_value(self).expect("the predicate has only text keys");
        write_statement(
            &format!("{}/{}", self.endpoint, self.repository),
            manifest,
            PREDICATE_TYPE,
            predicate,
        )
    }

    /// Reads the statement about `manifest`; no signature is checked.
    ///
    /// # Errors
    /// Not an in-toto statement of this kind about this manifest.
    pub fn from_payload(payload: &[u8], manifest: &Digest) -> Result<Self, ProvenanceError> {
        let predicate = read_statement(payload, manifest, PREDICATE_TYPE)?;
        serde_json::from_value(predicate).map_err(|error| JsonError::Invalid(error).into())
    }

    /// Verifies the envelope `text`: signed by `keys`, about `manifest`.
    ///
    /// # Errors
    /// Whatever of this does not hold.
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
        assert!(Mirror::verify(&sign(&key), &keys, &Digest::of(b"another")).is_err());
        assert!(Mirror::verify(&sign(&SigningKey::from_bytes(&[2; 32])), &keys, &manifest).is_err());
    }
}
