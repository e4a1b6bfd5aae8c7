//! Answering peers' questions: records, documents, referrers, holders and heads.

use std::sync::Arc;

use reg_proto::announcement::{Announcement, Holder};
use reg_proto::bounded::Bounded;
use reg_proto::digest::Digest;
use reg_proto::limits::{HEADS_PER_PAGE_MAX, RESPONSE_DOCUMENT_BYTES_MAX};
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::peer::PeerId;
use reg_proto::tag::SignedTag;
use reg_proto::wire::{Records, Request, Response};
use tracing::{debug, info};

use super::documents::referrers_here;
use super::heads::{Head, Heard};
use super::limits::{BUSY_RETRY_MS, HEAD_PAGES_MAX};
use super::model::ModelRecord;
use super::resolve::holder_of;
use super::{Inner, tags};
use crate::net::{InboundAnnouncement, InboundRequest, Verdict};

/// Answers one question.
pub(super) async fn answer(inner: Arc<Inner>, asked: InboundRequest) {
    let InboundRequest { peer, request, reply } = asked;
    let own = holder_of(inner.network.peer_id(), inner.network.addresses_for(peer).await);
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
            Request::GetHolders { manifest } => self.answer_holders(&manifest, own),
            Request::GetHeads { after } => Response::Heads { announcements: self.heads_page(after.as_ref()) },
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
        let mut keys = tags::keys(&self.store, publisher).ok().flatten();
        let mut records: Vec<SignedTag> = tags::records(&self.store, publisher, model).unwrap_or_default();
        records.retain(|it| tag.is_none_or(|tag| *tag == it.record().tag));
        let mut holders = Vec::new();
        if records.iter().any(|it| self.is_complete(&it.record().manifest.digest)) {
            holders.push(own);
        }
        let heads = self.heads.lock().expect("no holder of this lock panics");
        for head in heads.of(publisher, model, tag) {
            holders.extend(head.holders.iter().cloned());
            if keys.as_ref().is_none_or(|known| known.is_prefix_of(&head.keys)) {
                keys = Some(head.keys.clone());
            }
            let record = head.tag.record();
            let same = |it: &SignedTag| {
                it.record().model.folded() == record.model.folded() && it.record().tag == record.tag
            };
            if !records.iter().any(|it| same(it) && it.record().seq >= record.seq) {
                records.retain(|it| !same(it));
                records.push(head.tag.clone());
            }
        }
        let Some(keys) = keys else { return Response::NotFound };
        Response::Records(Records {
            key_documents: Bounded::first_of(keys.envelopes().iter().cloned()),
            tags: Bounded::first_of(records.iter().map(|it| it.envelope().to_owned())),
            holders: Bounded::first_of(holders),
            ..Records::default()
        })
    }

    /// Documents are small: a blob of more bytes is fetched on a blob stream.
    fn answer_document(&self, digest: &Digest) -> Response {
        match self.store.read_blob(digest, RESPONSE_DOCUMENT_BYTES_MAX as u64) {
            Ok(bytes) => Response::Document { bytes },
            Err(error) => {
                debug!(%digest, %error, "a document that was asked for is not here");
                Response::NotFound
            }
        }
    }

    fn answer_referrers(&self, subject: &Digest, artifact_type: Option<&str>) -> Response {
        let records = ModelRecord::of_manifest(&self.store, subject);
        if records.is_empty() {
            return Response::NotFound;
        }
        let referrers = records.iter().flat_map(|record| referrers_here(self, record));
        let wanted =
            referrers.filter(|(_, it)| artifact_type.is_none_or(|wanted| wanted == it.artifact_type));
        Response::Referrers { manifests: Bounded::first_of(wanted.map(|(digest, it)| it.descriptor(digest))) }
    }

    fn answer_holders(&self, manifest: &Digest, own: Holder) -> Response {
        let mut holders = Vec::new();
        if self.is_complete(manifest) {
            holders.push(own);
        }
        holders.extend(self.heads.lock().expect("no holder of this lock panics").holders(manifest));
        Response::Holders { holders: Bounded::first_of(holders) }
    }

    fn heads_page(&self, after: Option<&Digest>) -> Bounded<Announcement, HEADS_PER_PAGE_MAX> {
        self.heads.lock().expect("no holder of this lock panics").page(after)
    }

    /// Tells whether every blob of a model is here.
    pub(super) fn is_complete(&self, manifest: &Digest) -> bool {
        let whole = |it: &ModelRecord| it.complete && it.blobs.iter().all(|blob| self.store.contains(blob));
        ModelRecord::of_manifest(&self.store, manifest).iter().any(whole)
    }

    /// Judges a gossiped announcement: what does not verify is rejected, what is not new goes no further.
    pub(super) fn hear(&self, inbound: InboundAnnouncement) {
        let InboundAnnouncement { from, announcement, verdict } = inbound;
        verdict.send(match Head::verify(&announcement) {
            Ok(head) => match self.take_head(head) {
                Heard::New => Verdict::Accept,
                Heard::Known => Verdict::Ignore,
            },
            Err(error) => {
                info!(peer = %from, %error, "an announcement is refused");
                Verdict::Reject
            }
        });
    }

    pub(super) fn take_head(&self, head: Head) -> Heard {
        self.heads.lock().expect("no holder of this lock panics").hear(head)
    }

    /// Takes the heads that a peer which has just connected knows: gossip is a hint, this repairs what it lost.
    pub(super) async fn take_heads_of(&self, peer: PeerId) {
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
                match Head::verify(announcement) {
                    Ok(head) => {
                        after = after.max(Some(head.tag.payload_digest()));
                        self.take_head(head);
                    }
                    Err(error) => {
                        info!(%peer, %error, "a peer's page of announcements is refused");
                        return;
                    }
                }
            }
        }
    }
}
