//! Makes the index agree with the files at every start, because it may be lost, old or damaged.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;

use reg_proto::digest::Digest;

use super::documents::{DocumentKind, split_key};
use super::error::OpenError;
use super::front::Store;
use super::index::{BlobRecord, DocumentCopy};

impl Store {
    /// Goes through all files once, and looks at names and metadata, not at bytes. A blob that the index does not know
    /// is rehashed before it is served.
    pub(super) fn reconcile(&self) -> Result<(), OpenError> {
        self.sweep_temporary()?;
        self.reconcile_blobs()?;
        for kind in DocumentKind::ALL {
            self.reconcile_documents(kind)?;
        }
        self.load_partials().map_err(|source| OpenError::Io { path: self.paths().partials(), source })
    }

    fn sweep_temporary(&self) -> Result<(), OpenError> {
        let path = self.paths().tmp();
        let io = |source| OpenError::Io { path: path.clone(), source };
        for entry in fs::read_dir(&path).map_err(io)? {
            fs::remove_file(entry.map_err(io)?.path()).map_err(io)?;
        }
        Ok(())
    }

    fn reconcile_blobs(&self) -> Result<(), OpenError> {
        let mut on_disk = BTreeSet::new();
        each_file(&self.paths().blobs(), &mut |entry| {
            let digest = entry.file_name().to_str().and_then(|name| Digest::from_hex(name).ok());
            let Some(digest) = digest else { return Ok(()) };
            on_disk.insert(digest);
            if self.index().blob(&digest).map_err(io::Error::other)?.is_none() {
                let record = BlobRecord { size: entry.metadata()?.len(), verified: None };
                self.index().put_blob(&digest, &record).map_err(io::Error::other)?;
            }
            Ok(())
        })
        .map_err(|source| OpenError::Io { path: self.paths().blobs(), source })?;
        for (digest, record) in self.index().blobs()? {
            if on_disk.contains(&digest) {
                self.count(record.size, 0);
            } else {
                self.index().remove_blob(&digest)?;
            }
        }
        Ok(())
    }

    fn reconcile_documents(&self, kind: DocumentKind) -> Result<(), OpenError> {
        let name = kind.name();
        let mut on_disk = BTreeSet::new();
        each_file(&self.paths().documents(name), &mut |entry| {
            let bytes = fs::read(entry.path())?;
            let Some((key, document)) = split_key(&bytes) else { return Ok(()) };
            if self.paths().document(name, key) != entry.path() {
                return Ok(());
            }
            on_disk.insert(key.to_owned());
            let copy = self.index().document(name, key).map_err(io::Error::other)?;
            let same = match copy {
                Some(DocumentCopy::Inline(copy)) => copy == document,
                Some(DocumentCopy::InFile) => document.len() >= crate::store::index::RECORD_BYTES_MAX,
                None => false,
            };
            if !same {
                self.index().put_document(name, key, document).map_err(io::Error::other)?;
            }
            Ok(())
        })
        .map_err(|source| OpenError::Io { path: self.paths().documents(name), source })?;
        for (key, _) in self.index().documents(name, "")? {
            if !on_disk.contains(&key) {
                self.index().remove_document(name, &key)?;
            }
        }
        Ok(())
    }
}

/// Calls `found` for every file in `dir/ab/`.
fn each_file(dir: &Path, found: &mut dyn FnMut(&DirEntry) -> io::Result<()>) -> io::Result<()> {
    for part in fs::read_dir(dir)? {
        let part = part?;
        if part.file_type()?.is_dir() {
            for entry in fs::read_dir(part.path())? {
                found(&entry?)?;
            }
        }
    }
    Ok(())
}
