//! Answers clients from the user's Hugging Face endpoint, for names that no publisher known to this node has. Fetches large files
//! from peers if they have them.
//!
//! In: a client's question. Out: the endpoint's answer, and files; the last bytes of a file come after its digest was checked.
//! Promise: bytes that needed the user's token reach neither the disk nor a peer.

mod error;
mod files;
mod incoming;
mod transit;

pub use self::error::UpstreamError;
pub use self::files::{Kept, RemoteFile, Upstream, UpstreamUnusable};
pub use crate::endpoint::questions::{Answer, Question};
