//! Serving over a lane: a thread that sends the pieces whose turn it is, until the lane or its stream ends.

use std::sync::Arc;
use std::thread;

use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::wire::Rejection;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tracing::debug;

use super::pieces::{PieceReader, Requests};
use crate::net::{LaneEnd, LaneError, LaneWriter, Pace};
use crate::registry::fetch::Way;
use crate::registry::serve::Serving;

/// What a lane tells its stream.
#[derive(Debug)]
pub(super) enum Said {
    /// A request is not served (any further).
    Refused { id: u32, blob: Digest, reason: Rejection },
    /// The lane of this number is gone.
    Ended { lane: u64 },
}

/// Tells the stream that a lane is gone, however its thread ends: the stream then serves what is asked for itself.
struct Ending {
    lane: u64,
    says: mpsc::Sender<Said>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        drop(self.says.blocking_send(Said::Ended { lane: self.lane }));
    }
}

/// A lane that serves; dropping it ends its thread.
#[derive(Debug)]
pub(super) struct ServingLane(LaneEnd);

impl Drop for ServingLane {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Starts a lane's thread.
///
/// # Errors
/// The system has no more threads or file descriptors.
pub(super) fn start(
    serving: Arc<Serving>,
    peer: PeerId,
    requests: Arc<Requests>,
    lane: LaneWriter,
    number: u64,
    says: mpsc::Sender<Said>,
) -> Result<ServingLane, LaneError> {
    let (end, runtime) = (lane.end()?, Handle::current());
    thread::Builder::new().name("serve".to_owned()).spawn(move || {
        // A blob that turns out to have changed is rehashed by a task.
        let _in_runtime = runtime.enter();
        let ending = Ending { lane: number, says };
        if let Err(error) = serve(&serving, peer, &requests, lane, &ending.says) {
            debug!(%peer, %error, "a lane that was served broke");
        }
    })?;
    Ok(ServingLane(end))
}

fn serve(
    serving: &Arc<Serving>,
    peer: PeerId,
    requests: &Arc<Requests>,
    mut lane: LaneWriter,
    says: &mpsc::Sender<Said>,
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
                serving.fetching.traffic.count_served(peer, bytes.len() as u64, turn.is_first, Way::Lane);
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
