//! Reports the transfers that run, and changes them for the owner of the node.

use std::collections::BTreeSet;

use reg_api::request::Priority;
use reg_api::transfer::{PiecesReport, TransferReport};
use reg_proto::digest::Digest;
use reg_proto::name::Reference;
use reg_proto::piece::PieceSet;

use super::{CatalogueError, Local};
use crate::registry::fetch::{Meant, Transfer, pieces_at_rest};
use crate::registry::model::record;
use crate::store::Partial;

impl Local {
    /// Lists the transfers that run, the oldest first.
    pub fn transfers(&self) -> Vec<TransferReport> {
        let petnames = self.trust.petnames();
        let each = self.fetching.transfers().into_iter().map(|transfer| {
            let Transfer { registered, facts, sources, more_sources } = transfer;
            TransferReport {
                publisher: registered.what.publisher,
                petname: petnames.get(&registered.what.publisher).cloned(),
                model: registered.what.model,
                tag: registered.what.tag,
                manifest: registered.what.manifest,
                priority: registered.priority,
                paused: facts.paused || facts.node_paused,
                read: registered.is_read,
                done: facts.done,
                total: facts.total,
                rate: facts.rate,
                limit: facts.limit,
                connected: facts.connected,
                sources,
                more_sources,
                reason: facts.reason(),
            }
        });
        each.collect()
    }

    /// Returns which pieces of a model are stored, and, while it is being fetched, from which source. `None` where its manifest is
    /// not in the store.
    pub fn pieces(&self, manifest: &Digest) -> Option<PiecesReport> {
        self.fetching.pieces(manifest).or_else(|| self.pieces_at_rest(manifest))
    }

    /// Returns which pieces of a model that no transfer is about are stored.
    fn pieces_at_rest(&self, manifest: &Digest) -> Option<PiecesReport> {
        let files = record::manifest(&self.store, manifest).ok()?;
        let mut seen = BTreeSet::new();
        let stored = files.files().iter().filter(|file| seen.insert(file.digest)).map(|file| {
            let count = file.layout.piece_count();
            if self.store.contains(&file.digest) {
                return PieceSet::full(count);
            }
            let partials = self.store.open_partial(&file.digest);
            let most =
                partials.iter().map(Partial::have).filter(|it| it.len() == count).max_by_key(PieceSet::count);
            most.unwrap_or_else(|| PieceSet::new(count))
        });
        Some(pieces_at_rest(stored.collect()))
    }

    /// Gives the pulls of a model another priority. Returns how many there are.
    ///
    /// # Errors
    /// The petname in the reference is not known.
    pub fn set_priority(&self, reference: &Reference, priority: Priority) -> Result<usize, CatalogueError> {
        Ok(self.fetching.priorities.set_priority(&self.meant(reference)?, priority))
    }

    /// Ends the pulls of a model. Their callers learn that the owner has done so. What was fetched is kept.
    ///
    /// # Errors
    /// The petname in the reference is not known.
    pub fn cancel(&self, reference: &Reference) -> Result<usize, CatalogueError> {
        Ok(self.fetching.priorities.cancel(&self.meant(reference)?))
    }

    /// Returns which pulls a reference means.
    pub(super) fn meant(&self, reference: &Reference) -> Result<Meant, CatalogueError> {
        Ok(Meant {
            publisher: self.trust.file.resolve(&reference.publisher)?,
            model: reference.model.clone(),
            tag: reference.tag.clone(),
            digest: reference.digest,
        })
    }
}
