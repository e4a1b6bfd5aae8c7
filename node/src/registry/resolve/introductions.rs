//! Asking those who are connected whom they know, until somebody has told of what is looked for.
//!
//! All are asked at once, and of those whom they name one of each is dialled in turn: who names a crowd takes no more than
//! its share, and who says nothing, or cannot be dialled, holds nobody up.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use reg_proto::announcement::Holder;
use reg_proto::peer::PeerId;
use reg_proto::wire::{Request, Response};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::questions::{QuestionSlot, QuestionSlots};
use crate::net::{AskError, Network};
use crate::registry::limits::{
    ASKED_AROUND_MAX, BUSY_TRIES, BUSY_WAIT_MAX, CANDIDATES_MAX, DIAL_SLOW, DIALS_AT_ONCE, DIALS_MAX,
    LOOK_AGAIN,
};

/// Who was asked, and whom they have named.
pub(super) struct Introductions {
    network: Network,
    /// Whom nobody needs to introduce any more.
    known: BTreeSet<PeerId>,
    asked: BTreeSet<PeerId>,
    tellers: JoinSet<(PeerId, Vec<Holder>)>,
    /// Of each who has named somebody, those who are not dialled yet.
    named: VecDeque<(PeerId, VecDeque<Holder>)>,
    introduced: usize,
    dials: JoinSet<PeerId>,
    slots: QuestionSlots,
}

impl Introductions {
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

    /// Does one thing more, and sends on who was reached. `trusted` are peers that the user named: they are asked first,
    /// and however many others are.
    pub(super) async fn step(&mut self, trusted: &mut mpsc::Receiver<PeerId>, found: &mpsc::Sender<PeerId>) {
        let may_dial = !self.named.is_empty() && self.dials.len() < DIALS_MAX;
        tokio::select! {
            Some(peer) = trusted.recv() => self.ask(peer),
            Some(told) = self.tellers.join_next() => {
                let Ok((teller, peers)) = told else { return };
                self.known.insert(teller);
                if !peers.is_empty() {
                    self.named.push_back((teller, peers.into()));
                }
            }
            Some(dialled) = self.dials.join_next() => {
                if let Ok(peer) = dialled {
                    let _heard = found.send(peer).await;
                }
            }
            slot = self.slots.slot(), if may_dial => self.dial_next(slot),
            () = tokio::time::sleep(LOOK_AGAIN) => self.look().await,
        }
    }

    /// Asks those who are connected by now, who has been there for longest first.
    pub(super) async fn look(&mut self) {
        for peer in self.network.connected().await {
            self.known.insert(peer);
            if self.asked.len() < ASKED_AROUND_MAX {
                self.ask(peer);
            }
        }
    }

    /// Tells whether all who were asked have answered, all whom they named were dialled, and nobody `trusted` is to come.
    pub(super) fn is_done(&self, trusted: &mpsc::Receiver<PeerId>) -> bool {
        let nobody_comes = trusted.is_closed() && trusted.is_empty();
        nobody_comes && self.tellers.is_empty() && self.named.is_empty() && self.dials.is_empty()
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
                peer
            }));
            return;
        }
    }
}

/// Asks a peer, and, where it is busy, asks it again: a crowd around it is no answer.
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
