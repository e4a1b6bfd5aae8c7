//! [`watch`]: the task that hears of new versions, waits for their delays, and pulls them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use reg_api::clock;
use reg_api::fault::chain;
use reg_api::reporter::Reporter;
use reg_api::request::{Priority, PullRequest};
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Publisher, PublisherId, Reference};
use reg_proto::revocation::Revoked;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;
use tracing::{info, warn};

use super::plan::{Due, Follow, HeardOf};
use super::stored;
use super::turns::{Place, Turns};
use super::{FollowError, Following};
use crate::registry::limits::{
    FOLLOW_LOOK, FOLLOW_LOOK_FIRST, FOLLOW_LOOKS_MAX, FOLLOW_MODELS_ASKED, FOLLOW_TICK,
};
use crate::registry::publishers::keys;
use crate::registry::pull::PullError;
use crate::registry::resolve::{RecordChoice, ResolveError};

/// Why a version is not pulled, and the manifest that its publisher has withdrawn, if that is why.
type NotPulled = (String, Option<Digest>);

/// When the peers are asked for a publisher again.
#[derive(Debug, Clone, Copy)]
struct NextLook {
    at: Instant,
    /// How long the next pause is if no peer answers.
    pause: Duration,
    /// Looks so far: each begins with other models.
    turn: usize,
}

/// Hears of the versions that followed publishers bring, and pulls them when they are due, until the node ends.
pub async fn watch(following: Arc<Following>) {
    // A kill may have come between the change of a follow and of what it keeps.
    let keep = following.on_blocking_thread(|following| {
        let _changing = following.change();
        following.keep()
    });
    if let Err(error) = keep.await {
        warn!(%error, cause = ?error.source(), "what the follows keep is not looked at");
    }
    let mut tick = tokio::time::interval(FOLLOW_TICK);
    let (mut pulls, mut pulling) = (JoinSet::new(), HashMap::<Id, (Place, AbortHandle)>::new());
    let mut turns = Turns::default();
    let (mut looks, mut looked) = (JoinSet::new(), BTreeMap::new());
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = following.changed.notified() => {}
            Some(ended) = pulls.join_next_with_id() => {
                // One that was given up has nothing to note.
                let (id, noted) = ended.unwrap_or_else(|error| (error.id(), error.is_cancelled()));
                if let Some((place, _)) = pulling.remove(&id) {
                    turns.ended(place, noted, Instant::now());
                }
            }
            Some(ended) = looks.join_next() => {
                if let Ok((publisher, 0)) = ended && let Some(next) = looked.get_mut(&publisher) {
                    unanswered(next, Instant::now());
                }
            }
        }
        let step = following.on_blocking_thread(|following| following.step());
        let follows = match step.await {
            Ok(follows) => follows,
            Err(error) => {
                warn!(%error, cause = ?error.source(), "follows are not looked at");
                continue;
            }
        };
        let free = FOLLOW_LOOKS_MAX.saturating_sub(looks.len());
        for (publisher, models) in due_looks(&follows, &mut looked, free, Instant::now()) {
            let following = following.clone();
            looks.spawn(async move { (publisher, following.look(publisher, &models).await) });
        }
        let step = turns.next(&follows, clock::now(), Instant::now());
        pulling.values().filter(|(place, _)| step.stop.contains(place)).for_each(|(_, pull)| pull.abort());
        for (place, follow, due) in step.begin {
            let (following, follow) = (following.clone(), follow.clone());
            let pull = pulls.spawn(async move { following.pull(follow, due).await });
            pulling.insert(pull.id(), (place, pull));
        }
    }
}

/// Notes that no peer has answered: the next look comes soon, and then later and later.
fn unanswered(next: &mut NextLook, now: Instant) {
    next.at = now + next.pause;
    next.pause = next.pause.saturating_mul(2).min(FOLLOW_LOOK);
}

/// Returns up to `free` publishers that peers are asked for now, those that wait longest first, each with the models that are known
/// of it.
fn due_looks(
    follows: &[Follow],
    looked: &mut BTreeMap<PublisherId, NextLook>,
    free: usize,
    now: Instant,
) -> Vec<(PublisherId, Vec<ModelName>)> {
    let mut due: BTreeMap<PublisherId, BTreeMap<String, ModelName>> = BTreeMap::new();
    for follow in follows.iter().filter(|it| !it.paused) {
        if looked.get(&follow.publisher).is_none_or(|next| next.at <= now) {
            let models = follow.versions.iter().map(|it| (it.model.folded(), it.model.clone()));
            due.entry(follow.publisher).or_default().extend(models);
        }
    }
    looked.retain(|publisher, _| follows.iter().any(|it| it.publisher == *publisher));
    let mut due: Vec<_> = due.into_iter().collect();
    due.sort_by_key(|(publisher, _)| looked.get(publisher).map(|next| next.at));
    due.truncate(free);
    let with_turn = |(publisher, models): (PublisherId, BTreeMap<String, ModelName>)| {
        let mut models: Vec<ModelName> = models.into_values().collect();
        let next = looked.entry(publisher).or_insert(NextLook { at: now, pause: FOLLOW_LOOK_FIRST, turn: 0 });
        next.at = now + FOLLOW_LOOK;
        let first = next.turn.saturating_mul(FOLLOW_MODELS_ASKED) % models.len().max(1);
        next.turn = next.turn.wrapping_add(1);
        models.rotate_left(first);
        (publisher, models)
    };
    due.into_iter().map(with_turn).collect()
}

impl Following {
    /// Takes the heads that were heard of into the follows, and returns the follows. Blocks.
    fn step(&self) -> Result<Vec<Follow>, FollowError> {
        let _changing = self.change();
        let mut follows = self.all()?;
        let now = clock::now();
        for follow in &mut follows {
            let left_out = follow.left_out;
            let is_followed = |model: &ModelName| follow.models.covers(model);
            let news = &self.puller.news;
            let heads = news.heads_to_follow(follow.publisher, follow.since, &is_followed);
            let heads = heads.into_iter().map(|head| {
                let record = head.tag.record();
                HeardOf {
                    model: record.model.clone(),
                    tag: record.tag.clone(),
                    key_document: record.key_document,
                    seq: record.seq,
                    payload: head.tag.payload_digest(),
                    manifest: record.manifest.digest,
                    issued: record.issued,
                }
            });
            let is_news = follow.hear_all(heads.collect(), now);
            let is_withdrawn = self.withdrawn(follow);
            if follow.withdraw(|manifest| is_withdrawn.contains(manifest)) || is_news {
                self.save(follow)?;
            }
            if left_out == 0 && follow.left_out > 0 {
                let (publisher, models) = (follow.publisher, &follow.models);
                warn!(%publisher, %models, left_out = follow.left_out, "a follow remembers no more tags; follow fewer models at once");
            }
        }
        Ok(follows)
    }

    /// Returns those manifests of a follow that are not here and that their publisher has withdrawn.
    fn withdrawn(&self, follow: &Follow) -> BTreeSet<Digest> {
        let open: BTreeSet<Digest> =
            follow.versions.iter().filter(|it| it.is_open()).map(|it| it.manifest).collect();
        if open.is_empty() {
            return open;
        }
        let Ok(Some(keys)) = keys::keys(&self.puller.store, follow.publisher) else { return BTreeSet::new() };
        open.into_iter().filter(|it| keys.revocation(&Revoked::Manifest(*it)).is_some()).collect()
    }

    /// Pulls a version that is due, and notes what came of it. Returns whether that was noted.
    async fn pull(self: &Arc<Self>, follow: Follow, due: Due) -> bool {
        let reference = Reference {
            publisher: Publisher::Id(follow.publisher),
            model: due.model.clone(),
            tag: Some(due.tag.clone()),
            digest: None,
        };
        let request = PullRequest {
            selection: follow.settings.selection.clone(),
            allow: follow.settings.allow.clone(),
            priority: Priority::Low,
            ..PullRequest::into_cache(reference.clone())
        };
        let records = RecordChoice { only: Some(due.only.clone()), ..RecordChoice::default() };
        let result = match self.puller.pull_chosen(request, records, &Reporter::silent()).await {
            Ok(pulled) => {
                info!(%reference, manifest = %pulled.manifest, "a followed version is here");
                Ok(pulled.manifest)
            }
            Err(error) => {
                let why = chain(&error);
                info!(%reference, why, "a followed version is not pulled");
                let withdrawn = match error {
                    PullError::Resolve(ResolveError::Withdrawn { digest, .. }) => Some(digest),
                    _ => None,
                };
                Err((why, withdrawn))
            }
        };
        let noted = self.on_blocking_thread(move |following| following.note(&follow, &due, result));
        let noted = noted.await;
        if let Err(error) = &noted {
            warn!(%error, cause = ?error.source(), "the result of a pull is not noted");
        }
        noted.is_ok()
    }

    fn note(&self, follow: &Follow, due: &Due, result: Result<Digest, NotPulled>) -> Result<(), FollowError> {
        let _changing = self.change();
        let mut all = stored::read_all(&self.puller.store)?;
        let mut read = all.iter_mut().filter_map(|(_, read)| read.as_mut().ok());
        let found = read.find(|it| it.publisher == follow.publisher && it.models == follow.models);
        // The user may have ended it meanwhile.
        let Some(known) = found else { return Ok(()) };
        let withdrawn = result.as_ref().err().and_then(|(_, withdrawn)| *withdrawn);
        known.pulled(due, result.map_err(|(why, _)| why), clock::now());
        known.withdraw(|manifest| withdrawn == Some(*manifest));
        let noted = known.clone();
        // A version is kept before it is said to be here.
        self.keep_what(all)?;
        self.save(&noted)
    }
}

#[cfg(test)]
mod tests {
    use reg_api::follow::FollowSettings;

    use super::*;

    fn followed(count: u8) -> Vec<Follow> {
        let follow = |n| {
            let (publisher, models) = (PublisherId::from_bytes([n; 32]), "*".parse().expect("a pattern"));
            Follow::new(publisher, models, FollowSettings::default(), 0)
        };
        (0..count).map(follow).collect()
    }

    /// Publishers that no peer answers for each have their turn, a few at once, and then wait longer and longer.
    #[test]
    fn looks_take_turns_and_unanswered_ones_wait_longer_and_longer() {
        let (follows, mut looked, mut seen) = (followed(96), BTreeMap::new(), Vec::new());
        let mut now = Instant::now();
        while seen.len() < 96 {
            let due = due_looks(&follows, &mut looked, 8, now);
            assert!(due.len() <= 8);
            for (publisher, _) in due {
                assert!(!seen.contains(&publisher), "all others come before the second look");
                unanswered(looked.get_mut(&publisher).expect("it was looked for"), now);
                seen.push(publisher);
            }
            now += Duration::from_secs(1);
        }
        let (one, mut looked, mut looks) = (followed(1), BTreeMap::new(), 0);
        for _ in 0..3600 {
            for (publisher, _) in due_looks(&one, &mut looked, 8, now) {
                unanswered(looked.get_mut(&publisher).expect("it was looked for"), now);
                looks += 1;
            }
            now += Duration::from_secs(1);
        }
        assert!((8..=14).contains(&looks), "{looks} looks in an hour");
    }
}
