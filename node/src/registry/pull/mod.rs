//! Pulls a model: proves it, fetches what is missing, judges its files, records it and places it in the user's directory.
//!
//! In: a request to pull, to plan or to verify. Out: a report with every check and source, a plan of what would be fetched, or
//! the damage that was found. Promise: every file that is placed or recorded was verified whole. What was fetched before an
//! error is kept.

mod brought;
mod by_ticket;
mod conclude;
mod early;
mod error;
mod headers;
mod into_hf_cache;
mod look;
mod plan;
mod probe;
mod puller;
mod reuse;
mod shared_tensors;
mod tensors;
mod told;
mod verify;
mod versions;

use std::sync::Arc;

use crate::net::Network;
use crate::registry::announce::News;
use crate::registry::domains::Domains;
use crate::registry::fetch::Fetching;
use crate::registry::resolve::Resolver;
use crate::registry::trust::Trust;
use crate::store::Store;

pub use self::brought::{Lacking, Proven};
pub use self::conclude::ConcludeError;
pub use self::error::PullError;
pub use self::into_hf_cache::{COMMIT_DIGITS, LISTED_BYTES_MAX, commit, plain_files, repository_dir};
pub use self::probe::Probed;
pub use self::shared_tensors::{Comparison, compare_tensors};
pub use self::verify::VerifyError;
pub use self::versions::WithVersions;

/// Pulls, plans and verifies models. It holds the rooms that a pull uses, and no state of its own.
#[derive(Debug)]
pub struct Puller {
    pub store: Store,
    pub network: Network,
    pub trust: Arc<Trust>,
    pub news: Arc<News>,
    pub resolver: Arc<Resolver>,
    pub domains: Arc<Domains>,
    pub fetching: Arc<Fetching>,
}
