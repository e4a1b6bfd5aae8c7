//! [`Disputes`]: all disputes of one download, the requests that settle them, and their outcomes.

use std::collections::{BTreeMap, BTreeSet};

use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::piece::PieceIndex;
use reg_proto::states::PieceStates;
use tokio::time::Instant;

use super::dispute::{self, Dispute, Ruling};
use crate::registry::limits::DISPUTE_TIMEOUT;

/// Requests from this number on settle disputes. The scheduler counts from 1 and never reaches it.
const DISPUTE_REQUESTS_FROM: u32 = 1 << 31;

/// The disputes of one download.
#[derive(Debug)]
pub(super) struct Disputes {
    /// Each dispute with the moment at which it times out.
    open: BTreeMap<(PeerId, Digest), (Dispute, Instant)>,
    next_request: u32,
    requests: BTreeMap<u32, (PeerId, Digest)>,
    /// Requests that a busy peer has refused. They are sent again at the next tick.
    refused: BTreeSet<u32>,
}

/// A request for the piece where two lists of states differ.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub peer: PeerId,
    pub id: u32,
    pub blob: Digest,
    pub piece: PieceIndex,
}

/// The outcome of the states that a peer sent.
#[derive(Debug)]
pub(super) enum Answered {
    Ask(Question),
    PeerLies,
}

impl Default for Disputes {
    fn default() -> Self {
        Self {
            open: BTreeMap::new(),
            next_request: DISPUTE_REQUESTS_FROM,
            requests: BTreeMap::new(),
            refused: BTreeSet::new(),
        }
    }
}

impl Disputes {
    /// Tells whether a dispute with a peer about a blob is open.
    pub(super) fn is_open(&self, peer: PeerId, blob: Digest) -> bool {
        self.open.contains_key(&(peer, blob))
    }

    /// Begins a dispute. The caller then asks the peer for its states.
    pub(super) fn begin(&mut self, peer: PeerId, blob: Digest, now: Instant) {
        self.open.insert((peer, blob), (Dispute::AwaitingStates, now + DISPUTE_TIMEOUT));
    }

    /// Judges by the states that the peer sent; returns `None` if it was not asked for them.
    pub(super) fn on_states(
        &mut self,
        peer: PeerId,
        blob: Digest,
        ours: &PieceStates,
        theirs: &[u8],
    ) -> Option<Answered> {
        let Some((Dispute::AwaitingStates, deadline)) = self.open.get(&(peer, blob)) else { return None };
        let deadline = *deadline;
        Some(match dispute::on_states(ours, theirs) {
            Ruling::Ask { piece, dispute } => {
                let id = self.next_request;
                self.next_request = id.wrapping_add(1).max(DISPUTE_REQUESTS_FROM);
                self.requests.insert(id, (peer, blob));
                self.open.insert((peer, blob), (dispute, deadline));
                Answered::Ask(Question { peer, id, blob, piece })
            }
            Ruling::PeerLies | Ruling::ListIsFalse => Answered::PeerLies,
        })
    }

    /// Returns the peer and the blob of a request that settles a dispute; `None` for any other request.
    pub(super) fn of_request(&self, id: u32) -> Option<(PeerId, Digest)> {
        self.requests.get(&id).copied()
    }

    /// Judges by the piece where the lists differ; returns `None` if no such piece was requested.
    pub(super) fn on_piece(
        &self,
        peer: PeerId,
        blob: Digest,
        ours: &PieceStates,
        bytes: &[u8],
    ) -> Option<Ruling> {
        let Some((Dispute::AwaitingPiece { theirs, piece }, _)) = self.open.get(&(peer, blob)) else {
            return None;
        };
        Some(dispute::on_piece(&blob, ours, theirs, *piece, bytes))
    }

    /// Notes that a busy peer has refused a request. Returns whether the request belongs to a dispute with that peer.
    pub(super) fn refuse(&mut self, peer: PeerId, id: u32) -> bool {
        let is_ours = self.requests.get(&id).is_some_and(|(of, _)| *of == peer);
        if is_ours {
            self.refused.insert(id);
        }
        is_ours
    }

    /// Returns the refused requests, which are to be sent again. The timeout of their disputes does not move.
    pub(super) fn take_refused(&mut self) -> Vec<Question> {
        let ask_again = |id| {
            let (peer, blob) = self.requests.get(&id).copied()?;
            match self.open.get(&(peer, blob)) {
                Some((Dispute::AwaitingPiece { piece, .. }, _)) => {
                    Some(Question { peer, id, blob, piece: *piece })
                }
                _ => None,
            }
        };
        std::mem::take(&mut self.refused).into_iter().filter_map(ask_again).collect()
    }

    /// Returns the peers with a dispute that has timed out.
    pub(super) fn late(&self, now: Instant) -> Vec<PeerId> {
        let late = self.open.iter().filter(|(_, (_, deadline))| *deadline < now);
        late.map(|((peer, _), _)| *peer).collect()
    }

    /// Forgets all disputes with a peer.
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.open.retain(|(of, _), _| *of != peer);
        self.requests.retain(|_, (of, _)| *of != peer);
    }
}
