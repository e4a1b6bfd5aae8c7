//! [`Peers`]: the peers of one download, from the moment a peer is found until its stream ends.

use std::collections::{BTreeMap, BTreeSet};

use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::wire::Frame;
use reg_transfer::Nearness;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::dialling::Dialling;
use super::event::Deliver;
use super::nearness::{self, Zone};
use super::peer_source::PeerSource;
use super::returning::Returning;
use crate::net::{Network, OpenStreamError};
use crate::registry::limits::LOOK_ANEW;
use crate::registry::resolve::{Finder, Search};

/// The peers that are dialled, and those that pieces are fetched from.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// The peers with an open stream.
    sources: BTreeMap<PeerId, PeerSource>,
    pub dialling: Dialling,
    /// The peers to go back to.
    pub returning: Returning,
    opening: JoinSet<(PeerId, Result<PeerSource, OpenStreamError>)>,
    /// Tasks that determine how near a peer is.
    placing: JoinSet<(PeerId, Nearness)>,
    /// How many peers can be reached through relays only.
    pub behind_nat: usize,
    /// Bytes of piece states that one peer may send in one frame.
    states_max: usize,
    /// How to search for peers again once no peer is left, and when that was done last.
    pub search: Option<(Search, Instant)>,
}

/// News of a peer that was dialled.
#[derive(Debug)]
pub(super) enum Met {
    /// The stream of a peer, or why there is none.
    Opened(PeerId, Result<PeerSource, OpenStreamError>),
    /// How near a peer is.
    Placed(PeerId, Nearness),
}

impl Peers {
    /// Returns an empty set. Each peer may send at most `states_max` bytes of piece states in one frame.
    pub(super) fn new(states_max: usize) -> Self {
        Self { states_max, ..Self::default() }
    }

    /// Returns how many peers have an open stream.
    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }

    /// Tells whether any peer has an open stream.
    pub(super) fn has_source(&self) -> bool {
        !self.sources.is_empty()
    }

    /// Tells whether a peer has an open stream.
    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.sources.contains_key(peer)
    }

    /// Returns the peers with an open stream.
    pub(super) fn ids(&self) -> Vec<PeerId> {
        self.sources.keys().copied().collect()
    }

    /// Tells whether no peer has a stream, waits to be dialled, or is being dialled.
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.dialling.is_empty()
    }

    /// Opens a stream to a peer in a task; [`Self::next`] returns the result.
    pub(super) fn open(
        &mut self,
        network: &Network,
        peer: PeerId,
        deliver: impl Future<Output = Deliver> + Send + 'static,
    ) {
        let (network, states_max) = (network.clone(), self.states_max);
        self.opening.spawn(async move {
            let deliver = deliver.await;
            (peer, PeerSource::open(&network, peer, states_max, deliver).await)
        });
    }

    /// Returns the next news of a peer; `None` if no stream is being opened and no nearness determined.
    pub(super) async fn next(&mut self) -> Option<Met> {
        tokio::select! {
            biased;
            Some(Ok((peer, source))) = self.opening.join_next() => Some(Met::Opened(peer, source)),
            Some(Ok((peer, nearness))) = self.placing.join_next() => Some(Met::Placed(peer, nearness)),
            else => None,
        }
    }

    /// Adds a stream, makes it follow these blobs, and begins to determine how near its peer is.
    pub(super) fn insert(
        &mut self,
        peer: PeerId,
        mut source: PeerSource,
        follows: &BTreeSet<Digest>,
        network: &Network,
        zone: &std::sync::Arc<Zone>,
    ) {
        source.follow(follows);
        self.sources.insert(peer, source);
        let (network, zone) = (network.clone(), zone.clone());
        self.placing.spawn(async move { (peer, nearness::of(&network, peer, &zone).await) });
    }

    /// Notes how near a peer is. Returns whether it has an open stream.
    pub(super) fn placed(&mut self, peer: &PeerId, nearness: Nearness) -> bool {
        match self.sources.get_mut(peer) {
            Some(source) => source.nearness = nearness,
            None => return false,
        }
        true
    }

    /// Tells whether a peer is on this machine or in the zone. One of which that is not known yet counts as far.
    pub(super) fn is_near(&self, peer: &PeerId) -> bool {
        self.sources.get(peer).is_some_and(|source| source.nearness.is_near())
    }

    /// Closes the stream of a peer.
    pub(super) fn remove(&mut self, peer: &PeerId) {
        self.sources.remove(peer);
    }

    /// Makes every stream follow exactly these blobs.
    pub(super) fn follow(&mut self, blobs: &BTreeSet<Digest>) {
        self.sources.values_mut().for_each(|source| source.follow(blobs));
    }

    /// Sends a frame to a peer; does nothing if the peer has no stream.
    pub(super) fn send(&self, peer: PeerId, frame: Frame) {
        if let Some(source) = self.sources.get(&peer) {
            source.send(frame);
        }
    }

    /// Notes whether a peer holds a wanted piece. Returns whether it has ever held one; `None` if it has no stream.
    pub(super) fn note_holds(&mut self, peer: PeerId, any: bool) -> Option<bool> {
        let source = self.sources.get_mut(&peer)?;
        source.holds_any |= any;
        if any {
            self.returning.expect(peer);
        }
        Some(source.holds_any)
    }

    /// Does not count bytes of a peer as heard that nobody has asked for.
    pub(super) fn ignore(&mut self, peer: &PeerId, bytes: usize) {
        if let Some(source) = self.sources.get_mut(peer) {
            source.ignore(bytes as u64);
        }
    }

    /// Returns the peers that have sent bytes of pieces since the last call.
    pub(super) fn heard(&mut self) -> Vec<PeerId> {
        let sources = self.sources.iter_mut();
        sources.filter_map(|(peer, source)| source.is_heard().then_some(*peer)).collect()
    }

    /// Returns the peers that send more or fewer pieces beside each other than at the last call, and how many.
    pub(super) fn ways(&mut self) -> Vec<(PeerId, u32)> {
        let sources = self.sources.iter_mut();
        sources.filter_map(|(peer, source)| Some((*peer, source.news_of_ways()?))).collect()
    }

    /// Tells whether any peer has held a wanted piece.
    pub(super) fn any_holds(&self) -> bool {
        self.sources.values().any(|source| source.holds_any)
    }

    /// Returns the peers that have held no wanted piece since their stream was opened a while ago.
    pub(super) fn useless(&self) -> Vec<PeerId> {
        self.sources.iter().filter(|(_, it)| it.is_useless()).map(|(peer, _)| *peer).collect()
    }

    /// Returns a new finder if no peer is left and the last search was long enough ago. A finder names each peer once, so a
    /// peer that comes back is found only by a new one.
    pub(super) fn look_anew(&mut self, network: &Network) -> Option<Finder> {
        let is_empty = self.is_empty();
        let (search, last) =
            self.search.as_mut().filter(|(_, last)| is_empty && last.elapsed() >= LOOK_ANEW)?;
        *last = Instant::now();
        Some(Finder::start(network, search.clone()))
    }
}
