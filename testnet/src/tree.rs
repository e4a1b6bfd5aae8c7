//! Compares directories by the SHA-256 of each file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use reg_proto::digest::Digest;
use reg_proto::states::StateHasher;

/// Returns the SHA-256 of every file under `dir`, by the file's relative path.
///
/// # Panics
/// If a file or directory cannot be read.
pub fn digests(dir: &Path) -> BTreeMap<String, Digest> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(&next).unwrap_or_else(|error| panic!("{}: {error}", next.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.is_file() {
                let name = path.strip_prefix(dir).expect("it lies inside").to_string_lossy().into_owned();
                found.insert(name, digest(&path));
            }
        }
    }
    found
}

/// Returns the SHA-256 of a file. Reads it in parts.
///
/// # Panics
/// If it cannot be read.
pub fn digest(path: &Path) -> Digest {
    use std::io::Read;
    let mut file = fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut hasher = StateHasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).expect("the file is read") {
            0 => return hasher.finish().expect("no larger than a blob").digest,
            length => hasher.update(&buffer[..length]),
        }
    }
}

/// Asserts that two directories hold the same files with the same bytes.
///
/// # Panics
/// If they do not. The message names the files.
pub fn assert_equal(one: &Path, two: &Path) {
    let (left, right) = (digests(one), digests(two));
    let differing: Vec<&String> =
        left.keys().chain(right.keys()).filter(|name| left.get(*name) != right.get(*name)).collect();
    assert!(differing.is_empty(), "{} and {} differ in {differing:?}", one.display(), two.display());
}
