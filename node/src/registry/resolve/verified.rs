//! [`VerifiedRecords`]: a peer's answer about a publisher, after its signatures have been verified.

use reg_proto::delegation::SignedDelegation;
use reg_proto::key::{KeyError, KeyHistory};
use reg_proto::name::PublisherId;
use reg_proto::profile::SignedProfile;
use reg_proto::tag::{SignedTag, TagError};
use reg_proto::wire::Records;

/// The keys in a peer's answer, and what they have signed of it.
#[derive(Debug)]
pub(super) struct VerifiedRecords {
    /// The keys with their revocations, or why they are not the publisher's.
    pub(super) keys: Result<KeyHistory, KeyError>,
    /// The envelopes of the delegations that the keys have signed.
    pub(super) delegations: Vec<String>,
    /// What the publisher says of itself, if the keys have signed it.
    pub(super) profile: Option<SignedProfile>,
    /// The tag records, those of the proofs too, or why one of them does not count.
    pub(super) tags: Vec<Result<SignedTag, TagError>>,
    /// Another branch of the keys, if the peer knows one.
    pub(super) branch: Option<KeyHistory>,
}

impl VerifiedRecords {
    /// Verifies an answer about `publisher`. It changes nothing, and takes long where the answer has many signatures.
    pub(super) fn verify(publisher: PublisherId, records: &Records) -> Self {
        let revocations = records.revocations.iter().map(String::as_str);
        let keys = match KeyHistory::verify_with(publisher, &records.key_documents, revocations) {
            Ok(keys) => keys,
            Err(error) => {
                let (keys, delegations, tags) = (Err(error), Vec::new(), Vec::new());
                return Self { keys, delegations, profile: None, tags, branch: None };
            }
        };
        let signed = |text: &&String| SignedDelegation::verify(text, &keys).is_ok();
        let delegations = records.delegations.iter().filter(signed).cloned().collect();
        let profile = records.profile.as_ref().and_then(|it| SignedProfile::verify(it.as_str(), &keys).ok());
        let contradicting = records.proofs.iter().flat_map(|it| [&it.one, &it.two]);
        let texts = records.tags.iter().chain(records.ancestors.iter()).chain(contradicting);
        let tags = texts.map(|text| SignedTag::verify(text, &keys)).collect();
        let branch = KeyHistory::verify(publisher, &records.branch).ok();
        Self { keys: Ok(keys), delegations, profile, tags, branch }
    }
}
