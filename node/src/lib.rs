//! The node as a library: what a `reg` daemon is made of, from its store and its network up to the HTTP gateways.
//!
//! Modules depend downwards only: `daemon` puts all together, `gateway` → `registry` → {`net`, `store`,
//! `hub`, `web`, [`reg_transfer`]} → [`reg_proto`]. `net`, `store` and `hub` never name each other; `web` asks `net`
//! which addresses are private.

pub mod daemon;

pub mod gateway;

pub mod registry;

pub mod hub;
pub mod net;
pub mod store;
pub mod web;
