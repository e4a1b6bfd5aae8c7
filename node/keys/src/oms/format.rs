//! The JSON of a Sigstore bundle (v0.3) with a statement of OpenSSF Model Signing.
//!
//! Bundles of this project have the fields of the types here and no others: a peer can send one, so reading stops at the
//! first other field. Other tools write more fields than a check needs: the types `Foreign…` pass over fields that are not
//! listed. Neither keeps JSON that it has no type for.

use std::collections::BTreeMap;

use reg_proto::bounded::Bounded;
use reg_proto::limits::FILES_MAX;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
pub const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";
/// The one hash that a list of files is made with.
pub const ALGORITHM: &str = "sha256";
/// The one way in which files are hashed: each by itself.
pub const METHOD: &str = "files";
/// Certificates between a leaf and an authority, and the authority: chains in use have three.
const CHAIN_MAX: usize = 8;

/// A bundle with the material `M` to check it by, and signatures of the form `S`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BundleJson<M, S> {
    pub media_type: String,
    pub verification_material: M,
    pub dsse_envelope: EnvelopeJson<S>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvelopeJson<S> {
    pub payload: String,
    pub payload_type: String,
    pub signatures: Vec<S>,
}

/// What is signed: a [`Subject`] and a [`Predicate`], or their foreign forms.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement<S, P> {
    #[serde(rename = "_type")]
    pub kind: String,
    pub subject: Bounded<S, 1>,
    pub predicate_type: String,
    pub predicate: P,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Material {
    #[serde(rename = "x509CertificateChain")]
    pub chain: Chain,
    /// A bundle of this project is in no transparency log.
    pub tlog_entries: [(); 0],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    pub certificates: Bounded<CertificateJson, 2>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateJson {
    pub raw_bytes: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureJson {
    pub sig: String,
    pub keyid: String,
}

#[derive(Serialize, Deserialize)]
pub struct Subject {
    pub name: String,
    pub digest: BTreeMap<String, String>,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predicate {
    pub serialization: Serialization,
    pub resources: Bounded<Resource, FILES_MAX>,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Serialization {
    pub method: String,
    pub hash_type: String,
    pub allow_symlinks: bool,
    pub ignore_paths: Vec<String>,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    pub name: String,
    pub algorithm: String,
    pub digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForeignMaterial {
    #[serde(rename = "x509CertificateChain")]
    pub chain: Option<ForeignChain>,
    pub certificate: Option<ForeignCertificate>,
    pub public_key: Option<IgnoredAny>,
}

#[derive(Deserialize)]
pub struct ForeignChain {
    pub certificates: Bounded<ForeignCertificate, CHAIN_MAX>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForeignCertificate {
    pub raw_bytes: String,
}

#[derive(Deserialize)]
pub struct ForeignSignature {
    pub sig: String,
}

#[derive(Deserialize)]
pub struct ForeignSubject {
    pub digest: BTreeMap<String, String>,
}

#[derive(Deserialize)]
pub struct ForeignPredicate {
    pub serialization: ForeignSerialization,
    pub resources: Bounded<ForeignResource, FILES_MAX>,
}

/// Whether links are followed and which names are ignored is not read: a directory is checked with every file and
/// without links.
#[derive(Deserialize)]
pub struct ForeignSerialization {
    pub method: String,
    pub hash_type: String,
}

#[derive(Deserialize)]
pub struct ForeignResource {
    pub name: String,
    pub algorithm: String,
    pub digest: String,
}
