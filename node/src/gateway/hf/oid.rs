//! [`Oid`]: the name that this dialect gives a file: git's SHA-1 for a plain file, the SHA-256 for one in LFS.
//!
//! The name of a plain file follows from its bytes, so a listing has to fetch them. So plain files are small and few,
//! and the manifest alone decides which they are.

use std::collections::BTreeMap;
use std::sync::Mutex;

use reg_proto::digest::Digest;

/// Names that are remembered, of 52 bytes each.
const OIDS_MAX: usize = 100_000;

/// The name of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Oid {
    /// Git's name of a blob: SHA-1 of `blob <length>\0` and the bytes.
    Git(String),
    Lfs(Digest),
}

impl Oid {
    /// Returns the name as hex digits, as in an `ETag`.
    pub(super) fn etag(&self) -> String {
        match self {
            Self::Git(hex) => hex.clone(),
            Self::Lfs(digest) => digest.hex(),
        }
    }
}

/// Git's names of plain files, by their digests.
#[derive(Debug, Default)]
pub(super) struct GitOids(Mutex<BTreeMap<Digest, [u8; 20]>>);

impl GitOids {
    /// Returns the remembered name of a file.
    pub(super) fn get(&self, file: &Digest) -> Option<[u8; 20]> {
        self.0.lock().expect("no holder of this lock panics").get(file).copied()
    }

    /// Remembers the name of a file; a full table is emptied first.
    pub(super) fn keep(&self, file: Digest, oid: [u8; 20]) {
        let mut oids = self.0.lock().expect("no holder of this lock panics");
        if oids.len() >= OIDS_MAX {
            oids.clear();
        }
        oids.insert(file, oid);
    }
}

/// Returns the pointer of a file in LFS (git-lfs, docs/spec.md).
pub(super) fn pointer(digest: &Digest, size: u64) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {size}\n", digest.hex())
}

#[cfg(test)]
mod tests {
    use crate::registry::model::git_blob;

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
