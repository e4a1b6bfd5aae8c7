//! [`git_blob`]: the name that git gives to a file.

use sha1::{Digest as _, Sha1};

/// Returns git's name of a file: the SHA-1 of `blob <length>\0` and the bytes.
pub fn git_blob(bytes: &[u8]) -> [u8; 20] {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", bytes.len()));
    hasher.update(bytes);
    hasher.finalize().into()
}
