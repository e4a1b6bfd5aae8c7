//! Makes the index agree with the files, at every start and when it is made anew: it may be lost, old or damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirEntry};
use std::path::Path;

use reg_proto::digest::Digest;

use super::documents::{DocumentKind, split_key};
use super::error::OpenError;
use super::front::Store;
use super::index::{BlobRecord, DocumentCopy, IndexError, RECORD_BYTES_MAX, Records};
use super::paths::Paths;

impl Store {
    /// Removes temporary files, counts the blobs, and opens the partial ones.
    pub(super) fn begin(&self) -> Result<(), OpenError> {
        self.sweep_temporary()?;
        for (_, record) in self.index().blobs()? {
            self.count(record.size, 0);
        }
        self.load_partials().map_err(|source| OpenError::Io { path: self.paths().partials(), source })
    }

    fn sweep_temporary(&self) -> Result<(), OpenError> {
        let path = self.paths().tmp();
        let io = |source| OpenError::Io { path: path.clone(), source };
        for entry in fs::read_dir(&path).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "a temporary file cannot be removed");
            }
        }
        Ok(())
    }
}

/// Makes records agree with the files of a store. Goes through all files once, and looks at names and metadata of blobs,
/// not at bytes. A blob that the records do not know is rehashed before it is served.
///
/// # Errors
/// Fails where the files cannot be read, or the records cannot be written.
pub(super) fn with_files(records: &Records, paths: &Paths) -> Result<(), IndexError> {
    with_blobs(records, paths)?;
    DocumentKind::ALL.iter().try_for_each(|kind| with_documents(records, paths, *kind))
}

fn with_blobs(records: &Records, paths: &Paths) -> Result<(), IndexError> {
    // One pass over the index: it does not fit into the memory of sled, so each single question may read the disk.
    let mut lacking: BTreeSet<Digest> = records.blobs()?.into_iter().map(|(digest, _)| digest).collect();
    each_file(&paths.blobs(), &mut |entry| {
        let digest = entry.file_name().to_str().and_then(|name| Digest::from_hex(name).ok());
        let Some(digest) = digest else { return Ok(()) };
        if !lacking.remove(&digest) {
            let size = entry.metadata().map_err(IndexError::Files)?.len();
            records.put_blob(&digest, &BlobRecord { size, verified: None })?;
        }
        Ok(())
    })?;
    lacking.iter().try_for_each(|digest| records.remove_blob(digest))
}

fn with_documents(records: &Records, paths: &Paths, kind: DocumentKind) -> Result<(), IndexError> {
    let name = kind.name();
    // As for blobs: what is left at the end has no file.
    let mut copies: BTreeMap<String, DocumentCopy> = records.documents(name, "")?.into_iter().collect();
    let mut derived_from = records.derived_from(name)?;
    each_file(&paths.documents(name), &mut |entry| {
        let bytes = fs::read(entry.path()).map_err(IndexError::Files)?;
        let Some((key, document)) = split_key(&bytes) else { return Ok(()) };
        if paths.document(name, key) != entry.path() {
            return Ok(());
        }
        let stamp = derived_from.remove(key);
        let same = match copies.remove(key) {
            Some(DocumentCopy::Inline(copy)) => copy == document,
            Some(DocumentCopy::InFile) => document.len() >= RECORD_BYTES_MAX,
            None => false,
        };
        if same {
            records.note_if_new(name, key, document, stamp.as_deref());
            Ok(())
        } else {
            records.put_document(name, key, document)
        }
    })?;
    copies.keys().try_for_each(|key| records.remove_document(name, key))?;
    derived_from.keys().for_each(|key| records.note(name, key, None));
    Ok(())
}

/// Calls `found` for every file in `dir/ab/`.
fn each_file(
    dir: &Path,
    found: &mut dyn FnMut(&DirEntry) -> Result<(), IndexError>,
) -> Result<(), IndexError> {
    let entries = |dir: &Path| fs::read_dir(dir).map_err(IndexError::Files);
    for part in entries(dir)? {
        let part = part.map_err(IndexError::Files)?;
        if part.file_type().map_err(IndexError::Files)?.is_dir() {
            for entry in entries(&part.path())? {
                found(&entry.map_err(IndexError::Files)?)?;
            }
        }
    }
    Ok(())
}
