//! [`content_digest`]: one name for equal content, under any publisher's manifest.

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::manifest::Manifest;

/// Begins what is hashed, so that no blob has such a digest by accident.
const DOMAIN: &[u8] = b"reg content v1\0";

/// Returns the digest of a model's content: the SHA-256 over its files in the order of their paths.
///
/// Each file gives its path in UTF-8, a zero byte, and the 32 bytes of its blob's digest. A path has no zero byte. The
/// config, media types and annotations do not count, so two manifests of equal files under equal paths have one digest.
pub fn content_digest(manifest: &Manifest) -> Digest {
    let mut files: Vec<(&str, &Digest)> =
        manifest.files().iter().map(|file| (file.path.as_str(), &file.digest)).collect();
    files.sort_unstable();
    let mut hasher = Sha256::new_with_prefix(DOMAIN);
    for (path, digest) in files {
        hasher.update(path.as_bytes());
        hasher.update([0]);
        hasher.update(digest.as_bytes());
    }
    Digest::from_bytes(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::Descriptor;
    use crate::manifest::{MODEL_CONFIG_TYPE, ModelFile, RAW_LAYER_TYPES};
    use crate::piece::BlobLayout;

    fn manifest(config: &[u8], layer: usize, files: &[(&str, &[u8])]) -> Manifest {
        let file = |(path, bytes): &(&str, &[u8])| ModelFile {
            path: path.parse().unwrap(),
            digest: Digest::of(bytes),
            layout: BlobLayout::new(bytes.len() as u64).unwrap(),
            media_type: RAW_LAYER_TYPES[layer].to_owned(),
        };
        Manifest::new(Descriptor::of(MODEL_CONFIG_TYPE, config), files.iter().map(file).collect()).unwrap()
    }

    #[test]
    fn equal_files_have_one_digest_under_any_manifest() {
        let one = manifest(b"{}", 0, &[("a", b"1"), ("b/c", b"2")]);
        let other = manifest(b"{ }", 2, &[("b/c", b"2"), ("a", b"1")]);
        assert_ne!(one.to_bytes(), other.to_bytes());
        assert_eq!(content_digest(&one), content_digest(&other));
        for files in [&[("a", &b"1"[..])][..], &[("a", b"2"), ("b/c", b"1")], &[("a", b"1"), ("b/d", b"2")]] {
            assert_ne!(content_digest(&manifest(b"{}", 0, files)), content_digest(&one));
        }
    }
}
