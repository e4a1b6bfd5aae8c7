//! [`Documents`]: fetches manifests, referrers and their documents, from the store or from any peer that has them.
//!
//! A document is named by its digest and verified against it, so it does not matter which peer sends it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use reg_proto::digest::Digest;
use reg_proto::limits::RESPONSE_DOCUMENT_BYTES_MAX;
use reg_proto::peer::PeerId;
use reg_proto::referrer::{EMPTY_BLOB, PROVENANCE_ARTIFACT_TYPE, Referrer};
use reg_proto::wire::{Request, Response};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::debug;

use super::Resolver;
use super::finder::Finder;
use crate::registry::deadline::until;
use crate::registry::limits::{FIND_TIMEOUT, REFERRER_PEERS_AT_ONCE, REFERRERS_READ_MAX, SETTLE};
use crate::registry::model::record::ModelRecord;

/// Why a document was not fetched.
#[derive(Debug, Error)]
#[error("document {digest} was asked of {asked} peers and none sent it")]
pub struct DocumentError {
    pub digest: Digest,
    pub asked: usize,
}

/// Fetches documents for one reference, and keeps those that it has fetched.
pub(super) struct Documents<'a> {
    resolver: &'a Resolver,
    /// The peers to ask, the one that answered last first.
    peers: VecDeque<PeerId>,
    finder: Option<&'a mut Finder>,
    fetched: BTreeMap<Digest, Vec<u8>>,
    end: Instant,
}

/// The referrers of a manifest that were found.
#[derive(Debug, Default)]
pub struct Referrers {
    found: Vec<(Digest, Referrer, Vec<u8>)>,
}

impl Referrers {
    /// Returns the envelopes of the provenance statements among them.
    pub fn provenances(&self) -> impl Iterator<Item = &str> {
        self.of_type(PROVENANCE_ARTIFACT_TYPE)
    }

    /// Returns the documents of one type among them.
    pub fn of_type(&self, artifact_type: &'static str) -> impl Iterator<Item = &str> {
        let of_type = self.found.iter().filter(move |(_, it, _)| it.artifact_type == artifact_type);
        of_type.filter_map(|(_, _, document)| std::str::from_utf8(document).ok())
    }

    /// Adds a referrer that is in the store.
    pub fn add(&mut self, digest: Digest, referrer: Referrer, document: Vec<u8>) {
        self.found.push((digest, referrer, document));
    }

    /// Returns each referrer with its digest and the document that it carries.
    pub fn iter(&self) -> impl Iterator<Item = &(Digest, Referrer, Vec<u8>)> {
        self.found.iter()
    }
}

impl<'a> Documents<'a> {
    /// Returns a fetcher that asks `peers` first, and then the peers that `finder` finds.
    pub(super) fn new(resolver: &'a Resolver, peers: Vec<PeerId>, finder: Option<&'a mut Finder>) -> Self {
        Self {
            resolver,
            peers: peers.into(),
            finder,
            fetched: BTreeMap::new(),
            end: Instant::now() + FIND_TIMEOUT,
        }
    }

    /// Returns the peers that were useful, and the fetched documents.
    pub(super) fn into_parts(self) -> (Vec<PeerId>, BTreeMap<Digest, Vec<u8>>) {
        (self.peers.into(), self.fetched)
    }

    /// Returns the document named `digest`.
    pub(super) async fn get(&mut self, digest: Digest) -> Result<Vec<u8>, DocumentError> {
        if let Some(bytes) = self.stored(&digest) {
            return Ok(bytes);
        }
        let mut asked = 0;
        let mut left = self.peers.len();
        loop {
            let peer = if left > 0 {
                left -= 1;
                self.peers.pop_front()
            } else {
                self.next_peer().await
            };
            let Some(peer) = peer else { return Err(DocumentError { digest, asked }) };
            asked += 1;
            match self.resolver.network.ask(peer, Request::GetDocument { digest }).await {
                Ok(Response::Document { bytes }) if Digest::of(&bytes) == digest => {
                    self.peers.push_front(peer);
                    self.fetched.insert(digest, bytes.clone());
                    return Ok(bytes);
                }
                Ok(Response::Document { .. }) => {
                    debug!(%peer, %digest, "a peer sent another document than the one asked for");
                    self.resolver.bans.ban(peer);
                }
                answer => {
                    debug!(%peer, %digest, ?answer, "a peer does not have a document");
                    self.peers.push_back(peer);
                }
            }
        }
    }

    fn stored(&mut self, digest: &Digest) -> Option<Vec<u8>> {
        if Digest::of(EMPTY_BLOB) == *digest {
            return Some(EMPTY_BLOB.to_vec());
        }
        let bytes = match self.fetched.get(digest) {
            Some(bytes) => bytes.clone(),
            None => self.resolver.store.read_blob(digest, RESPONSE_DOCUMENT_BYTES_MAX as u64).ok()?,
        };
        self.fetched.insert(*digest, bytes.clone());
        Some(bytes)
    }

    async fn next_peer(&mut self) -> Option<PeerId> {
        let finder = self.finder.as_mut()?;
        until(self.end, finder.next()).await.flatten()
    }

    /// Returns the referrers of `subject` in the store and at peers. It asks several peers at a time, until one of them
    /// has a provenance. Peers differ, because an attestor announces only to its neighbours.
    pub(super) async fn referrers(&mut self, subject: Digest) -> Referrers {
        let records = ModelRecord::of_manifest(&self.resolver.store, &subject);
        let stored: BTreeSet<Digest> = records.into_iter().flat_map(|record| record.referrers).collect();
        let mut seen = stored.clone();
        let mut all = self.read_referrers(subject, stored.into_iter().collect()).await;
        let peers: Vec<PeerId> = self.peers.iter().copied().collect();
        for some in peers.chunks(REFERRER_PEERS_AT_ONCE) {
            let mut asked = JoinSet::new();
            for peer in some.iter().copied() {
                let network = self.resolver.network.clone();
                let request = Request::Referrers { subject, artifact_type: None };
                asked.spawn(async move { network.ask(peer, request).await });
            }
            let (mut end, mut is_enough) = (self.end, false);
            while let Some(Some(answer)) = until(end, asked.join_next()).await {
                let Ok(Ok(Response::Referrers { manifests })) = answer else { continue };
                let new = manifests.iter().map(|it| it.digest).filter(|it| seen.insert(*it)).collect();
                let found = self.read_referrers(subject, new).await;
                if found.provenances().next().is_some() {
                    is_enough = true;
                    end = end.min(Instant::now() + SETTLE);
                }
                all.found.extend(found.found);
                if all.found.len() >= REFERRERS_READ_MAX {
                    return all;
                }
            }
            if is_enough || all.provenances().next().is_some() {
                break;
            }
        }
        all
    }

    async fn read_referrers(&mut self, subject: Digest, digests: Vec<Digest>) -> Referrers {
        let mut found = Vec::new();
        for digest in digests {
            let Ok(bytes) = self.get(digest).await else { continue };
            let Ok(referrer) = Referrer::from_bytes(&bytes) else { continue };
            if referrer.subject.digest != subject {
                continue;
            }
            if let Ok(document) = self.get(referrer.document.digest).await {
                found.push((digest, referrer, document));
            }
        }
        Referrers { found }
    }
}
