//! The data that enters and leaves the registry: requests, reports, progress, receipts, and the selection of files.
//!
//! Every type is data. The command line builds requests, the local API carries them as JSON, and the registry answers
//! with reports. The crate must not open a file, ask a peer or hold a key. It reads the clock in one place ([`clock`]).

pub mod adopt;
pub mod archive;
pub mod collection;
pub mod consent;
pub mod donate;
pub mod folder;
pub mod follow;
pub mod ingest;
pub mod repository_name;
pub mod request;
pub mod search;
pub mod selection;
pub mod settings;
pub mod swarm;
pub mod web_seed;

pub mod escape;

pub mod behind;
pub mod check;
pub mod doctor;
pub mod health;
pub mod lineage;
pub mod looked;
pub mod page;
pub mod reachability;
pub mod receipt;
pub mod report;
pub mod rule;
pub mod tag_age;
pub mod transfer;

pub mod declarations;
pub mod domain;
pub mod prepared;

pub mod progress;
pub mod reporter;

pub mod counted;
pub mod fault;
pub mod printable;
pub mod size;

pub mod clock;
