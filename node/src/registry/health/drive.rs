//! [`audit_all`]: the task that audits, until the node ends.

use std::sync::Arc;
use std::time::Duration;

use reg_api::clock;
use reg_commons::{Answer, Ask, Chance};
use reg_proto::digest::Digest;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::warn;

use super::Health;
use super::alarms::{ALARMS_WAITING_MAX, tell_all};
use super::piece::Asked;
use crate::registry::chance::draw;

/// How often this task looks for what is due. Times here are those of audits, and shorter at a faster pace.
const TICK: Duration = Duration::from_secs(10);
/// The shortest time between two looks, at any pace.
const TICK_MIN: Duration = Duration::from_millis(200);
/// How often the models in the store are listed. It reads the record of each.
const REFRESH: Duration = Duration::from_secs(600);
/// How often the counts are written, if they have changed. A kill loses what was counted since.
const SAVE: Duration = Duration::from_secs(600);
/// The shortest time between two of these, at any pace.
const RARELY_MIN: Duration = Duration::from_secs(1);
/// How long after a search for the holders of a model the next one begins. A newcomer is found within a few of them.
const SEARCH_AGAIN: Duration = Duration::from_secs(12 * 3600);
/// The same where the search before has found no peer.
const SEARCH_AGAIN_UNFOUND: Duration = Duration::from_secs(3600);
/// Searches under way at once.
const SEARCHES_MAX: usize = 2;

/// Audits the models in the store until the node ends.
pub async fn audit_all(health: Arc<Health>) {
    let Some(mut chance) = draw().map(Chance::new) else {
        warn!(
            "no replicas are counted: the system gives no random numbers, and pieces that a peer foresees prove nothing"
        );
        return;
    };
    health.open().await;
    let (alarms, waiting) = mpsc::channel(ALARMS_WAITING_MAX);
    let mut telling = JoinSet::new();
    telling.spawn(tell_all(health.clone(), waiting));
    let (mut asks, mut searches) = (JoinSet::<(Ask, Asked)>::new(), JoinSet::<()>::new());
    let mut tick = tokio::time::interval(health.pace.taken(TICK).max(TICK_MIN));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let rarely = |time| health.pace.taken(time).max(RARELY_MIN);
    let (mut refreshed, mut saved): (Option<Instant>, _) = (None, Instant::now());
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            Some(ended) = asks.join_next() => ended.map_or((), |(ask, asked)| health.answered(&ask, asked)),
            Some(_) = searches.join_next() => {}
        }
        if refreshed.is_none_or(|it| it.elapsed() >= rarely(REFRESH)) {
            Box::pin(health.refresh()).await;
            refreshed = Some(Instant::now());
        }
        health.note_connected().await;
        while !health.fetching.priorities.is_all_paused()
            && let Some(ask) = health.next(&mut chance)
        {
            let health = health.clone();
            asks.spawn(async move { (ask, Box::pin(health.ask(ask)).await) });
        }
        while searches.len() < SEARCHES_MAX
            && let Some(manifest) = health.to_search()
        {
            searches.spawn(Box::pin(health.clone().search(manifest, chance.next())));
        }
        let new = health.observe_all();
        // An event that was told is told no more, also after a kill.
        if !new.is_empty() || saved.elapsed() >= rarely(SAVE) {
            health.save().await;
            saved = Instant::now();
        }
        for alarm in new {
            if alarms.try_send(alarm).is_err() {
                warn!("too many models fall or recover at once: an event is not told");
            }
        }
    }
}

impl Health {
    fn next(&self, chance: &mut Chance) -> Option<Ask> {
        let bans = &self.resolver.bans;
        self.state().next(self.pace.now(), chance, |peer| bans.is_banned(peer))
    }

    /// Takes what came of a piece.
    fn answered(&self, ask: &Ask, asked: Asked) {
        let Asked { answer, bytes, zone } = asked;
        self.fetching.metrics.audited(answer, bytes);
        if bytes > 0 {
            self.spent.count(ask.model, bytes, clock::now());
        }
        let now = self.pace.now();
        let mut state = self.state();
        state.reached(ask.peer, answer != Answer::Unreachable, now);
        if let Some(zone) = zone {
            state.auditor.holds(now, ask.model, ask.peer, zone);
        }
        state.auditor.answered(now, ask, answer);
        state.has_changed = true;
    }

    /// Asks peers at once that were not reached before and have connected by themselves.
    async fn note_connected(&self) {
        let (connected, now) = (self.network.connected().await, self.pace.now());
        let mut state = self.state();
        connected.into_iter().for_each(|peer| state.reached(peer, true, now));
    }

    /// Returns the model of which holders are looked for next: one that was never searched, in the order of classes, else the
    /// one with the oldest search. Its search counts as begun.
    fn to_search(&self) -> Option<Digest> {
        let now = self.pace.now();
        let mut state = self.state();
        let is_due = |searched: Option<_>, has_found: bool| {
            let pause = if has_found { SEARCH_AGAIN } else { SEARCH_AGAIN_UNFOUND };
            searched.is_none_or(|it| now.since(it) >= pause)
        };
        let audits = state.auditor.audits();
        let has_found = |manifest| audits.copies(manifest).is_some_and(|it| it.iter().next().is_some());
        let due = state.models.iter().filter(|(manifest, it)| is_due(it.searched, has_found(manifest)));
        let manifest = *due.min_by_key(|(_, it)| (it.searched, it.class))?.0;
        state.models.get_mut(&manifest)?.searched = Some(now);
        Some(manifest)
    }
}
