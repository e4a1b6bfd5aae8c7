//! [`Declarations`]: what a publisher says beside its tags, and the result of announcing it.

use reg_proto::name::PublisherId;
use serde::{Deserialize, Serialize};

/// What a publisher says beside its tags, as DSSE envelopes that are to be announced to the network.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Declarations {
    pub key_documents: Vec<String>,
    #[serde(default)]
    pub revocations: Vec<String>,
    #[serde(default)]
    pub delegations: Vec<String>,
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
