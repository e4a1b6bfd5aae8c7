//! [`spread_all`]: the task that asks the members, judges each model, and acts.

use std::error::Error as _;
use std::sync::Arc;

use reg_commons::swarm::{Policy, Verdict};
use reg_commons::{Moment, Zone};
use reg_proto::digest::Digest;
use reg_proto::peer::{Address, PeerId};
use reg_proto::swarm_state::{Standing, SwarmModel};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::decide::{Decision, Decisions, Round};
use super::own::Own;
use super::report::Outlook;
use super::settings::every;
use super::{SpreadError, Spreading, written};
use crate::net::is_near;
use crate::registry::limits::{QUESTIONS_AT_ONCE, SPREAD_SETTLES, SPREAD_SETTLES_MAX, SPREAD_TICK};
use crate::registry::publishers::tags;
use crate::state_file;

/// Where the task stands.
#[derive(Debug, Default)]
struct Progress {
    /// When all members were asked last.
    asked: Option<Instant>,
    /// The members that were here then and take part, and in how many rounds they were the same.
    here: Vec<PeerId>,
    same: u32,
    /// Rounds in which all members were asked.
    full: u32,
    settled: bool,
    /// All rounds, also those in which none was asked.
    rounds: u64,
}

impl Progress {
    /// Notes which members are here. A node acts once they are the same for some rounds, or after some more in any case: a member
    /// that comes and goes does not keep it from acting.
    fn note(&mut self, here: Vec<PeerId>) {
        self.same = if here == self.here { self.same + 1 } else { 0 };
        self.here = here;
        self.full = self.full.saturating_add(1);
        self.settled |= self.same >= SPREAD_SETTLES || self.full >= SPREAD_SETTLES_MAX;
    }
}

/// Keeps the copies of the swarm, until the node ends.
pub async fn spread_all(spreading: Arc<Spreading>) {
    let Some(policy) = spreading.settings.acting() else { return };
    spreading.recall().await;
    let mut tick = tokio::time::interval(SPREAD_TICK.min(every(&policy)));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut pulls, mut progress) = (JoinSet::new(), Progress::default());
    loop {
        let is_woken = tokio::select! {
            _ = tick.tick() => false,
            () = spreading.changed.notified() => true,
            Some(_) = pulls.join_next() => true,
        };
        let round = Box::pin(spreading.round(&policy, &mut progress, &mut pulls, is_woken));
        if let Err(error) = round.await {
            warn!(%error, cause = ?error.source(), "the copies of the swarm are not looked at");
        }
    }
}

impl Spreading {
    /// Looks at the store, asks the members that are due, and acts on what is known.
    async fn round(
        self: &Arc<Self>,
        policy: &Policy,
        progress: &mut Progress,
        pulls: &mut JoinSet<()>,
        is_woken: bool,
    ) -> Result<(), SpreadError> {
        let now = self.now();
        let is_full = progress.asked.is_none_or(|at| at.elapsed() >= every(policy));
        self.state().begin(policy, now);
        if is_full || is_woken {
            let zone = self.own_zone().await;
            self.on_blocking_thread(move |spreading| spreading.refresh(zone, now)).await?;
        }
        let has_asked = self.ask_members(is_full, now).await;
        if is_full {
            progress.asked = Some(Instant::now());
            progress.note(self.state().here());
        }
        if !(has_asked || is_full || is_woken) {
            return Ok(());
        }
        let Some(own) = self.own() else { return Ok(()) };
        let now = self.now();
        progress.rounds = progress.rounds.wrapping_add(1);
        let turn = progress.rounds;
        let mut decisions = self.decide(policy, &own, turn, now).await?;
        if !decisions.probes.is_empty() {
            self.check(std::mem::take(&mut decisions.probes)).await;
            decisions = self.decide(policy, &own, turn, self.now()).await?;
            // What is left to check is checked soon: a tick later than this round's answers.
            if !decisions.probes.is_empty() {
                progress.asked = None;
            }
        }
        if progress.settled {
            self.act(policy, &own, &decisions, pulls).await?;
        }
        self.publish_outlook(Outlook { decisions, settled: progress.settled, draining: own.draining, now });
        self.write().await;
        Ok(())
    }

    /// Returns where this node is: the user's name for it, or that of an address, or the network of one that others may reach.
    async fn own_zone(&self) -> Zone {
        if let Some(name) = &self.settings.zone {
            return Zone::Named(name.clone());
        }
        let addresses = self.puller.network.listen_addresses().await;
        let zone = |address: &Address| self.settings.zones.of_peer(std::slice::from_ref(address));
        let zones: Vec<Zone> = addresses.iter().map(zone).collect();
        let is_named = |zone: &&Zone| matches!(zone, Zone::Named(_));
        let is_public = |zone: &&Zone| match zone {
            Zone::V4([a, b, c]) => !is_near([*a, *b, *c, 1].into()),
            Zone::V6(_) => true,
            Zone::Named(_) | Zone::Unplaced => false,
        };
        let found = zones.iter().find(is_named).or_else(|| zones.iter().find(is_public));
        found.or(zones.first()).cloned().unwrap_or(Zone::Unplaced)
    }

    async fn decide(
        self: &Arc<Self>,
        policy: &Policy,
        own: &Arc<Own>,
        turn: u64,
        now: Moment,
    ) -> Result<Decisions, SpreadError> {
        let (policy, own) = (*policy, own.clone());
        self.on_blocking_thread(move |spreading| {
            let newer = |model: &SwarmModel| spreading.newer(model);
            let round = Round { policy: &policy, own: &own, now, turn, newer: &newer };
            // The heads of tags are looked up meanwhile: no lock is held that answers to members need.
            let mut state = spreading.state().clone();
            let decisions = round.decide(&mut state);
            let mut known = spreading.state();
            (known.above, known.short) = (state.above, state.short);
            Ok(decisions)
        })
        .await
    }

    /// Returns the version that the tag by which a model was kept means by now, if it is another one.
    fn newer(&self, model: &SwarmModel) -> Option<Digest> {
        let tag = model.tag.as_ref()?;
        let heard = self.puller.news.head_of(model.publisher, &model.model, tag);
        let here = || {
            let record = tags::record(&self.puller.store, model.publisher, &model.model, tag).ok().flatten();
            record.map(|it| it.record().clone())
        };
        heard.or_else(here).map(|it| it.manifest.digest).filter(|it| *it != model.manifest)
    }

    /// Asks members for pieces, and notes what comes.
    async fn check(self: &Arc<Self>, probes: Vec<(PeerId, Digest)>) {
        let (mut probes, mut asked) = (probes.into_iter(), JoinSet::new());
        loop {
            while asked.len() < QUESTIONS_AT_ONCE {
                let Some((peer, manifest)) = probes.next() else { break };
                let spreading = self.clone();
                asked.spawn(async move { (peer, manifest, spreading.probe(peer, manifest).await) });
            }
            match asked.join_next().await {
                Some(Ok((peer, manifest, probed))) => {
                    self.state().note(peer, manifest, probed, self.now());
                }
                Some(Err(_)) => {}
                None => return,
            }
        }
    }

    async fn act(
        self: &Arc<Self>,
        policy: &Policy,
        own: &Arc<Own>,
        decisions: &Decisions,
        pulls: &mut JoinSet<()>,
    ) -> Result<(), SpreadError> {
        for key in &decisions.superseded {
            let key = key.clone();
            let model = key.clone();
            let is_done = self.on_blocking_thread(move |spreading| spreading.let_go(&key)).await?;
            if is_done {
                info!(%model, "a newer version has taken the place of a copy for the swarm: it may be evicted");
                self.changed.notify_one();
            }
        }
        for decision in &decisions.models {
            let standing = own.models.get(&decision.key).map(|it| it.standing);
            match decision.verdict {
                Verdict::Fetch(_) if standing == Some(Standing::Cached) => self.adopt(decision).await?,
                Verdict::Fetch(_) => self.fetch(decision, pulls),
                _ => {}
            }
        }
        // One at a time: the next round sees what is left.
        let surplus = decisions.models.iter().find(|it| matches!(it.verdict, Verdict::GiveUp { .. }));
        match surplus {
            Some(decision) => self.give_up_if_proven(policy, own, decision).await,
            None => Ok(()),
        }
    }

    /// Gives up a copy, if as many others as asked for send a piece of theirs right now.
    async fn give_up_if_proven(
        self: &Arc<Self>,
        policy: &Policy,
        own: &Arc<Own>,
        decision: &Decision,
    ) -> Result<(), SpreadError> {
        let (model, now) = (&decision.case.model, self.now());
        let others = decision.case.spread.holders.keys().filter(|it| **it != own.me);
        self.check(others.map(|it| (*it, model.manifest)).collect()).await;
        let is_proven = {
            let round = Round { policy, own, now, turn: 0, newer: &|_| None };
            round.gives_up(&self.state(), decision)
        };
        if !is_proven {
            debug!(model = %decision.key, "a copy is kept, because others were not proven");
            return Ok(());
        }
        let (key, shown) = (decision.key.clone(), decision.key.clone());
        if self.on_blocking_thread(move |spreading| spreading.give_up(&key)).await? {
            info!(model = %shown, "a copy for the swarm is given up: it has enough elsewhere");
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Reads what was known of the members when the node ended.
    async fn recall(self: &Arc<Self>) {
        let Some(path) = self.settings.file.clone() else { return };
        let shown = path.clone();
        match tokio::task::spawn_blocking(move || written::read_file(&path)).await {
            Ok(Ok(Some(state))) => *self.state() = state,
            Ok(Ok(None)) | Err(_) => {}
            Ok(Err(error)) => {
                warn!(path = %shown.display(), %error, "what was known of the swarm is lost: its members are asked anew");
            }
        }
    }

    /// Writes what is known of the members.
    async fn write(self: &Arc<Self>) {
        let Some(path) = self.settings.file.clone() else { return };
        let spreading = self.clone();
        let write = move || {
            // No lock is held while the bytes are made.
            let state = spreading.state().clone();
            state_file::write(&path, &written::to_bytes(&state))
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(write).await {
            warn!(%error, "what is known of the swarm is not written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_acts_once_the_members_stay_or_after_some_rounds_in_any_case() {
        let peer = |n: u8| PeerId::from_public_key([n; 32]);
        let mut progress = Progress::default();
        progress.note(vec![peer(1)]);
        for _round in 0..SPREAD_SETTLES {
            assert!(!progress.settled);
            progress.note(vec![peer(1)]);
        }
        assert!(progress.settled);
        let mut progress = Progress::default();
        for round in 1..=SPREAD_SETTLES_MAX {
            assert!(!progress.settled, "{round}");
            // A member comes and goes.
            progress.note(if round.is_multiple_of(2) { Vec::new() } else { vec![peer(1)] });
        }
        assert!(progress.settled);
    }
}
