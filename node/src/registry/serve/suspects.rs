//! TODO.

use std::collections::BTreeSet;

use reg_proto::digest::Digest;

/// The blobs that are being looked at, which are not served meanwhile.
pub(super) type Suspects = BTreeSet<Digest>;
