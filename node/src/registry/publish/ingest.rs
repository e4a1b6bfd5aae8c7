//! Takes the files of a directory into the store. What is over a bound, or refused by its name or its first bytes, is refused
//! before anything is hashed.

use std::path::Path;

use reg_api::consent::Acceptance;
use reg_api::ingest::{Ingest, IngestPlan, LeftOutList};
use reg_api::reporter::Reporter;
use reg_api::request::{Claims, IngestRequest};
use reg_proto::digest::Digest;
use reg_proto::manifest::ModelFile;
use reg_proto::path::SafePath;
use reg_proto::piece::{BlobLayout, PIECE_LEN};

use super::Publishing;
use super::assemble::{AssembleError, manifest_of, raw_layer_type};
use super::error::PublishError;
use crate::registry::model::describe::Description;
use crate::registry::model::take::{TakeError, Taken, Terms, take};
use crate::registry::model::tree::{self, Authors, Listing, SourceFile};
use crate::store::{Cancel, CancelOnDrop, ImportError, Lease, Taking};

/// The files of a directory, in the store.
pub(super) struct Ingested {
    pub(super) blobs: Vec<(SafePath, Digest)>,
    pub(super) lease: Lease,
    pub(super) left_out: LeftOutList,
    /// Whether large files were to be linked and had to be copied.
    pub(super) copied: bool,
}

impl Publishing {
    /// Says what would be published of a directory, and refuses what a publication would refuse before it hashes. Hashes
    /// nothing.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn plan_publish(&self, request: IngestRequest) -> Result<IngestPlan, PublishError> {
        let caller = CancelOnDrop::default();
        let cancel = caller.cancel();
        let accepted = self.trust.accepted(&request.accepted)?;
        let plan = move || {
            let IngestRequest { path, ingest, .. } = request;
            let listing = tree::list(&path, &ingest, Authors::User, &cancel)?;
            judge(&listing, &Claims::default(), &accepted, &cancel)?;
            Ok::<_, AssembleError>(listing.plan())
        };
        Ok(tokio::task::spawn_blocking(plan).await??)
    }

    /// Imports every file below a path that is taken, on all cores, and reads each once.
    pub(super) fn ingest(
        &self,
        (path, ingest): (&Path, &Ingest),
        claims: &Claims,
        accepted: &Acceptance,
        reporter: &Reporter,
        cancel: &Cancel,
    ) -> Result<Ingested, AssembleError> {
        let listing = tree::list(path, ingest, Authors::User, cancel)?;
        judge(&listing, claims, accepted, cancel)?;
        let Listing { files, left_out } = listing;
        let terms = Terms { taking: &|size| taking(ingest, size), expected: &|_| None };
        let taken = take(&self.store, &files, &terms, reporter, cancel).map_err(|error| match error {
            TakeError::Reserve(source) => AssembleError::Reserve(source),
            TakeError::Import(path, source) => AssembleError::Import { path, source },
        });
        let Taken { imported, lease, copied } = taken?;
        let paths = files.into_iter().map(|it| it.path);
        let blobs = paths.zip(imported).map(|(path, imported)| (path, imported.digest)).collect();
        Ok(Ingested { blobs, lease, left_out, copied })
    }
}

/// How the store takes a file of this size: small files are edited in place, so they are never linked.
fn taking(ingest: &Ingest, size: u64) -> Taking {
    if ingest.link && size > PIECE_LEN { Taking::Link } else { Taking::Copy }
}

/// Judges files by their first bytes, and checks that they make a manifest. Its size depends on names, sizes and classes alone.
fn judge(
    listing: &Listing,
    claims: &Claims,
    accepted: &Acceptance,
    cancel: &Cancel,
) -> Result<(), AssembleError> {
    let classes = Description::judge_sources(&listing.files, accepted, cancel);
    if let (Some(file), true) = (listing.files.first(), cancel.is_cancelled()) {
        return Err(AssembleError::Import { path: file.source.clone(), source: ImportError::Cancelled });
    }
    let mut files = Vec::new();
    for (SourceFile { path, size, .. }, class) in listing.files.iter().zip(classes?) {
        // The digest of the bytes is not known yet. Another one takes as much space.
        let digest = Digest::of(path.as_str().as_bytes());
        let layout =
            BlobLayout::new(*size).map_err(|source| AssembleError::TooLarge { blob: digest, source })?;
        files.push(ModelFile { path: path.clone(), digest, layout, media_type: raw_layer_type(class) });
    }
    manifest_of(claims.clone(), files).map(drop)
}
