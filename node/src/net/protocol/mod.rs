//! One file for each protocol: its configuration, its state, what it waits for.

use libp2p::StreamProtocol;

pub(super) mod blobs;
pub(super) mod discovery;
pub(super) mod gossip;
pub(super) mod reachability;
pub(super) mod record_store;
pub(super) mod records;
pub(super) mod relay;

/// Returns the name of a protocol as libp2p has it.
fn protocol(name: &str) -> StreamProtocol {
    StreamProtocol::try_from_owned(name.to_owned()).expect("a protocol's name begins with a slash")
}
