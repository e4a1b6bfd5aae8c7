//! [`Prepared`] and [`Signed`]: a model before its publisher has signed it, and the signatures.

use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::path::SafePath;
use serde::{Deserialize, Serialize};

use crate::ingest::LeftOutList;

/// The documents that a publisher must sign before its model can be published. No peer sees them yet.
///
/// It has 15 fields, because a signer checks each document against what the model is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Prepared {
    /// The name of the preparation at the node that holds it, until it is committed or expires.
    pub id: u64,
    pub publisher: PublisherId,
    pub model: ModelName,
    pub tag: Tag,
    pub manifest: Digest,
    pub files: usize,
    pub bytes: u64,
    /// The in-toto statement, exactly as it must be signed.
    pub provenance: String,
    /// The tag record, exactly as it must be signed.
    pub tag_record: String,
    /// The files in the order of their names, for the OpenSSF bundle.
    pub resources: Vec<(SafePath, Digest)>,
    /// The time of the statements in seconds since 1970.
    pub issued: u64,
    /// The in-toto statement of where the files come from, exactly as it must be signed.
    #[serde(default)]
    pub attestation: Option<String>,
    /// The card, exactly as it must be signed. `None` where the node is of a version before cards.
    #[serde(default)]
    pub card: Option<String>,
    /// What the node left out of the directory.
    #[serde(default, skip_serializing_if = "LeftOutList::is_empty")]
    pub left_out: LeftOutList,
    /// Whether large files were to be linked into the store and had to be copied.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub copied: bool,
}

/// The signatures that the holder of the key adds to a [`Prepared`] model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Signed {
    /// The DSSE envelope of the provenance statement.
    pub provenance: String,
    /// The DSSE envelope of the tag record.
    pub tag_record: String,
    /// The DSSE envelopes of the publisher's key documents, as in [`PublishRequest::key_documents`].
    ///
    /// [`PublishRequest::key_documents`]: crate::request::PublishRequest::key_documents
    pub key_documents: Vec<String>,
    /// The OpenSSF Model Signing bundle (Sigstore bundle JSON).
    pub bundle: String,
    /// The DSSE envelope of the attestation, where there is one.
    #[serde(default)]
    pub attestation: Option<String>,
    /// The DSSE envelope of the card. `None` where the signer is of a version before cards.
    #[serde(default)]
    pub card: Option<String>,
}
