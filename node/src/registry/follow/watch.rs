//! [`watch`]: the task that hears of new versions, waits for their delays, and pulls them.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::sync::Arc;

use reg_api::clock;
use reg_api::fault::chain;
use reg_api::reporter::Reporter;
use reg_api::request::{Priority, PullRequest};
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Publisher, PublisherId, Reference};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::plan::{Due, Follow, HeardOf};
use super::{FollowError, Following};
use crate::registry::limits::{FOLLOW_LOOK, FOLLOW_LOOK_FIRST, FOLLOW_PULLS_MAX, FOLLOW_TICK};
use crate::registry::resolve::RecordChoice;

/// A tag of a publisher that is being pulled.
type Pulling = (PublisherId, String, String);

/// Hears of the versions that followed publishers bring, and pulls them when they are due, until the node ends.
pub async fn watch(following: Arc<Following>) {
    let mut tick = tokio::time::interval(FOLLOW_TICK);
    let (mut pulls, mut pulling) = (JoinSet::<Pulling>::new(), BTreeSet::<Pulling>::new());
    let (mut looks, mut looked) = (JoinSet::new(), BTreeMap::new());
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = following.changed.notified() => {}
            Some(ended) = pulls.join_next() => {
                pulling.retain(|place| ended.as_ref().ok() != Some(place));
            }
            Some(ended) = looks.join_next() => {
                if let Ok((publisher, 0)) = ended {
                    looked.insert(publisher, Instant::now() + FOLLOW_LOOK_FIRST);
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
        for (publisher, models) in due_looks(&follows, &mut looked) {
            let following = following.clone();
            looks.spawn(async move { (publisher, following.look(publisher, &models).await) });
        }
        let now = clock::now();
        for follow in &follows {
            for due in follow.due(now) {
                let place: Pulling = (follow.publisher, due.model.folded(), due.tag.to_string());
                if pulls.len() < FOLLOW_PULLS_MAX && pulling.insert(place.clone()) {
                    let (following, follow) = (following.clone(), follow.clone());
                    pulls.spawn(async move {
                        following.pull(follow, due).await;
                        place
                    });
                }
            }
        }
    }
}

/// Returns the publishers that peers are asked for now, each with the models that are known of it.
fn due_looks(
    follows: &[Follow],
    looked: &mut BTreeMap<PublisherId, Instant>,
) -> Vec<(PublisherId, Vec<ModelName>)> {
    let mut due: BTreeMap<PublisherId, BTreeMap<String, ModelName>> = BTreeMap::new();
    let now = Instant::now();
    for follow in follows.iter().filter(|it| !it.paused) {
        if looked.get(&follow.publisher).is_none_or(|next| *next <= now) {
            let models = follow.versions.iter().map(|it| (it.model.folded(), it.model.clone()));
            due.entry(follow.publisher).or_default().extend(models);
        }
    }
    looked.retain(|publisher, _| follows.iter().any(|it| it.publisher == *publisher));
    looked.extend(due.keys().map(|publisher| (*publisher, now + FOLLOW_LOOK)));
    due.into_iter().map(|(publisher, models)| (publisher, models.into_values().collect())).collect()
}

impl Following {
    /// Takes the heads that were heard of into the follows, and returns the follows. Blocks.
    fn step(&self) -> Result<Vec<Follow>, FollowError> {
        let _changing = self.change();
        let mut follows = self.all()?;
        let now = clock::now();
        for follow in &mut follows {
            let mut is_news = false;
            for head in self.puller.news.heads_of(follow.publisher, None, None) {
                let record = head.tag.record();
                let heard = HeardOf {
                    model: record.model.clone(),
                    tag: record.tag.clone(),
                    key_document: record.key_document,
                    seq: record.seq,
                    payload: head.tag.payload_digest(),
                    manifest: record.manifest.digest,
                    issued: record.issued,
                };
                is_news |= follow.hear(heard, now);
            }
            if is_news {
                self.save(follow)?;
            }
        }
        Ok(follows)
    }

    /// Pulls a version that is due, and notes what came of it.
    async fn pull(self: &Arc<Self>, follow: Follow, due: Due) {
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
                Err(why)
            }
        };
        let noted = self.on_blocking_thread(move |following| following.note(&follow, &due, result));
        if let Err(error) = noted.await {
            warn!(%error, cause = ?error.source(), "the result of a pull is not noted");
        }
    }

    fn note(&self, follow: &Follow, due: &Due, result: Result<Digest, String>) -> Result<(), FollowError> {
        let _changing = self.change();
        let is_same = |it: &Follow| it.publisher == follow.publisher && it.models == follow.models;
        // The user may have ended it meanwhile.
        let Some(mut follow) = self.all()?.into_iter().find(is_same) else { return Ok(()) };
        follow.pulled(due, result, clock::now());
        self.save(&follow)?;
        self.keep(&[follow])
    }
}
