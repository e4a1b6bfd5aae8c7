//! Answers peers' questions: for records, documents, referrers, holders, heads and declarations.

use std::sync::Arc;

use reg_proto::announcement::Holder;
use reg_proto::bounded::Bounded;
use reg_proto::digest::Digest;
use reg_proto::equivocation::Equivocation;
use reg_proto::key::KeyHistory;
use reg_proto::limits::{HOLDERS_MAX, RESPONSE_DOCUMENT_BYTES_MAX};
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::peer::PeerId;
use reg_proto::referrer::Referrer;
use reg_proto::tag::SignedTag;
use reg_proto::wire::{DocumentsOf, Records, Request, Response};
use tracing::{debug, warn};

use super::Serving;
use crate::net::InboundRequest;
use crate::registry::announce::holder_of;
use crate::registry::limits::{BUSY_RETRY_MS, FAILED_RETRY_MS};
use crate::registry::model::record::ModelRecord;
use crate::registry::model::whole;
use crate::registry::publishers::key_pin::joined;
use crate::registry::publishers::{declarations, forks, keys, profiles, proofs, tags, usable};
use crate::store::ReadError;

/// Answers one question of a peer.
pub(super) async fn answer(serving: Arc<Serving>, asked: InboundRequest) {
    let InboundRequest { peer, request, reply } = asked;
    if request == Request::GetPeers {
        let peers = Bounded::first_of(serving.network.acquaintances(peer).await);
        return reply.send(Response::Peers { peers });
    }
    let own = holder_of(serving.network.peer_id(), serving.network.addresses_for(peer).await);
    if let Request::GetHolders { manifest } = request {
        let known = serving.network.acquaintances(peer).await;
        let answer =
            tokio::task::spawn_blocking(move || serving.answer_holders(&manifest, own, &known, &peer));
        return reply.send(answer.await.unwrap_or(Response::Busy { retry_ms: BUSY_RETRY_MS }));
    }
    let response = tokio::task::spawn_blocking(move || serving.answer(request, own)).await;
    reply.send(response.unwrap_or(Response::Busy { retry_ms: BUSY_RETRY_MS }));
}

impl Serving {
    fn answer(&self, request: Request, own: Holder) -> Response {
        match request {
            Request::GetRecords { publisher, model, tag, documents } => {
                self.answer_records(publisher, model.as_ref(), tag.as_ref(), documents, own)
            }
            Request::GetDocument { digest } => self.answer_document(&digest),
            Request::Referrers { subject, artifact_type } => {
                self.answer_referrers(&subject, artifact_type.as_deref())
            }
            // `answer` above handles these, because their answers depend on the peer that asks.
            Request::GetHolders { .. } | Request::GetPeers => Response::NotFound,
            Request::GetHeads { after } => {
                Response::Heads { announcements: self.news.heads_page(after.as_ref()) }
            }
            Request::CompareRoots(page) => self.catalogue.answer_roots(&page),
            Request::GetListings(questions) => self.catalogue.answer_listings(&questions),
            Request::GetSwarmState(question) => self.spreading.answer(&question),
            Request::GetSample(question) => self.catalogue.answer_sample(question),
            Request::GetVows { after } => match self.news.declarations_page(after.as_ref()) {
                Ok(publishers) => Response::Vows { publishers },
                Err(error) => {
                    warn!(%error, "declarations of publishers cannot be read");
                    Response::NotFound
                }
            },
        }
    }

    /// Returns the newest record of each tag, from the store and from announcements, with keys, declarations and holders.
    fn answer_records(
        &self,
        publisher: PublisherId,
        model: Option<&ModelName>,
        tag: Option<&Tag>,
        documents: Option<DocumentsOf>,
        own: Holder,
    ) -> Response {
        let gives = |it: &SignedTag| self.trust.sharing.gives(&publisher, &it.record().model);
        let read = (keys::keys(&self.store, publisher), tags::records(&self.store, publisher, model));
        let (mut keys, mut records): (_, Vec<SignedTag>) = match read {
            (Ok(keys), Ok(records)) => (keys, records),
            (Err(error), _) | (_, Err(error)) => {
                warn!(%publisher, %error, "the records of a publisher cannot be read");
                return Response::Busy { retry_ms: FAILED_RETRY_MS };
            }
        };
        records.retain(|it| tag.is_none_or(|tag| *tag == it.record().tag) && gives(it));
        let mut holders = Vec::new();
        if records.iter().any(|it| whole::is_complete(&self.store, &it.record().manifest.digest)) {
            holders.push(own);
        }
        let mut contradictions: Vec<Equivocation> = Vec::new();
        let heads = self.news.heads_of(publisher, model, tag);
        for head in heads.into_iter().filter(|head| gives(&head.tag)) {
            holders.extend(head.holders);
            keys = Some(match keys {
                Some(known) => joined(known, &head.keys),
                None => Arc::unwrap_or_clone(head.keys),
            });
            contradictions.extend(head.proofs);
            let record = head.tag.record();
            let same = |it: &SignedTag| {
                it.record().model.folded() == record.model.folded() && it.record().tag == record.tag
            };
            if !records.iter().any(|it| same(it) && it.record().order() >= record.order()) {
                records.retain(|it| !same(it));
                records.push(head.tag);
            }
        }
        if records.is_empty() && !self.trust.sharing.gives_all() {
            return Response::NotFound;
        }
        let Some(keys) = keys else { return Response::NotFound };
        contradictions.extend(proofs::all(&self.store, &keys, model, tag).unwrap_or_default());
        let ancestors = match (records.as_slice(), tag) {
            ([head], Some(_)) => self.ancestors(&keys, head),
            _ => Vec::new(),
        };
        let head = match (records.as_slice(), tag) {
            ([head], Some(_)) => Some(head.record().manifest.digest),
            _ => None,
        };
        let delegations = declarations::delegations(&self.store, &keys).unwrap_or_default();
        Response::Records(Records {
            key_documents: Bounded::first_of(keys.texts()),
            tags: Bounded::first_of(records.iter().map(|it| it.envelope().to_owned())),
            holders: Bounded::first_of(holders),
            revocations: Bounded::first_of(keys.revocations().map(|(_, text)| text.to_owned())),
            delegations: Bounded::first_of(delegations.iter().map(|it| it.envelope().to_owned())),
            profile: profiles::text(&self.store, &keys),
            proofs: Bounded::first_of(contradictions.iter().map(Equivocation::to_claim)),
            ancestors: Bounded::first_of(ancestors.iter().map(|it| it.envelope().to_owned())),
            branch: Bounded::first_of(forks::evidence(&self.store, &keys)),
            documents: documents.and_then(|asked| self.documents_of(asked, head)),
        })
    }

    /// Returns the ancestors of a tag's head that may stand in for it, and that this node has whole and serves.
    fn ancestors(&self, keys: &KeyHistory, head: &SignedTag) -> Vec<SignedTag> {
        let line = usable::line(&self.store, keys, &[head], &[]).unwrap_or_default();
        let usable = line.into_iter().filter(|it| it.barred.is_none()).map(|it| it.tag);
        let is_served = |it: &SignedTag| {
            let manifest = &it.record().manifest.digest;
            whole::is_complete(&self.store, manifest) && !self.trust.is_unserved(manifest)
        };
        usable.filter(is_served).collect()
    }

    /// Returns a small blob. A puller fetches blobs of more than [`RESPONSE_DOCUMENT_BYTES_MAX`] bytes on a blob stream.
    fn answer_document(&self, digest: &Digest) -> Response {
        if !self.gives(digest) {
            return Response::NotFound;
        }
        let read = || self.store.read_blob(digest, RESPONSE_DOCUMENT_BYTES_MAX as u64);
        // A disk that failed once mostly works the next time.
        match read().or_else(|error| if matches!(error, ReadError::Io { .. }) { read() } else { Err(error) })
        {
            Ok(bytes) => Response::Document { bytes },
            Err(error @ (ReadError::NotHere { .. } | ReadError::TooLarge { .. })) => {
                debug!(%digest, %error, "a document that a peer asks for is not in the store");
                Response::NotFound
            }
            Err(error) => {
                warn!(%digest, %error, "a document that a peer asks for cannot be read");
                Response::Busy { retry_ms: FAILED_RETRY_MS }
            }
        }
    }

    fn answer_referrers(&self, subject: &Digest, artifact_type: Option<&str>) -> Response {
        let Some(referrers) = self.referrers_of(subject) else { return Response::NotFound };
        let is_wanted = |it: &Referrer| artifact_type.is_none_or(|wanted| wanted == it.artifact_type);
        let wanted = referrers.into_iter().filter(|(_, it)| is_wanted(it));
        Response::Referrers { manifests: Bounded::first_of(wanted.map(|(digest, it)| it.descriptor(digest))) }
    }

    /// Returns peers that hold a whole model, and then peers that pull it from this node, which hold pieces of it soon.
    fn answer_holders(&self, manifest: &Digest, own: Holder, known: &[Holder], asker: &PeerId) -> Response {
        let mut holders = Vec::new();
        if whole::is_complete(&self.store, manifest)
            && !self.trust.is_unserved(manifest)
            && self.trust.gives_blob(manifest)
        {
            holders.push(own);
        }
        let heads = self.news.holders_of(manifest);
        let from_heads = HOLDERS_MAX / 2;
        holders.extend(heads.into_iter().take(from_heads));
        if self.trust.gives_blob(manifest) {
            let records = ModelRecord::of_manifest(&self.store, manifest);
            let pullers = self.pullers.of(records.iter().flat_map(|record| &record.blobs), asker);
            let known = |peer: &PeerId| known.iter().find(|holder| holder.peer == *peer).cloned();
            let pullers: Vec<Holder> = pullers.iter().filter_map(known).collect();
            holders.retain(|holder| !pullers.iter().any(|it| it.peer == holder.peer));
            holders.extend(pullers);
        }
        Response::Holders { holders: Bounded::first_of(holders) }
    }
}
