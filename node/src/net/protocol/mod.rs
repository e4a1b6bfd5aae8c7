//! One file for each protocol: its configuration, its state, and its pending requests.

use libp2p::StreamProtocol;

pub(super) mod blobs;
pub(super) mod bounded_kad;
pub(super) mod discovery;
pub(super) mod gossip;
pub(super) mod provided;
pub(super) mod reachability;
pub(super) mod record_store;
pub(super) mod records;
pub(super) mod relay;

/// Converts the name of a protocol to libp2p's type.
fn protocol(name: &str) -> StreamProtocol {
    StreamProtocol::try_from_owned(name.to_owned()).expect("a protocol's name begins with a slash")
}
