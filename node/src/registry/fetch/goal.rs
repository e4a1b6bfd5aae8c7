//! [`Goal`]: what a download is to bring, and so when it ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use reg_proto::digest::Digest;
use reg_proto::piece::PieceIndex;

use super::demand::Demand;

/// What a download is to bring.
#[derive(Debug)]
pub(super) enum Goal {
    /// Every piece of its blobs.
    Whole,
    /// These pieces of its blobs, of which these are not stored yet.
    Pieces(BTreeSet<(Digest, u32)>),
    /// What readers ask for, for as long as they read.
    Demand(Arc<Demand>),
}

impl Goal {
    /// Returns what readers ask for, where that is the goal.
    pub(super) const fn demand(&self) -> Option<&Arc<Demand>> {
        match self {
            Self::Demand(demand) => Some(demand),
            Self::Whole | Self::Pieces(_) => None,
        }
    }

    /// Tells whether the download goes on, while these blobs are missing and so many pieces are being written.
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

    /// Waits until readers ask for something else; for ever where no readers are the goal.
    pub(super) async fn changed(&self) {
        match self {
            Self::Demand(demand) => demand.asked().await,
            Self::Whole | Self::Pieces(_) => std::future::pending().await,
        }
    }
}
