//! [`Documents`]: fetches manifests, referrers and their documents, from the store or from any peer that has them.
//!
//! A document is named by its digest and verified against it, so it does not matter which peer sends it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

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
use super::questions::QuestionSlots;
use super::sent::AllSent;
use crate::net::AskError;
use crate::registry::deadline::until;
use crate::registry::limits::{
    ANSWERS_PATIENCE, ANSWERS_PER_PEER_MAX, FIND_TIMEOUT, PROGRESS_PATIENCE, QUESTION_SLOW,
    QUESTIONS_AT_ONCE, QUIET, QUIET_NAMED, REFERRER_PEERS_AT_ONCE, REFERRERS_READ_MAX, UNREACHED,
};
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
    pub(super) resolver: &'a Resolver,
    /// The peers to ask, the one that answered last first.
    pub(super) peers: VecDeque<PeerId>,
    /// Peers that are asked, and not waited for where another one has what is needed.
    silent: BTreeSet<PeerId>,
    /// What peers have sent beside the records.
    sent: AllSent,
    finder: Option<&'a mut Finder>,
    fetched: BTreeMap<Digest, Vec<u8>>,
    patience: Patience,
}

/// How long documents and blobs are looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) end: Instant,
    /// The latest end. A peer that sends a document moves the end up to it: then the version was reached.
    limit: Instant,
    /// Whether the look ends early, once every known peer has refused and the search finds no more.
    is_hasty: bool,
    /// Whether peers that the search finds meanwhile are asked too.
    finds_more: bool,
}

impl Patience {
    /// Returns the patience where no other version can be used.
    pub(super) fn of_user() -> Self {
        let end = Instant::now() + FIND_TIMEOUT;
        Self { end, limit: end, is_hasty: false, finds_more: true }
    }

    /// Returns the patience where another version can be used.
    pub(super) fn until(end: Instant, finds_more: bool) -> Self {
        Self { end, limit: end + UNREACHED, is_hasty: true, finds_more }
    }
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
    /// The `silent` ones among them have been asked for the name and have not answered.
    pub(super) fn new(
        resolver: &'a Resolver,
        peers: Vec<PeerId>,
        silent: BTreeSet<PeerId>,
        mut sent: AllSent,
        finder: Option<&'a mut Finder>,
    ) -> Self {
        let fetched = sent.take_documents();
        Self { resolver, peers: peers.into(), silent, sent, finder, fetched, patience: Patience::of_user() }
    }

    /// Looks for everything from now on with this patience.
    pub(super) fn with_patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    /// Notes that a peer has sent something of the version, so that it is waited for.
    pub(super) fn note_progress(&mut self) {
        let Patience { end, limit, .. } = self.patience;
        self.patience.end = end.max(limit.min(Instant::now() + PROGRESS_PATIENCE));
    }

    /// Returns when looking ends.
    pub(super) const fn end(&self) -> Instant {
        self.patience.end
    }

    /// Returns the peers that were useful, and the fetched documents.
    pub(super) fn take_parts(&mut self) -> (Vec<PeerId>, BTreeMap<Digest, Vec<u8>>) {
        (std::mem::take(&mut self.peers).into(), std::mem::take(&mut self.fetched))
    }

    /// Returns the document named `digest`. It asks one peer after the other, and the next one also where a peer is slow.
    pub(super) async fn get(&mut self, digest: Digest) -> Result<Vec<u8>, DocumentError> {
        if let Some(bytes) = self.stored(&digest) {
            return Ok(bytes);
        }
        let mut left = self.peers.clone();
        let (mut asked, mut last_news) = (0, Instant::now());
        let mut questions = JoinSet::new();
        let (slots, end) = (QuestionSlots::new(1, QUESTION_SLOW), self.patience.end);
        loop {
            let is_idle = left.is_empty() && questions.is_empty();
            if is_idle && self.is_quiet(last_news) {
                return Err(DocumentError { digest, asked });
            }
            tokio::select! {
                Some(answer) = questions.join_next() => {
                    let Ok((peer, answer)) = answer else { continue };
                    if let Some(bytes) = self.take(digest, peer, answer) {
                        return Ok(bytes);
                    }
                }
                (peer, slot) = async { let slot = slots.slot().await; (self.next_of(&mut left).await, slot) },
                    if questions.len() < QUESTIONS_AT_ONCE =>
                {
                    (asked, last_news) = (asked + 1, Instant::now());
                    let network = self.resolver.network.clone();
                    let question = async move { (peer, network.ask(peer, Request::GetDocument { digest }).await) };
                    questions.spawn(slot.hold(question));
                }
                () = tokio::time::sleep(QUIET_NAMED), if is_idle => {}
                () = tokio::time::sleep_until(end) => return Err(DocumentError { digest, asked }),
            }
        }
    }

    /// Takes a peer's answer: the document, if it is the one with this digest.
    fn take(&mut self, digest: Digest, peer: PeerId, answer: Result<Response, AskError>) -> Option<Vec<u8>> {
        self.peers.retain(|it| *it != peer);
        match answer {
            Ok(Response::Document { bytes }) if Digest::of(&bytes) == digest => {
                self.peers.push_front(peer);
                self.note_progress();
                self.fetched.insert(digest, bytes.clone());
                Some(bytes)
            }
            Ok(Response::Document { .. }) => {
                debug!(%peer, %digest, "a peer sent another document than the one asked for");
                self.resolver.ban(peer);
                None
            }
            answer => {
                debug!(%peer, %digest, ?answer, "a peer does not have a document");
                self.peers.push_back(peer);
                None
            }
        }
    }

    /// Tells whether looking ends now, where every known peer has been asked: the search finds no more.
    pub(super) fn is_quiet(&self, last_news: Instant) -> bool {
        let Patience { is_hasty, finds_more, .. } = self.patience;
        let Some(finder) = self.finder.as_ref().filter(|_| finds_more) else { return true };
        let quiet = match () {
            () if finder.is_all(&self.resolver.network) => Duration::ZERO,
            () if finder.is_named() => QUIET_NAMED,
            () => QUIET,
        };
        is_hasty && !finder.is_searching() && last_news.elapsed() >= quiet
    }

    /// Returns the next peer to ask: one of `left`, else one that the search finds.
    pub(super) async fn next_of(&mut self, left: &mut VecDeque<PeerId>) -> PeerId {
        if let Some(peer) = left.pop_front() {
            return peer;
        }
        let finder = self.finder.as_mut().filter(|_| self.patience.finds_more);
        let found = match finder {
            Some(finder) => finder.next().await,
            None => None,
        };
        match found {
            Some(peer) => {
                self.peers.push_back(peer);
                peer
            }
            None => std::future::pending().await,
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

    /// Returns a peer that has said with its records that it holds a model whole, and is not banned.
    pub(super) fn holder(&self, manifest: Digest) -> Option<PeerId> {
        self.sent.holders(manifest).find(|peer| !self.resolver.bans.is_banned(peer))
    }

    /// Tells whether a referrer has come with the records, together with what it carries: nothing is waited for to read it.
    fn is_at_hand(&self, referrer: &Digest) -> bool {
        let read = self.fetched.get(referrer).and_then(|bytes| Referrer::from_bytes(bytes).ok());
        read.is_some_and(|it| self.fetched.contains_key(&it.document.digest))
    }

    /// Returns the referrers of `subject` in the store and at peers. Some peers have named theirs with the records. Of the others
    /// it asks several at a time, until one of them has a provenance. Peers differ, because an attestor announces only to its
    /// neighbours.
    pub(super) async fn referrers(&mut self, subject: Digest) -> Referrers {
        let records = ModelRecord::of_manifest(&self.resolver.store, &subject);
        let stored: BTreeSet<Digest> = records.into_iter().flat_map(|record| record.referrers).collect();
        let mut seen = stored.clone();
        let mut all = self.read_referrers(subject, stored.into_iter().collect()).await;
        let named: Vec<(PeerId, Vec<Digest>)> =
            self.sent.referrers(subject).map(|(peer, referrers)| (peer, referrers.to_vec())).collect();
        // One of each peer in turn, so that no peer's list keeps this node from the others'.
        let longest = named.iter().map(|(_, it)| it.len()).max().unwrap_or_default();
        let in_turn = (0..longest).flat_map(|n| named.iter().filter_map(move |(_, it)| it.get(n))).copied();
        let (at_hand, mut others): (Vec<Digest>, Vec<Digest>) =
            in_turn.filter(|it| seen.insert(*it)).partition(|it| self.is_at_hand(it));
        all.found.extend(self.read_referrers(subject, at_hand).await.found);
        others.truncate(REFERRERS_READ_MAX.saturating_sub(all.found.len()));
        // A peer may name what no peer has. So these are waited for briefly, and are asked for again below if they are needed.
        let unread = others.clone();
        match until(Instant::now() + ANSWERS_PATIENCE, self.read_referrers(subject, others)).await {
            Some(more) => all.found.extend(more.found),
            None => seen.retain(|it| !unread.contains(it)),
        }
        if all.found.len() >= REFERRERS_READ_MAX {
            return all;
        }
        let is_proven = all.provenances().next().is_some();
        let is_named = |peer: &PeerId| is_proven && named.iter().any(|(it, _)| it == peer);
        let peers: Vec<PeerId> = self.peers.iter().copied().filter(|peer| !is_named(peer)).collect();
        for some in peers.chunks(REFERRER_PEERS_AT_ONCE) {
            let mut asked = JoinSet::new();
            for peer in some.iter().copied() {
                let network = self.resolver.network.clone();
                let request = Request::Referrers { subject, artifact_type: None };
                asked.spawn(async move { (peer, network.ask(peer, request).await) });
            }
            let mut waiting: BTreeSet<PeerId> =
                some.iter().copied().filter(|it| !self.silent.contains(it)).collect();
            let (mut end, mut is_enough) = (self.patience.end, all.provenances().next().is_some());
            if is_enough {
                // The provenance is in the store. Peers may know of attestations, and are not waited for.
                end = end.min(Instant::now() + ANSWERS_PATIENCE);
            }
            while !(is_enough && waiting.is_empty())
                && let Some(Some(answer)) = until(end, asked.join_next()).await
            {
                let Ok((peer, answer)) = answer else { continue };
                waiting.remove(&peer);
                let Ok(Response::Referrers { manifests }) = answer else { continue };
                let new = manifests.iter().map(|it| it.digest).filter(|it| seen.insert(*it)).collect();
                let found = self.read_referrers(subject, new).await;
                if found.provenances().next().is_some() {
                    is_enough = true;
                    end = end.min(Instant::now() + ANSWERS_PATIENCE);
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

    /// Asks the best peer for documents at once, so that reading them takes one round trip, and not one each. What it does
    /// not send soon is left to [`Self::get`].
    async fn get_at_once(&mut self, digests: &[Digest]) {
        let Some(peer) = self.peers.front().copied() else { return };
        let lacking: Vec<Digest> = digests.iter().copied().filter(|it| self.stored(it).is_none()).collect();
        for some in lacking.chunks(ANSWERS_PER_PEER_MAX) {
            let end = self.patience.end.min(Instant::now() + PROGRESS_PATIENCE);
            let mut asked = JoinSet::new();
            for digest in some.iter().copied() {
                let network = self.resolver.network.clone();
                asked
                    .spawn(async move { (digest, network.ask(peer, Request::GetDocument { digest }).await) });
            }
            while let Some(Some(answer)) = until(end, asked.join_next()).await {
                if let Ok((digest, answer @ Ok(Response::Document { .. }))) = answer {
                    self.take(digest, peer, answer);
                }
            }
            if !asked.is_empty() {
                return;
            }
        }
    }

    async fn read_referrers(&mut self, subject: Digest, digests: Vec<Digest>) -> Referrers {
        self.get_at_once(&digests).await;
        let mut referrers = Vec::new();
        for digest in digests {
            let Ok(bytes) = self.get(digest).await else { continue };
            let Ok(referrer) = Referrer::from_bytes(&bytes) else { continue };
            if referrer.subject.digest == subject {
                referrers.push((digest, referrer));
            }
        }
        let documents: Vec<Digest> = referrers.iter().map(|(_, it)| it.document.digest).collect();
        self.get_at_once(&documents).await;
        let mut found = Vec::new();
        for (digest, referrer) in referrers {
            if let Ok(document) = self.get(referrer.document.digest).await {
                found.push((digest, referrer, document));
            }
        }
        Referrers { found }
    }
}
