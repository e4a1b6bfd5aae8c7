//! The documents that change a publisher's keys: a first key document, a rotation, a revocation, a delegation. Each is
//! returned unsigned, in a signing file.

use reg_api::clock;
use reg_proto::delegation::{DELEGATION_TYPE, Delegation};
use reg_proto::digest::Digest;
use reg_proto::envelope::PublicKey;
use reg_proto::glob::ModelGlob;
use reg_proto::key::{KEY_DOCUMENT_TYPE, KeyDocument, KeyHistory, publisher_id};
use reg_proto::name::PublisherId;
use reg_proto::revocation::{REVOCATION_TYPE, Reason, Revocation, Revoked};

use crate::signing_file::SigningFile;

/// The keys that will speak for a publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    pub keys: Vec<PublicKey>,
    pub threshold: usize,
    /// The digest of the next key set. Once it is set, a thief of the keys cannot rotate to other keys.
    pub next: Option<Digest>,
    /// The number from which tag records of the new keys count.
    pub floor: Option<u64>,
}

/// Returns the first key document of a publisher with these keys, to be signed.
pub fn found(key_set: KeySet) -> SigningFile {
    let KeySet { keys, threshold, next, floor } = key_set;
    let document = KeyDocument { version: 1, keys, threshold, previous: None, next, floor };
    let payload = document.to_payload();
    let mut file = SigningFile::new(publisher_id(&payload), Vec::new());
    file.add(KEY_DOCUMENT_TYPE, String::from_utf8_lossy(&payload).into_owned());
    file
}

/// Returns the next key document of a publisher, to be signed by the old keys and the new ones.
pub fn rotate(history: &KeyHistory, key_set: KeySet) -> SigningFile {
    let KeySet { keys, threshold, next, floor } = key_set;
    let previous = Some(history.head());
    let document = KeyDocument { version: history.version() + 1, keys, threshold, previous, next, floor };
    let mut file = SigningFile::new(history.publisher(), history.envelopes().to_vec());
    file.add(KEY_DOCUMENT_TYPE, String::from_utf8_lossy(&document.to_payload()).into_owned());
    file
}

/// Returns a revocation, to be signed.
pub fn revoke(history: &KeyHistory, subject: Revoked, reason: Reason) -> SigningFile {
    let revocation = Revocation {
        publisher: history.publisher(),
        subject,
        key_document: history.version(),
        issued: clock::now(),
        reason,
    };
    let mut file = SigningFile::new(history.publisher(), history.envelopes().to_vec());
    file.add(REVOCATION_TYPE, String::from_utf8_lossy(&revocation.to_payload()).into_owned());
    file
}

/// Returns a delegation that ends after `seconds`, to be signed.
pub fn delegate(history: &KeyHistory, models: ModelGlob, to: PublisherId, seconds: u64) -> SigningFile {
    let issued = clock::now();
    let delegation = Delegation {
        publisher: history.publisher(),
        models,
        to,
        key_document: history.version(),
        issued,
        expires: issued.saturating_add(seconds),
    };
    let mut file = SigningFile::new(history.publisher(), history.envelopes().to_vec());
    file.add(DELEGATION_TYPE, String::from_utf8_lossy(&delegation.to_payload()).into_owned());
    file
}
