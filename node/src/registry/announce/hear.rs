//! Receives announcements of tags from peers: gossip, and the pages of heads of a new neighbour.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use reg_proto::announcement::Announcement;
use reg_proto::bounded::Bounded;
use reg_proto::catalogue::SignedListing;
use reg_proto::digest::Digest;
use reg_proto::envelope::Envelope;
use reg_proto::equivocation::Equivocation;
use reg_proto::key::KeyHistory;
use reg_proto::limits::{
    HEADS_PER_PAGE_MAX, TAG_ENVELOPE_BYTES_MAX, VERIFICATIONS_PER_ANNOUNCEMENT_MAX,
    VERIFICATIONS_PER_ANSWER_MAX, VERIFICATIONS_PER_PAGE_MAX,
};
use reg_proto::peer::PeerId;
use reg_proto::verification::Budget;
use reg_proto::wire::{Records, Request, Response};
use tracing::{debug, info, warn};

use super::heads::{self, AnnouncementError, Head, Heard};
use super::{News, holder_of};
use crate::net::{InboundAnnouncement, Verdict};
use crate::registry::limits::HEAD_PAGES_MAX;
use crate::registry::publishers::{history, proofs};

impl News {
    /// Returns a page of the heads that this node shares, after the head with this payload.
    pub fn heads_page(&self, after: Option<&Digest>) -> Bounded<Announcement, HEADS_PER_PAGE_MAX> {
        self.heads().page(after, |record| self.trust.sharing.gives(&record.publisher, &record.model))
    }

    /// Judges a gossiped announcement. One that does not verify is rejected. One that says nothing new, that finds no
    /// turn, or that would cost the neighbours too much is not passed on.
    pub async fn hear(self: Arc<Self>, inbound: InboundAnnouncement) {
        let InboundAnnouncement { from, announcement, verdict } = inbound;
        let (news, price) = (self.clone(), heads::price(&announcement));
        let work = move |budget: &mut Budget| {
            let heard = news.take_announcement(&announcement, budget);
            (heard, budget.worth())
        };
        let heard = self.verifier.unasked(from, price, VERIFICATIONS_PER_ANNOUNCEMENT_MAX, work).await;
        verdict.send(match heard {
            // A neighbour that is slower than this node charges the price, and else what the verification is worth.
            Ok((Ok(Heard::New), worth)) if self.verifier.may_pass_on(worth.max(price)) => Verdict::Accept,
            Ok((Ok(_), _)) => Verdict::Ignore,
            Ok((Err(error), _)) => {
                info!(peer = %from, %error, "an announcement is refused");
                Verdict::Reject
            }
            Err(refused) => {
                debug!(peer = %from, %refused, "an announcement is ignored");
                Verdict::Ignore
            }
        });
    }

    /// Takes what an announcement says: the revocations first, then the record, then the proofs against it. The caller
    /// calls it on a thread that may block.
    pub(super) fn take_announcement(
        self: &Arc<Self>,
        announcement: &Announcement,
        budget: &mut Budget,
    ) -> Result<Heard, AnnouncementError> {
        let brought = budget.run(|| heads::keys_of(announcement))??;
        let Some(text) = &announcement.tag else { return Ok(self.hear_declarations(brought)) };
        let (publisher, offered, is_incomplete) =
            (brought.publisher(), brought.version(), brought.chain().is_incomplete());
        let (keys, revoked) = self.take_declarations_of(brought);
        if keys.version() < offered {
            // This node follows the publisher, and cannot follow these keys. The sender may be honest all the same.
            if is_incomplete {
                self.ask_for_keys(publisher);
            }
            return Ok(if revoked { Heard::New } else { Heard::Known });
        }
        let heard = match budget.run(|| Head::verify(text, announcement, keys))? {
            Ok(head) => {
                let card = announcement.card.as_ref();
                let listing = card.and_then(|card| budget.run(|| head.listing(card.clone())).ok().flatten());
                self.take_head_with(head, listing)
            }
            // The announced keys revoke the record; the revocation is then the news.
            Err(_) if revoked => Heard::Known,
            // The sender has not heard of the newer keys yet, or the list was too long for gossip. It is no liar.
            Err(error) if error.is_outdated() => Heard::Known,
            Err(error) => return Err(error),
        };
        Ok(if revoked { Heard::New } else { heard })
    }

    /// Takes a verified head, and lists it in the catalogue. If the store contradicts it, the proof is kept and announced. Returns
    /// once it is listed.
    pub(super) async fn take_head(self: &Arc<Self>, head: Head) {
        let news = self.clone();
        drop(tokio::task::spawn_blocking(move || news.take_head_with(head, None)).await);
    }

    /// Takes a verified head, with its listing where a card came with it. The catalogue may have to write to the disk, so the caller
    /// calls it on a thread that may block. A task of its own for each head would queue up without a bound.
    fn take_head_with(self: &Arc<Self>, head: Head, listing: Option<SignedListing>) -> Heard {
        let (tag, keys) = (head.tag.clone(), head.keys.clone());
        let heard = self.take_news(head);
        let _taken = match listing {
            Some(listing) => self.catalogue.take(&listing, &keys),
            None => self.catalogue.take_head(&tag, &keys),
        };
        heard
    }

    /// Takes a verified head among the news.
    pub(super) fn take_news(self: &Arc<Self>, mut head: Head) -> Heard {
        let record = head.tag.record();
        let (publisher, model, tag) = (record.publisher, record.model.clone(), record.tag.clone());
        let seen = history::records(&self.store, &head.keys, &model, &tag).unwrap_or_default();
        let announced = head.proofs.clone();
        head.proofs.extend(seen.iter().filter_map(|it| Equivocation::of(it, &head.tag)));
        let keys = head.keys.clone();
        let (heard, proofs) = {
            let mut heads = self.heads();
            let heard = heads.hear(head);
            let known = heads.of(publisher, Some(&model), Some(&tag));
            (heard, known.first().map(|head| head.proofs.clone()).unwrap_or_default())
        };
        for proof in proofs {
            match proofs::keep(&self.store, &proof) {
                // The announcement brought this proof itself, so its sender has passed it on already.
                Ok(true) if !announced.iter().any(|it| it.heads() == proof.heads()) => {
                    self.pass_on(&proof, &keys);
                }
                Ok(_) => {}
                Err(error) => warn!(%error, "a proof of equivocation cannot be kept"),
            }
        }
        heard
    }

    /// Announces a proof that this node found.
    fn pass_on(self: &Arc<Self>, proof: &Equivocation, keys: &KeyHistory) {
        let (news, proof, keys) = (self.clone(), proof.clone(), keys.clone());
        tokio::spawn(async move {
            let own = holder_of(news.network.peer_id(), news.network.listen_addresses().await);
            news.network.announce(heads::proof_announcement(&proof, &keys, own)).await;
        });
    }

    /// Fetches the heads that a new neighbour knows. Gossip may be lost, and these pages repair that.
    pub async fn take_heads_of(self: &Arc<Self>, peer: PeerId) {
        self.has_met.store(true, Ordering::Release);
        let mut after = None;
        for _page in 0..HEAD_PAGES_MAX {
            let Ok(Response::Heads { announcements }) =
                self.network.ask(peer, Request::GetHeads { after }).await
            else {
                return;
            };
            if announcements.is_empty() {
                return;
            }
            let news = self.clone();
            let work = move |budget: &mut Budget| news.take_heads_page(&announcements, peer, budget);
            let Ok(last) = self.verifier.page(peer, VERIFICATIONS_PER_PAGE_MAX, work).await else { return };
            match last.filter(|last| after.is_none_or(|after| *last > after)) {
                Some(last) => after = Some(last),
                None => return,
            }
        }
    }

    /// Takes the records that a peer has sent of a publisher, as if they were announced.
    pub async fn take_records(self: &Arc<Self>, peer: PeerId, records: Records) {
        let news = self.clone();
        let work = move |budget: &mut Budget| {
            let Records { key_documents, tags, revocations, .. } = records;
            let holder = holder_of(peer, Vec::new());
            for tag in tags.into_vec() {
                let announcement = Announcement {
                    tag: Some(tag),
                    key_documents: key_documents.clone(),
                    holder: holder.clone(),
                    card: None,
                    contradicted_by: None,
                    revocations: Bounded::first_of(revocations.iter().cloned()),
                };
                if let Err(error) = news.take_announcement(&announcement, budget) {
                    info!(%peer, %error, "a record of a peer is refused");
                }
            }
        };
        if let Err(refused) = self.verifier.answer(peer, VERIFICATIONS_PER_ANSWER_MAX, work).await {
            debug!(%peer, %refused, "records of a peer are not verified");
        }
    }

    /// Takes a page of heads, and returns where it ends.
    fn take_heads_page(
        self: &Arc<Self>,
        announcements: &[Announcement],
        peer: PeerId,
        budget: &mut Budget,
    ) -> Option<Digest> {
        let mut last = None;
        for announcement in announcements {
            // Pages are in the order of the records' payloads. The payload of a proof stands outside of that order.
            if let (Some(tag), None) = (&announcement.tag, &announcement.contradicted_by) {
                let payload = Envelope::from_bytes(tag.as_bytes(), TAG_ENVELOPE_BYTES_MAX);
                last = last.max(payload.ok().map(|it| Digest::of(&it.payload)));
            }
            if let Err(error) = self.take_announcement(announcement, budget) {
                info!(%peer, %error, "an announcement in a peer's page is refused");
            }
        }
        last
    }
}
