//! [`Pulls`]: the pulls that tabs have begun. They run in the node, so that closing a tab ends none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reg_api::clock;
use reg_api::page::PagePull;
use reg_api::progress::Progress;
use reg_api::reporter::Reporter;
use reg_api::request::PullRequest;
use reg_proto::name::Reference;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::feed::Feed;
use super::is_same;
use crate::gateway::admin::error::ErrorDocument;
use crate::registry::Registry;

/// Pulls of tabs that run at once. Each has a disk and peers of its own to wait for.
const RUNNING_MAX: usize = 16;
/// Pulls that are listed: those that run, and the last ones that have ended.
const LISTED_MAX: usize = 32;
/// Progress events of one pull that wait to be read.
const EVENTS_MAX: usize = 64;

/// The pulls of tabs. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Pulls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    held: Mutex<Held>,
    feed: Feed,
}

#[derive(Debug, Default)]
struct Held {
    last: u64,
    pulls: BTreeMap<u64, (PagePull, AbortHandle)>,
}

/// [`RUNNING_MAX`] pulls of tabs run already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany;

impl Pulls {
    pub(super) fn new(feed: Feed) -> Self {
        Self(Arc::new(Shared { held: Mutex::default(), feed }))
    }

    /// Begins a pull into the cache. Puts no files into a directory.
    ///
    /// # Errors
    /// [`RUNNING_MAX`] pulls run already.
    pub(super) fn begin(&self, registry: Registry, request: PullRequest) -> Result<PagePull, TooMany> {
        let mut held = self.held();
        if held.pulls.values().filter(|(it, _)| it.ended.is_none()).count() >= RUNNING_MAX {
            return Err(TooMany);
        }
        while held.pulls.len() >= LISTED_MAX {
            let oldest = held.pulls.iter().find(|(_, (it, _))| it.ended.is_some()).map(|(id, _)| *id);
            let Some(oldest) = oldest else { break };
            held.pulls.remove(&oldest);
        }
        held.last += 1;
        let pull = PagePull {
            id: held.last,
            reference: request.reference.clone(),
            since: clock::now(),
            ended: None,
            stage: "finding".to_owned(),
            note: None,
            error: None,
            hint: None,
        };
        let (own, id) = (self.clone(), pull.id);
        let request = PullRequest { dest: None, hub_cache: None, ..request };
        // The lock is held until the handle is kept, so that a cancel finds it.
        let running = tokio::spawn(async move { own.run(registry, request, id).await });
        held.pulls.insert(id, (pull.clone(), running.abort_handle()));
        drop(held);
        self.0.feed.wake();
        Ok(pull)
    }

    async fn run(&self, registry: Registry, request: PullRequest, id: u64) {
        let (listener, mut events) = mpsc::channel(EVENTS_MAX);
        let reporter = Reporter::new(listener);
        let mut work = Box::pin(registry.pull(request, &reporter));
        let result = loop {
            tokio::select! {
                Some(event) = events.recv() => self.note(id, event),
                result = &mut work => break result,
            }
        };
        self.change(id, |pull| {
            pull.ended = Some(clock::now());
            match &result {
                Ok(pulled) => {
                    pull.stage = "done".to_owned();
                    pull.note = pulled.notes.last().cloned();
                }
                Err(error) => {
                    let document = ErrorDocument::of(error);
                    let causes = document.causes.iter().map(ToString::to_string);
                    let words: Vec<String> =
                        std::iter::once(document.message.to_string()).chain(causes).collect();
                    pull.stage = "failed".to_owned();
                    pull.error = Some(words.join(": "));
                    pull.hint = document.hint.map(|it| it.to_string());
                }
            }
        });
    }

    fn note(&self, id: u64, event: Progress) {
        match event {
            Progress::Stage { stage, .. } => self.change(id, |it| it.stage = stage),
            Progress::Note { text } => self.change(id, |it| it.note = Some(text)),
            Progress::Bytes { .. } | Progress::Transfer(_) | Progress::Check(_) => {}
        }
    }

    /// Changes a pull that has not ended: one that was cancelled stays so, whatever its last events are.
    fn change(&self, id: u64, change: impl FnOnce(&mut PagePull)) {
        if let Some((pull, _)) = self.held().pulls.get_mut(&id).filter(|(pull, _)| pull.ended.is_none()) {
            change(pull);
        }
        self.0.feed.wake();
    }

    /// Lists the pulls, the oldest first.
    pub(super) fn list(&self) -> Vec<PagePull> {
        self.held().pulls.values().map(|(pull, _)| pull.clone()).collect()
    }

    /// Ends the pulls of a model. Returns how many there were.
    pub(super) fn cancel(&self, reference: &Reference) -> usize {
        let (mut held, mut count) = (self.held(), 0);
        for (pull, abort) in held.pulls.values_mut() {
            if pull.ended.is_none() && is_same(reference, &pull.reference) {
                abort.abort();
                pull.ended = Some(clock::now());
                pull.stage = "cancelled".to_owned();
                count += 1;
            }
        }
        drop(held);
        self.0.feed.wake();
        count
    }

    /// Forgets a pull that has ended. Returns whether there was one.
    pub(super) fn dismiss(&self, id: u64) -> bool {
        let mut held = self.held();
        let has_ended = held.pulls.get(&id).is_some_and(|(it, _)| it.ended.is_some());
        if has_ended {
            held.pulls.remove(&id);
        }
        drop(held);
        self.0.feed.wake();
        has_ended
    }

    /// Ends all pulls, because the node stops. Bytes that they have fetched are kept.
    pub(super) fn end(&self) {
        self.held().pulls.values().for_each(|(_, abort)| abort.abort());
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
