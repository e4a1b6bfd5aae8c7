//! [`Announcement`]: the gossiped message that a tag has a new record, or that a publisher has declared something.
//!
//! Peers pass announcements on unchanged.

use serde::{Deserialize, Serialize};

use crate::bounded::Bounded;
use crate::json::{self, JsonError};
use crate::limits::{ADDRESSES_MAX, ANNOUNCEMENT_BYTES_MAX, KEY_TEXTS_MAX, REVOCATIONS_GOSSIPED_MAX};
use crate::peer::{Address, PeerId};

/// A peer that claims to hold a model, and its addresses. It is a hint, because it carries no signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub peer: PeerId,
    #[serde(default)]
    pub addresses: Bounded<Address, ADDRESSES_MAX>,
}

/// A signed tag record, or a publisher's declarations, with the keys that verify them.
///
/// `tag` and `key_documents` are envelopes, byte for byte as they were signed. So each peer that passes the announcement
/// on can verify it, and cannot change it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The envelope of the tag record; `None` if only keys and revocations are announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The publisher's key documents, from the first to the newest, and then the inheritance list of the newest, unless it
    /// is too long for gossip. The publisher's id is the hash of the first.
    pub key_documents: Bounded<String, KEY_TEXTS_MAX>,
    pub holder: Holder,
    /// The envelope of the card of the record's model. A peer of before ignores it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// The envelope of a record that contradicts `tag`. The two then prove an equivocation, and announce nothing new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contradicted_by: Option<String>,
    /// The publisher's newest revocations, as envelopes.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub revocations: Bounded<String, REVOCATIONS_GOSSIPED_MAX>,
}

fn is_empty(list: &[String]) -> bool {
    list.is_empty()
}

impl Announcement {
    /// Parses a gossiped message. Verifies no signature.
    ///
    /// # Errors
    /// If there are more than [`ANNOUNCEMENT_BYTES_MAX`] bytes, or if they are not an announcement.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, JsonError> {
        json::from_slice(bytes, ANNOUNCEMENT_BYTES_MAX)
    }

    /// Returns the bytes to gossip.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::to_vec(self)
    }
}
