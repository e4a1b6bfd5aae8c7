//! Trust on first use: this node follows the keys of a publisher that it saw first, and the rotations that continue
//! them. The rules are those of [`reg_proto::naming::chain`].
//!
//! This is a policy without a store. The caller keeps the history that is followed, in a document that survives the
//! index.

use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::name::PublisherId;
use reg_proto::naming::chain::{self, Refusal, Step};
use thiserror::Error;

/// Why a publisher's keys are not followed, although all their signatures are valid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyPinError {
    #[error(
        "keys of {publisher} go back: version {offered} is older than {pinned}, which this node has seen"
    )]
    Older { publisher: PublisherId, offered: u64, pinned: u64 },
    #[error(
        "keys of {publisher} part after version {common}: two different documents follow it, each validly signed"
    )]
    Forked { publisher: PublisherId, common: u64 },
    #[error(
        "keys of {publisher} are revoked (version {pinned}), and no other keys were committed to: a thief of the old keys \
         could have signed what follows as well"
    )]
    Dead { publisher: PublisherId, pinned: u64 },
    #[error(
        "keys of {publisher} (version {offered}) came without the list of what they take over from older keys"
    )]
    ListMissing { publisher: PublisherId, offered: u64 },
    #[error("keys of {offered} are held against those of {pinned}")]
    OtherPublisher { offered: PublisherId, pinned: PublisherId },
}

/// Decides whether to follow the keys in `offered`, where `pinned` are the keys that were followed until now, and
/// `accepted` is the key document that the user has accepted for this publisher.
///
/// # Errors
/// The offered history is older than the pinned one, leaves it at some version, or is another publisher's.
pub fn follow(
    pinned: Option<&KeyHistory>,
    offered: &KeyHistory,
    accepted: Option<&Digest>,
) -> Result<Step, KeyPinError> {
    let publisher = offered.publisher();
    if let Some(pinned) = pinned.map(KeyHistory::publisher).filter(|pinned| *pinned != publisher) {
        return Err(KeyPinError::OtherPublisher { offered: publisher, pinned });
    }
    let is_dead = pinned.is_some_and(KeyHistory::is_dead);
    chain::follow(pinned.map(KeyHistory::chain), offered.chain(), is_dead, accepted).map_err(|refusal| {
        match refusal {
            Refusal::Older { offered, followed } => {
                KeyPinError::Older { publisher, offered, pinned: followed }
            }
            Refusal::Forked { common } => KeyPinError::Forked { publisher, common },
            Refusal::Dead { followed } => KeyPinError::Dead { publisher, pinned: followed },
            Refusal::ListMissing { offered } => KeyPinError::ListMissing { publisher, offered },
        }
    })
}

/// Returns the longer of two histories of one publisher, with the revocations of both. Where they part, `known` stays.
pub fn joined(known: KeyHistory, other: &KeyHistory) -> KeyHistory {
    let (longer, shorter) =
        if known.is_prefix_of(other) { (other.clone(), &known) } else { (known.clone(), other) };
    let mut longer = longer.with_list_of(shorter);
    longer.take_revocations(shorter.revocations().map(|(_, text)| text));
    longer
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use reg_proto::digest::Digest;
    use reg_proto::envelope::{Envelope, PublicKey};
    use reg_proto::key::{KEY_DOCUMENT_TYPE, KeyDocument, Next, publisher_id};
    use reg_proto::revocation::{REVOCATION_TYPE, Reason, Revocation, Revoked};

    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    /// Returns a publisher that rotated its key to each of `seeds` in turn.
    fn history(seeds: &[u8]) -> KeyHistory {
        rotated(seeds, false)
    }

    /// Returns the same. Where it is `committed`, each document but the last names the keys that follow.
    fn rotated(seeds: &[u8], committed: bool) -> KeyHistory {
        let mut envelopes = Vec::new();
        let mut before: Option<(KeyDocument, SigningKey)> = None;
        let mut publisher = None;
        for (number, seed) in seeds.iter().enumerate() {
            let first = |seed: &u8| KeyDocument::first(PublicKey::of(&key(*seed)));
            let next = seeds.get(number + 1).filter(|_| committed);
            let next = next.map_or(Next::Open, |next| Next::KeySet(first(next).commitment()));
            let mut document = KeyDocument { next, ..first(seed) };
            let key = key(*seed);
            let mut signers = vec![&key];
            if let Some((previous, signer)) = &before {
                document.version = previous.version + 1;
                document.previous = Some(Digest::of(&previous.to_payload()));
                signers.push(signer);
            }
            let payload = document.to_payload();
            publisher.get_or_insert_with(|| publisher_id(&payload));
            envelopes.push(Envelope::sign(KEY_DOCUMENT_TYPE, payload, &signers).to_json());
            before = Some((document, key));
        }
        KeyHistory::verify(publisher.unwrap(), &envelopes).unwrap()
    }

    /// Returns the same publisher after its newest key, of this seed, has revoked itself.
    fn dead(mut history: KeyHistory, seed: u8) -> KeyHistory {
        let revocation = Revocation {
            publisher: history.publisher(),
            subject: Revoked::Key(PublicKey::of(&key(seed))),
            key_document: history.version(),
            issued: 1_700_000_000,
            reason: Reason::default(),
        };
        let text = Envelope::sign(REVOCATION_TYPE, revocation.to_payload(), &[&key(seed)]).to_json();
        history.take_revocations([text.as_str()]);
        assert!(history.is_dead());
        history
    }

    #[test]
    fn follows_rotations_and_nothing_else() {
        type Row = (Option<&'static [u8]>, &'static [u8], Result<Step, &'static str>);
        let table: [Row; 9] = [
            (None, &[1], Ok(Step::First)),
            (None, &[1, 2, 3], Ok(Step::First)),
            (Some(&[1]), &[1], Ok(Step::Same)),
            (Some(&[1, 2]), &[1, 2], Ok(Step::Same)),
            (Some(&[1]), &[1, 2], Ok(Step::Newer)),
            (Some(&[1, 2]), &[1], Err("older")),
            (Some(&[1, 2]), &[1, 3], Err("forked")),
            (Some(&[1, 2]), &[1, 3, 2], Err("forked")),
            (Some(&[1]), &[2], Err("other")),
        ];
        for (pinned, offered, expected) in table {
            let found =
                follow(pinned.map(history).as_ref(), &history(offered), None).map_err(|error| match error {
                    KeyPinError::Older { .. } => "older",
                    KeyPinError::Forked { .. } => "forked",
                    KeyPinError::Dead { .. } => "dead",
                    KeyPinError::ListMissing { .. } => "list",
                    KeyPinError::OtherPublisher { .. } => "other",
                });
            assert_eq!(found, expected, "{pinned:?} {offered:?}");
        }
        // A thief has the revoked keys too, and can sign a rotation as the publisher can.
        let revoked = Err(KeyPinError::Dead { publisher: history(&[1]).publisher(), pinned: 1 });
        assert_eq!(follow(Some(&dead(history(&[1]), 1)), &history(&[1, 2]), None), revoked);
        let same = follow(Some(&dead(history(&[1]), 1)), &dead(history(&[1]), 1), None);
        assert_eq!(same, Ok(Step::Same));
        let rotated_once = Err(KeyPinError::Dead { publisher: history(&[1]).publisher(), pinned: 2 });
        assert_eq!(follow(Some(&dead(history(&[1, 2]), 2)), &history(&[1, 2, 3]), None), rotated_once);
        // Only the publisher knew the keys that it had committed to.
        let committed = rotated(&[1, 2], true);
        let before = KeyHistory::verify(committed.publisher(), &committed.envelopes()[..1]).unwrap();
        assert_eq!(follow(Some(&dead(before, 1)), &committed, None), Ok(Step::Newer));
        // The user's word decides between branches, in either order.
        let (ours, theirs) = (history(&[1, 2]), history(&[1, 3]));
        let head = theirs.head();
        assert_eq!(follow(Some(&ours), &theirs, Some(&head)), Ok(Step::Accepted));
        let refused = Err(KeyPinError::Forked { publisher: ours.publisher(), common: 1 });
        assert_eq!(follow(Some(&theirs), &ours, Some(&head)), refused);
        assert!(follow(None, &ours, Some(&head)).is_err());
        let accepted = history(&[1, 2]).head();
        assert_eq!(follow(Some(&dead(history(&[1]), 1)), &ours, Some(&accepted)), Ok(Step::Accepted));
    }
}
