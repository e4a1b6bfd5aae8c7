//! [`Heads`]: the newest tag records that this node has heard of, with the peers that claim to hold the models.
//!
//! Gossip and the pages of other peers fill it. It is bounded, and lost when the process ends. A head is verified
//! before it is added; a holder is a hint.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use reg_proto::announcement::{Announcement, Holder};
use reg_proto::bounded::Bounded;
use reg_proto::catalogue::{Listing, SignedListing};
use reg_proto::digest::Digest;
use reg_proto::envelope::{Envelope, EnvelopeError, SignatureError};
use reg_proto::equivocation::{Equivocation, EquivocationClaim, EquivocationError};
use reg_proto::json::JsonError;
use reg_proto::key::{KeyError, KeyHistory};
use reg_proto::limits::{HEADS_PER_PAGE_MAX, TAG_ENVELOPE_BYTES_MAX};
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::tag::{SignedTag, TagError, TagRecord};
use reg_proto::verification::OverBudget;
use thiserror::Error;

use crate::registry::limits::{HEADS_BYTES_MAX, HEADS_MAX, HOLDERS_PER_HEAD_MAX, PROOFS_PER_HEAD_MAX};

/// Holders of one tag in a page: the newest ones, so that one popular model does not fill the page.
const HOLDERS_PER_HEAD_IN_PAGE: usize = 4;

/// A tag of a model of a publisher. The case of a model's name does not count.
pub(super) type HeadKey = (PublisherId, String, Tag);

/// A verified tag record, and the peers that claim to hold its model.
#[derive(Debug, Clone)]
pub struct Head {
    pub tag: SignedTag,
    /// The heads of a publisher share one history.
    pub keys: Arc<KeyHistory>,
    /// The claimed holders, the newest hint last.
    pub holders: Vec<Holder>,
    /// Proofs that records of this tag contradict each other.
    pub proofs: Vec<Equivocation>,
}

/// The result of an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It brought a newer record, or another holder.
    New,
    /// It brought nothing new.
    Known,
}

/// Why an announcement is refused and not passed on.
#[derive(Debug, Error)]
pub(super) enum AnnouncementError {
    #[error("announcement has a tag record that is not an envelope")]
    Envelope(#[from] EnvelopeError),
    #[error("announcement has a tag record that cannot be parsed")]
    Json(#[from] JsonError),
    #[error("announcement has keys that are not its publisher's")]
    Keys(#[from] KeyError),
    #[error("announcement has a tag record that is not its publisher's")]
    Tag(#[from] TagError),
    #[error("announcement has a proof of equivocation that proves nothing")]
    Proof(#[from] EquivocationError),
    #[error("announcement costs too much to verify")]
    Price(#[from] OverBudget),
}

impl AnnouncementError {
    /// Returns whether an honest peer can have sent this: newer keys than those that it knows have retired or revoked the
    /// keys of the record, or the inheritance list was left out.
    pub(super) fn is_outdated(&self) -> bool {
        matches!(self, Self::Tag(error) if is_outdated(error))
    }
}

/// Tells whether a record is refused because of newer keys than those that its honest sender may know.
fn is_outdated(error: &TagError) -> bool {
    matches!(error, TagError::Signature { source, .. } if is_of_older_keys(source))
}

/// Tells whether a signature is refused because of newer keys than those that its honest sender may know.
pub(super) const fn is_of_older_keys(error: &SignatureError) -> bool {
    matches!(
        error,
        SignatureError::Retired { .. } | SignatureError::ListMissing { .. } | SignatureError::Revoked { .. }
    )
}

/// The heads, by tag.
#[derive(Debug, Default)]
pub(super) struct Heads {
    heads: BTreeMap<HeadKey, Head>,
    /// The order in which heads arrived, for forgetting the oldest first.
    order: BTreeMap<u64, HeadKey>,
    positions: BTreeMap<HeadKey, u64>,
    /// The order of heads in pages.
    by_payload: BTreeMap<Digest, HeadKey>,
    histories: Histories,
    bytes: usize,
    counter: u64,
}

/// Returns the price of an announcement that is not verified: one for each signature. It counts the fields of that name,
/// and parses nothing.
pub(super) fn price(announcement: &Announcement) -> usize {
    let Announcement { tag, key_documents, revocations, contradicted_by, card, .. } = announcement;
    let texts =
        tag.iter().chain(key_documents.iter()).chain(revocations.iter()).chain(contradicted_by).chain(card);
    texts.map(|text| text.matches("\"sig\"").count()).sum()
}

/// Returns the keys in an announcement, with the revocations among them. It does not read the tag record.
pub(super) fn keys_of(announcement: &Announcement) -> Result<KeyHistory, AnnouncementError> {
    let Announcement { tag, key_documents, revocations, .. } = announcement;
    let Some(tag) = tag else { return keys_from(key_documents, revocations) };
    let envelope = Envelope::from_bytes(tag.as_bytes(), TAG_ENVELOPE_BYTES_MAX)?;
    let publisher = TagRecord::from_payload(&envelope.payload)?.publisher;
    let mut keys = KeyHistory::verify(publisher, key_documents)?;
    keys.take_revocations(revocations.iter().map(String::as_str));
    Ok(keys)
}

/// Returns the keys of the publisher that the first of these documents names, with those of the revocations that are
/// its own.
pub(super) fn keys_from(
    documents: &[String],
    revocations: &[String],
) -> Result<KeyHistory, AnnouncementError> {
    let mut keys = KeyHistory::read(documents)?;
    keys.take_revocations(revocations.iter().map(String::as_str));
    Ok(keys)
}

impl Head {
    /// Verifies an announced record against the keys that came with it, or against newer keys of the same publisher.
    pub(super) fn verify(
        text: &str,
        announcement: &Announcement,
        keys: KeyHistory,
    ) -> Result<Self, AnnouncementError> {
        let tag = SignedTag::verify(text, &keys)?;
        let proofs = match &announcement.contradicted_by {
            Some(other) => {
                let claim = EquivocationClaim { one: text.to_owned(), two: other.clone() };
                vec![Equivocation::verify(&claim, &keys)?]
            }
            None => Vec::new(),
        };
        Ok(Self { tag, keys: Arc::new(keys), holders: vec![announcement.holder.clone()], proofs })
    }

    /// Returns the record as a listing with this card; `None` if the card is not about the record's model, or does not verify.
    pub(super) fn listing(&self, card: String) -> Option<SignedListing> {
        let listing = Listing::Record { record: self.tag.envelope().to_owned(), card: Some(card) };
        SignedListing::verify(&listing, &self.keys).ok()
    }

    fn key(&self) -> HeadKey {
        let record = self.tag.record();
        (record.publisher, record.model.folded(), record.tag.clone())
    }

    /// Returns the bytes of the record and of the proofs against it.
    fn bytes(&self) -> usize {
        let proofs = self.proofs.iter().flat_map(Equivocation::records);
        std::iter::once(&self.tag).chain(proofs).map(|it| it.envelope().len()).sum()
    }

    /// Returns the announcements of this tag: the record with each holder, and each contradiction.
    fn announcements(&self) -> Vec<Announcement> {
        let newest = self.holders.len().saturating_sub(HOLDERS_PER_HEAD_IN_PAGE);
        let holders = &self.holders[newest..];
        let records = holders
            .iter()
            .map(|holder| announcement(Some(self.tag.envelope()), &self.keys, holder.clone(), None));
        let proofs = self.proofs.iter().filter_map(|proof| {
            let holder = self.holders.last()?.clone();
            Some(proof_announcement(proof, &self.keys, holder))
        });
        records.chain(proofs).collect()
    }

    /// Adds proofs that are not known, up to the bound. A proof that the record settles is left out.
    fn learn(&mut self, proofs: Vec<Equivocation>) -> Heard {
        let mut heard = Heard::Known;
        for proof in proofs {
            let known = self.proofs.iter().any(|it| it.heads() == proof.heads());
            if !known && self.proofs.len() < PROOFS_PER_HEAD_MAX && !proof.is_settled_by(self.tag.record()) {
                self.proofs.push(proof);
                heard = Heard::New;
            }
        }
        heard
    }

    /// Adds hints. The newest hint replaces an older one about the same peer.
    fn join(&mut self, holders: Vec<Holder>) -> Heard {
        let mut heard = Heard::Known;
        for holder in holders {
            if self.holders.contains(&holder) {
                continue;
            }
            heard = Heard::New;
            self.holders.retain(|known| known.peer != holder.peer);
            self.holders.push(holder);
        }
        if self.holders.len() > HOLDERS_PER_HEAD_MAX {
            self.holders.drain(..self.holders.len() - HOLDERS_PER_HEAD_MAX);
        }
        heard
    }
}

/// Returns the announcement of a record, or of a proof that the record is one of two; without a record, of keys alone.
pub(super) fn announcement(
    tag: Option<&str>,
    keys: &KeyHistory,
    holder: Holder,
    contradicted_by: Option<String>,
) -> Announcement {
    let mut revocations: Vec<(u64, String)> =
        keys.revocations().map(|(revocation, text)| (revocation.issued, text.to_owned())).collect();
    revocations.sort_by_key(|(issued, _)| std::cmp::Reverse(*issued));
    Announcement {
        tag: tag.map(str::to_owned),
        key_documents: Bounded::first_of(keys.short_texts()),
        holder,
        card: None,
        contradicted_by,
        revocations: Bounded::first_of(revocations.into_iter().map(|(_, text)| text)),
    }
}

/// Returns the announcement of a proof.
pub(super) fn proof_announcement(proof: &Equivocation, keys: &KeyHistory, holder: Holder) -> Announcement {
    let [one, two] = proof.records();
    announcement(Some(one.envelope()), keys, holder, Some(two.envelope().to_owned()))
}

impl Heads {
    /// Takes a verified head. The newer record wins, equal records join their holders, and contradictions are kept.
    pub(super) fn hear(&mut self, mut head: Head) -> Heard {
        let key = head.key();
        let mut proofs = std::mem::take(&mut head.proofs);
        if let Some(known) = self.heads.get_mut(&key) {
            proofs.extend(Equivocation::of(&known.tag, &head.tag));
            let before = known.bytes();
            let news = known.learn(proofs);
            self.bytes += known.bytes() - before;
            let (order, known_order) = (head.tag.record().order(), known.tag.record().order());
            let other = head.tag.payload_digest() != known.tag.payload_digest();
            if order <= known_order {
                let is_known = order == known_order && !other;
                let heard = if is_known { news.or(known.join(head.holders)) } else { news };
                self.make_room();
                return heard;
            }
            head.proofs = known.proofs.clone();
            self.forget(&key);
        } else {
            head.learn(proofs);
        }
        head.holders.truncate(HOLDERS_PER_HEAD_MAX);
        head.proofs.retain(|proof| !proof.is_settled_by(head.tag.record()));
        self.bytes += head.bytes();
        head.keys = self.histories.share(head.keys);
        self.counter += 1;
        self.order.insert(self.counter, key.clone());
        self.positions.insert(key.clone(), self.counter);
        self.by_payload.insert(head.tag.payload_digest(), key.clone());
        self.heads.insert(key, head);
        self.make_room();
        Heard::New
    }

    /// Tells whether another head is remembered without forgetting one.
    pub(super) fn has_room(&self) -> bool {
        self.heads.len() < HEADS_MAX && self.bytes + self.histories.bytes < HEADS_BYTES_MAX
    }

    /// Forgets the heads that arrived first while there are too many.
    fn make_room(&mut self) {
        while self.heads.len() > HEADS_MAX || self.bytes + self.histories.bytes > HEADS_BYTES_MAX {
            let Some((_, oldest)) = self.order.first_key_value() else { break };
            let oldest = oldest.clone();
            self.forget(&oldest);
        }
    }

    /// Forgets the heads of a publisher that `keys` no longer stand for.
    pub(super) fn revoke(&mut self, keys: &KeyHistory) {
        let of = self.of(keys.publisher(), None, None);
        let void = of.into_iter().filter(|head| SignedTag::verify(head.tag.envelope(), keys).is_err());
        for key in void.map(Head::key).collect::<Vec<_>>() {
            self.forget(&key);
        }
    }

    /// Forgets a tag that this node has removed.
    pub(super) fn remove(&mut self, publisher: PublisherId, model: &ModelName, tag: &Tag) {
        self.forget(&(publisher, model.folded(), tag.clone()));
    }

    fn forget(&mut self, key: &HeadKey) {
        if let Some(head) = self.heads.remove(key) {
            self.bytes -= head.bytes();
            self.histories.release(&head.keys);
            self.by_payload.remove(&head.tag.payload_digest());
        }
        if let Some(position) = self.positions.remove(key) {
            self.order.remove(&position);
        }
    }

    /// Returns the heads of a publisher, the heads of one model, or the head of one tag.
    pub(super) fn of(
        &self,
        publisher: PublisherId,
        model: Option<&ModelName>,
        tag: Option<&Tag>,
    ) -> Vec<&Head> {
        let model = model.map(ModelName::folded);
        if let (Some(model), Some(tag)) = (&model, tag) {
            return self.heads.get(&(publisher, model.clone(), tag.clone())).into_iter().collect();
        }
        self.heads
            .range((publisher, String::new(), Tag::latest())..)
            .take_while(|((owner, _, _), _)| *owner == publisher)
            .filter(|((_, name, of), _)| {
                model.as_ref().is_none_or(|model| model == name) && tag.is_none_or(|tag| tag == of)
            })
            .map(|(_, head)| head)
            .collect()
    }

    /// Returns the head of one tag.
    pub(super) fn get(&self, publisher: PublisherId, model: &ModelName, tag: &Tag) -> Option<&Head> {
        self.heads.get(&(publisher, model.folded(), tag.clone()))
    }

    /// Returns the peers that claim to hold a manifest.
    pub(super) fn holders(&self, manifest: &Digest) -> Vec<Holder> {
        let heads = self.heads.values().filter(|head| head.tag.record().manifest.digest == *manifest);
        heads.flat_map(|head| head.holders.iter().cloned()).collect()
    }

    /// Returns a page of announcements, in the order of the payloads' digests, from the first one above `after` on.
    pub(super) fn page(
        &self,
        after: Option<&Digest>,
        is_given: impl Fn(&TagRecord) -> bool,
    ) -> Bounded<Announcement, HEADS_PER_PAGE_MAX> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let heads = self
            .by_payload
            .range((start, Bound::Unbounded))
            .filter_map(|(_, key)| self.heads.get(key))
            .filter(|head| is_given(head.tag.record()));
        let mut page = Vec::new();
        for head in heads {
            let announcements = head.announcements();
            if page.len() + announcements.len() > HEADS_PER_PAGE_MAX {
                break;
            }
            page.extend(announcements);
        }
        Bounded::first_of(page)
    }
}

/// The key histories of the heads, each of them once.
#[derive(Debug, Default)]
struct Histories {
    /// Each history with the number of the heads that share it.
    shared: BTreeMap<Digest, (Arc<KeyHistory>, usize)>,
    bytes: usize,
}

impl Histories {
    /// Returns the history that heads with equal ones share.
    fn share(&mut self, keys: Arc<KeyHistory>) -> Arc<KeyHistory> {
        let (shared, heads) = self.shared.entry(name_of(&keys)).or_insert_with(|| {
            self.bytes += bytes_of(&keys);
            (keys, 0)
        });
        *heads += 1;
        shared.clone()
    }

    /// Forgets a history when no head shares it any more.
    fn release(&mut self, keys: &KeyHistory) {
        let name = name_of(keys);
        let Some((_, heads)) = self.shared.get_mut(&name) else { return };
        *heads -= 1;
        if *heads == 0 {
            self.shared.remove(&name);
            self.bytes -= bytes_of(keys);
        }
    }
}

/// Returns the bytes of the texts of a key history, and of its inheritance list once more, which it keeps parsed too.
fn bytes_of(keys: &KeyHistory) -> usize {
    let revocations = keys.revocations().map(|(_, text)| text.len());
    let listed = keys.chain().inheritance().map_or(0, |it| size_of_val(it.payloads()));
    keys.texts().iter().map(String::len).chain(revocations).sum::<usize>() + listed
}

/// Names a key history: its documents, whether its list is known, and its revocations.
fn name_of(keys: &KeyHistory) -> Digest {
    let list = if keys.chain().is_incomplete() { "without its list" } else { "" };
    let mut text = format!("{} {list}", keys.head());
    keys.envelopes().iter().for_each(|envelope| text.push_str(envelope));
    keys.revocations().for_each(|(_, envelope)| text.push_str(envelope));
    Digest::of(text.as_bytes())
}

impl Heard {
    fn or(self, other: Self) -> Self {
        if self == Self::New { self } else { other }
    }
}

#[cfg(test)]
mod tests;
