//! Worlds we control: real nodes as processes on loopback, real models to move between them, and peers that lie.
//!
//! The product is used from outside only, by its command line; the peers that lie speak its protocols themselves.

pub mod process;

pub mod model;
pub mod tree;

pub mod clients;
pub mod http;

pub mod endpoint;

pub mod measure;
pub mod nginx;

pub mod asker;
pub mod author;
pub mod evil;
pub mod sybil;

pub mod delay;
pub mod netns;

pub mod mutants;

pub mod sim;
