//! The JSON of a Sigstore bundle (v0.3) with a statement of OpenSSF Model Signing.
//!
//! Other tools write more fields than a check needs: fields that are not listed here are ignored. [`read_exactly`] is for
//! bundles of this project, which have the listed fields and no others.

use std::collections::BTreeMap;

use reg_proto::bounded::Bounded;
use reg_proto::json::{self, JsonError};
use reg_proto::limits::{BUNDLE_BYTES_MAX, FILES_MAX};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
pub const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";
/// The one hash that a list of files is made with.
pub const ALGORITHM: &str = "sha256";
/// The one way in which files are hashed: each by itself.
pub const METHOD: &str = "files";
/// Certificates between a leaf and an authority, and the authority: chains in use have three.
const CHAIN_MAX: usize = 8;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BundleJson {
    pub media_type: String,
    pub verification_material: Material,
    pub dsse_envelope: EnvelopeJson,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Material {
    #[serde(rename = "x509CertificateChain", skip_serializing_if = "Option::is_none")]
    pub chain: Option<Chain>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<Value>,
    /// Entries of a transparency log; a bundle of this project has an empty list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tlog_entries: Option<Value>,
}

#[derive(Serialize, Deserialize)]
pub struct Chain {
    pub certificates: Bounded<CertificateJson, CHAIN_MAX>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateJson {
    pub raw_bytes: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvelopeJson {
    pub payload: String,
    pub payload_type: String,
    pub signatures: Vec<SignatureJson>,
}

#[derive(Serialize, Deserialize)]
pub struct SignatureJson {
    pub sig: String,
    /// A text in a bundle of this project; not read from others' bundles.
    #[serde(default)]
    pub keyid: Value,
}

/// What is signed. `P` is a [`Predicate`], or JSON that has to equal one.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement<P> {
    #[serde(rename = "_type")]
    pub kind: String,
    pub subject: Bounded<Subject, 1>,
    pub predicate_type: String,
    pub predicate: P,
}

#[derive(Serialize, Deserialize)]
pub struct Subject {
    /// A text in a bundle of this project; not read from others' bundles.
    #[serde(default)]
    pub name: Value,
    pub digest: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
pub struct Predicate {
    pub serialization: Serialization,
    pub resources: Bounded<Resource, FILES_MAX>,
}

#[derive(Serialize, Deserialize)]
pub struct Serialization {
    pub method: String,
    pub hash_type: String,
    /// Written, and not read: a directory is checked with every file and without links.
    #[serde(skip_deserializing)]
    pub allow_symlinks: bool,
    /// Written, and not read, as above.
    #[serde(skip_deserializing)]
    pub ignore_paths: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub struct Resource {
    pub name: String,
    pub algorithm: String,
    pub digest: String,
}

/// Reads JSON that is a `T`, and has no field that a `T` does not have.
///
/// # Errors
/// Another form, a field that is not listed, or more bytes than a bundle may have.
pub fn read_exactly<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    let found: Value = json::from_slice(bytes, BUNDLE_BYTES_MAX)?;
    let read = T::deserialize(&found).map_err(JsonError::Invalid)?;
    if serde_json::to_value(&read).map_err(JsonError::Invalid)? != found {
        return Err(JsonError::Invalid(serde_json::Error::custom("a field is not expected")));
    }
    Ok(read)
}
