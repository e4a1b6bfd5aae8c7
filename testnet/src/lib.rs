//! Builds test networks: real nodes as processes on loopback, real models to transfer, and peers that lie.
//!
//! Tests use the product through its command line only. Lying peers speak its protocols themselves.

pub mod process;

pub mod before;
mod command_end;

pub mod alone;

pub mod gaps;
pub mod model;
pub mod tree;

pub mod browser;
pub mod clients;
pub mod http;
pub mod identity;

pub mod domains;
pub mod endpoint;

pub mod measure;
pub mod nginx;
pub mod prometheus;

pub mod asker;
pub mod author;
pub mod evil;
pub mod expensive;
pub mod sybil;

pub mod delay;
pub mod line;
pub mod netns;

pub mod chance;
pub mod faulty_fs;
pub mod power;

pub mod mutants;
