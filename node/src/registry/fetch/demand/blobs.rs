//! The blobs of a download: opens them, counts what comes of them, and finishes those that are complete.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reg_api::transfer::Source;
use reg_proto::digest::Digest;
use reg_proto::piece::{BlobLayout, PieceIndex};
use tracing::warn;

use super::super::error::BeginError;
use super::super::room::Room;
use super::{Conclusion, Demand, Member, Opened, Origins, Sources, Wish};
use crate::store::{Lease, Partial, PartialError};

impl Demand {
    /// Counts the bytes of a piece of a blob that a source has sent.
    pub(in crate::registry::fetch) fn count(
        &self,
        blob: &Digest,
        piece: PieceIndex,
        source: &Source,
        bytes: u64,
    ) {
        let mut state = self.state();
        state.fetched += bytes;
        let Some(opened) = state.opened.get_mut(blob) else { return };
        opened.origins.note(piece.get(), source);
        *match source {
            Source::Peer(peer) => opened.fetched.peers.entry(*peer).or_default(),
            Source::Web(seed) => opened.fetched.web.entry(seed.clone()).or_default(),
        } += bytes;
    }

    /// Returns the bytes of a blob that each source has sent.
    pub(in crate::registry::fetch) fn fetched(&self, blob: &Digest) -> Sources {
        self.state().opened.get(blob).map(|it| it.fetched.clone()).unwrap_or_default()
    }

    /// Returns how many of the bytes that pulls want are stored, and how many they want.
    pub(in crate::registry::fetch) fn amounts(&self) -> (u64, u64) {
        self.amounts_for(|_, member| !member.joining.is_reader)
    }

    pub(super) fn amounts_for(&self, is_meant: impl Fn(u64, &Member) -> bool) -> (u64, u64) {
        self.each_for(is_meant).into_iter().fold((0, 0), |sum, (_, it)| (sum.0 + it.0, sum.1 + it.1))
    }

    /// Returns the same of each blob.
    pub(super) fn each_for(&self, is_meant: impl Fn(u64, &Member) -> bool) -> Vec<(Digest, (u64, u64))> {
        let state = self.state();
        let mut wishes: BTreeMap<Digest, Vec<&Wish>> = BTreeMap::new();
        let meant = state.members.iter().filter(|(id, member)| is_meant(**id, member));
        for (blob, wish) in meant.flat_map(|(_, it)| &it.wishes) {
            wishes.entry(*blob).or_default().push(wish);
        }
        let each = |(blob, wishes): (&Digest, &Vec<&Wish>)| {
            Some((*blob, amounts_of(state.opened.get(blob)?, wishes)))
        };
        wishes.iter().filter_map(each).collect()
    }

    /// Adds a blob to those that are being fetched.
    pub(in crate::registry::fetch) fn open(self: &Arc<Self>, partial: Partial) {
        let (blob, layout) = (partial.digest(), partial.states().layout());
        let is_full = partial.have().is_full();
        let opened = Opened {
            layout,
            partial: Some(partial),
            room: None,
            fetched: Sources::default(),
            origins: Origins::default(),
            is_prepared: false,
            end: None,
        };
        let mut state = self.state();
        state.opened.insert(blob, opened);
        state.changes.blobs.insert(blob);
        drop(state);
        if is_full {
            self.complete(blob);
        }
        self.asked.notify_one();
        self.tell();
    }

    /// Notes that a blob is whole in the store already.
    pub(in crate::registry::fetch) fn is_here(&self, blob: Digest, layout: BlobLayout) {
        let end = Some(Ok(()));
        let (fetched, origins) = (Sources::default(), Origins::default());
        let opened = Opened { layout, partial: None, room: None, fetched, origins, is_prepared: true, end };
        self.state().opened.insert(blob, opened);
        self.tell();
    }

    /// Keeps a lease, and with it disk space, until the download ends.
    pub(in crate::registry::fetch) fn keep_lease(&self, lease: Lease) {
        let mut state = self.state();
        let _lives = lease.set_idle(state.members.is_empty());
        state.leases.push(lease);
    }

    /// Sets disk space aside for a blob and keeps it, unless it is kept already: of callers that come together, one does so.
    /// Blocks.
    ///
    /// # Errors
    /// The disk is full, or the file of the partial blob cannot be used.
    pub(in crate::registry::fetch) fn set_aside(&self, partial: Partial) -> Result<(), BeginError> {
        let _alone = self.setting_aside.lock().expect("no holder of this lock panics");
        let blob = partial.digest();
        if self.has_room(&blob) {
            return Ok(());
        }
        let room = Room::set_aside(vec![partial])?;
        if let Some(opened) = self.state().opened.get_mut(&blob).filter(|it| it.partial.is_some()) {
            opened.room = Some(room);
        }
        Ok(())
    }

    /// Tells whether a blob was opened that is neither whole nor lost.
    pub(in crate::registry::fetch) fn has_open(&self) -> bool {
        self.state().opened.values().any(|it| it.partial.is_some() && it.end.is_none())
    }

    /// Tells whether disk space is kept for a blob.
    pub(in crate::registry::fetch) fn has_room(&self, blob: &Digest) -> bool {
        self.state().opened.get(blob).is_none_or(|it| it.room.is_some() || it.partial.is_none())
    }

    /// Returns a blob that is being fetched.
    pub fn partial(&self, blob: &Digest) -> Option<Partial> {
        self.state().opened.get(blob).and_then(|it| it.partial.clone())
    }

    /// Returns how it ended to keep a blob; `None` while it is being fetched.
    pub fn end_of(&self, blob: &Digest) -> Option<Result<(), Arc<PartialError>>> {
        self.state().opened.get(blob).and_then(|it| it.end.clone())
    }

    /// Finishes a blob once all its pieces are stored: it becomes a whole blob of the store. One thread finishes the blobs of
    /// a download one after the other.
    pub fn complete(self: &Arc<Self>, blob: Digest) {
        let mut state = self.state();
        state.finishing.push_back(blob);
        if std::mem::replace(&mut state.is_finishing, true) {
            return;
        }
        drop(state);
        let demand = self.clone();
        tokio::task::spawn_blocking(move || while demand.finish_next() {});
    }

    /// Finishes the next complete blob. Returns false if none waits.
    fn finish_next(&self) -> bool {
        let mut state = self.state();
        let Some(blob) = state.finishing.pop_front() else {
            state.is_finishing = false;
            return false;
        };
        let partial = state.opened.get(&blob).and_then(|it| it.partial.clone());
        drop(state);
        let Some(partial) = partial else { return true };
        let end = partial.finish().map_err(|error| {
            warn!(%blob, %error, "a complete blob cannot be kept");
            Arc::new(error)
        });
        let mut state = self.state();
        if let Some(opened) = state.opened.get_mut(&blob) {
            if end.is_ok() {
                opened.partial = None;
                // The blob is whole, so there is no space to give back.
                opened.room = None;
            }
            opened.end = Some(end);
        }
        let conclusions: Vec<Conclusion> = state.conclusions.values().cloned().collect();
        drop(state);
        conclusions.iter().for_each(|it| (it.0)());
        self.tell();
        true
    }

    /// Runs `conclude` after every blob that becomes whole, on a thread that may block, once for each manifest.
    pub fn conclude_with(&self, manifest: Digest, conclude: impl Fn() + Send + Sync + 'static) {
        self.state().conclusions.entry(manifest).or_insert_with(|| Conclusion(Arc::new(conclude)));
    }

    /// Locks the search for local bytes: one member at a time looks for them.
    pub async fn prepare(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.preparing.lock().await
    }

    /// Tells whether local bytes of a blob were looked for.
    pub(in crate::registry::fetch) fn is_prepared(&self, blob: &Digest) -> bool {
        self.state().opened.get(blob).is_none_or(|it| it.is_prepared)
    }

    /// Notes that local bytes of a blob were looked for and written.
    pub(in crate::registry::fetch) fn note_prepared(&self, blob: &Digest) {
        let mut state = self.state();
        if let Some(opened) = state.opened.get_mut(blob) {
            opened.is_prepared = true;
        }
        state.changes.filled.insert(*blob);
        drop(state);
        self.asked.notify_one();
    }
}

/// Returns how many bytes of the wishes for one blob are stored, and how many are wished for.
fn amounts_of(opened: &Opened, wishes: &[&Wish]) -> (u64, u64) {
    let layout = opened.layout;
    let whole = wishes.iter().any(|it| matches!(it, Wish::Whole));
    let Some(partial) = opened.partial.as_ref() else { return (layout.size(), layout.size()) };
    if whole {
        return (partial.verified_bytes(), layout.size());
    }
    let have = partial.have();
    let runs = wishes.iter().flat_map(|it| match it {
        Wish::Whole => &[][..],
        Wish::Runs(runs) => runs,
    });
    let pieces: BTreeSet<u32> = runs.cloned().flatten().collect();
    pieces.into_iter().filter_map(|index| layout.piece(index)).fold((0, 0), |(done, total), piece| {
        let length = layout.piece_len(piece) as u64;
        (if have.contains(piece) { done + length } else { done }, total + length)
    })
}
