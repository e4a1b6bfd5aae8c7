//! [`holder_of`]: a peer with its addresses, as announcements name it.

use reg_proto::announcement::Holder;
use reg_proto::peer::{Address, PeerId};

/// Returns a holder with as many of its addresses as an announcement carries.
pub fn holder_of(peer: PeerId, addresses: Vec<Address>) -> Holder {
    Holder { peer, addresses: reg_proto::bounded::Bounded::first_of(addresses) }
}
