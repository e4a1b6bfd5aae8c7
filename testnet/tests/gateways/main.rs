//! The gateways and the local API, asked by real clients: which requests they answer, and which they refuse.

mod crowds;
mod guard;
mod local_api;
mod starting;

mod hf;
mod oci;

mod import;
mod upstream;
