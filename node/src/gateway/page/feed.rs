//! [`Feed`]: the changes of a node, numbered, for the tabs that are open.
//!
//! The node is watched only while a tab reads the feed. A tab that returns with the number of its last change
//! gets the later ones, while they are kept. Else it reads everything again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures::stream;
use reg_api::clock;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use super::pulls::Pulls;
use super::watching;
use crate::registry::Registry;

/// Streams at once: a browser has six connections to one node.
const STREAMS_MAX: usize = 16;
/// Changes that are kept for tabs that come back.
const CHANGES_MAX: usize = 256;
/// Bytes of these changes together.
const CHANGES_BYTES_MAX: usize = 2 << 20;
/// After this time without a change, a stream sends a `beat`, so that a tab notices a node that has ended.
const BEAT: Duration = Duration::from_secs(20);

/// The changes of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Feed(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    held: Mutex<Held>,
    /// The number of the newest change; `u64::MAX` once the node stops.
    newest: watch::Sender<u64>,
    /// Wakes the watcher when something has changed that tabs show.
    wake: Notify,
}

#[derive(Debug, Default)]
struct Held {
    changes: VecDeque<(u64, Bytes)>,
    bytes: usize,
    streams: usize,
    is_watched: bool,
}

/// The number that ends all streams.
const ENDED: u64 = u64::MAX;

/// One of the [`STREAMS_MAX`] streams. Its end makes room for another one.
#[derive(Debug)]
struct Place(Feed);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.held().streams -= 1;
    }
}

impl Feed {
    /// Returns an empty feed. Its numbers begin above those of every earlier process, so that no number means
    /// two changes.
    pub(super) fn new() -> Self {
        let (newest, _) = watch::channel(clock::now() << 20);
        Self(Arc::new(Shared { held: Mutex::default(), newest, wake: Notify::new() }))
    }

    /// Ends all streams.
    pub(super) fn end(&self) {
        self.0.newest.send_replace(ENDED);
        self.wake();
    }

    pub(super) fn has_ended(&self) -> bool {
        *self.0.newest.borrow() == ENDED
    }

    /// Makes the watcher look now.
    pub(super) fn wake(&self) {
        self.0.wake.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.0.wake.notified().await;
    }

    /// Tells whether the watcher continues, and notes its end. It ends with the last stream.
    pub(super) fn goes_on(&self) -> bool {
        let mut held = self.held();
        held.is_watched = held.streams > 0 && !self.has_ended();
        held.is_watched
    }

    /// Adds a change, and wakes the streams.
    pub(super) fn push(&self, what: &str, data: impl Serialize) {
        let mut held = self.held();
        self.0.newest.send_modify(|newest| {
            if *newest == ENDED {
                return;
            }
            *newest += 1;
            let line = line(*newest, what, json!(data));
            held.bytes += line.len();
            held.changes.push_back((*newest, line));
            while held.changes.len() > CHANGES_MAX || held.bytes > CHANGES_BYTES_MAX {
                let Some((_, dropped)) = held.changes.pop_front() else { break };
                held.bytes -= dropped.len();
            }
        });
    }

    /// Returns the newest number and the changes after `seen`; `None` where some of these are not kept, or
    /// never were.
    fn since(&self, seen: u64) -> Option<(u64, Vec<Bytes>)> {
        let held = self.held();
        let newest = *self.0.newest.borrow();
        let kept_from = held.changes.front().map_or(newest, |(first, _)| first - 1);
        if seen > newest || seen < kept_from {
            return None;
        }
        let lines = held.changes.iter().filter(|(id, _)| *id > seen).map(|(_, line)| line.clone());
        Some((newest, lines.collect()))
    }

    /// Answers with the changes after `after`, then with each new one. Returns `None` if too many streams are
    /// open or the node stops.
    pub(super) fn stream(&self, registry: Registry, pulls: Pulls, after: Option<u64>) -> Option<Response> {
        let place = {
            let mut held = self.held();
            if held.streams >= STREAMS_MAX || self.has_ended() {
                return None;
            }
            held.streams += 1;
            if !std::mem::replace(&mut held.is_watched, true) {
                tokio::spawn(watching::watch(self.clone(), registry, pulls));
            }
            Place(self.clone())
        };
        let news = self.0.newest.subscribe();
        let resumed = after.filter(|seen| self.since(*seen).is_some());
        let seen = resumed.unwrap_or_else(|| *self.0.newest.borrow());
        let hello = line(seen, "hello", json!({ "resumed": resumed.is_some() }));
        let lines =
            stream::unfold((place, news, seen, Some(hello)), |(place, mut news, seen, first)| async move {
                if let Some(first) = first {
                    return Some((Ok::<_, Infallible>(first), (place, news, seen, None)));
                }
                loop {
                    if place.0.has_ended() {
                        return None;
                    }
                    drop(news.borrow_and_update());
                    match place.0.since(seen) {
                        // The tab reads so slowly that changes were dropped: it begins anew.
                        None => return None,
                        Some((newest, lines)) if newest > seen => {
                            return Some((Ok(Bytes::from(lines.concat())), (place, news, newest, None)));
                        }
                        Some(_) => {}
                    }
                    match tokio::time::timeout(BEAT, news.changed()).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return None,
                        Err(_) => {
                            return Some((Ok(line(seen, "beat", Value::Null)), (place, news, seen, None)));
                        }
                    }
                }
            });
        let headers = [(CONTENT_TYPE, "application/x-ndjson"), (CACHE_CONTROL, "no-store")];
        Some((headers, Body::from_stream(lines)).into_response())
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(id: u64, what: &str, data: Value) -> Bytes {
    Bytes::from(format!("{}\n", json!({ "id": id, "event": what, "data": data })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_numbered_bounded_and_resumed() {
        let feed = Feed::new();
        let start = *feed.0.newest.borrow();
        assert_eq!(feed.since(start), Some((start, Vec::new())));
        assert_eq!(feed.since(start - 1), None, "of a process before");
        assert_eq!(feed.since(start + 1), None, "it never was");
        feed.push("one", 1);
        feed.push("two", 2);
        let (newest, lines) = feed.since(start + 1).unwrap();
        assert_eq!((newest, lines.len()), (start + 2, 1));
        let text = String::from_utf8(lines.concat()).unwrap();
        assert_eq!(text, format!("{{\"data\":2,\"event\":\"two\",\"id\":{newest}}}\n"));
        for _ in 0..CHANGES_MAX {
            feed.push("more", 3);
        }
        assert_eq!(feed.since(start + 1), None, "it is kept no longer");
        assert!(feed.since(start + 2).is_some_and(|(_, lines)| lines.len() == CHANGES_MAX));
        feed.push("long", "x".repeat(CHANGES_BYTES_MAX));
        let (bytes, lines) = {
            let held = feed.held();
            (held.bytes, held.changes.iter().map(|(_, it)| it.len()).sum::<usize>())
        };
        assert!(bytes == lines && bytes <= CHANGES_BYTES_MAX, "{bytes} {lines}");
        feed.end();
        feed.push("late", 1);
        assert!(feed.has_ended() && !feed.goes_on());
    }
}
