//! [`Referrer`]: an OCI manifest that carries a document about another manifest (image-spec v1.1, "subject").
//!
//! A model's provenance and its OpenSSF bundle are referrers, so every OCI registry can store them with the model.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::json::{self, JsonError};
use crate::limits::{BUNDLE_BYTES_MAX, MANIFEST_BYTES_MAX};
use crate::manifest::MANIFEST_TYPE;

/// Artifact type and layer type of a provenance statement in its DSSE envelope.
pub const PROVENANCE_ARTIFACT_TYPE: &str = "application/vnd.in-toto+json";
/// Media type of a DSSE envelope.
pub const ENVELOPE_MEDIA_TYPE: &str = "application/vnd.dsse.envelope.v1+json";
/// Artifact type and layer type of an OpenSSF Model Signing bundle, which is a Sigstore bundle.
pub const BUNDLE_ARTIFACT_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// Artifact type and layer type of a publisher's key documents: a JSON array of their DSSE envelopes, the first one first.
///
/// They are stored with a model, so that a client needs only the registry of the model to verify it.
pub const KEYS_ARTIFACT_TYPE: &str = "application/vnd.reg.publisher.keys.v1+json";

/// Media type of OCI's empty descriptor, which takes the place of a missing config.
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// The two bytes of OCI's empty blob.
pub const EMPTY_BLOB: &[u8] = b"{}";

/// A manifest with a subject and one layer, which is the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    pub artifact_type: String,
    pub subject: Descriptor,
    /// The document about the subject.
    pub document: Descriptor,
}

/// Why some bytes are not a referrer with one document.
#[derive(Debug, Error)]
pub enum ReferrerError {
    #[error("referrer cannot be parsed")]
    Json(#[from] JsonError),
    #[error("referrer has no subject")]
    NoSubject,
    #[error("referrer has {count} layers, not one")]
    Layers { count: usize },
    #[error("referrer's document has {size} bytes, at most {BUNDLE_BYTES_MAX} are allowed")]
    TooLarge { size: u64 },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReferrerJson {
    schema_version: u64,
    media_type: String,
    #[serde(default)]
    artifact_type: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
    subject: Option<Descriptor>,
}

impl Referrer {
    /// Parses a referrer.
    ///
    /// # Errors
    /// If `bytes` are not an OCI manifest with a subject and one layer of at most [`BUNDLE_BYTES_MAX`] bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ReferrerError> {
        let json: ReferrerJson = json::from_slice(bytes, MANIFEST_BYTES_MAX)?;
        let subject = json.subject.ok_or(ReferrerError::NoSubject)?;
        let [document] = <[Descriptor; 1]>::try_from(json.layers)
            .map_err(|layers| ReferrerError::Layers { count: layers.len() })?;
        if document.size > BUNDLE_BYTES_MAX as u64 {
            return Err(ReferrerError::TooLarge { size: document.size });
        }
        Ok(Self { artifact_type: json.artifact_type, subject, document })
    }

    /// Returns the descriptor that lists the referrer; `digest` is the referrer's own digest.
    pub fn descriptor(&self, digest: Digest) -> Descriptor {
        let artifact_type = Some(self.artifact_type.clone());
        Descriptor { artifact_type, ..Descriptor::new(MANIFEST_TYPE, digest, self.to_bytes().len() as u64) }
    }

    /// Returns the referrer's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::to_vec(&ReferrerJson {
            schema_version: 2,
            media_type: MANIFEST_TYPE.to_owned(),
            artifact_type: self.artifact_type.clone(),
            config: Descriptor::of(EMPTY_TYPE, EMPTY_BLOB),
            layers: vec![self.document.clone()],
            subject: Some(self.subject.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes() {
        let referrer = Referrer {
            artifact_type: PROVENANCE_ARTIFACT_TYPE.to_owned(),
            subject: Descriptor::of(MANIFEST_TYPE, b"manifest"),
            document: Descriptor::of(ENVELOPE_MEDIA_TYPE, b"envelope"),
        };
        assert_eq!(Referrer::from_bytes(&referrer.to_bytes()).unwrap(), referrer);
        let without = String::from_utf8(referrer.to_bytes()).unwrap().replace("subject", "object");
        assert!(matches!(Referrer::from_bytes(without.as_bytes()), Err(ReferrerError::NoSubject)));
    }
}
