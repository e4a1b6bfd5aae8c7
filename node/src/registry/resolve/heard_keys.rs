//! [`HeardKeys`]: the keys that the store and peers have given for one publisher so far.
//!
//! A newcomer cannot tell which of two branches is a thief's. So it takes neither, until the user has accepted one.

use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::name::PublisherId;

use crate::registry::publishers::key_pin::{self, KeyPinError};
use crate::registry::publishers::{TagsError, forks, keys, revoked};
use crate::store::Store;

/// The keys of a publisher that were heard so far.
#[derive(Debug, Clone, Default)]
pub(super) struct HeardKeys {
    /// The longest history, with the revocations of all that continue one another.
    pub(super) known: Option<KeyHistory>,
    /// The keys that the store remembers.
    pub(super) pinned: Option<KeyHistory>,
    /// The key document that the user has accepted for the publisher. Of two branches, the one with this document counts.
    accepted: Option<Digest>,
    /// Where two valid histories part after the pinned one. Then one of them is a thief's.
    pub(super) parted: Option<KeyPinError>,
}

/// What became of keys that were offered.
#[derive(Debug)]
pub(super) enum Offered {
    Taken,
    /// The known ones stay, because these came without the list of what they take over. Another peer may have it.
    WithoutList(KeyPinError),
    /// They are of another branch than the one that the user has accepted.
    NotAccepted,
    /// They part from the known ones, and neither can be distinguished from a thief's.
    Parted(KeyPinError),
}

impl HeardKeys {
    /// Returns what the store has heard of a publisher. Blocks.
    pub(super) fn of_store(store: &Store, publisher: PublisherId) -> Result<Self, TagsError> {
        let mut heard = Self { accepted: forks::accepted(store, publisher)?, ..Self::default() };
        if let Some(keys) = keys::keys(store, publisher)? {
            heard.pinned = Some(keys.clone());
            heard.known = Some(keys);
            return Ok(heard);
        }
        // What was heard of a publisher that this node does not follow yet: evidence against its keys, not for them.
        let witnesses = revoked::witnesses(store, publisher)?.into_iter();
        for keys in witnesses.chain(forks::branches(store, publisher)?) {
            let _parted = heard.offer(keys);
        }
        Ok(heard)
    }

    /// Takes keys that a peer proved: the longer history, and the revocations of both.
    pub(super) fn offer(&mut self, keys: KeyHistory) -> Offered {
        let Some(known) = self.known.take() else {
            self.known = Some(keys);
            return Offered::Taken;
        };
        if keys.chain().is_incomplete() && !known.chain().is_incomplete() && known.version() < keys.version()
        {
            // Without the list, everything that the known keys have signed would be void.
            let (publisher, offered) = (keys.publisher(), keys.version());
            self.known = Some(known);
            return Offered::WithoutList(KeyPinError::ListMissing { publisher, offered });
        }
        if known.is_prefix_of(&keys) || keys.is_prefix_of(&known) {
            self.known = Some(key_pin::joined(known, &keys));
            return Offered::Taken;
        }
        if let Some(accepted) = self.accepted {
            let is_accepted = keys.chain().contains(&accepted);
            self.known = Some(if is_accepted { keys } else { known });
            return if is_accepted { Offered::Taken } else { Offered::NotAccepted };
        }
        let common = known.chain().common(keys.chain());
        let forked = KeyPinError::Forked { publisher: known.publisher(), common };
        if self.pinned.as_ref().is_none_or(|pinned| pinned.is_prefix_of(&keys)) {
            self.parted = Some(forked.clone());
        }
        self.known = Some(known);
        Offered::Parted(forked)
    }
}
