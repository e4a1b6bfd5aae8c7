//! Gathers the documents of one model for the answer to a question for its name, so that the puller need not ask for each.
//!
//! A node sends only what it would send to a question for that document alone, and only small models: reading them costs less
//! than the questions that the puller saves.

use std::cmp::Reverse;

use reg_proto::digest::Digest;
use reg_proto::limits::DOCUMENTS_BYTES_MAX;
use reg_proto::manifest::Manifest;
use reg_proto::referrer::{PROVENANCE_ARTIFACT_TYPE, Referrer};
use reg_proto::states::PieceStates;
use reg_proto::wire::{DocumentsOf, ModelDocuments};

use super::Serving;
use crate::registry::model::record::{ModelRecord, document, referrers_here};
use crate::registry::model::whole;

impl Serving {
    /// Returns the documents of the model that a question names, else of the model of `head`. `None` if this node does not give
    /// the model, or has no manifest of it that is small enough.
    pub(super) fn documents_of(&self, asked: DocumentsOf, head: Option<Digest>) -> Option<ModelDocuments> {
        let manifest = asked.manifest.or(head).filter(|it| asked.unless != Some(*it))?;
        let bytes = self.small(&manifest, DOCUMENTS_BYTES_MAX)?;
        let mut referrers = self.referrers_of(&manifest)?;
        // The puller needs the provenance, and can do without the others.
        referrers.sort_by_key(|(_, it)| Reverse(it.artifact_type == PROVENANCE_ARTIFACT_TYPE));
        let is_whole = whole::is_complete(&self.store, &manifest);
        let mut documents =
            ModelDocuments::of(manifest, is_whole, referrers.iter().map(|(digest, _)| *digest));
        if asked.brief {
            return Some(documents);
        }
        let blobs = Manifest::from_bytes(&bytes).ok()?.blobs();
        documents.add([bytes]);
        for digest in referrers.iter().flat_map(|(digest, it)| [*digest, it.document.digest]) {
            if let Some(document) = self.small(&digest, documents.room()) {
                documents.add([document]);
            }
        }
        // The shortest first, until one has no room: a question reads no states that are not sent.
        let mut large: Vec<_> = blobs.iter().filter(|(_, layout)| layout.piece_count() > 1).collect();
        large.sort_by_key(|(_, layout)| layout.piece_count());
        for (blob, layout) in large {
            if PieceStates::byte_len(*layout) > documents.room() {
                break;
            }
            if self.gives(blob)
                && let Some(states) = self.store.states_here(blob)
            {
                documents.add([states.to_bytes()]);
            }
        }
        Some(documents)
    }

    /// Returns the referrers of a model; `None` if this node does not have the model or does not give it.
    pub(super) fn referrers_of(&self, subject: &Digest) -> Option<Vec<(Digest, Referrer)>> {
        let mut records = ModelRecord::of_manifest(&self.store, subject);
        records.retain(|it| self.trust.sharing.gives(&it.publisher, &it.model));
        if records.is_empty() || self.trust.is_unserved(subject) {
            return None;
        }
        Some(records.iter().flat_map(|record| referrers_here(&self.store, record)).collect())
    }

    /// Tells whether this node gives a blob to peers.
    pub(super) fn gives(&self, blob: &Digest) -> bool {
        !self.trust.is_unserved(blob) && self.trust.gives_blob(blob)
    }

    /// Returns a document that this node gives, unless it has more bytes than there is room for.
    fn small(&self, digest: &Digest, room: usize) -> Option<Vec<u8>> {
        let size = self.store.blob_size(digest).filter(|_| self.gives(digest))?;
        (size <= room as u64).then(|| document(&self.store, digest)).flatten()
    }
}
