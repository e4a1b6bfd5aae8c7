//! [`Crowd`]: what callers without the token may have under way at once. The owner has no such bound, so what is left of the
//! node's readers is the owner's.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Error;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::CONNECTIONS_MAX;
use super::connections::{Connection, UnderWay};
use crate::gateway::guard::{Caller, LIVE, READY, busy};

/// Requests without the token that are under way at once. The connections beyond them wait for a head, so that there is
/// always one that can make room.
const REQUESTS_MAX: usize = CONNECTIONS_MAX * 5 / 8;
/// Files that are sent at once to callers without the token: two thirds of `READERS_MAX`. Ollama opens 16 connections for
/// each blob.
const READERS_MAX: usize = 32;
/// Requests that wait for a turn. With more, the one that has waited longest is refused. What is left of [`REQUESTS_MAX`] is for
/// questions, which are answered at once.
const WAITING_MAX: usize = 64;
/// How long a client may leave a megabyte unread while others wait. The one that does so for longest loses its turn.
const UNREAD_MAX: Duration = Duration::from_millis(500);
/// How long a request waits for its turn before the client is asked to come back: as long as for the node's readers.
const TURN: Duration = Duration::from_secs(8);
/// How often a waiting request looks for a client that does not read.
const LOOK: Duration = Duration::from_millis(50);

/// The bounds for callers without the token. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Crowd {
    requests: Arc<Semaphore>,
    readers: Arc<Mutex<Readers>>,
}

#[derive(Debug, Default)]
struct Readers {
    next: u64,
    reading: BTreeMap<u64, Reads>,
    /// The newest is served first: under load, the others would be asked to come back anyway.
    waiting: Vec<oneshot::Sender<()>>,
}

#[derive(Debug)]
struct Reads {
    /// Since when the client has left bytes unread.
    unread_since: Option<Instant>,
    connection: Option<Connection>,
}

impl Default for Crowd {
    fn default() -> Self {
        Self { requests: Arc::new(Semaphore::new(REQUESTS_MAX)), readers: Arc::default() }
    }
}

/// A request without the token that is under way, carried by its answer.
#[derive(Debug, Clone)]
struct Underway(#[expect(dead_code, reason = "it is held")] Arc<OwnedSemaphorePermit>);

/// Refuses a request without the token if too many are under way. Runs behind the guard, which knows the caller.
pub(super) async fn admit(State(crowd): State<Crowd>, mut request: Request, next: Next) -> Response {
    let is_owners = request.extensions().get() == Some(&Caller::Owner);
    let connection = request.extensions().get::<Connection>().cloned();
    // A supervisor that was told to come back later would end a node that is only busy.
    if is_owners || [LIVE, READY].contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let Ok(permit) = crowd.requests.clone().try_acquire_owned() else { return busy() };
    request.extensions_mut().insert(Client { crowd, connection });
    let mut response = next.run(request).await;
    response.extensions_mut().insert(Underway(Arc::new(permit)));
    response
}

/// A caller without the token, as an extension of its request.
#[derive(Debug, Clone)]
pub(in crate::gateway) struct Client {
    crowd: Crowd,
    connection: Option<Connection>,
}

/// What a client is answered that comes back later.
pub(in crate::gateway) const BUSY: &str =
    "too many clients without the token are served: try again, or show the token (`reg env` sets it)";

/// Too many callers without the token read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) struct Busy;

impl Client {
    /// Waits for a turn to read a file, which the answer is to carry as an extension. The owner needs none.
    ///
    /// # Errors
    /// There is none in time.
    pub(in crate::gateway) async fn turn(client: Option<&Self>) -> Result<Option<Turn>, Busy> {
        let Some(Self { crowd, connection }) = client else { return Ok(None) };
        let waits = crowd.wait_for_turn(connection.as_ref());
        timeout(TURN, waits).await.unwrap_or(Err(Busy)).map(Some)
    }
}

impl Crowd {
    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_for_turn(&self, connection: Option<&Connection>) -> Result<Turn, Busy> {
        loop {
            let mut free = {
                let mut readers = self.readers();
                if readers.reading.len() < READERS_MAX {
                    return Ok(self.begin(&mut readers, connection));
                }
                let (sender, free) = oneshot::channel();
                readers.waiting.retain(|it| !it.is_closed());
                if readers.waiting.len() >= WAITING_MAX {
                    // Its receiver learns it.
                    drop(readers.waiting.remove(0));
                }
                readers.waiting.push(sender);
                free
            };
            while self.readers().displace(Instant::now()) {
                tokio::select! {
                    called = &mut free => match called {
                        Ok(()) => break,
                        Err(_) => return Err(Busy),
                    },
                    () = sleep(LOOK) => {}
                }
            }
        }
    }

    fn begin(&self, readers: &mut Readers, connection: Option<&Connection>) -> Turn {
        readers.next += 1;
        let id = readers.next;
        readers.reading.insert(id, Reads { unread_since: None, connection: connection.cloned() });
        Turn(Arc::new(Held { id, crowd: self.clone() }))
    }
}

impl Readers {
    /// Closes the connection that has left bytes unread for longest, if that is too long. Tells whether all turns are still
    /// taken.
    fn displace(&mut self, now: Instant) -> bool {
        let unread = self.reading.iter().filter_map(|(id, it)| Some((it.unread_since?, *id)));
        let longest = unread.min().filter(|(since, _)| now.saturating_duration_since(*since) >= UNREAD_MAX);
        if let Some((_, id)) = longest.filter(|_| self.reading.len() >= READERS_MAX)
            && let Some(reads) = self.reading.remove(&id)
        {
            tracing::debug!("a client that does not read makes room");
            reads.connection.iter().for_each(Connection::close);
        }
        self.reading.len() >= READERS_MAX
    }

    fn wake(&mut self) {
        while self.waiting.pop().is_some_and(|it| it.send(()).is_err()) {}
    }
}

/// A turn to read a file. The next one begins when it is dropped.
#[derive(Debug, Clone)]
pub(in crate::gateway) struct Turn(Arc<Held>);

#[derive(Debug)]
struct Held {
    id: u64,
    crowd: Crowd,
}

impl Turn {
    /// Lets an answer carry a turn until it is sent.
    pub(in crate::gateway) fn carried(turn: Option<Self>, mut response: Response) -> Response {
        turn.map(|it| response.extensions_mut().insert(it));
        response
    }

    fn set_unread(&self, since: Option<Instant>) {
        if let Some(reads) = self.0.crowd.readers().reading.get_mut(&self.0.id) {
            reads.unread_since = since;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut readers = self.crowd.readers();
        if readers.reading.remove(&self.id).is_some() {
            readers.wake();
        }
    }
}

/// The body of an answer, which holds what its request has taken until it is sent.
#[derive(Debug)]
pub(super) struct HeldBody {
    body: Body,
    turn: Option<Turn>,
    _under_way: UnderWay,
    _underway: Option<Underway>,
}

impl HeldBody {
    /// Moves what an answer carries into its body.
    pub(super) fn hold(mut response: Response, under_way: UnderWay) -> hyper::Response<Self> {
        let extensions = response.extensions_mut();
        let (turn, underway) = (extensions.remove::<Turn>(), extensions.remove::<Underway>());
        response.map(|body| Self { body, turn, _under_way: under_way, _underway: underway })
    }
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(turn) = &self.turn {
            // Until the client has taken these bytes, no more are asked for.
            turn.set_unread(matches!(polled, Poll::Ready(Some(Ok(_)))).then(Instant::now));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_reads_keeps_its_turn_and_who_does_not_makes_room_for_the_newest() {
        let crowd = Crowd::default();
        let client = Client { crowd: crowd.clone(), connection: None };
        let mut turns = Vec::new();
        for _ in 0..READERS_MAX {
            turns.push(Client::turn(Some(&client)).await.unwrap().unwrap());
        }
        assert!(Box::pin(Client::turn(Some(&client))).now_or_never().is_none(), "all read");
        assert!(Client::turn(None).await.unwrap().is_none(), "the owner needs no turn");
        let now = Instant::now();
        turns[5].set_unread(Some(now));
        turns[9].set_unread(Some(now + Duration::from_millis(1)));
        let next = Client::turn(Some(&client)).await.unwrap().unwrap();
        let took = now.elapsed();
        assert!(took >= UNREAD_MAX, "{took:?}");
        let is_reading = |turn: &Turn| crowd.readers().reading.contains_key(&turn.0.id);
        assert!(!is_reading(&turns[5]) && is_reading(&turns[9]) && is_reading(&next));
        // A turn that was lost frees no second place.
        drop(turns.remove(5));
        assert_eq!(crowd.readers().reading.len(), READERS_MAX);
        turns[8].set_unread(None);
        let mut older = Box::pin(Client::turn(Some(&client)));
        let mut newer = Box::pin(Client::turn(Some(&client)));
        assert!((&mut older).now_or_never().is_none() && (&mut newer).now_or_never().is_none());
        drop(turns.pop());
        let newest = newer.now_or_never();
        assert!((&mut older).now_or_never().is_none() && newest.is_some());
        let mut more: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(Client::turn(Some(&client)))).collect();
        assert!(more.iter_mut().all(|it| it.now_or_never().is_none()));
        assert_eq!(
            older.now_or_never().map(Result::err),
            Some(Some(Busy)),
            "it has waited longest of too many"
        );
    }
}
