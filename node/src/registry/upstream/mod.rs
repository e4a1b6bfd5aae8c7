//! The user's endpoint behind this node: names that no publisher here has are asked of it, and its large files come from peers where
//! they have them.
//!
//! In: a client's question. Out: the endpoint's answer, and files whose digest was checked at their end. Promise: what needed
//! the user's token never reaches the disk or a peer.

mod error;
mod files;
mod incoming;
mod transit;

pub use self::error::UpstreamError;
pub use self::files::{Kept, RemoteFile, Upstream, UpstreamUnusable};
pub use crate::endpoint::questions::{Answer, Question};
