//! The follows in the store: what the user asks for and changes. Each is one fsynced document.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::sync::{Arc, MutexGuard, PoisonError};

use reg_api::clock;
use reg_api::fault::{Fault as _, chain};
use reg_api::follow::{
    DELAY_MAX, FollowReport, FollowRequest, FollowSettings, Followed, FollowedVersion, KEEP_MAX, VersionState,
};
use reg_proto::glob::ModelGlob;
use reg_proto::json;
use reg_proto::name::PublisherId;
use tracing::warn;

use super::plan::Follow;
use super::{FollowError, Following};
use crate::registry::limits::{FOLLOW_BYTES_MAX, FOLLOWS_MAX};
use crate::registry::model::kept;
use crate::registry::model::record::ModelRecord;
use crate::store::DocumentKind;

/// The key of a document, and the follow in it where it can be read.
type ReadFollow = (String, Result<Follow, FollowError>);

fn key_of(publisher: PublisherId, models: &ModelGlob) -> String {
    format!("{publisher}/{}", models.to_string().to_ascii_lowercase())
}

/// Returns the follow that a key names, without its settings.
fn of_key(key: &str) -> Option<Follow> {
    let (publisher, models) = key.split_once('/')?;
    Some(Follow::new(publisher.parse().ok()?, models.parse().ok()?, FollowSettings::default(), 0))
}

impl Following {
    /// Follows models of a publisher from now on, or changes the settings of a follow. When this returns, it survives a power
    /// cut, and the peers of the ticket, if there is one, were dialled.
    ///
    /// # Errors
    /// The petname is not known, a setting is out of bounds, there are too many follows, or the disk refuses.
    pub async fn follow(self: &Arc<Self>, request: FollowRequest) -> Result<FollowReport, FollowError> {
        let FollowRequest { followed: Followed { publisher, models }, settings, ticket } = request;
        let report = self.on_blocking_thread(move |following| {
            if !(1..=KEEP_MAX).contains(&settings.keep) || settings.delay > DELAY_MAX {
                return Err(FollowError::Settings);
            }
            let publisher = following.puller.trust.file.resolve(&publisher)?;
            let _changing = following.change();
            let all = following.all()?;
            let key = key_of(publisher, &models);
            let follow = match all.iter().find(|it| key_of(it.publisher, &it.models) == key) {
                Some(known) => {
                    let mut follow = known.clone();
                    follow.change(settings);
                    follow
                }
                None if all.len() >= FOLLOWS_MAX => return Err(FollowError::Full),
                None => Follow::new(publisher, models, settings, clock::now()),
            };
            following.save(&follow)?;
            Ok(following.report(&follow))
        });
        let report = report.await?;
        if let Some(ticket) = ticket.filter(|it| !it.peers.is_empty() && !self.puller.network.is_offline()) {
            self.puller.meet(&ticket).await;
        }
        self.changed.notify_one();
        Ok(report)
    }

    /// Lists the follows, in the order of publisher ids and patterns.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(self: &Arc<Self>) -> Result<Vec<FollowReport>, FollowError> {
        self.on_blocking_thread(|following| {
            let report = |(key, read): ReadFollow| match read {
                Ok(follow) => Some(following.report(&follow)),
                Err(error) => {
                    let fault = Some(
                        [Some(chain(&error)), error.hint()]
                            .into_iter()
                            .flatten()
                            .collect::<Vec<_>>()
                            .join("; "),
                    );
                    Some(FollowReport { fault, ..following.report(&of_key(&key)?) })
                }
            };
            Ok(following.documents()?.into_iter().filter_map(report).collect())
        })
        .await
    }

    /// Pauses a follow, or goes on with it.
    ///
    /// # Errors
    /// There is no such follow, or the disk refuses.
    pub async fn pause(
        self: &Arc<Self>,
        followed: Followed,
        is_paused: bool,
    ) -> Result<FollowReport, FollowError> {
        let report = self.on_blocking_thread(move |following| {
            let _changing = following.change();
            let mut follow = following.get(&followed)?;
            follow.paused = is_paused;
            following.save(&follow)?;
            Ok(following.report(&follow))
        });
        let report = report.await?;
        self.changed.notify_one();
        Ok(report)
    }

    /// Ends a follow, and returns how it was. What it has pulled stays in the store, and may be evicted.
    ///
    /// # Errors
    /// There is no such follow, or the disk refuses.
    pub async fn end(self: &Arc<Self>, followed: Followed) -> Result<FollowReport, FollowError> {
        self.on_blocking_thread(move |following| {
            let _changing = following.change();
            let publisher = following.puller.trust.file.resolve(&followed.publisher)?;
            let key = key_of(publisher, &followed.models);
            // One that cannot be read is removed too, so that its publisher can be followed again.
            let unreadable =
                || following.documents().ok()?.iter().any(|(it, _)| *it == key).then(|| of_key(&key));
            let follow = match following.get(&followed) {
                Err(error @ FollowError::Missing { .. }) => unreadable().flatten().ok_or(error)?,
                found => found?,
            };
            let report = following.report(&follow);
            following.puller.store.remove_document(DocumentKind::Follow, &key)?;
            following.keep(&[follow])?;
            Ok(report)
        })
        .await
    }

    /// Runs `work`, which reads and writes the store, on a thread that may block.
    pub(super) async fn on_blocking_thread<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, FollowError> + Send + 'static,
    ) -> Result<T, FollowError> {
        let following = self.clone();
        tokio::task::spawn_blocking(move || work(&following)).await?
    }

    /// Waits until no other caller changes a follow.
    pub(super) fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns all follows that can be read, and warns of the others once.
    pub(super) fn all(&self) -> Result<Vec<Follow>, FollowError> {
        let mut follows = Vec::new();
        for (key, read) in self.documents()? {
            match read {
                Ok(follow) => follows.push(follow),
                Err(error) => {
                    let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
                    if warned.insert(key) {
                        let (cause, hint) = (error.source().map(ToString::to_string), error.hint());
                        warn!(%error, cause, hint, "a follow is left out");
                    }
                }
            }
        }
        Ok(follows)
    }

    /// Returns the documents of all follows by their keys, each as it was read.
    fn documents(&self) -> Result<Vec<ReadFollow>, FollowError> {
        let documents = self.puller.store.list_documents(DocumentKind::Follow, "")?;
        let parse = |(key, bytes): (String, Vec<u8>)| {
            let read = match json::from_slice::<Follow>(&bytes, FOLLOW_BYTES_MAX) {
                Err(source) => Err(FollowError::Parse { key: key.clone(), source }),
                Ok(follow) => match follow.other_format() {
                    Some(version) => Err(FollowError::Version { key: key.clone(), version }),
                    None => Ok(follow),
                },
            };
            (key, read)
        };
        Ok(documents.into_iter().map(parse).collect())
    }

    fn get(&self, followed: &Followed) -> Result<Follow, FollowError> {
        let publisher = self.puller.trust.file.resolve(&followed.publisher)?;
        let key = key_of(publisher, &followed.models);
        let found = self.all()?.into_iter().find(|it| key_of(it.publisher, &it.models) == key);
        found.ok_or_else(|| FollowError::Missing {
            publisher: followed.publisher.clone(),
            models: followed.models.clone(),
        })
    }

    pub(super) fn save(&self, follow: &Follow) -> Result<(), FollowError> {
        let key = key_of(follow.publisher, &follow.models);
        Ok(self.puller.store.put_document(DocumentKind::Follow, &key, &json::to_vec(follow))?)
    }

    /// Keeps those versions of these follows from eviction that any follow keeps, and no others.
    pub(super) fn keep(&self, changed: &[Follow]) -> Result<(), FollowError> {
        let now = clock::now();
        let all = self.all()?;
        let kept: BTreeSet<_> = all
            .iter()
            .flat_map(|it| it.kept(now).into_iter().map(|(model, manifest)| (it.publisher, model, manifest)))
            .collect();
        for follow in changed {
            for version in follow.versions.iter().filter(|it| matches!(it.state, VersionState::Here { .. })) {
                let is_kept = kept.contains(&(follow.publisher, version.model.folded(), version.manifest));
                let key = ModelRecord::key(&version.manifest, follow.publisher, &version.model);
                // What the user has removed is not kept.
                let is_here = ModelRecord::load(
                    &self.puller.store,
                    &version.manifest,
                    follow.publisher,
                    &version.model,
                )
                .is_ok_and(|it| it.is_some());
                kept::keep_followed(&self.puller.store, &key, is_kept && is_here)?;
            }
        }
        Ok(())
    }

    fn report(&self, follow: &Follow) -> FollowReport {
        let kept = follow.kept(clock::now());
        let mut versions: Vec<FollowedVersion> = follow
            .versions
            .iter()
            .map(|it| FollowedVersion {
                model: it.model.clone(),
                tag: it.tag.clone(),
                seq: it.seq,
                manifest: it.manifest,
                heard: it.heard,
                kept: matches!(it.state, VersionState::Here { .. })
                    && kept.contains(&(it.model.folded(), it.manifest)),
                state: it.state.clone(),
            })
            .collect();
        versions.reverse();
        versions
            .sort_by(|one, other| (one.model.folded(), &one.tag).cmp(&(other.model.folded(), &other.tag)));
        FollowReport {
            publisher: follow.publisher,
            petname: self.puller.trust.petnames().get(&follow.publisher).cloned(),
            models: follow.models.clone(),
            settings: follow.settings.clone(),
            paused: follow.paused,
            since: follow.since,
            versions,
            fault: None,
        }
    }
}
