//! What a publisher says beside its tags, and what came of passing it on.

use reg_proto::name::PublisherId;
use serde::{Deserialize, Serialize};

/// What a publisher has said beside its tags, on its way to the network.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Declarations {
    pub key_documents: Vec<String>,
    #[serde(default)]
    pub revocations: Vec<String>,
    #[serde(default)]
    pub delegations: Vec<String>,
}

/// What came of telling.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeclarationsTaken {
    pub publisher: PublisherId,
    /// Newest key document.
    pub version: u64,
    /// What the publisher has revoked, all in all.
    pub revocations: usize,
    pub delegations: usize,
    /// Tags that were announced anew, with what is new.
    pub announced: usize,
}
