//! The documents that a publisher signs beside its models: a first key document, a rotation, a revocation, a delegation, a
//! profile, a tombstone. Each is returned unsigned, in a signing file.

use reg_api::clock;
use reg_proto::catalogue::{TOMBSTONE_TYPE, Tombstone};
use reg_proto::content::label::Label;
use reg_proto::delegation::{DELEGATION_TYPE, Delegation};
use reg_proto::digest::Digest;
use reg_proto::domain::Domain;
use reg_proto::envelope::PublicKey;
use reg_proto::glob::ModelGlob;
use reg_proto::key::{Inheritance, KeyDocument, KeyHistory, Next, publisher_id};
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::profile::{Homepage, PROFILE_TYPE, Profile};
use reg_proto::revocation::{REVOCATION_TYPE, Reason, Revocation, Revoked};

use crate::signing_file::SigningFile;

/// The keys that will speak for a publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    pub keys: Vec<PublicKey>,
    pub threshold: usize,
    /// The commitment to the keys that come next. With it, a thief of the keys cannot rotate to other keys.
    pub next: Next,
    /// The number from which tag records of the new keys count.
    pub floor: Option<u64>,
}

/// Returns the first key document of a publisher with these keys, to be signed.
pub fn found(key_set: KeySet) -> SigningFile {
    let KeySet { keys, threshold, next, floor } = key_set;
    let document = KeyDocument { version: 1, keys, threshold, previous: None, next, floor, inherits: None };
    let payload = document.to_payload();
    let mut file = SigningFile::new(publisher_id(&payload), Vec::new());
    file.add(document.payload_type(), String::from_utf8_lossy(&payload).into_owned());
    file
}

/// Returns the next key document of a publisher, to be signed by its keys and, where the last document commits to no
/// single next keys, by the old ones. It takes over the statements on `list`, if it commits to single next keys itself.
pub fn rotate(history: &KeyHistory, key_set: KeySet, list: Inheritance) -> SigningFile {
    let KeySet { keys, threshold, next, floor } = key_set;
    let (version, previous) = (history.version() + 1, Some(history.head()));
    let inherits = next.keys().map(|_| list.digest());
    let document = KeyDocument { version, keys, threshold, previous, next, floor, inherits };
    let mut file = SigningFile::new(history.publisher(), history.envelopes().to_vec());
    file.inherits = inherits.map(|_| list.to_text());
    file.add(document.payload_type(), String::from_utf8_lossy(&document.to_payload()).into_owned());
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
    let mut file = SigningFile::new(history.publisher(), history.texts());
    file.add(REVOCATION_TYPE, String::from_utf8_lossy(&revocation.to_payload()).into_owned());
    file
}

/// Returns a profile, to be signed: what a publisher says of itself. `before` are number and payload of the newest one.
pub fn profile(
    history: &KeyHistory,
    domain: Option<Domain>,
    title: Option<Label>,
    url: Option<Homepage>,
    before: Option<(u64, Digest)>,
) -> SigningFile {
    let profile = Profile {
        publisher: history.publisher(),
        seq: before.map_or(0, |(seq, _)| seq).saturating_add(1),
        prev: before.map(|(_, payload)| payload),
        domain,
        title,
        url,
        key_document: history.version(),
        issued: clock::now(),
    };
    let mut file = SigningFile::new(history.publisher(), history.texts());
    file.add(PROFILE_TYPE, String::from_utf8_lossy(&profile.to_payload()).into_owned());
    file
}

/// Returns a tombstone, to be signed: it takes the records of a tag up to the number `seq` out of catalogues.
pub fn unlist(history: &KeyHistory, model: ModelName, tag: Tag, seq: u64) -> SigningFile {
    let (publisher, key_document) = (history.publisher(), history.version());
    let tombstone = Tombstone { publisher, model, tag, seq, key_document, issued: clock::now() };
    let mut file = SigningFile::new(publisher, history.texts());
    file.add(TOMBSTONE_TYPE, String::from_utf8_lossy(&tombstone.to_payload()).into_owned());
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
    let mut file = SigningFile::new(history.publisher(), history.texts());
    file.add(DELEGATION_TYPE, String::from_utf8_lossy(&delegation.to_payload()).into_owned());
    file
}
