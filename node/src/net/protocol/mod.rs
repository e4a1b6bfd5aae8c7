//! One file for each protocol: its configuration, its state, what it waits for.

pub(super) mod blobs;
pub(super) mod discovery;
pub(super) mod gossip;
pub(super) mod reachability;
pub(super) mod record_store;
pub(super) mod records;
pub(super) mod relay;
