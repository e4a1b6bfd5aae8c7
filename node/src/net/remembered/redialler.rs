//! [`Redialler`]: dials remembered peers, and records which peers the event loop reaches.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use reg_proto::peer::{Address, PeerId};

use super::Remembered;
use super::dial_schedule::DialSchedule;
use super::known_peers::Met;
use crate::net::event_loop::EventLoop;
use crate::net::limits::{REDIAL_BELOW, REMEMBER_CONNECTED};
use crate::net::links::{from_libp2p, to_libp2p};
use crate::net::reach::without_peer;

/// A dial of a remembered peer.
#[derive(Debug)]
struct UnderWay {
    peer: PeerId,
    /// Addresses outside the open ranges that may be dialled until it has ended: this node has reached the peer there before.
    allowed: Vec<Multiaddr>,
}

/// The memory of an event loop, and its dials of remembered peers.
#[derive(Debug)]
pub(in crate::net) struct Redialler {
    memory: Remembered,
    schedule: DialSchedule,
    under_way: BTreeMap<ConnectionId, UnderWay>,
    /// When the peers that stay connected were last recorded.
    recorded: Instant,
}

impl Redialler {
    pub(in crate::net) fn new(memory: Remembered) -> Self {
        Self {
            memory,
            schedule: DialSchedule::default(),
            under_way: BTreeMap::new(),
            recorded: Instant::now(),
        }
    }
}

impl EventLoop {
    /// Dials the remembered peers that are due, and writes the file where that is due.
    pub(in crate::net) fn recall(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.redialler.recorded) >= REMEMBER_CONNECTED {
            self.redialler.recorded = now;
            self.links.ours().iter().for_each(|peer| self.remember(peer));
        }
        self.redialler.memory.save_if_due(now);
        let connected = self.links.chosen();
        let best =
            if connected < REDIAL_BELOW { self.redialler.memory.state().known.best() } else { Vec::new() };
        let due = self.redialler.schedule.due(&best, connected, |peer| self.links.is_connected(peer), now);
        due.into_iter().for_each(|peer| self.call(peer));
        let are_pending = self.redialler.schedule.are_pending(&best, connected);
        self.redialler.memory.0.is_pending.store(are_pending, Ordering::Relaxed);
    }

    fn call(&mut self, peer: PeerId) {
        let (addresses, allowed) = addresses_of(self.redialler.memory.state().known.peers().get(&peer));
        let condition = PeerCondition::DisconnectedAndNotDialing;
        let options = DialOpts::peer_id(to_libp2p(&peer)).condition(condition).addresses(addresses).build();
        let id = options.connection_id();
        allowed.iter().for_each(|address| self.ranges.allow(address));
        self.redialler.under_way.insert(id, UnderWay { peer, allowed });
        if let Err(error) = self.swarm.dial(options) {
            tracing::debug!(%peer, %error, "a remembered peer is not dialled");
            self.call_ended(id, Some(&error));
        }
    }

    /// Records that a dial has ended, if it is that of a remembered peer. A failure counts only where the peer was looked for at
    /// its addresses, and while another peer is connected: else this node is offline, most likely.
    pub(in crate::net) fn call_ended(&mut self, id: ConnectionId, error: Option<&DialError>) {
        let Some(UnderWay { peer, allowed }) = self.redialler.under_way.remove(&id) else { return };
        allowed.iter().for_each(|address| self.ranges.disallow(address));
        self.redialler.schedule.ended(&peer, error.is_none());
        let was_absent = matches!(error, Some(DialError::Transport(_) | DialError::WrongPeerId { .. }));
        if was_absent && !self.links.is_connected(&peer) && !self.links.ours().is_empty() {
            self.redialler.memory.change(|known, now| known.failed(&peer, now));
        }
    }

    /// Records that a peer that answers at a remembered address is not of this swarm.
    pub(in crate::net) fn met_stranger(&self, peer: &PeerId) {
        self.redialler.memory.change(|known, now| known.failed(peer, now));
    }

    /// Remembers a peer of this swarm at the addresses at which this node has dialled it.
    pub(in crate::net) fn remember(&self, peer: &PeerId) {
        for address in self.links.dialled_at(peer).iter().filter_map(bare) {
            self.redialler.memory.change(|known, now| known.reached(*peer, address, None, now));
        }
    }

    /// Records that a peer was of use, so that it stays connected in a crowd. One that is not remembered is remembered: where
    /// this node has dialled it, else where it says that it listens.
    pub(in crate::net) fn was_of_use(&mut self, peer: PeerId, is_remembered: bool) {
        self.links.was_of_use(&peer);
        if is_remembered {
            return;
        }
        for address in self.links.dialled_at(&peer).iter().filter_map(bare) {
            self.redialler.memory.change(|known, now| known.reached(peer, address, Some(now), now));
        }
        let claimed: Vec<Address> = self.links.claims(&peer).iter().filter_map(bare).collect();
        self.redialler.memory.change(|known, now| known.was_of_use(peer, &claimed, now));
    }

    /// Dials an address of the user's from now on, until it is connected, and again when it is lost.
    pub(in crate::net) fn name(&mut self, address: Multiaddr) {
        self.ranges.open(&address);
        self.discovery.name(address);
    }

    /// Ends that, and disconnects the peer that is forgotten.
    pub(in crate::net) fn unname(&mut self, addresses: &[Multiaddr], peers: &[PeerId]) {
        addresses.iter().for_each(|address| self.discovery.unname(address));
        let of_addresses = addresses.iter().filter_map(super::super::dialling::peer_of);
        let peers = of_addresses.chain(peers.iter().map(to_libp2p));
        for peer in peers.collect::<Vec<_>>() {
            let _was_connected = self.swarm.disconnect_peer_id(peer);
            self.swarm.behaviour_mut().kad.as_mut().map(|kad| kad.remove_peer(&peer));
            if let Some(peer) = from_libp2p(&peer) {
                self.links.forget_gone(&peer);
            }
        }
    }
}

/// Returns the addresses at which a peer is dialled, and those of them that may lie outside the open ranges: where this node has
/// reached the peer before. Where a peer says that it listens is dialled like all that peers say: in open ranges only.
fn addresses_of(met: Option<&Met>) -> (Vec<Multiaddr>, Vec<Multiaddr>) {
    let Some(met) = met else { return (Vec::new(), Vec::new()) };
    let addresses: Vec<Multiaddr> = met.addresses.iter().filter_map(|it| it.as_str().parse().ok()).collect();
    let allowed = if met.is_claimed { Vec::new() } else { addresses.clone() };
    (addresses, allowed)
}

/// Returns an address without the peer's id at its end; `None` for that of a relay, which says nothing of the peer.
fn bare(address: &Multiaddr) -> Option<Address> {
    let address = without_peer(address);
    let is_direct = address.iter().all(|part| !matches!(part, Protocol::P2p(_) | Protocol::P2pCircuit));
    address.to_string().parse().ok().filter(|_| is_direct && !address.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_claims_is_dialled_in_open_ranges_only() {
        let met = |is_claimed| Met {
            addresses: vec!["/ip4/192.168.1.1/tcp/1".parse().unwrap()],
            is_claimed,
            days: 1,
            success: 1,
            used: Some(1),
            failures: 0,
        };
        let (dialled, allowed) = addresses_of(Some(&met(true)));
        assert_eq!((dialled.len(), allowed.len()), (1, 0));
        let (dialled, allowed) = addresses_of(Some(&met(false)));
        assert_eq!((dialled.len(), &allowed), (1, &dialled), "this node was there before");
    }
}
