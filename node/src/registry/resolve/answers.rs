//! [`Answers`]: the keys, records and holders that peers have sent for a name so far.

use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::name::Reference;
use reg_proto::peer::PeerId;
use reg_proto::tag::SignedTag;

use super::heard_keys::{HeardKeys, Offered};
use super::resolved::ResolveError;
use super::sent::AllSent;
use crate::registry::limits::TAGS_COMPARED_MAX;
use crate::registry::publishers::TagsError;
use crate::registry::publishers::key_pin::KeyPinError;

/// What peers have sent for a name so far.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) keys: HeardKeys,
    /// Different records of the tag. The newest will count; keys that come later may void some.
    pub(super) tags: Vec<SignedTag>,
    /// Whether the publisher lets another one speak for this model.
    pub(super) delegated: bool,
    pub(super) holders: Vec<PeerId>,
    /// Every peer that was asked. A peer without the name may still hold the blobs.
    pub(super) others: Vec<PeerId>,
    pub(super) asked: usize,
    /// How many of these could not be reached or did not answer.
    pub(super) unanswered: usize,
    /// Those among them that do not speak the protocol of this swarm.
    pub(super) foreign: Vec<PeerId>,
    /// What peers have sent of the model beside its records.
    pub(super) sent: AllSent,
    /// The last refusal. It is reported only where no peer sent anything valid.
    pub(super) refusal: Option<ResolveError>,
}

impl Answers {
    /// Takes keys that a peer proved. Returns whether what came with them counts. Where it does not because the keys part,
    /// `refusal` says so.
    pub(super) fn take_keys(&mut self, keys: KeyHistory, reference: &Reference) -> bool {
        let refused = |source: KeyPinError| ResolveError::Tags {
            reference: reference.clone(),
            source: TagsError::KeyPin(source),
        };
        match self.keys.offer(keys) {
            Offered::Taken => true,
            Offered::WithoutList(source) => {
                self.refusal.get_or_insert_with(|| refused(source));
                true
            }
            Offered::NotAccepted => false,
            Offered::Parted(source) => {
                self.refusal = Some(refused(source));
                false
            }
        }
    }

    /// Takes a record of the tag, unless it is known. Where there are too many, the oldest one makes room for a newer one, so
    /// that a peer that offers many old records hides no new one.
    pub(super) fn take_tag(&mut self, tag: SignedTag) {
        if self.tags.iter().any(|it| it.payload_digest() == tag.payload_digest()) {
            return;
        }
        if self.tags.len() >= TAGS_COMPARED_MAX {
            let oldest = self.tags.iter().enumerate().min_by_key(|(_, it)| it.record().order());
            let Some((index, oldest)) = oldest else { return };
            if oldest.record().order() >= tag.record().order() {
                return;
            }
            self.tags.swap_remove(index);
        }
        self.tags.push(tag);
    }

    /// Returns the answers to be judged once more with those that come later. The refusal was reported with the first ones, and
    /// what was sent of the model is used with them.
    pub(super) fn again(&self) -> Self {
        Self {
            keys: self.keys.clone(),
            tags: self.tags.clone(),
            delegated: self.delegated,
            holders: self.holders.clone(),
            others: self.others.clone(),
            asked: self.asked,
            unanswered: self.unanswered,
            foreign: self.foreign.clone(),
            sent: AllSent::default(),
            refusal: None,
        }
    }

    /// Returns what an answer must change to say something new.
    pub(super) fn stamp(&self) -> impl PartialEq + use<> {
        let keys = self.keys.known.as_ref().map(|keys| (keys.head(), keys.revocations().count()));
        let tags: Vec<Digest> = self.tags.iter().map(SignedTag::payload_digest).collect();
        (keys, tags, self.keys.parted.is_some(), self.delegated)
    }

    /// Tells whether the keys are known, and a record, a digest or a delegation to go on with.
    pub(super) fn is_enough(&self, reference: &Reference) -> bool {
        self.keys.known.is_some() && (!self.tags.is_empty() || reference.digest.is_some() || self.delegated)
    }
}
