//! What verifying costs, and which peer pays for it: signatures are verified on blocking threads, a few at a time, within
//! a budget for each message and a rate for each peer.
//!
//! In: the work of verifying what a peer sent. Out: its result, or that there is no turn for it. Promise: no peer delays
//! the tasks that answer others, and a peer that sends more than its rate unasked is disconnected.

mod rates;
mod verifier;

pub use self::verifier::{Refused, Verifier};
