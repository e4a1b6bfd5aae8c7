//! The follows in the store: what the user asks for and changes. Each is one fsynced document.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::sync::{Arc, MutexGuard, PoisonError};

use reg_api::clock;
use reg_api::fault::{Fault as _, chain};
use reg_api::follow::{
    DELAY_MAX, FollowReport, FollowRequest, Followed, FollowedVersion, KEEP_MAX, VersionState,
};
use reg_api::request::TicketRequest;
use tracing::warn;

use super::marks::{self, Held};
use super::plan::Follow;
use super::stored::{self, ReadFollow, key_of};
use super::{FollowError, Following};
use crate::registry::limits::FOLLOWS_MAX;
use crate::store::DocumentKind;

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
            let all = stored::read_all(&following.puller.store)?;
            let is_full = all.len() >= FOLLOWS_MAX;
            let follow = match stored::find(all, &key_of(publisher, &models))? {
                Some(mut known) => {
                    known.change(settings);
                    known
                }
                None if is_full => return Err(FollowError::Full),
                None => Follow::new(publisher, models, settings, clock::now()),
            };
            following.save(&follow)?;
            following.keep()?;
            following.report(&follow)
        });
        let mut report = report.await?;
        if let Some(ticket) = ticket.filter(|it| !it.peers.is_empty()) {
            report.note = self.meet(&ticket).await;
        }
        self.changed.notify_one();
        Ok(report)
    }

    /// Dials the peers of a ticket, and returns what the user has to know where none is met. A follow does not remember them.
    async fn meet(&self, ticket: &TicketRequest) -> Option<String> {
        let why = if self.puller.network.is_offline() {
            "no peer of the ticket is dialled, because this node is offline"
        } else if self.puller.meet(ticket).await {
            return None;
        } else {
            "no peer of the ticket answers"
        };
        Some(format!("{why}; `reg peers add TICKET` remembers where they are"))
    }

    /// Lists the follows, in the order of publisher ids and patterns.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(self: &Arc<Self>) -> Result<Vec<FollowReport>, FollowError> {
        self.on_blocking_thread(|following| {
            let held = Held::of(&following.puller.store)?;
            let report = |(key, read): ReadFollow| match read {
                Ok(follow) => Some(following.report_of(&follow, &held)),
                Err(error) => {
                    let fault = Some(
                        [Some(chain(&error)), error.hint()]
                            .into_iter()
                            .flatten()
                            .collect::<Vec<_>>()
                            .join("; "),
                    );
                    Some(FollowReport { fault, ..following.report_of(&stored::of_key(&key)?, &held) })
                }
            };
            Ok(stored::read_all(&following.puller.store)?.into_iter().filter_map(report).collect())
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
            following.report(&follow)
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
        let report = self.on_blocking_thread(move |following| {
            let _changing = following.change();
            let publisher = following.puller.trust.file.resolve(&followed.publisher)?;
            let key = key_of(publisher, &followed.models);
            let all = stored::read_all(&following.puller.store)?;
            let (ended, others): (Vec<ReadFollow>, _) = all.into_iter().partition(|(it, _)| *it == key);
            let Some((_, ended)) = ended.into_iter().next() else {
                let Followed { publisher, models } = followed;
                return Err(FollowError::Missing { publisher, models });
            };
            // One that cannot be read is removed too, so that its publisher can be followed again.
            let follow = ended.or_else(|error| stored::of_key(&key).ok_or(error))?;
            let report = following.report(&follow)?;
            // The marks go first: those of a follow that is gone would stay for ever.
            following.keep_what(others)?;
            following.puller.store.remove_document(DocumentKind::Follow, &key)?;
            Ok(report)
        });
        let report = report.await?;
        self.changed.notify_one();
        Ok(report)
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
        for (key, read) in stored::read_all(&self.puller.store)? {
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

    fn get(&self, followed: &Followed) -> Result<Follow, FollowError> {
        let publisher = self.puller.trust.file.resolve(&followed.publisher)?;
        let all = stored::read_all(&self.puller.store)?;
        stored::find(all, &key_of(publisher, &followed.models))?.ok_or_else(|| FollowError::Missing {
            publisher: followed.publisher.clone(),
            models: followed.models.clone(),
        })
    }

    pub(super) fn save(&self, follow: &Follow) -> Result<(), FollowError> {
        stored::write(&self.puller.store, follow)
    }

    /// Keeps what the follows keep from eviction, and nothing else on their behalf.
    pub(super) fn keep(&self) -> Result<(), FollowError> {
        self.keep_what(stored::read_all(&self.puller.store)?)
    }

    /// Keeps what these follows keep from eviction. What a follow that cannot be read may keep stays as it is.
    pub(super) fn keep_what(&self, all: Vec<ReadFollow>) -> Result<(), FollowError> {
        let (mut follows, mut unread) = (Vec::new(), BTreeSet::new());
        for (key, read) in all {
            match read {
                Ok(follow) => follows.push(follow),
                Err(_) => unread.extend(stored::publisher_of(&key)),
            }
        }
        marks::reconcile(&self.puller.store, &follows, &unread, clock::now())
    }

    fn report(&self, follow: &Follow) -> Result<FollowReport, FollowError> {
        Ok(self.report_of(follow, &Held::of(&self.puller.store)?))
    }

    fn report_of(&self, follow: &Follow, held: &Held) -> FollowReport {
        let surplus = follow.surplus(clock::now());
        let mut versions: Vec<FollowedVersion> = follow
            .versions
            .iter()
            .map(|it| FollowedVersion {
                model: it.model.clone(),
                tag: it.tag.clone(),
                seq: it.seq,
                manifest: it.manifest,
                heard: it.heard,
                kept: it.here_since().is_some() && held.keeps(follow.publisher, it),
                gone: it.here_since().is_some() && !held.has(follow.publisher, it),
                state: if surplus.contains(&it.payload) { VersionState::Passed } else { it.state.clone() },
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
            left_out: follow.left_out,
            fault: None,
            note: None,
        }
    }
}
