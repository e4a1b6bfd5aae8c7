//! [`Announcement`]: "this tag now means that, and I hold it", or "this publisher has said that", as it is gossiped and
//! handed on.

use serde::{Deserialize, Serialize};

use crate::bounded::Bounded;
use crate::json::{self, JsonError};
use crate::limits::{ADDRESSES_MAX, ANNOUNCEMENT_BYTES_MAX, KEY_DOCUMENTS_MAX, REVOCATIONS_GOSSIPED_MAX};
use crate::peer::{Address, PeerId};

/// A peer that says it holds something, and where it may be reached. A hint: nobody has signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub peer: PeerId,
    #[serde(default)]
    pub addresses: Bounded<Address, ADDRESSES_MAX>,
}

/// A signed tag record, or what a publisher has said beside its tags, on its way through the network.
///
/// `tag` and `key_documents` are envelopes, byte for byte as they were signed, so whoever passes the announcement on can
/// check it and cannot change it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// `None` where the keys and what they revoke are all the news.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The publisher's key documents from the first, which the publisher's id names, to the newest.
    pub key_documents: Bounded<String, KEY_DOCUMENTS_MAX>,
    pub holder: Holder,
    /// The envelope of another record that contradicts `tag`: then the two are a proof, and not news.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contradicted_by: Option<String>,
    /// What the publisher has revoked lately.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub revocations: Bounded<String, REVOCATIONS_GOSSIPED_MAX>,
}

fn is_empty(list: &[String]) -> bool {
    list.is_empty()
}

impl Announcement {
    /// Reads a gossiped message.
    ///
    /// # Errors
    /// More than [`ANNOUNCEMENT_BYTES_MAX`] bytes, or not an announcement.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, JsonError> {
        json::from_slice(bytes, ANNOUNCEMENT_BYTES_MAX)
    }

    /// Returns the bytes that are gossiped.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::to_vec(self)
    }
}
