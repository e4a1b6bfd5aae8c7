//! Asks connected peers for the peers that they know, and dials those, until a peer has answered for the name.
//!
//! All connected peers are asked at once. Then one peer that each of them named is dialled in turn. So a peer that
//! names many others gets no more than its share, and one that does not answer, or cannot be dialled, delays no other.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use reg_proto::announcement::Holder;
use reg_proto::peer::PeerId;
use reg_proto::wire::{Request, Response};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::finder::{Event, Found};
use super::questions::{QuestionSlot, QuestionSlots};
use crate::net::{AskError, Network};
use crate::registry::limits::{
    ASKED_AROUND_MAX, BUSY_TRIES, BUSY_WAIT_MAX, CANDIDATES_MAX, DIAL_SLOW, DIALS_AT_ONCE, DIALS_MAX,
    LOOK_AGAIN,
};

/// The peers that were asked, and those that they named.
pub(super) struct Introductions {
    network: Network,
    /// Peers that need no introduction any more.
    known: BTreeSet<PeerId>,
    asked: BTreeSet<PeerId>,
    tellers: JoinSet<(PeerId, Vec<Holder>)>,
    /// For each peer that answered, the peers that it named and that are not dialled yet.
    named: VecDeque<(PeerId, VecDeque<Holder>)>,
    introduced: usize,
    dials: JoinSet<Found>,
    slots: QuestionSlots,
}

impl Introductions {
    /// Returns introductions for which no peer was asked yet.
    pub(super) fn new(network: Network) -> Self {
        Self {
            known: BTreeSet::from([network.peer_id()]),
            network,
            asked: BTreeSet::new(),
            tellers: JoinSet::new(),
            named: VecDeque::new(),
            introduced: 0,
            dials: JoinSet::new(),
            slots: QuestionSlots::new(DIALS_AT_ONCE, DIAL_SLOW),
        }
    }

    /// Handles one event, and sends each peer that was reached to `found`. `trusted` are peers that the user named.
    /// They are asked first, and their number does not count against the bound.
    pub(super) async fn step(&mut self, trusted: &mut mpsc::Receiver<PeerId>, found: &mpsc::Sender<Event>) {
        let may_dial = !self.named.is_empty() && self.dials.len() < DIALS_MAX;
        tokio::select! {
            Some(peer) = trusted.recv() => self.ask(peer),
            Some(answer) = self.tellers.join_next() => {
                let Ok((teller, peers)) = answer else { return };
                self.known.insert(teller);
                if !peers.is_empty() {
                    self.named.push_back((teller, peers.into()));
                }
            }
            Some(dialled) = self.dials.join_next() => {
                if let Ok(dialled) = dialled {
                    let _heard = found.send(Event::Peer(dialled)).await;
                }
            }
            slot = self.slots.slot(), if may_dial => self.dial_next(slot),
            () = tokio::time::sleep(LOOK_AGAIN) => self.look().await,
        }
    }

    /// Asks the peers that are connected now, the one with the oldest connection first.
    pub(super) async fn look(&mut self) {
        for peer in self.network.connected().await {
            self.known.insert(peer);
            if self.asked.len() < ASKED_AROUND_MAX {
                self.ask(peer);
            }
        }
    }

    /// Tells whether every asked peer has answered, every named peer was dialled, and no `trusted` peer is to come.
    pub(super) fn is_done(&self, trusted: &mpsc::Receiver<PeerId>) -> bool {
        let no_more_trusted = trusted.is_closed() && trusted.is_empty();
        no_more_trusted && self.tellers.is_empty() && self.named.is_empty() && self.dials.is_empty()
    }

    fn ask(&mut self, peer: PeerId) {
        if !self.asked.insert(peer) {
            return;
        }
        let network = self.network.clone();
        self.tellers.spawn(async move {
            match ask_patiently(&network, peer, Request::GetPeers).await {
                Ok(Response::Peers { peers }) => (peer, peers.into_vec()),
                _ => (peer, Vec::new()),
            }
        });
    }

    fn dial_next(&mut self, slot: QuestionSlot) {
        while let Some((teller, mut peers)) = self.named.pop_front() {
            let Some(Holder { peer, addresses }) = peers.pop_front() else { continue };
            self.named.push_back((teller, peers));
            if self.introduced >= CANDIDATES_MAX {
                return self.named.clear();
            }
            if !self.known.insert(peer) {
                continue;
            }
            self.introduced += 1;
            let network = self.network.clone();
            self.dials.spawn(slot.hold(async move {
                network.dial_hint(peer, addresses.into_vec(), Some(teller)).await;
                Found::dialled(&network, peer).await
            }));
            return;
        }
    }
}

/// Asks a peer, and asks it again where it is busy: a busy peer has not answered.
pub(super) async fn ask_patiently(
    network: &Network,
    peer: PeerId,
    request: Request,
) -> Result<Response, AskError> {
    for _again in 1..BUSY_TRIES {
        match network.ask(peer, request.clone()).await {
            Ok(Response::Busy { retry_ms }) => {
                tokio::time::sleep(Duration::from_millis(retry_ms.into()).min(BUSY_WAIT_MAX)).await;
            }
            answer => return answer,
        }
    }
    network.ask(peer, request).await
}
