//! [`Preparation`]: a model between [`prepare_publish`](super::Publishing::prepare_publish) and its commit.

use std::collections::BTreeMap;
use std::time::Instant;

use reg_api::prepared::Prepared;
use reg_proto::content::metadata::Metadata;
use reg_proto::descriptor::Descriptor;
use reg_proto::manifest::Manifest;

use crate::store::Lease;

/// A model that waits for its signatures.
#[derive(Debug)]
pub(super) struct Preparation {
    pub(super) prepared: Prepared,
    pub(super) manifest: Manifest,
    pub(super) descriptor: Descriptor,
    pub(super) metadata: Metadata,
    pub(super) kinds: BTreeMap<String, usize>,
    pub(super) since: Instant,
    /// Keeps the blobs from being evicted until the model is recorded.
    pub(super) _lease: Lease,
}
