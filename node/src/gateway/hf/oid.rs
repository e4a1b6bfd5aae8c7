//! What this dialect names a file by: git's SHA-1 of a plain file, the SHA-256 of one in LFS.
//!
//! A plain file's name follows from its bytes, so it is fetched before it can be listed; hence plain files are small and
//! few, and which they are follows from the manifest alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::{StreamExt, TryStreamExt, stream};
use reg_proto::digest::Digest;
use reg_proto::manifest::ModelFile;

use super::Hub;
use super::error::HubError;
use crate::registry::model::git_blob;
use crate::registry::pull::{PLAIN_BYTES_MAX, plain_files};
use crate::registry::resolve::ModelView;

/// Names that are remembered, of 52 bytes each.
const OIDS_MAX: usize = 100_000;
/// Plain files that are fetched at once.
const FETCHED_AT_ONCE: usize = 8;

/// What a file is named by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Oid {
    /// Git's name of a blob: SHA-1 of `blob <length>\0` and the bytes.
    Git(String),
    Lfs(Digest),
}

impl Oid {
    /// Returns what stands in an `ETag`.
    pub(super) fn etag(&self) -> String {
        match self {
            Self::Git(hex) => hex.clone(),
            Self::Lfs(digest) => digest.hex(),
        }
    }
}

/// Git's names of the plain files that were seen.
#[derive(Debug, Default)]
pub(super) struct GitOids(Mutex<BTreeMap<Digest, [u8; 20]>>);

impl Hub {
    /// Returns what one file is named by.
    pub(super) async fn oid(&self, view: &Arc<ModelView>, file: &ModelFile) -> Result<Oid, HubError> {
        if plain_files(view.manifest()).any(|it| it.digest == file.digest) {
            self.git_oid(view, file).await.map(|(_, oid)| oid)
        } else {
            Ok(Oid::Lfs(file.digest))
        }
    }

    /// Returns what each of a model's plain files is named by; the others are named by their digests.
    pub(super) async fn plain_oids(&self, view: &Arc<ModelView>) -> Result<BTreeMap<Digest, Oid>, HubError> {
        let oids = plain_files(view.manifest()).map(|file| self.git_oid(view, file));
        let oids: Vec<_> = oids.collect();
        stream::iter(oids).buffer_unordered(FETCHED_AT_ONCE).try_collect().await
    }

    async fn git_oid(&self, view: &Arc<ModelView>, file: &ModelFile) -> Result<(Digest, Oid), HubError> {
        let known = self.oids().0.lock().expect("no holder of this lock panics").get(&file.digest).copied();
        let oid = match known {
            Some(oid) => oid,
            None => {
                let size = file.layout.size();
                let failed = |error| HubError::of(&error);
                let reader = self.registry().read(view, file.digest, file.layout, 0..size).await;
                let bytes = reader.map_err(failed)?.to_end(PLAIN_BYTES_MAX as usize).await.map_err(failed)?;
                let oid = git_blob(&bytes);
                let mut oids = self.oids().0.lock().expect("no holder of this lock panics");
                if oids.len() >= OIDS_MAX {
                    oids.clear();
                }
                oids.insert(file.digest, oid);
                oid
            }
        };
        Ok((file.digest, Oid::Git(data_encoding::HEXLOWER.encode(&oid))))
    }
}

/// Returns the text that stands for a file in LFS (git-lfs, docs/spec.md).
pub(super) fn pointer(digest: &Digest, size: u64) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {size}\n", digest.hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_git_oid_is_what_git_says() {
        // printf 'hello\n' | git hash-object --stdin
        let oid = data_encoding::HEXLOWER.encode(&git_blob(b"hello\n"));
        assert_eq!(oid, "ce013625030ba8dba906f756967f9e9ca394464a");
        // git hash-object -t blob /dev/null
        let empty = data_encoding::HEXLOWER.encode(&git_blob(b""));
        assert_eq!(empty, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    }
}
