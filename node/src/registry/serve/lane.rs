//! Serves pieces over a lane: a thread takes slots of the upload queue and sends their pieces, until the lane or its stream ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::wire::Rejection;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tracing::debug;

use super::Serving;
use super::pieces::{PieceReader, Requests};
use crate::metrics::Place;
use crate::net::{LaneEnd, LaneError, LaneWriter, Pace};
use crate::registry::fetch::Way;

/// What the thread of a lane reports to the task of its stream.
#[derive(Debug)]
pub(super) enum Said {
    /// The rest of a request is not served.
    Refused { id: u32, blob: Digest, reason: Rejection },
    /// The lane of this number has ended.
    Ended { lane: u64 },
}

/// Reports the end of a lane when it is dropped, however the thread ends. The stream then serves the requests itself.
struct Ending {
    lane: u64,
    says: mpsc::Sender<Said>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        drop(self.says.blocking_send(Said::Ended { lane: self.lane }));
    }
}

/// A lane that serves. Dropping it ends its thread.
#[derive(Debug)]
pub(super) struct ServingLane(LaneEnd);

impl Drop for ServingLane {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Starts the thread of a lane to a peer at its place; `says` reports to the stream.
///
/// # Errors
/// The system has no more threads or file descriptors.
pub(super) fn start(
    serving: Arc<Serving>,
    peer: (PeerId, Place),
    requests: Arc<Requests>,
    lane: LaneWriter,
    number: u64,
    says: mpsc::Sender<Said>,
    carried: Arc<AtomicU64>,
) -> Result<ServingLane, LaneError> {
    let (end, runtime) = (lane.end()?, Handle::current());
    thread::Builder::new().name("serve".to_owned()).spawn(move || {
        // Rehashing a blob that has changed needs a task, so this thread runs in the runtime's context.
        let _in_runtime = runtime.enter();
        let ending = Ending { lane: number, says };
        if let Err(error) = serve(&serving, peer, &requests, lane, &ending.says, &carried) {
            debug!(peer = %peer.0, %error, "a lane that was served broke");
        }
    })?;
    Ok(ServingLane(end))
}

fn serve(
    serving: &Arc<Serving>,
    (peer, place): (PeerId, Place),
    requests: &Arc<Requests>,
    mut lane: LaneWriter,
    says: &mpsc::Sender<Said>,
    carried: &AtomicU64,
) -> Result<(), LaneError> {
    let mut reader = PieceReader::new(serving.clone(), requests.clone());
    while let Some(slot) = requests.place.turn_blocking() {
        let turn = slot.turn();
        match reader.read(&turn) {
            Ok(bytes) => {
                let pace = |bytes: usize| slot.pace(bytes);
                let pace = if requests.place.is_limited() { Pace::Kept(&pace) } else { Pace::Free };
                if let Err(error) = lane.send_piece(turn.id, turn.piece, bytes, pace) {
                    requests.place.give_back(slot);
                    return Err(error);
                }
                let traffic = &serving.fetching.traffic;
                traffic.count_served(peer, bytes.len() as u64, turn.is_first, Way::Lane, place);
                carried.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                slot.sent(bytes.len());
            }
            Err(reason) => {
                requests.place.cancel(turn.id);
                drop(slot);
                let refused = Said::Refused { id: turn.id, blob: turn.blob, reason };
                if says.blocking_send(refused).is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}
