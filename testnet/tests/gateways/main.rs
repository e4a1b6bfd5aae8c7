//! The gateways and the local API, asked by real clients: which requests they answer, and which they refuse.

mod crowds;
mod guard;
mod local_api;
mod metrics;
mod starting;

mod page;
mod page_foreign;
mod page_seen;

mod archives;
mod conformance;
mod containerd;
mod damaged;
mod domains;
mod git;
mod hf;
mod hub_pages;
mod llama;
mod oci;
mod quantisations;
mod uploads;
mod versions;

mod elsewhere;
mod lists;

mod import;
mod upstream;
mod whole;
