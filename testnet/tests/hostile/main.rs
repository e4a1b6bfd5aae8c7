//! Peers, publishers and crowds that mean harm, against real nodes: wrong bytes, hidden code, Sybils, floods.

mod escapes;
mod liars;
mod silence;
mod unsafe_formats;

mod private;

mod amplification;
mod caps;
mod eclipse;
mod price;
