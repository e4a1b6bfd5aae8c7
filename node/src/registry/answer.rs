//! Answering peers' questions: records, documents, referrers, holders and heads.

use std::sync::Arc;

use reg_proto::announcement::{Announcement, Holder};
use reg_proto::bounded::Bounded;
use reg_proto::digest::Digest;
use reg_proto::envelope::Envelope;
use reg_proto::equivocation::Equivocation;
use reg_proto::key::KeyHistory;
use reg_proto::limits::{
    HEADS_PER_PAGE_MAX, HOLDERS_MAX, RESPONSE_DOCUMENT_BYTES_MAX, TAG_ENVELOPE_BYTES_MAX,
};
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::peer::PeerId;
use reg_proto::tag::SignedTag;
use reg_proto::wire::{Records, Request, Response};
use tracing::{debug, info, warn};

use super::documents::referrers_here;
use super::heads::{self, AnnouncementError, Head, Heard};
use super::limits::{BUSY_RETRY_MS, HEAD_PAGES_MAX};
use super::model::ModelRecord;
use super::resolve::holder_of;
use super::{Inner, history, proofs, tags, vows};
use crate::net::{InboundAnnouncement, InboundRequest, Verdict};

/// Answers one question.
pub(super) async fn answer(inner: Arc<Inner>, asked: InboundRequest) {
    let InboundRequest { peer, request, reply } = asked;
    if request == Request::GetPeers {
        let peers = Bounded::first_of(inner.network.acquaintances(peer).await);
        return reply.send(Response::Peers { peers });
    }
    let own = holder_of(inner.network.peer_id(), inner.network.addresses_for(peer).await);
    if let Request::GetHolders { manifest } = request {
        let known = inner.network.acquaintances(peer).await;
        let answer = tokio::task::spawn_blocking(move || inner.answer_holders(&manifest, own, &known, &peer));
        return reply.send(answer.await.unwrap_or(Response::Busy { retry_ms: BUSY_RETRY_MS }));
    }
    let response = tokio::task::spawn_blocking(move || inner.answer(request, own)).await;
    reply.send(response.unwrap_or(Response::Busy { retry_ms: BUSY_RETRY_MS }));
}

impl Inner {
    fn answer(&self, request: Request, own: Holder) -> Response {
        match request {
            Request::GetRecords { publisher, model, tag } => {
                self.answer_records(publisher, model.as_ref(), tag.as_ref(), own)
            }
            Request::GetDocument { digest } => self.answer_document(&digest),
            Request::Referrers { subject, artifact_type } => {
                self.answer_referrers(&subject, artifact_type.as_deref())
            }
            // Those are answered where it is known who asks.
            Request::GetHolders { .. } | Request::GetPeers => Response::NotFound,
            Request::GetHeads { after } => Response::Heads { announcements: self.heads_page(after.as_ref()) },
            Request::GetVows { after } => match self.vows_page(after.as_ref()) {
                Ok(publishers) => Response::Vows { publishers },
                Err(error) => {
                    warn!(%error, "what publishers have revoked cannot be told");
                    Response::NotFound
                }
            },
        }
    }

    /// What is here and what was heard of: the newest record of each tag, keys, and who is said to hold the models.
    fn answer_records(
        &self,
        publisher: PublisherId,
        model: Option<&ModelName>,
        tag: Option<&Tag>,
        own: Holder,
    ) -> Response {
        let gives = |it: &SignedTag| self.sharing.gives(&publisher, &it.record().model);
        let mut keys = tags::keys(&self.store, publisher).ok().flatten();
        let mut records: Vec<SignedTag> = tags::records(&self.store, publisher, model).unwrap_or_default();
        records.retain(|it| tag.is_none_or(|tag| *tag == it.record().tag) && gives(it));
        let mut holders = Vec::new();
        if records.iter().any(|it| self.is_complete(&it.record().manifest.digest)) {
            holders.push(own);
        }
        let mut contradictions: Vec<Equivocation> = Vec::new();
        let heads = self.heads.lock().expect("no holder of this lock panics");
        for head in heads.of(publisher, model, tag).into_iter().filter(|head| gives(&head.tag)) {
            holders.extend(head.holders.iter().cloned());
            keys = Some(match keys {
                Some(known) => joined(known, &head.keys),
                None => head.keys.clone(),
            });
            contradictions.extend(head.proofs.iter().cloned());
            let record = head.tag.record();
            let same = |it: &SignedTag| {
                it.record().model.folded() == record.model.folded() && it.record().tag == record.tag
            };
            if !records.iter().any(|it| same(it) && it.record().order() >= record.order()) {
                records.retain(|it| !same(it));
                records.push(head.tag.clone());
            }
        }
        drop(heads);
        if records.is_empty() && !self.sharing.gives_all() {
            return Response::NotFound;
        }
        let Some(keys) = keys else { return Response::NotFound };
        contradictions.extend(proofs::all(&self.store, &keys, model, tag).unwrap_or_default());
        let delegations = vows::delegations(&self.store, &keys).unwrap_or_default();
        Response::Records(Records {
            key_documents: Bounded::first_of(keys.envelopes().iter().cloned()),
            tags: Bounded::first_of(records.iter().map(|it| it.envelope().to_owned())),
            holders: Bounded::first_of(holders),
            revocations: Bounded::first_of(keys.revocations().map(|(_, text)| text.to_owned())),
            delegations: Bounded::first_of(delegations.iter().map(|it| it.envelope().to_owned())),
            proofs: Bounded::first_of(contradictions.iter().map(Equivocation::to_claim)),
        })
    }

    /// Documents are small: a blob of more bytes is fetched on a blob stream.
    fn answer_document(&self, digest: &Digest) -> Response {
        if self.is_unserved(digest) || !self.gives_blob(digest) {
            return Response::NotFound;
        }
        match self.store.read_blob(digest, RESPONSE_DOCUMENT_BYTES_MAX as u64) {
            Ok(bytes) => Response::Document { bytes },
            Err(error) => {
                debug!(%digest, %error, "a document that was asked for is not here");
                Response::NotFound
            }
        }
    }

    fn answer_referrers(&self, subject: &Digest, artifact_type: Option<&str>) -> Response {
        let mut records = ModelRecord::of_manifest(&self.store, subject);
        records.retain(|it| self.sharing.gives(&it.publisher, &it.model));
        if records.is_empty() || self.is_unserved(subject) {
            return Response::NotFound;
        }
        let referrers = records.iter().flat_map(|record| referrers_here(self, record));
        let wanted =
            referrers.filter(|(_, it)| artifact_type.is_none_or(|wanted| wanted == it.artifact_type));
        Response::Referrers { manifests: Bounded::first_of(wanted.map(|(digest, it)| it.descriptor(digest))) }
    }

    /// Who has the whole of a model, and then who is pulling it from here, and so has some of it soon.
    fn answer_holders(&self, manifest: &Digest, own: Holder, known: &[Holder], asker: &PeerId) -> Response {
        let mut holders = Vec::new();
        if self.is_complete(manifest) && !self.is_unserved(manifest) && self.gives_blob(manifest) {
            holders.push(own);
        }
        let heads = self.heads.lock().expect("no holder of this lock panics").holders(manifest);
        let told = HOLDERS_MAX / 2;
        holders.extend(heads.into_iter().take(told));
        if self.gives_blob(manifest) {
            let records = ModelRecord::of_manifest(&self.store, manifest);
            let pullers = self.pullers.of(records.iter().flat_map(|record| &record.blobs), asker);
            let known = |peer: &PeerId| known.iter().find(|holder| holder.peer == *peer).cloned();
            let pullers: Vec<Holder> = pullers.iter().filter_map(known).collect();
            holders.retain(|holder| !pullers.iter().any(|it| it.peer == holder.peer));
            holders.extend(pullers);
        }
        Response::Holders { holders: Bounded::first_of(holders) }
    }

    fn heads_page(&self, after: Option<&Digest>) -> Bounded<Announcement, HEADS_PER_PAGE_MAX> {
        self.heads
            .lock()
            .expect("no holder of this lock panics")
            .page(after, |record| self.sharing.gives(&record.publisher, &record.model))
    }

    /// Tells whether every blob of a model is here.
    pub(super) fn is_complete(&self, manifest: &Digest) -> bool {
        let whole = |it: &ModelRecord| it.complete && it.blobs.iter().all(|blob| self.store.contains(blob));
        ModelRecord::of_manifest(&self.store, manifest).iter().any(whole)
    }

    /// Judges a gossiped announcement: what does not verify is rejected, what is not new goes no further.
    pub(super) fn hear(self: &Arc<Self>, inbound: InboundAnnouncement) {
        let InboundAnnouncement { from, announcement, verdict } = inbound;
        verdict.send(match self.take_announcement(&announcement) {
            Ok(Heard::New) => Verdict::Accept,
            Ok(Heard::Known) => Verdict::Ignore,
            Err(error) => {
                info!(peer = %from, %error, "an announcement is refused");
                Verdict::Reject
            }
        });
    }

    /// Takes what an announcement says: revocations first, then the record, then what contradicts it.
    pub(super) fn take_announcement(
        self: &Arc<Self>,
        announcement: &Announcement,
    ) -> Result<Heard, AnnouncementError> {
        let brought = heads::keys_of(announcement)?;
        let Some(text) = &announcement.tag else { return Ok(self.hear_vows(brought)) };
        let (keys, revoked) = self.take_vows_of(brought);
        let heard = match Head::verify(text, announcement, keys) {
            Ok(head) => self.take_head(head),
            // What the record says counts no more, and that is the news.
            Err(_) if revoked => Heard::Known,
            Err(error) => return Err(error),
        };
        Ok(if revoked { Heard::New } else { heard })
    }

    /// Takes a verified head. What contradicts it here is kept as proof and passed on.
    pub(super) fn take_head(self: &Arc<Self>, mut head: Head) -> Heard {
        let record = head.tag.record();
        let (publisher, model, tag) = (record.publisher, record.model.clone(), record.tag.clone());
        let seen = history::records(&self.store, &head.keys, &model, &tag).unwrap_or_default();
        let told = head.proofs.clone();
        head.proofs.extend(seen.iter().filter_map(|it| Equivocation::of(it, &head.tag)));
        let keys = head.keys.clone();
        let (heard, proofs) = {
            let mut heads = self.heads.lock().expect("no holder of this lock panics");
            let heard = heads.hear(head);
            let known = heads.of(publisher, Some(&model), Some(&tag));
            (heard, known.first().map(|head| head.proofs.clone()).unwrap_or_default())
        };
        for proof in proofs {
            match proofs::keep(&self.store, &proof) {
                // Whoever passes on a proof that came as one need not say it again.
                Ok(true) if !told.iter().any(|it| it.heads() == proof.heads()) => {
                    self.pass_on(&proof, &keys);
                }
                Ok(_) => {}
                Err(error) => warn!(%error, "a proof of equivocation cannot be kept"),
            }
        }
        heard
    }

    /// Tells everybody of a proof that was found here.
    pub(super) fn pass_on(self: &Arc<Self>, proof: &Equivocation, keys: &KeyHistory) {
        let (inner, proof, keys) = (self.clone(), proof.clone(), keys.clone());
        tokio::spawn(async move {
            let own = holder_of(inner.network.peer_id(), inner.network.listen_addresses().await);
            inner.network.announce(heads::proof_announcement(&proof, &keys, own)).await;
        });
    }

    /// Takes the heads that a peer which has just connected knows: gossip is a hint, this repairs what it lost.
    pub(super) async fn take_heads_of(self: &Arc<Self>, peer: PeerId) {
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
            for announcement in announcements.iter() {
                // The order of pages is that of the records' payloads; a proof's stand beside, and may be anywhere.
                if let (Some(tag), None) = (&announcement.tag, &announcement.contradicted_by) {
                    let payload = Envelope::from_bytes(tag.as_bytes(), TAG_ENVELOPE_BYTES_MAX);
                    after = after.max(payload.ok().map(|it| Digest::of(&it.payload)));
                }
                if let Err(error) = self.take_announcement(announcement) {
                    info!(%peer, %error, "what a peer tells of a tag is refused");
                }
            }
        }
    }
}

/// Returns the longer of two histories of one publisher, with what either has revoked. Where they part, what is known stays.
pub(super) fn joined(known: KeyHistory, other: &KeyHistory) -> KeyHistory {
    let (mut longer, shorter) =
        if known.is_prefix_of(other) { (other.clone(), &known) } else { (known.clone(), other) };
    longer.take_revocations(shorter.revocations().map(|(_, text)| text));
    longer
}
