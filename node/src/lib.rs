//! The node as a library: what a `reg` daemon is made of, from the pure scheduler up to the HTTP gateways.
//!
//! Modules depend downwards only: `daemon` puts all together, `gateway` → `registry` → {`net`, `store`,
//! `hub`, `web`, `transfer`} → [`reg_proto`]. `net`, `store`, `hub` and `transfer` never name each other; `web` asks `net`
//! which addresses are private.

pub mod daemon;

pub mod gateway;

pub mod registry;

pub mod hub;
pub mod net;
pub mod store;
pub mod transfer;
pub mod web;
