//! [`Verifier`]: gives what peers send a turn on a blocking thread, and makes the peers pay.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reg_proto::peer::PeerId;
use reg_proto::verification::Budget;
use thiserror::Error;
use tokio::sync::Semaphore;
use tracing::warn;

use super::rates::{Kind, Rates};
use crate::net::Network;
use crate::registry::limits::{UNASKED_AT_ONCE, UNASKED_PER_PEER_MAX, UNASKED_WAITING_MAX};

/// Why what a peer sent is not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refused {
    #[error("too much waits to be verified")]
    Busy,
    #[error("the peer has used up its rate of verifications")]
    InDebt,
    #[error("the node is shutting down")]
    Over,
}

/// Verifies what peers send.
///
/// What peers send unasked, and what new neighbours know, has few turns of its own. So it delays nothing that this node
/// asked for, however many peers there are.
#[derive(Debug)]
pub struct Verifier {
    network: Network,
    rates: Mutex<Rates>,
    /// How many messages of each peer wait for a turn, or have one.
    waiting: Arc<Mutex<BTreeMap<PeerId, usize>>>,
    unasked: Arc<Semaphore>,
    asked: Arc<Semaphore>,
}

impl Verifier {
    /// Returns a verifier that has verified nothing yet.
    pub fn new(network: Network) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            network,
            rates: Mutex::new(Rates::new(Instant::now())),
            waiting: Arc::default(),
            unasked: Arc::new(Semaphore::new(UNASKED_AT_ONCE)),
            // Half of the cores stay free for everything else.
            asked: Arc::new(Semaphore::new((cores / 2).max(1))),
        }
    }

    /// Verifies what a peer sent unasked. A peer that is in debt afterwards is disconnected and refused for a while. For
    /// what finds no place, because too much of this peer waits, the peer pays the price that is asked: else a peer that
    /// sends faster than this node verifies would pay least.
    ///
    /// # Errors
    /// Too much waits, of this peer or in all, or the peer is in debt.
    pub async fn unasked<T: Send + 'static>(
        &self,
        peer: PeerId,
        price: usize,
        max: usize,
        work: impl FnOnce(&mut Budget) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let now = Instant::now();
        let (own, all) =
            self.with_rates(|rates| (rates.wait(Kind::Unasked, peer, now), rates.wait_of_all(now)));
        if own > Duration::ZERO {
            return Err(Refused::InDebt);
        }
        if all > Duration::ZERO {
            return Err(Refused::Busy);
        }
        let _place = match Place::take(&self.waiting, peer) {
            Ok(place) => place,
            Err(NoPlace::OfAll) => return Err(Refused::Busy),
            Err(NoPlace::OfPeer) => {
                if self.with_rates(|rates| rates.pay(Kind::Unasked, peer, price, now)) {
                    self.refuse(peer).await;
                }
                return Err(Refused::Busy);
            }
        };
        let turn = self.unasked.clone().acquire_owned().await.map_err(|_| Refused::Over)?;
        let (value, budget) = run(turn, max, work).await?;
        let now = Instant::now();
        let in_debt = self.with_rates(|rates| {
            rates.pay_for_all(budget.spent(), now);
            rates.pay(Kind::Unasked, peer, budget.spent(), now)
        });
        if in_debt || budget.is_over() {
            self.refuse(peer).await;
        }
        Ok(value)
    }

    /// Returns whether an announcement that costs a neighbour so many verifications may be passed on.
    pub fn may_pass_on(&self, worth: usize) -> bool {
        self.with_rates(|rates| rates.pass_on(worth, Instant::now()))
    }

    /// Verifies a page of what a new neighbour knows. A neighbour in debt waits until it has paid, and so do all while
    /// this node has spent what it spends on neighbours and gossip. A page beyond its budget costs the connection.
    ///
    /// # Errors
    /// The node is shutting down.
    pub async fn page<T: Send + 'static>(
        &self,
        peer: PeerId,
        max: usize,
        work: impl FnOnce(&mut Budget) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let wait_for_all =
            |rates: &mut Rates, now| rates.wait(Kind::Asked, peer, now).max(rates.wait_of_all(now));
        let turn = loop {
            self.until_paid(wait_for_all).await;
            let turn = self.unasked.clone().acquire_owned().await.map_err(|_| Refused::Over)?;
            if self.with_rates(|rates| wait_for_all(rates, Instant::now())) == Duration::ZERO {
                break turn;
            }
        };
        let (value, budget) = self.take(turn, peer, max, work).await?;
        self.with_rates(|rates| rates.pay_for_all(budget.spent(), Instant::now()));
        Ok(value)
    }

    /// Verifies a peer's answer to a question of this node. A peer in debt waits until it has paid. An answer beyond its
    /// budget costs the connection.
    ///
    /// # Errors
    /// The node is shutting down.
    pub async fn answer<T: Send + 'static>(
        &self,
        peer: PeerId,
        max: usize,
        work: impl FnOnce(&mut Budget) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        self.until_paid(|rates, now| rates.wait(Kind::Asked, peer, now)).await;
        let turn = self.asked.clone().acquire_owned().await.map_err(|_| Refused::Over)?;
        let (value, _) = self.take(turn, peer, max, work).await?;
        Ok(value)
    }

    /// Verifies what this node wants of a peer, and of which only honest parts can exist in any number. The peer pays for the
    /// verifications in vain, which `work` returns. An answer beyond its budget costs the connection.
    ///
    /// # Errors
    /// The node is shutting down.
    pub async fn wanted(
        &self,
        peer: PeerId,
        max: usize,
        work: impl FnOnce(&mut Budget) -> usize + Send + 'static,
    ) -> Result<usize, Refused> {
        self.until_paid(|rates, now| rates.wait(Kind::Asked, peer, now)).await;
        let turn = self.asked.clone().acquire_owned().await.map_err(|_| Refused::Over)?;
        let (in_vain, budget) = run(turn, max, work).await?;
        self.with_rates(|rates| rates.pay(Kind::Asked, peer, in_vain, Instant::now()));
        if budget.is_over() {
            self.refuse(peer).await;
        }
        Ok(in_vain)
    }

    /// Verifies documents that several peers may have sent, which no single peer pays for.
    ///
    /// # Errors
    /// The node is shutting down.
    pub async fn documents<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let turn = self.asked.clone().acquire_owned().await.map_err(|_| Refused::Over)?;
        let (value, _) = run(turn, usize::MAX, |_| work()).await?;
        Ok(value)
    }

    async fn take<T: Send + 'static>(
        &self,
        turn: tokio::sync::OwnedSemaphorePermit,
        peer: PeerId,
        max: usize,
        work: impl FnOnce(&mut Budget) -> T + Send + 'static,
    ) -> Result<(T, Budget), Refused> {
        let (value, budget) = run(turn, max, work).await?;
        self.with_rates(|rates| rates.pay(Kind::Asked, peer, budget.spent(), Instant::now()));
        if budget.is_over() {
            self.refuse(peer).await;
        }
        Ok((value, budget))
    }

    async fn until_paid(&self, wait: impl Fn(&mut Rates, Instant) -> Duration) {
        loop {
            let wait = self.with_rates(|rates| wait(rates, Instant::now()));
            if wait == Duration::ZERO {
                return;
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn refuse(&self, peer: PeerId) {
        warn!(%peer, "a peer is disconnected, because verifying what it sends costs too much");
        self.network.refuse(peer).await;
    }

    fn with_rates<T>(&self, act: impl FnOnce(&mut Rates) -> T) -> T {
        act(&mut self.rates.lock().expect("no holder of this lock panics"))
    }
}

/// Runs `work` on a blocking thread, which holds the turn to its end, also where the caller no longer waits.
async fn run<T: Send + 'static>(
    turn: tokio::sync::OwnedSemaphorePermit,
    max: usize,
    work: impl FnOnce(&mut Budget) -> T + Send + 'static,
) -> Result<(T, Budget), Refused> {
    let working = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let mut budget = Budget::new(max);
        let value = work(&mut budget);
        (value, budget)
    });
    working.await.map_err(|_| Refused::Over)
}

/// A place in the queue of what peers sent unasked.
struct Place {
    waiting: Arc<Mutex<BTreeMap<PeerId, usize>>>,
    peer: PeerId,
}

/// Why there is no place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoPlace {
    /// The peer has as many as it may have.
    OfPeer,
    /// All peers together have.
    OfAll,
}

impl Place {
    fn take(waiting: &Arc<Mutex<BTreeMap<PeerId, usize>>>, peer: PeerId) -> Result<Self, NoPlace> {
        let mut places = waiting.lock().expect("no holder of this lock panics");
        if places.get(&peer).is_some_and(|own| *own >= UNASKED_PER_PEER_MAX) {
            return Err(NoPlace::OfPeer);
        }
        if places.values().sum::<usize>() >= UNASKED_WAITING_MAX {
            return Err(NoPlace::OfAll);
        }
        *places.entry(peer).or_default() += 1;
        drop(places);
        Ok(Self { waiting: waiting.clone(), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.waiting.lock().expect("no holder of this lock panics");
        if let Some(own) = places.get_mut(&self.peer) {
            *own -= 1;
            if *own == 0 {
                places.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::net::Remembered;

    fn peer(number: u8) -> PeerId {
        PeerId::from_public_key([number; 32])
    }

    fn verifier() -> Arc<Verifier> {
        Arc::new(Verifier::new(Network::offline(peer(255), Remembered::nothing())))
    }

    /// The queue is bounded for each peer, so one peer leaves room for the others.
    #[tokio::test]
    async fn a_peer_has_a_few_places_in_the_queue_and_the_others_have_theirs() {
        let verifier = verifier();
        let (go_on, wait) = mpsc::sync_channel::<()>(0);
        let wait = Arc::new(Mutex::new(wait));
        let mut tasks = tokio::task::JoinSet::new();
        let send = |tasks: &mut tokio::task::JoinSet<_>, from: u8| {
            let (verifier, wait) = (verifier.clone(), wait.clone());
            tasks.spawn(async move {
                let work = move |_: &mut Budget| {
                    let _closed = wait.lock().expect("no holder of this lock panics").recv();
                };
                (from, verifier.unasked(peer(from), 0, 10, work).await)
            });
        };
        (0..2 * UNASKED_PER_PEER_MAX).for_each(|_| send(&mut tasks, 1));
        for _ in 0..UNASKED_PER_PEER_MAX {
            let refused = tasks.join_next().await.expect("some end").expect("no panic");
            assert_eq!(refused, (1, Err(Refused::Busy)), "half of them find no place");
        }
        send(&mut tasks, 2);
        drop(go_on);
        let mut done = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            let (from, verified) = ended.expect("no panic");
            assert_eq!(verified, Ok(()));
            done.push(from);
        }
        assert_eq!(done.iter().filter(|it| **it == 2).count(), 1);
        assert!(verifier.waiting.lock().expect("no holder of this lock panics").is_empty());
    }

    #[tokio::test]
    async fn a_peer_in_debt_is_refused_where_it_was_not_asked_and_waits_where_it_was() {
        let verifier = verifier();
        let spent = 10 + crate::registry::limits::VERIFICATIONS_BURST as usize;
        for kind in [Kind::Asked, Kind::Unasked] {
            verifier.with_rates(|rates| rates.pay(kind, peer(1), spent, Instant::now()));
        }
        assert_eq!(verifier.unasked(peer(1), 0, 10, |_| ()).await, Err(Refused::InDebt));
        assert_eq!(verifier.unasked(peer(2), 0, 10, |_| ()).await, Ok(()));
        assert_eq!(verifier.answer(peer(1), 10, |_| 7).await, Ok(7), "after a moment");
        assert_eq!(verifier.unasked(peer(1), 0, 10, |_| ()).await, Ok(()), "it has paid");
    }
}
