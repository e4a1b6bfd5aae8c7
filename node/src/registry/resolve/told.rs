//! TODO.

use reg_proto::key::KeyHistory;
use reg_proto::name::Reference;
use reg_proto::peer::PeerId;
use reg_proto::tag::SignedTag;

use super::resolved::ResolveError;
use crate::registry::limits::TAGS_TOLD_MAX;
use crate::registry::publishers::{TagsError, key_pin};

/// What peers have told of a name so far.
#[derive(Default)]
pub(super) struct Told {
    pub(super) keys: Option<KeyHistory>,
    /// Different records of the tag, the newest of which will count: some may be void under keys that come later.
    pub(super) tags: Vec<SignedTag>,
    /// The keys that are remembered here.
    pub(super) pinned: Option<KeyHistory>,
    /// Two valid histories part after what is remembered: one of them is a thief's.
    pub(super) parted: bool,
    /// Somebody speaks for this model in its publisher's place.
    pub(super) delegated: bool,
    pub(super) holders: Vec<PeerId>,
    /// Everybody who was asked: who knows nothing of the name may still hold the blobs.
    pub(super) others: Vec<PeerId>,
    pub(super) asked: usize,
    /// The last refusal, told only where nobody had anything valid.
    pub(super) refusal: Option<ResolveError>,
}

impl Told {
    /// Takes keys that a peer proved: the longer history, and what either says is revoked. Where two part, neither can be told
    /// from a thief's, and the answer says so.
    pub(super) fn take_keys(&mut self, keys: KeyHistory, reference: &Reference) -> bool {
        let Some(known) = self.keys.take() else {
            self.keys = Some(keys);
            return true;
        };
        let parted = !known.is_prefix_of(&keys) && !keys.is_prefix_of(&known);
        if parted {
            let source = TagsError::KeyPin(key_pin::KeyPinError::Forked {
                publisher: known.publisher(),
                pinned: known.version(),
            });
            self.refusal = Some(ResolveError::Tags { reference: reference.clone(), source });
            self.parted |= self.pinned.as_ref().is_none_or(|pinned| pinned.is_prefix_of(&keys));
            self.keys = Some(known);
            return false;
        }
        self.keys = Some(key_pin::joined(known, &keys));
        true
    }

    pub(super) fn take_tag(&mut self, tag: SignedTag) {
        let known = self.tags.iter().any(|it| it.payload_digest() == tag.payload_digest());
        if !known && self.tags.len() < TAGS_TOLD_MAX {
            self.tags.push(tag);
        }
    }

    pub(super) fn is_enough(&self, reference: &Reference) -> bool {
        self.keys.is_some() && (!self.tags.is_empty() || reference.digest.is_some() || self.delegated)
    }
}
