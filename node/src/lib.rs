//! The node as a library: what a `reg` daemon is made of, from its store and its network up to the HTTP gateways.
//!
//! Modules depend downwards only: `daemon` puts all together, `gateway` → `registry` → {`metrics`, `net`, `store`, `endpoint`, `state_file`,
//! `webhook`, `webseed`, `well_known`, [`reg_transfer`]} → [`reg_proto`]. `net`, `store` and `endpoint` never name each other; `webseed` and
//! `well_known` ask `net` which addresses are private.

pub mod daemon;

pub mod gateway;

pub mod registry;

pub mod endpoint;
pub mod metrics;
pub mod net;
pub mod state_file;
pub mod store;
pub mod webhook;
pub mod webseed;
pub mod well_known;
