//! The keys of publishers: where they are kept, how they sign, and the documents that change a publisher's keys.
//!
//! Commands link this crate. The daemon links it for `--publish-key` alone. No type of the registry takes a key: the
//! registry prepares what a publisher must sign ([`reg_api::prepared::Prepared`]) and checks the signatures. The crate
//! must not reach the network or a node's store.

pub mod key_file;
pub mod keyring;
pub mod secret_key;
pub mod ssh_agent;
mod ssh_key;

pub mod error;
pub mod key_changes;
pub mod publisher_key;
pub mod signing_file;

pub mod authorities;
mod certificate;
pub mod oms;

pub mod durable;
