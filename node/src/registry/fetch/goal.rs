//! [`Goal`]: what a download has to fetch, and therefore when it ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use reg_proto::digest::Digest;
use reg_proto::piece::PieceIndex;

use super::demand::Demand;

/// What a download has to fetch.
#[derive(Debug)]
pub(super) enum Goal {
    /// Every piece of its blobs.
    Whole,
    /// Certain pieces of its blobs; these are not stored yet.
    Pieces(BTreeSet<(Digest, u32)>),
    /// The pieces that readers ask for, until the demand is over.
    Demand(Arc<Demand>),
}

impl Goal {
    /// Returns the demand of the readers, if that is the goal.
    pub(super) const fn demand(&self) -> Option<&Arc<Demand>> {
        match self {
            Self::Demand(demand) => Some(demand),
            Self::Whole | Self::Pieces(_) => None,
        }
    }

    /// Tells whether the download goes on, given the missing blobs and the number of pieces that are being written.
    pub(super) fn is_wanted(&self, missing: &BTreeSet<Digest>, writing: usize) -> bool {
        match self {
            Self::Whole => !missing.is_empty(),
            Self::Pieces(left) => !left.is_empty(),
            Self::Demand(demand) => !demand.is_over() || writing > 0,
        }
    }

    /// Notes a piece that was stored.
    pub(super) fn stored(&mut self, blob: Digest, piece: PieceIndex) {
        match self {
            Self::Whole => {}
            Self::Pieces(left) => drop(left.remove(&(blob, piece.get()))),
            Self::Demand(demand) => demand.tell(),
        }
    }

    /// Waits until the demand of the readers changes; never returns for another goal.
    pub(super) async fn changed(&self) {
        match self {
            Self::Demand(demand) => demand.asked().await,
            Self::Whole | Self::Pieces(_) => std::future::pending().await,
        }
    }
}
