//! Asks a member for a random piece of a model that it says it holds: the one place that tells whether a claim is true.
//!
//! A node that has the model verifies the piece by its own piece states. A node that has it not takes the manifest, which it
//! verifies, and verifies files of one piece. Of larger files it checks the length only: then a member without the model is found
//! out, and one that sends other bytes is found out by those that have the model, and by those that fetch it.

use std::collections::BTreeMap;

use reg_proto::digest::Digest;
use reg_proto::limits::MANIFEST_BYTES_MAX;
use reg_proto::manifest::Manifest;
use reg_proto::peer::PeerId;
use reg_proto::piece::{BlobLayout, PieceIndex};
use reg_proto::states::PieceStates;
use reg_proto::wire::{Rejection, Request, Response};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::Spreading;
use super::state::Probed;
use crate::registry::chance::draw;
use crate::registry::fetch::{OnePiece, ask_for_piece};
use crate::registry::limits::SPREAD_PROBE_TIMEOUT;
use crate::registry::model::record;

/// A piece, and what verifies it.
struct Target {
    blob: Digest,
    layout: BlobLayout,
    piece: PieceIndex,
    /// `None` where the blob is not in the store.
    states: Option<PieceStates>,
}

impl Target {
    fn is_right(&self, bytes: &[u8]) -> bool {
        let has_length = bytes.len() == self.layout.piece_len(self.piece);
        match &self.states {
            _ if self.layout.piece_count() == 1 => Digest::of(bytes) == self.blob,
            Some(states) => states.verify(&self.blob, self.piece, bytes),
            None => has_length,
        }
    }
}

/// Returns the file and the piece at a place that `chance` draws among all bytes, so that large files are asked for most.
fn place(blobs: &BTreeMap<Digest, BlobLayout>, chance: u64) -> Option<(Digest, BlobLayout, PieceIndex)> {
    let total: u64 = blobs.values().map(|it| it.size()).sum();
    let mut at = chance.checked_rem(total)?;
    for (blob, layout) in blobs {
        if at < layout.size() {
            let piece = layout.piece(u32::try_from(at / reg_proto::piece::PIECE_LEN).ok()?)?;
            return Some((*blob, *layout, piece));
        }
        at -= layout.size();
    }
    None
}

impl Spreading {
    /// Asks a member for a piece of a model.
    pub(super) async fn probe(&self, peer: PeerId, manifest: Digest) -> Probed {
        let end = Instant::now() + SPREAD_PROBE_TIMEOUT;
        let target = match self.target(peer, manifest, end).await {
            Ok(target) => target,
            Err(probed) => return probed,
        };
        let Some(target) = target else { return Probed::Given };
        let probed = self.ask_piece(peer, &target, end).await;
        debug!(%peer, %manifest, blob = %target.blob, piece = target.piece.get(), ?probed, "a copy was asked for");
        probed
    }

    /// Chooses a piece. `None` where the model has no bytes: then its manifest is all of it.
    async fn target(&self, peer: PeerId, manifest: Digest, end: Instant) -> Result<Option<Target>, Probed> {
        let store = self.puller.store.clone();
        let here = tokio::task::spawn_blocking(move || record::manifest(&store, &manifest).ok()).await;
        let document = match here.ok().flatten() {
            Some(document) => document,
            None => self.ask_manifest(peer, manifest, end).await?,
        };
        let chance = draw().ok_or(Probed::Unknown)?;
        let Some((blob, layout, piece)) = place(&document.blobs(), chance) else {
            return Ok(None);
        };
        let store = self.puller.store.clone();
        let states = tokio::task::spawn_blocking(move || {
            (store.contains(&blob) && layout.piece_count() > 1).then(|| store.states(&blob))
        });
        // What this node cannot read itself says nothing of the member.
        let states = states.await.ok().flatten().transpose().map_err(|_| Probed::Unknown)?;
        Ok(Some(Target { blob, layout, piece, states }))
    }

    async fn ask_manifest(&self, peer: PeerId, manifest: Digest, end: Instant) -> Result<Manifest, Probed> {
        let ask = self.puller.network.ask(peer, Request::GetDocument { digest: manifest });
        let bytes = match timeout_at(end, ask).await {
            Ok(Ok(Response::Document { bytes })) => bytes,
            Ok(Ok(Response::NotFound)) => return Err(Probed::Refused),
            Ok(Ok(_) | Err(_)) => return Err(Probed::Unknown),
            Err(_) => return Err(Probed::Silent),
        };
        if bytes.len() > MANIFEST_BYTES_MAX || Digest::of(&bytes) != manifest {
            return Err(Probed::Refused);
        }
        Manifest::from_bytes(&bytes).map_err(|_| Probed::Refused)
    }

    async fn ask_piece(&self, peer: PeerId, target: &Target, end: Instant) -> Probed {
        let opened = match timeout_at(end, self.puller.network.open_stream(peer)).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(_)) => return Probed::Unknown,
            Err(_) => return Probed::Silent,
        };
        let (blob, is_right) = (target.blob, |bytes: &[u8]| target.is_right(bytes));
        match ask_for_piece(opened, blob, target.piece, end, is_right).await {
            OnePiece::Came { is_right: true, .. } => Probed::Given,
            OnePiece::Came { is_right: false, .. } => {
                debug!(%peer, %blob, "a peer sent wrong bytes");
                self.puller.resolver.ban(peer);
                Probed::Refused
            }
            OnePiece::Rejected(reason) => rejected(&reason),
            OnePiece::NotSent => Probed::Unknown,
            // A member that goes away ends its streams too.
            OnePiece::Ended | OnePiece::Broken | OnePiece::TooLate => Probed::Silent,
        }
    }
}

/// A member that is busy, or verifies its copy again, may hold the piece and may not.
const fn rejected(reason: &Rejection) -> Probed {
    match reason {
        Rejection::Busy { .. } | Rejection::Unverified => Probed::Unknown,
        Rejection::NotHere | Rejection::Malformed => Probed::Refused,
    }
}

#[cfg(test)]
mod tests {
    use reg_proto::piece::PIECE_LEN;

    use super::*;

    #[test]
    fn every_byte_of_a_model_is_asked_for_with_the_same_chance() {
        let sizes = [1, PIECE_LEN, 3 * PIECE_LEN + 5];
        let layouts = sizes.map(|size| BlobLayout::new(size).expect("a layout"));
        let blobs: BTreeMap<Digest, BlobLayout> =
            (0u8..).zip(layouts).map(|(n, layout)| (Digest::of(&[n]), layout)).collect();
        let total: u64 = sizes.iter().sum();
        let mut seen: BTreeMap<(Digest, u32), u64> = BTreeMap::new();
        for chance in (0..total).step_by(1 << 10).chain([total - 1, total + 7]) {
            let (blob, layout, piece) = place(&blobs, chance).expect("a piece");
            assert!(piece <= layout.last());
            *seen.entry((blob, piece.get())).or_default() += 1;
        }
        assert!(seen.len() >= 5, "{seen:?}");
        assert_eq!(place(&BTreeMap::new(), 7), None);
    }

    #[test]
    fn wrong_bytes_and_wrong_lengths_are_not_right() {
        let layout = BlobLayout::new(5).expect("a layout");
        let piece = layout.piece(0).expect("a piece");
        let small = Target { blob: Digest::of(b"bytes"), layout, piece, states: None };
        assert!(small.is_right(b"bytes") && !small.is_right(b"bytez") && !small.is_right(b"byte"));
        let layout = BlobLayout::new(PIECE_LEN + 3).expect("a layout");
        let large = Target { layout, piece: layout.last(), ..small };
        assert!(large.is_right(b"abc") && !large.is_right(b"ab"));
        for (reason, probed) in [
            (Rejection::Busy { retry_ms: 5 }, Probed::Unknown),
            (Rejection::Unverified, Probed::Unknown),
            (Rejection::NotHere, Probed::Refused),
            (Rejection::Malformed, Probed::Refused),
        ] {
            assert_eq!(rejected(&reason), probed);
        }
    }
}
