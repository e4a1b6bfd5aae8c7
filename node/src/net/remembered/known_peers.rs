//! [`KnownPeers`]: the peers that this node has met, and the addresses that its user has added. Pure: the time is an argument, in
//! seconds since 1970.
//!
//! A peer is remembered at an address once this node has dialled it there with success. What a peer says of itself is a
//! claim: it gets a small share of the places, and only if the peer was of use.

use std::collections::BTreeMap;

use reg_proto::peer::{Address, PeerId};

use super::rank::{self, Group};
use crate::net::limits::{
    ADDRESSES_REMEMBERED_MAX, NAMED_PEERS_MAX, REMEMBERED_CLAIMS_MAX, REMEMBERED_MAX,
    REMEMBERED_PER_GROUP_MAX, REMEMBERED_STEP,
};

/// What is remembered of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Met {
    /// Where to dial it, without its id, the best address first.
    pub(super) addresses: Vec<Address>,
    /// Whether the peer itself named the addresses, and this node has not reached it there.
    pub(super) is_claimed: bool,
    /// On how many days it was met.
    pub(super) days: u32,
    /// When it was last connected.
    pub(super) success: u64,
    /// When it last sent something that this node had asked for, and that has verified.
    pub(super) used: Option<u64>,
    /// Dials in a row that did not reach it.
    pub(super) failures: u32,
}

/// There is no room for one more address of the user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoRoom;

/// The remembered peers. Each operation returns whether there is news to write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KnownPeers {
    peers: BTreeMap<PeerId, Met>,
    /// Addresses that the user has added, with the peer's id where it is known. They stay until the user removes them.
    named: Vec<Address>,
}

const DAY: u64 = 86_400;

impl KnownPeers {
    /// Returns the peers with what a file says, within the bounds.
    pub(super) fn new(peers: BTreeMap<PeerId, Met>, named: Vec<Address>, now: u64) -> Self {
        let mut known = Self { peers: BTreeMap::new(), named };
        known.named.truncate(NAMED_PEERS_MAX);
        for (peer, mut met) in peers {
            // The clock may have been wrong, or be so now.
            met.success = met.success.min(now);
            met.used = met.used.map(|used| used.min(now));
            let _fits = known.admit(peer, met, now);
        }
        known
    }

    pub(super) fn peers(&self) -> &BTreeMap<PeerId, Met> {
        &self.peers
    }

    pub(super) fn named(&self) -> &[Address] {
        &self.named
    }

    /// Returns the peers to dial, the best first.
    pub(super) fn best(&self) -> Vec<PeerId> {
        rank::dial_order(&self.peers)
    }

    /// Records that this node has dialled `address`, and that the peer has answered there and is of this swarm. `used` says when
    /// one that is not remembered was of use.
    pub(super) fn reached(&mut self, peer: PeerId, address: Address, used: Option<u64>, now: u64) -> bool {
        let Some(mut met) = self.peers.get(&peer).cloned() else {
            let addresses = vec![address];
            let met = Met { addresses, is_claimed: false, days: 1, success: now, used, failures: 0 };
            return self.admit(peer, met, now);
        };
        let is_news = met.is_claimed
            || met.failures > 0
            || met.addresses.first() != Some(&address)
            || now.saturating_sub(met.success) >= REMEMBERED_STEP;
        if !is_news {
            return false;
        }
        if met.is_claimed {
            met.addresses.clear();
        }
        met.addresses.retain(|known| *known != address);
        met.addresses.insert(0, address);
        met.addresses.truncate(ADDRESSES_REMEMBERED_MAX);
        met.days = met.days.saturating_add(u32::from(now / DAY > met.success / DAY));
        (met.is_claimed, met.failures, met.success) = (false, 0, now.max(met.success));
        let before = self.peers.remove(&peer);
        if !self.admit(peer, met, now)
            && let Some(before) = before
        {
            self.peers.insert(peer, before);
            return false;
        }
        true
    }

    /// Records that a peer was of use. `claimed` are the addresses that it says it listens on, for one that is not remembered.
    pub(super) fn was_of_use(&mut self, peer: PeerId, claimed: &[Address], now: u64) -> bool {
        if let Some(met) = self.peers.get_mut(&peer) {
            let is_news = met.used.is_none_or(|used| now.saturating_sub(used) >= REMEMBERED_STEP);
            if is_news {
                met.used = Some(now);
            }
            return is_news;
        }
        let addresses: Vec<Address> = claimed.iter().take(ADDRESSES_REMEMBERED_MAX).cloned().collect();
        let met = Met { addresses, is_claimed: true, days: 1, success: now, used: Some(now), failures: 0 };
        self.admit(peer, met, now)
    }

    /// Records that a dial did not reach a peer, and forgets the peer where it was of no use for long enough.
    pub(super) fn failed(&mut self, peer: &PeerId, now: u64) -> bool {
        let Some(met) = self.peers.get_mut(peer) else { return false };
        met.failures = met.failures.saturating_add(1);
        if rank::is_forgotten(met, now) {
            self.peers.remove(peer);
        }
        true
    }

    /// Forgets a peer that this node has met. An address that the user has named stays.
    pub(super) fn drop_met(&mut self, peer: &PeerId) -> bool {
        self.peers.remove(peer).is_some()
    }

    /// Adds an address that the user names, and returns whether that is new.
    ///
    /// # Errors
    /// [`NAMED_PEERS_MAX`] are named already.
    pub(super) fn name(&mut self, address: Address) -> Result<bool, NoRoom> {
        if self.named.contains(&address) {
            return Ok(false);
        }
        if self.named.len() >= NAMED_PEERS_MAX {
            return Err(NoRoom);
        }
        self.named.push(address);
        Ok(true)
    }

    /// Takes back what [`Self::name`] has added. Everything else stays.
    pub(super) fn unname(&mut self, address: &Address) -> bool {
        let before = self.named.len();
        self.named.retain(|it| it != address);
        self.named.len() < before
    }

    /// Removes a peer, and the addresses of the user's that lead to it. Returns those.
    pub(super) fn forget_peer(&mut self, peer: &PeerId) -> (bool, Vec<Address>) {
        let is_known = self.peers.remove(peer).is_some();
        let end = format!("/p2p/{peer}");
        let unnamed = self.named.extract_if(.., |it| it.as_str().ends_with(&end)).collect();
        (is_known, unnamed)
    }

    /// Removes an address, with or without a peer's id at its end, wherever it is remembered. Returns whether it was, and which
    /// of the user's addresses are gone.
    pub(super) fn forget_address(&mut self, address: &Address) -> (Vec<PeerId>, Vec<Address>) {
        let (bare, _) = address.parts();
        let unnamed: Vec<Address> =
            self.named.extract_if(.., |it| it == address || it.parts().0 == bare).collect();
        let mut had_it = Vec::new();
        self.peers.retain(|peer, met| {
            let before = met.addresses.len();
            met.addresses.retain(|it| it.as_str() != bare);
            had_it.extend((met.addresses.len() < before).then_some(*peer));
            !met.addresses.is_empty()
        });
        (had_it, unnamed)
    }

    /// Keeps a peer if there is room for it, or if it is worth more than another. Drops addresses of a crowded group.
    fn admit(&mut self, peer: PeerId, mut met: Met, now: u64) -> bool {
        met.addresses.truncate(ADDRESSES_REMEMBERED_MAX);
        let mut displaced = Vec::new();
        met.addresses = std::mem::take(&mut met.addresses)
            .into_iter()
            .filter(|address| {
                let Some(group) = rank::group(address) else { return true };
                self.has_room(&|it| is_of(it, &group), REMEMBERED_PER_GROUP_MAX, &met, now, &mut displaced)
            })
            .collect();
        let is_fine = !met.addresses.is_empty()
            && (!met.is_claimed
                || self.has_room(&|it| it.is_claimed, REMEMBERED_CLAIMS_MAX, &met, now, &mut displaced))
            && self.has_room(&|_| true, REMEMBERED_MAX, &met, now, &mut displaced);
        if is_fine {
            displaced.iter().for_each(|it| drop(self.peers.remove(it)));
            self.peers.insert(peer, met);
        }
        is_fine
    }

    /// Tells whether fewer than `max` peers are `alike`, once those are gone that are displaced. Displaces one more where `met`
    /// is worth more.
    fn has_room(
        &self,
        alike: &dyn Fn(&Met) -> bool,
        max: usize,
        met: &Met,
        now: u64,
        displaced: &mut Vec<PeerId>,
    ) -> bool {
        let all = self.peers.iter().filter(|(peer, it)| alike(it) && !displaced.contains(peer));
        let all: Vec<(&PeerId, &Met)> = all.collect();
        if all.len() < max {
            return true;
        }
        let worst = all.into_iter().min_by_key(|(_, it)| rank::worth(it, now));
        match worst {
            Some((peer, it)) if rank::worth(it, now) < rank::worth(met, now) => {
                displaced.push(*peer);
                true
            }
            _ => false,
        }
    }
}

fn is_of(met: &Met, group: &Group) -> bool {
    met.addresses.iter().any(|it| rank::group(it).as_ref() == Some(group))
}

#[cfg(test)]
mod tests;
