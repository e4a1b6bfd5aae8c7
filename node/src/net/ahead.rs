//! [`Ahead`]: blob streams that this node opens before it knows that it needs them, each with lanes.
//!
//! While a peer answers for a name, a stream and its lanes are set up. Over a long line that saves the three round trips of a
//! lane, and its connection grows fast sooner. Later an offer would also wait behind the pieces on the stream. A far peer is asked
//! for [`LANES_AHEAD`] lanes: where packets are lost, some connections are much slower than others. A stream that no download takes
//! is closed after [`AHEAD_FOR`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reg_proto::peer::PeerId;
use reg_proto::wire::Frame;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::frames::{FrameReader, FrameWriter};
use super::lane::LaneReader;
use super::limits::{AHEAD_FOR, AHEAD_MAX, AHEAD_PATIENCE, AHEAD_WAIT, LANES_AHEAD};
use super::network::Network;

/// A stream that was opened ahead, and the lanes that the peer has offered.
#[derive(Debug)]
pub struct OpenedAhead {
    pub reader: FrameReader,
    pub writer: FrameWriter,
    pub lanes: Vec<LaneAhead>,
}

/// A lane that connects.
#[derive(Debug)]
pub struct LaneAhead(Task<Option<LaneReader>>);

impl LaneAhead {
    /// Waits until the lane is connected; `None` if it does not connect.
    pub async fn connected(self) -> Option<LaneReader> {
        self.0.done().await.flatten()
    }
}

/// A task that ends when it is dropped.
#[derive(Debug)]
struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    fn spawn(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    async fn done(mut self) -> Option<T> {
        (&mut self.0).await.ok()
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The streams that are opened ahead, by peer. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Ahead(Arc<Mutex<BTreeMap<PeerId, Begun>>>);

/// A stream that is being opened, or that no download has taken yet.
#[derive(Debug)]
struct Begun {
    opening: Task<Option<OpenedAhead>>,
    since: Instant,
}

impl Ahead {
    /// Begins to open a stream to a peer, unless one is opened already, or [`AHEAD_MAX`] are.
    pub(super) fn begin(&self, network: Network, peer: PeerId) {
        let mut begun = self.lock();
        if begun.len() >= AHEAD_MAX || begun.contains_key(&peer) {
            return;
        }
        let since = Instant::now();
        begun.insert(peer, Begun { opening: Task::spawn(open(network, peer)), since });
        let all = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            sleep(AHEAD_FOR).await;
            let Some(all) = all.upgrade() else { return };
            Self(all).lock().retain(|it, begun| *it != peer || begun.since != since);
        });
    }

    /// Returns the stream to a peer that was opened ahead; `None` if there is none, or the peer lets this node wait.
    pub(super) async fn take(&self, peer: PeerId) -> Option<OpenedAhead> {
        let begun = self.lock().remove(&peer)?;
        timeout(AHEAD_WAIT, begun.opening.done()).await.ok()??
    }

    /// The lock guards plain data that is consistent after every statement, so a panic of another thread does not spoil
    /// it.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PeerId, Begun>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn open(network: Network, peer: PeerId) -> Option<OpenedAhead> {
    let (mut reader, mut writer) = network.open_stream(peer).await.ok()?;
    let wanted = match network.has_lanes() {
        false => 0,
        true if network.is_near(peer).await => 1,
        true => LANES_AHEAD,
    };
    for _lane in 0..wanted {
        writer.send(&Frame::WantLane).await.ok()?;
    }
    let mut lanes = Vec::new();
    for _answer in 0..wanted {
        match timeout(AHEAD_PATIENCE, reader.next()).await {
            Ok(Ok(Some(Frame::LaneOffer { ports, token }))) => {
                let network = network.clone();
                let dialling = async move { network.dial_lane(peer, &ports, token).await.ok() };
                lanes.push(LaneAhead(Task::spawn(dialling)));
            }
            Ok(Ok(Some(Frame::NoLane))) => {}
            _ => return None,
        }
    }
    Some(OpenedAhead { reader, writer, lanes })
}
