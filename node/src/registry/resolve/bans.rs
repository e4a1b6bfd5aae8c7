//! [`Bans`]: the peers that sent wrong bytes, from which this node does not fetch for a while. Bans are kept in memory
//! by the authenticated peer id. They are reported to no peer, because such a report could be forged.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use reg_proto::peer::PeerId;

use crate::registry::limits::{BAN, BANS_MAX};

/// The bans of this node.
#[derive(Debug, Default)]
pub struct Bans(Mutex<BTreeMap<PeerId, Instant>>);

impl Bans {
    /// Bans a peer from now on.
    pub fn ban(&self, peer: PeerId) {
        let mut bans = self.0.lock().expect("no holder of this lock panics");
        bans.insert(peer, Instant::now());
        if bans.len() > BANS_MAX
            && let Some(oldest) = bans.iter().min_by_key(|(_, since)| **since).map(|(peer, _)| *peer)
        {
            bans.remove(&oldest);
        }
    }

    /// Tells whether a peer is banned.
    pub fn is_banned(&self, peer: &PeerId) -> bool {
        let mut bans = self.0.lock().expect("no holder of this lock panics");
        match bans.get(peer) {
            Some(since) if since.elapsed() < BAN => true,
            Some(_) => {
                bans.remove(peer);
                false
            }
            None => false,
        }
    }
}
