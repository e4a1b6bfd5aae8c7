//! Defines everything that nodes name, hash, sign or send to each other.
//!
//! This crate is pure: bytes, time and randomness are arguments. It opens no file, reads no clock and draws no random
//! number. It depends on neither tokio, libp2p nor sled; `testnet/tests/house/tidy.rs` checks this.

pub mod limits;

pub mod digest;
pub mod domain;
pub mod name;
pub mod path;
pub mod peer;
pub mod piece;
pub mod states;

pub mod bounded;
pub mod json;

pub mod descriptor;
pub mod manifest;
pub mod referrer;

pub mod verification;

pub mod attestation;
pub mod denylist;
pub mod envelope;
pub mod key;
pub mod revocation;

pub mod naming;

pub mod delegation;
pub mod domain_record;
pub mod equivocation;
pub mod glob;
pub mod profile;
pub mod provenance;
pub mod tag;

pub mod announcement;
pub mod dht;
pub mod lane;
pub mod swarm;
pub mod swarm_state;
pub mod ticket;
pub mod wire;

pub mod layout;

pub mod content;

pub mod catalogue;
