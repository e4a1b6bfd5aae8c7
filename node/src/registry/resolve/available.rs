//! Finds out whether the wanted blobs of a version are here or at peers that are reached, before any byte is fetched.
//!
//! A peer that holds the whole model says so when it is asked for its holders. The other peers say which pieces they hold,
//! as to a puller. A web seed is asked for one byte of each file. What is said is a hint: the bytes are verified later.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use reg_api::selection::{SelectError, Selection};
use reg_api::web_seed::{Subject, WebSeed};
use reg_proto::digest::Digest;
use reg_proto::limits::BLOBS_FOLLOWED_MAX;
use reg_proto::manifest::Manifest;
use reg_proto::name::{ModelName, PublisherId};
use reg_proto::path::SafePath;
use reg_proto::peer::PeerId;
use reg_proto::piece::{BlobLayout, PieceSet};
use reg_proto::wire::{Frame, Held, Request, Response};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::debug;

use super::documents::Documents;
use crate::net::Network;
use crate::registry::limits::{HOLDERS_ASKED_AT_ONCE, QUIET_NAMED, WEB_PROBES_MAX};
use crate::registry::model::record::ModelRecord;
use crate::registry::model::whole;
use crate::store::{Partial, Store};
use crate::webseed::WebClient;

/// The blobs of a version that its user needs.
#[derive(Debug, Clone, Default)]
pub enum Wanted {
    /// All of them, or those of the files that were chosen when the version was pulled before.
    #[default]
    Version,
    /// Those of some files.
    Files(Selection),
    /// Some pieces of each of these files.
    Pieces(Selection),
}

impl Wanted {
    fn of(&self, manifest: &Manifest) -> Result<BTreeMap<Digest, BlobLayout>, SelectError> {
        match self {
            Self::Version => Ok(manifest.blobs()),
            Self::Files(selection) | Self::Pieces(selection) => {
                Ok(selection.choose(manifest, &mut Vec::new())?.blobs(manifest))
            }
        }
    }

    /// Returns those of the wanted blobs that are not here.
    pub(super) async fn missing(
        &self,
        store: &Store,
        of: Version<'_>,
    ) -> Result<BTreeMap<Digest, BlobLayout>, SelectError> {
        let wanted = self.of(of.manifest)?;
        let missing = whole::missing(store, wanted.clone()).await.unwrap_or(wanted);
        if missing.is_empty() || !matches!(self, Self::Version) {
            return Ok(missing);
        }
        let record = ModelRecord::load(store, &of.digest, of.publisher, of.model).ok().flatten();
        let chosen = record.filter(|it| it.chosen.is_some()).map(|it| it.part().blobs(of.manifest));
        let has_chosen = chosen.is_some_and(|it| it.keys().all(|blob| !missing.contains_key(blob)));
        Ok(if has_chosen { BTreeMap::new() } else { missing })
    }
}

/// A version of a publisher's model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Version<'a> {
    pub(super) publisher: PublisherId,
    pub(super) model: &'a ModelName,
    pub(super) digest: Digest,
    pub(super) manifest: &'a Manifest,
}

/// Peers that have been asked whether they hold a version.
#[derive(Debug, Default)]
pub(super) struct Probes {
    asked: BTreeSet<PeerId>,
    answers: JoinSet<(PeerId, bool)>,
}

impl Probes {
    fn ask(&mut self, network: &Network, peer: PeerId, manifest: Digest) {
        if !self.asked.insert(peer) {
            return;
        }
        let network = network.clone();
        self.answers.spawn(async move {
            let answer = network.ask(peer, Request::GetHolders { manifest }).await;
            let holds = matches!(&answer, Ok(Response::Holders { holders })
                if holders.iter().any(|holder| holder.peer == peer));
            (peer, holds)
        });
    }
}

impl Documents<'_> {
    /// Asks the known peers whether they hold a version, while its documents are fetched. So a holder that answers at once
    /// costs no time.
    pub(super) fn probe(&self, manifest: Digest) -> Probes {
        let mut probes = Probes::default();
        if self.holder(manifest).is_some() {
            return probes;
        }
        for peer in self.peers.iter().take(HOLDERS_ASKED_AT_ONCE) {
            probes.ask(&self.resolver.network, *peer, manifest);
        }
        probes
    }

    /// Returns how many of the missing blobs neither peers that are reached nor web seeds have: 0 where the version can be
    /// fetched. `is_some` tells that some pieces of each blob suffice.
    pub(super) async fn unavailable(
        &mut self,
        of: Version<'_>,
        missing: BTreeMap<Digest, BlobLayout>,
        mut probes: Probes,
        seeds: &[WebSeed],
        is_some: bool,
    ) -> usize {
        let mut coverage = Coverage::new(&self.resolver.store, missing, is_some);
        if coverage.lacking() == 0 {
            return 0;
        }
        if let Some(holder) = self.holder(of.digest) {
            self.peers.retain(|it| *it != holder);
            self.peers.push_front(holder);
            return 0;
        }
        let mut web = JoinSet::new();
        if !self.resolver.network.is_offline() && !seeds.is_empty() {
            web.spawn(of_web(seeds.to_vec(), urls(seeds, of, coverage.missing.keys())));
        }
        let mut left: VecDeque<PeerId> =
            self.peers.iter().copied().filter(|peer| !probes.asked.contains(peer)).collect();
        let mut follows = JoinSet::new();
        let (end, mut last_news) = (self.end(), Instant::now());
        loop {
            let is_idle =
                left.is_empty() && probes.answers.is_empty() && follows.is_empty() && web.is_empty();
            if coverage.lacking() == 0 || (is_idle && self.is_quiet(last_news)) {
                return coverage.lacking();
            }
            tokio::select! {
                Some(Ok((peer, holds))) = probes.answers.join_next() => {
                    last_news = Instant::now();
                    if holds {
                        self.peers.retain(|it| *it != peer);
                        self.peers.push_front(peer);
                        return 0;
                    }
                    let (network, missing) = (self.resolver.network.clone(), coverage.missing.clone());
                    follows.spawn(async move { held_by(&network, peer, &missing, end).await });
                }
                Some(Ok(held)) = follows.join_next() => held.iter().for_each(|(blob, held)| coverage.add(blob, held)),
                Some(Ok(blobs)) = web.join_next() => {
                    blobs.iter().for_each(|blob| coverage.add(blob, &Held::All));
                }
                peer = self.next_of(&mut left), if probes.answers.len() < HOLDERS_ASKED_AT_ONCE => {
                    if !self.resolver.bans.is_banned(&peer) {
                        probes.ask(&self.resolver.network, peer, of.digest);
                    }
                }
                () = tokio::time::sleep(QUIET_NAMED), if is_idle => {}
                () = tokio::time::sleep_until(end) => return coverage.lacking(),
            }
        }
    }
}

/// Which pieces of the missing blobs are here or at peers that were reached.
struct Coverage {
    missing: BTreeMap<Digest, BlobLayout>,
    pieces: BTreeMap<Digest, PieceSet>,
    is_some: bool,
}

impl Coverage {
    /// Begins with the pieces in the store.
    fn new(store: &Store, missing: BTreeMap<Digest, BlobLayout>, is_some: bool) -> Self {
        let here = |blob: &Digest, layout: &BlobLayout| {
            let partials = store.open_partial(blob);
            let have = partials.iter().map(Partial::have).find(|have| have.len() == layout.piece_count());
            have.unwrap_or_else(|| PieceSet::new(layout.piece_count()))
        };
        let pieces = missing.iter().map(|(blob, layout)| (*blob, here(blob, layout))).collect();
        Self { missing, pieces, is_some }
    }

    fn add(&mut self, blob: &Digest, held: &Held) {
        let (Some(layout), Some(pieces)) = (self.missing.get(blob), self.pieces.get_mut(blob)) else {
            return;
        };
        if let Ok(held) = held.to_set(*layout) {
            for piece in held.iter() {
                pieces.insert(piece);
            }
        }
    }

    fn lacking(&self) -> usize {
        let is_covered = |it: &PieceSet| if self.is_some { !it.is_empty() } else { it.is_full() };
        self.pieces.values().filter(|pieces| !is_covered(pieces)).count()
    }
}

/// Asks a peer which pieces of some blobs it holds, until `end`.
async fn held_by(
    network: &Network,
    peer: PeerId,
    blobs: &BTreeMap<Digest, BlobLayout>,
    end: Instant,
) -> BTreeMap<Digest, Held> {
    let mut held = BTreeMap::new();
    let asking = async {
        let (mut reader, mut writer) = network.open_stream(peer).await.ok()?;
        let blobs: Vec<Digest> = blobs.keys().copied().collect();
        for some in blobs.chunks(BLOBS_FOLLOWED_MAX) {
            for blob in some {
                writer.send(&Frame::Follow { blob: *blob }).await.ok()?;
            }
            let mut answered = 0;
            while answered < some.len() {
                let frame = reader.next().await.ok()??;
                if let Frame::Holds { blob, pieces } = frame {
                    answered += usize::from(held.insert(blob, pieces).is_none());
                }
            }
            for blob in some {
                writer.send(&Frame::Unfollow { blob: *blob }).await.ok()?;
            }
        }
        Some(())
    };
    if !matches!(tokio::time::timeout_at(end, asking).await, Ok(Some(()))) {
        debug!(%peer, "a peer did not say which pieces it holds");
    }
    held
}

/// Returns the URLs of blobs at web seeds, with the sizes that the publisher signed.
fn urls<'a>(
    seeds: &[WebSeed],
    of: Version<'_>,
    missing: impl Iterator<Item = &'a Digest>,
) -> Vec<(Digest, u64, Vec<String>)> {
    let Version { publisher, model, digest, manifest } = of;
    let paths: BTreeMap<Digest, &SafePath> =
        manifest.files().iter().map(|file| (file.digest, &file.path)).collect();
    let blobs = manifest.blobs();
    let url = |seed: &WebSeed, blob: &Digest| {
        let path = paths.get(blob).copied();
        seed.url_of(Subject { publisher: &publisher, model, manifest: &digest, blob, path })
    };
    let entry = |blob: &Digest| {
        let urls = seeds.iter().filter_map(|seed| url(seed, blob)).collect();
        (*blob, blobs.get(blob).map_or(0, |layout| layout.size()), urls)
    };
    missing.map(entry).collect()
}

/// Asks web seeds for one byte of each of the first [`WEB_PROBES_MAX`] blobs, and returns the blobs that they have. A seed
/// that has all of these is taken to have the others too.
async fn of_web(seeds: Vec<WebSeed>, urls: Vec<(Digest, u64, Vec<String>)>) -> Vec<Digest> {
    let Ok(client) = WebClient::new(seeds.iter()) else { return Vec::new() };
    let mut asked = JoinSet::new();
    for (blob, size, urls) in urls.iter().take(WEB_PROBES_MAX).cloned() {
        let client = client.clone();
        asked.spawn(async move {
            for url in urls {
                if size == 0 || client.open(&url, 0..1, size).await.is_ok() {
                    return Some(blob);
                }
            }
            None
        });
    }
    let found: Vec<Digest> = asked.join_all().await.into_iter().flatten().collect();
    let has_all = found.len() == urls.len().min(WEB_PROBES_MAX);
    let rest = urls.iter().skip(WEB_PROBES_MAX).filter(|(_, _, urls)| has_all && !urls.is_empty());
    rest.map(|(blob, _, _)| *blob).chain(found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_covered_by_the_pieces_of_all_peers_together() {
        let layout = BlobLayout::new(3 << 20).unwrap();
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), crate::store::CacheLimits::default()).unwrap();
        let held = |pieces: &[u32]| {
            let mut set = PieceSet::new(layout.piece_count());
            for index in pieces {
                set.insert(layout.piece(*index).unwrap());
            }
            Held::from_set(&set)
        };
        type Row<'a> = (&'a [(Digest, Held)], usize, usize);
        let table: [Row<'_>; 6] = [
            (&[], 2, 2),
            (&[(one, Held::All)], 1, 1),
            (&[(one, Held::All), (two, held(&[0, 2]))], 1, 0),
            (&[(one, Held::All), (two, held(&[0, 2])), (two, held(&[1]))], 0, 0),
            (&[(one, Held::None), (two, Held::None)], 2, 2),
            (&[(Digest::of(b"other"), Held::All)], 2, 2),
        ];
        for (said, lacking, lacking_some) in table {
            for (is_some, expected) in [(false, lacking), (true, lacking_some)] {
                let missing = BTreeMap::from([(one, layout), (two, layout)]);
                let mut coverage = Coverage::new(&store, missing, is_some);
                said.iter().for_each(|(blob, held)| coverage.add(blob, held));
                assert_eq!(coverage.lacking(), expected, "{said:?}");
            }
        }
    }
}
