//! Nodes in network namespaces: behind NATs, with slow uplinks, and over lines that lose packets and delay them.
//!
//! Needs root, iproute2 and nftables; each test says so where they are missing.

mod lines;
mod nat;
mod shaped;
mod tickets;
