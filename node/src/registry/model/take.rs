//! [`take`]: takes the files of a model into the store: reserves room for them, hashes them on all cores, and tells how far it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use reg_api::counted::counted;
use reg_api::fault::{Fault, FaultKind};
use reg_api::progress::Progress;
use reg_api::reporter::Reporter;
use reg_proto::digest::Digest;

use super::tree::SourceFile;
use crate::store::{Cancel, ImportError, Imported, Lease, ReserveError, Store, Taking, ToImport};

/// Why files are not taken.
#[derive(Debug)]
pub enum TakeError {
    Reserve(ReserveError),
    /// The file at this path cannot be imported.
    Import(PathBuf, ImportError),
}

/// How files are taken.
pub struct Terms<'a> {
    /// How the store takes a file of a size in bytes.
    pub taking: &'a dyn Fn(u64) -> Taking,
    /// The digest that a file must have, where its name states one.
    pub expected: &'a dyn Fn(&SourceFile) -> Option<Digest>,
}

/// Files in the store, in the order in which they were given.
pub struct Taken {
    pub imported: Vec<Imported>,
    /// Keeps them from being evicted.
    pub lease: Lease,
    /// Whether a file was to be linked and had to be copied.
    pub copied: bool,
}

/// Takes files into the store, and reads each once. Bytes that the store shares with them take no room. Where there is no room
/// for all of them, those that the store has already are found first, and the others read twice. Blocks.
///
/// # Errors
/// There is no room, or a file cannot be imported, or the caller has gone.
pub fn take(
    store: &Store,
    files: &[SourceFile],
    terms: &Terms<'_>,
    reporter: &Reporter,
    cancel: &Cancel,
) -> Result<Taken, TakeError> {
    let taker = Taker { store, terms, reporter, cancel };
    let all: Vec<&SourceFile> = files.iter().collect();
    let (mut here, lease) = match store.reserve(taker.needed(&all), &BTreeSet::new()) {
        Ok(lease) => (BTreeMap::new(), lease),
        Err(full) if matches!(full.kind(), FaultKind::DiskFull) => taker.find_here(&all, full)?,
        Err(error) => return Err(TakeError::Reserve(error)),
    };
    let new: Vec<&SourceFile> = without(&all, &here);
    let taken = taker.import(&new, terms.taking)?;
    let copied = new.iter().zip(&taken).any(|(it, of)| (terms.taking)(it.size) == Taking::Link && of.is_copy);
    let mut taken = taken.into_iter();
    let imported =
        (0..files.len()).filter_map(|index| here.remove(&index).or_else(|| taken.next())).collect();
    Ok(Taken { imported, lease, copied })
}

struct Taker<'a> {
    store: &'a Store,
    terms: &'a Terms<'a>,
    reporter: &'a Reporter,
    cancel: &'a Cancel,
}

impl Taker<'_> {
    /// Returns how many bytes of room files need that the store lacks.
    fn needed(&self, files: &[&SourceFile]) -> u64 {
        let total: u64 = files.iter().map(|it| it.size).sum();
        let each = files.iter().map(|it| (it.source.as_path(), it.size, (self.terms.taking)(it.size)));
        total.saturating_sub(self.store.shareable(each))
    }

    /// Finds the files with bytes that the store has, and reserves room for the others. Hashes only those of the size of a blob,
    /// and nothing where there is no room for the rest. Returns them by their place among all.
    ///
    /// # Errors
    /// There is no room for the others: the error is `full` where nothing was hashed.
    fn find_here(
        &self,
        files: &[&SourceFile],
        full: ReserveError,
    ) -> Result<(BTreeMap<usize, Imported>, Lease), TakeError> {
        let alike = self.store.blobs_of_sizes(&files.iter().map(|it| it.size).collect());
        let alike = alike.map_err(|source| TakeError::Reserve(source.into()))?;
        let sizes: BTreeSet<u64> = alike.values().copied().collect();
        let (places, maybe): (Vec<usize>, Vec<&SourceFile>) =
            files.iter().copied().enumerate().filter(|(_, it)| sizes.contains(&it.size)).unzip();
        let never: Vec<&SourceFile> = files.iter().copied().filter(|it| !sizes.contains(&it.size)).collect();
        // The blobs that may be theirs are not evicted for the others.
        let protect: BTreeSet<Digest> = alike.into_keys().collect();
        if maybe.is_empty() || self.store.reserve(self.needed(&never), &protect).is_err() {
            return Err(TakeError::Reserve(full));
        }
        let _meanwhile = self.store.reserve(0, &protect).map_err(TakeError::Reserve)?;
        let hashed = self.import(&maybe, &|_| Taking::Nothing)?;
        let is_here = |(_, it): &(usize, Imported)| self.store.open_blob(&it.digest).is_ok();
        let here: BTreeMap<usize, Imported> = places.into_iter().zip(hashed).filter(is_here).collect();
        let protect = here.values().map(|it| it.digest).collect();
        let lease = self.store.reserve(self.needed(&without(files, &here)), &protect);
        Ok((here, lease.map_err(TakeError::Reserve)?))
    }

    fn import(
        &self,
        files: &[&SourceFile],
        taking: &dyn Fn(u64) -> Taking,
    ) -> Result<Vec<Imported>, TakeError> {
        let total: u64 = files.iter().map(|it| it.size).sum();
        self.reporter.stage("hashing", counted(files.len(), "file"));
        let done = AtomicU64::new(0);
        let tell = |bytes: u64| {
            let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
            self.reporter.tell(Progress::Bytes { done, total, peers: 0 });
        };
        let wanted = |it: &&SourceFile| ToImport {
            path: it.source.clone(),
            taking: taking(it.size),
            expected: (self.terms.expected)(it),
        };
        let wanted: Vec<ToImport> = files.iter().map(wanted).collect();
        self.store
            .import_files(&wanted, self.cancel, &tell)
            .map_err(|(path, source)| TakeError::Import(path, source))
    }
}

/// Returns the files that are not among those that are here.
fn without<'a>(files: &[&'a SourceFile], here: &BTreeMap<usize, Imported>) -> Vec<&'a SourceFile> {
    let others = files.iter().enumerate().filter(|(index, _)| !here.contains_key(index));
    others.map(|(_, it)| *it).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::store::{CacheLimits, CacheSize, CancelOnDrop};

    const MIB: usize = 1 << 20;

    fn files(dir: &Path) -> Vec<SourceFile> {
        let names = ["README.md", "config.json", "model.safetensors"];
        let file = |name: &&str| SourceFile {
            path: name.parse().unwrap(),
            shown: dir.join(name),
            source: dir.join(name),
            size: fs::metadata(dir.join(name)).unwrap().len(),
        };
        names.iter().map(file).collect()
    }

    fn take_all(store: &Store, dir: &Path, cancel: &Cancel) -> Result<Taken, TakeError> {
        let terms = Terms { taking: &|_| Taking::Copy, expected: &|_| None };
        take(store, &files(dir), &terms, &Reporter::silent(), cancel)
    }

    #[test]
    fn only_what_the_store_lacks_needs_room() {
        let dir = tempfile::tempdir().unwrap();
        let limits = CacheLimits { max_size: CacheSize::Bytes(3 * MIB as u64), min_free: 0 };
        let store = Store::open(&dir.path().join("store"), limits).unwrap();
        let model = dir.path().join("model");
        fs::create_dir(&model).unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(model.join(name), bytes).unwrap();
        write("README.md", b"# one");
        write("config.json", b"{}");
        write("model.safetensors", &vec![1; 2 * MIB]);
        let cancel = Cancel::default();
        // Its lease keeps the blobs, which no model needs yet, and no room.
        let first = take_all(&store, &model, &cancel).unwrap_or_else(|error| panic!("{error:?}"));
        first.lease.give_back(3 * MIB as u64);
        let digests = |taken: &Taken| taken.imported.iter().map(|it| it.digest).collect::<Vec<_>>();
        let (all, used) = (digests(&first), store.usage().unwrap().bytes);
        let same = take_all(&store, &model, &cancel).unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!((digests(&same), store.usage().unwrap().bytes), (all.clone(), used));
        assert!(!same.imported.iter().any(|it| it.is_copy));
        drop(same);
        write("README.md", b"# another");
        write("config.json", b"[]");
        let mended = take_all(&store, &model, &cancel).unwrap_or_else(|error| panic!("{error:?}"));
        let expected = [Digest::of(b"# another"), Digest::of(b"[]"), all[2]];
        assert_eq!(digests(&mended), expected);
        assert!(expected.iter().all(|it| store.is_verified(it)));
        assert_eq!(store.usage().unwrap().bytes, used + 9 + 2);
        drop(mended);
        write("model.safetensors", &vec![2; 2 * MIB]);
        let other = take_all(&store, &model, &cancel).map(drop).unwrap_err();
        assert!(matches!(other, TakeError::Reserve(ReserveError::CacheFull { .. })), "{other:?}");
        // Of this size there is no blob, so nothing is hashed before it is refused.
        write("model.safetensors", &vec![2; 2 * MIB + 1]);
        let gone = CancelOnDrop::default().cancel();
        let other = take_all(&store, &model, &gone).map(drop).unwrap_err();
        assert!(matches!(other, TakeError::Reserve(ReserveError::CacheFull { .. })), "{other:?}");
        assert!(store.is_verified(&all[2]), "nothing was evicted in vain");
        drop(first);
    }
}
