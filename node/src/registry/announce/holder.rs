//! TODO.

use reg_proto::announcement::Holder;
use reg_proto::peer::{Address, PeerId};

/// A holder as this node tells it of itself and others.
pub fn holder_of(peer: PeerId, addresses: Vec<Address>) -> Holder {
    Holder { peer, addresses: reg_proto::bounded::Bounded::first_of(addresses) }
}
