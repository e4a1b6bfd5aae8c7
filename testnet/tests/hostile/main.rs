//! Peers, publishers and crowds that mean harm, against real nodes: wrong bytes, hidden code, Sybils, floods.

mod archives;
mod consent;
mod escapes;
mod liars;
mod real_formats;
mod silence;
mod unsafe_formats;

mod private;

mod addresses;
mod amplification;
mod caps;
mod eclipse;
mod price;
