//! [`Suspects`]: blobs that may have changed since they were verified.

use std::collections::BTreeSet;

use reg_proto::digest::Digest;

/// The blobs that are being rehashed. They are not served meanwhile.
pub(super) type Suspects = BTreeSet<Digest>;
