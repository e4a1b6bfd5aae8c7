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

pub(super) const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
pub(super) const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";
/// The one hash that a list of files is made with.
pub(super) const ALGORITHM: &str = "sha256";
/// The one way in which files are hashed: each by itself.
pub(super) const METHOD: &str = "files";
/// Certificates between a leaf and an authority, and the authority: chains in use have three.
const CHAIN_MAX: usize = 8;

/// A bundle with the material `M` to check it by, and signatures of the form `S`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BundleJson<M, S> {
    pub(super) media_type: String,
    pub(super) verification_material: M,
    pub(super) dsse_envelope: EnvelopeJson<S>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct EnvelopeJson<S> {
    pub(super) payload: String,
    pub(super) payload_type: String,
    pub(super) signatures: Vec<S>,
}

/// What is signed: a [`Subject`] and a [`Predicate`], or their foreign forms.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Statement<S, P> {
    #[serde(rename = "_type")]
    pub(super) kind: String,
    pub(super) subject: Bounded<S, 1>,
    pub(super) predicate_type: String,
    pub(super) predicate: P,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Material {
    #[serde(rename = "x509CertificateChain")]
    pub(super) chain: Chain,
    /// A bundle of this project is in no transparency log.
    pub(super) tlog_entries: [(); 0],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chain {
    pub(super) certificates: Bounded<CertificateJson, 2>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CertificateJson {
    pub(super) raw_bytes: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignatureJson {
    pub(super) sig: String,
    pub(super) keyid: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) digest: BTreeMap<String, String>,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Predicate {
    pub(super) serialization: Serialization,
    pub(super) resources: Bounded<Resource, FILES_MAX>,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Serialization {
    pub(super) method: String,
    pub(super) hash_type: String,
    pub(super) allow_symlinks: bool,
    pub(super) ignore_paths: Vec<String>,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Resource {
    pub(super) name: String,
    pub(super) algorithm: String,
    pub(super) digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ForeignMaterial {
    #[serde(rename = "x509CertificateChain")]
    pub(super) chain: Option<ForeignChain>,
    pub(super) certificate: Option<ForeignCertificate>,
    pub(super) public_key: Option<IgnoredAny>,
}

#[derive(Deserialize)]
pub(super) struct ForeignChain {
    pub(super) certificates: Bounded<ForeignCertificate, CHAIN_MAX>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ForeignCertificate {
    pub(super) raw_bytes: String,
}

#[derive(Deserialize)]
pub(super) struct ForeignSignature {
    pub(super) sig: String,
}

#[derive(Deserialize)]
pub(super) struct ForeignSubject {
    pub(super) digest: BTreeMap<String, String>,
}

#[derive(Deserialize)]
pub(super) struct ForeignPredicate {
    pub(super) serialization: ForeignSerialization,
    pub(super) resources: Bounded<ForeignResource, FILES_MAX>,
}

/// Whether links are followed and which names are ignored is not read: a directory is checked with every file and
/// without links.
#[derive(Deserialize)]
pub(super) struct ForeignSerialization {
    pub(super) method: String,
    pub(super) hash_type: String,
}

#[derive(Deserialize)]
pub(super) struct ForeignResource {
    pub(super) name: String,
    pub(super) algorithm: String,
    pub(super) digest: String,
}
