//! [`take`]: takes the files of a model into the store: reserves room for them, hashes them on all cores, and tells how far it is.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// Takes files into the store, and reads each once. Bytes that the store shares with them take no room. Blocks.
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
    let total: u64 = files.iter().map(|it| it.size).sum();
    let each = files.iter().map(|it| (it.source.as_path(), it.size, (terms.taking)(it.size)));
    let needed = total.saturating_sub(store.shareable(each));
    let lease = store.reserve(needed, &BTreeSet::new()).map_err(TakeError::Reserve)?;
    reporter.stage("hashing", format_args!("{} files", files.len()));
    let done = AtomicU64::new(0);
    let tell = |bytes: u64| {
        let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        reporter.tell(Progress::Bytes { done, total, peers: 0 });
    };
    let wanted = |it: &SourceFile| ToImport {
        path: it.source.clone(),
        taking: (terms.taking)(it.size),
        expected: (terms.expected)(it),
    };
    let wanted: Vec<ToImport> = files.iter().map(wanted).collect();
    let imported = store
        .import_files(&wanted, cancel, &tell)
        .map_err(|(path, source)| TakeError::Import(path, source))?;
    let copied = wanted.iter().zip(&imported).any(|(it, of)| it.taking == Taking::Link && of.is_copy);
    Ok(Taken { imported, lease, copied })
}
