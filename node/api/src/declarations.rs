//! [`Declarations`]: what a publisher says beside its tags, and the result of announcing it.

use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, PublisherId, Tag};
use serde::{Deserialize, Serialize};

/// What a publisher says beside its tags, as DSSE envelopes that are to be announced to the network.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Declarations {
    pub key_documents: Vec<String>,
    #[serde(default)]
    pub revocations: Vec<String>,
    #[serde(default)]
    pub delegations: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tombstones: Vec<String>,
}

/// Asks which records of a tag a tombstone must name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unlist {
    /// The key documents of the publisher.
    pub key_documents: Vec<String>,
    pub model: ModelName,
    pub tag: Tag,
}

/// What a tombstone of a tag has to say.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unlistable {
    pub publisher: PublisherId,
    pub model: ModelName,
    pub tag: Tag,
    /// The highest number of the tag that is known.
    pub seq: u64,
    /// Whether a tombstone of this number or a higher one counts already.
    pub is_unlisted: bool,
}

/// The result of announcing a publisher's declarations.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeclarationsTaken {
    pub publisher: PublisherId,
    /// The version of the newest key document.
    pub version: u64,
    /// The number of all revocations of the publisher, old and new.
    pub revocations: usize,
    pub delegations: usize,
    /// The number of tags that were announced again with the new declarations.
    pub announced: usize,
}

/// The statements of a publisher that stand now, which the next key document may take over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Inheritable {
    pub publisher: PublisherId,
    /// The number of peers that were asked for statements that are not in the store.
    pub peers: usize,
    pub statements: Vec<Statement>,
}

/// One statement that counts under the publisher's present keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The digest of the payload, which an inheritance list names.
    pub payload: Digest,
    pub kind: StatementKind,
    /// What it is about, for people: `tiny:latest number 3`, a manifest's digest, a key.
    pub about: String,
    /// The version of the key document that signed it.
    pub key_document: u64,
    /// Seconds since 1970.
    pub issued: u64,
    /// The manifest that it names, where it names one.
    pub manifest: Option<Digest>,
    /// Whether the asked node has it in its store. What only peers have may be a thief's, if a key was stolen.
    pub stored: bool,
}

/// The kind of a signed statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatementKind {
    Tag,
    Provenance,
    Attestation,
    /// What a catalogue shows of a model.
    Card,
    Delegation,
    Profile,
    /// A tag that is no longer listed in catalogues.
    Tombstone,
    Revocation,
    /// A statement that the newest key document takes over, and of which only the digest is known.
    Inherited,
}
