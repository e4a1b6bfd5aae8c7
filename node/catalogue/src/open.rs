//! Opens a catalogue: as of its last commit if all of it is sound, else empty.
//!
//! Every file is compared with its checksum and every document is read, before anything is believed. A process that was
//! killed leaves no lock behind, because the system drops the lock with the process.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use reg_proto::name::PublisherId;
use tantivy::directory::MmapDirectory;
use tantivy::{Index, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, Searcher};

use crate::bounds::{Bounds, STORE_BLOCKS_CACHED};
use crate::entry::EntryKey;
use crate::error::{OpenError, Reason};
use crate::pending::Pending;
use crate::schema::{FORMAT, Fields, Stored, schema};
use crate::state::{Known, State};
use crate::table::{Row, Table};
use crate::words::analysers;

/// The file that a process locks while it uses the catalogue.
const LOCK: &str = "lock";
/// File with the version of the format.
const VERSION: &str = "version";
/// Folder of the index.
const INDEX: &str = "index";

/// The entries that this node knows of models elsewhere, on disk and searchable.
pub struct Catalogue {
    pub(crate) path: PathBuf,
    pub(crate) bounds: Bounds,
    pub(crate) fields: Fields,
    pub(crate) index: Index,
    pub(crate) reader: IndexReader,
    pub(crate) state: RwLock<State>,
    /// There from the first commit until [`Catalogue::rest`]. A commit holds it from its beginning to its end.
    pub(crate) writer: Mutex<Option<IndexWriter>>,
    _lock: File,
}

/// A catalogue that was just opened.
pub struct Opened {
    pub catalogue: Catalogue,
    pub found: Found,
    /// Where each entry stands in the trie of its publisher, in no order.
    pub keys: Vec<EntryKey>,
}

/// What was found on disk.
#[derive(Debug)]
pub enum Found {
    /// A sound catalogue.
    Kept { entries: usize },
    /// Nothing.
    New,
    /// A catalogue that was damaged or of another version. It is gone.
    MadeAnew { reason: Reason },
}

/// A sound index, and what was read from it.
struct Sound {
    index: Index,
    reader: IndexReader,
    contents: Contents,
}

/// What the documents of an index say.
struct Contents {
    table: Table,
    publishers: HashMap<PublisherId, Known>,
    keys: Vec<EntryKey>,
}

impl Catalogue {
    /// Opens the catalogue in the directory `path`, or makes one there.
    ///
    /// # Errors
    /// If another process uses it, or if the directory cannot be written. Damage is no error.
    pub fn open(path: &Path, bounds: Bounds) -> Result<Opened, OpenError> {
        let unwritable = |source| OpenError::Unwritable { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(unwritable)?;
        let lock = File::create(path.join(LOCK)).map_err(unwritable)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::InUse { path: path.to_owned() },
            TryLockError::Error(source) => unwritable(source),
        })?;
        let index_path = path.join(INDEX);
        let (sound, found) = match existing(path) {
            Ok(Some(sound)) => {
                let entries = sound.contents.keys.len();
                (sound, Found::Kept { entries })
            }
            absent_or_damaged => {
                remove(path).map_err(unwritable)?;
                write_version(&path.join(VERSION)).map_err(unwritable)?;
                fs::create_dir(&index_path).map_err(unwritable)?;
                let sound = empty(&index_path)
                    .map_err(|source| OpenError::Index { path: index_path.clone(), source })?;
                let found = match absent_or_damaged {
                    Err(reason) => Found::MadeAnew { reason },
                    Ok(_) => Found::New,
                };
                (sound, found)
            }
        };
        if let Found::MadeAnew { reason } = &found {
            tracing::warn!(%reason, path = %path.display(), "the catalogue was made anew: peers tell its entries again");
        }
        let (_, fields) = schema();
        let Sound { index, reader, contents } = sound;
        let state = contents.state(reader.searcher(), disk_bytes(&index_path));
        let catalogue = Self {
            path: path.to_owned(),
            bounds,
            fields,
            index,
            reader,
            state: RwLock::new(state.0),
            writer: Mutex::new(None),
            _lock: lock,
        };
        Ok(Opened { catalogue, found, keys: state.1 })
    }

    /// Returns the bytes of the index on disk.
    pub(crate) fn measure_disk(&self) -> u64 {
        disk_bytes(&self.path.join(INDEX))
    }
}

impl Drop for Catalogue {
    /// Waits for merges: one that goes on would write beside the next catalogue of this process.
    fn drop(&mut self) {
        if let Err(error) = self.rest() {
            tracing::warn!(%error, "a merge of the catalogue failed");
        }
    }
}

/// Returns the index below `path` if there is one.
fn existing(path: &Path) -> Result<Option<Sound>, Reason> {
    let version = fs::read(path.join(VERSION)).ok();
    let index_path = path.join(INDEX);
    match (version, index_path.exists()) {
        (None, false) => return Ok(None),
        (Some(version), _) if version == FORMAT.as_bytes() => {}
        _ => return Err(Reason::OtherVersion),
    }
    // The checksums cover every file but the list of segments, and the library trusts that list.
    catch_unwind(AssertUnwindSafe(|| sound(&index_path))).unwrap_or(Err(Reason::Panicked)).map(Some)
}

/// Opens the index at `path` after a look at every file and every document.
fn sound(path: &Path) -> Result<Sound, Reason> {
    let unreadable = |source| Reason::Unreadable { source };
    let directory = MmapDirectory::open(path).map_err(|error| unreadable(error.into()))?;
    let mut index = Index::open(directory).map_err(unreadable)?;
    let (schema, fields) = schema();
    if index.schema() != schema {
        return Err(Reason::OtherVersion);
    }
    let count = damaged_files(&index, path).map_err(unreadable)?;
    if count > 0 {
        return Err(Reason::DamagedFiles { count });
    }
    index.set_tokenizers(analysers());
    let reader = reader(&index).map_err(unreadable)?;
    let contents = Contents::read(&reader.searcher(), &fields)?;
    Ok(Sound { index, reader, contents })
}

/// Returns how many files of the segments are damaged, or unknown to the list of files that have a checksum.
///
/// A file that is missing shows when its segment is opened.
fn damaged_files(index: &Index, path: &Path) -> tantivy::Result<usize> {
    let managed = index.directory().list_managed_files();
    let segments: Vec<String> =
        index.searchable_segment_ids()?.iter().map(|segment| segment.uuid_string()).collect();
    let files = fs::read_dir(path)?.flatten().map(|file| file.file_name());
    let of_segments = files.filter(|file| {
        let name = file.to_string_lossy();
        segments.iter().any(|segment| name.starts_with(segment))
    });
    let unknown = of_segments.filter(|file| !managed.contains(Path::new(file))).count();
    Ok(unknown + index.validate_checksum()?.len())
}

fn reader(index: &Index) -> tantivy::Result<IndexReader> {
    let builder = index.reader_builder().reload_policy(ReloadPolicy::Manual);
    builder.doc_store_cache_num_blocks(STORE_BLOCKS_CACHED).try_into()
}

/// Makes an empty index at `path`.
fn empty(path: &Path) -> tantivy::Result<Sound> {
    // One thread less: documents are short.
    let settings = IndexSettings { docstore_compress_dedicated_thread: false, ..IndexSettings::default() };
    let mut index = Index::create(MmapDirectory::open(path)?, schema().0, settings)?;
    index.set_tokenizers(analysers());
    let reader = reader(&index)?;
    let contents = Contents { table: Table::new(), publishers: HashMap::new(), keys: Vec::new() };
    Ok(Sound { index, reader, contents })
}

fn write_version(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(FORMAT.as_bytes())?;
    file.sync_all()
}

/// Removes what an earlier catalogue left below `path`.
fn remove(path: &Path) -> io::Result<()> {
    let absent_is_fine = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    let index = path.join(INDEX);
    match fs::symlink_metadata(&index) {
        Ok(it) if it.is_dir() => fs::remove_dir_all(&index)?,
        _ => absent_is_fine(fs::remove_file(&index))?,
    }
    let version = path.join(VERSION);
    match fs::symlink_metadata(&version) {
        Ok(it) if it.is_dir() => fs::remove_dir_all(&version),
        _ => absent_is_fine(fs::remove_file(&version)),
    }
}

/// Returns the bytes of all files in the folder of an index.
fn disk_bytes(path: &Path) -> u64 {
    let files = fs::read_dir(path).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|it| it.len()).sum()
}

impl Contents {
    /// Reads every document.
    fn read(searcher: &Searcher, fields: &Fields) -> Result<Self, Reason> {
        let mut contents = Self { table: Table::new(), publishers: HashMap::new(), keys: Vec::new() };
        let unreadable = |source: io::Error| Reason::Unreadable { source: source.into() };
        for segment in searcher.segment_readers() {
            let store = segment.get_store_reader(1).map_err(unreadable)?;
            for document in store.iter(segment.alive_bitset()) {
                let document = document.map_err(|source| Reason::Unreadable { source })?;
                let stored = fields.read(&document).ok_or(Reason::DamagedDocument)?;
                contents.add(stored).ok_or(Reason::Contradiction)?;
            }
        }
        contents.table.sort().ok_or(Reason::Contradiction)?;
        let kept =
            |known: &&mut EntryKey| contents.publishers.get(&known.publisher).is_some_and(|it| it.is_kept);
        contents.keys.iter_mut().filter(kept).for_each(|key| key.is_kept = true);
        for (publisher, known) in &contents.publishers {
            contents.table.set_kept(publisher, known.is_kept);
        }
        Ok(contents)
    }

    /// Adds what a document says, if no other document contradicts it.
    fn add(&mut self, stored: Stored) -> Option<()> {
        match stored {
            Stored::Publisher(it) => {
                let known = Known { is_kept: it.is_kept, has_texts: true, entries: 0 };
                self.publishers.insert(it.texts.publisher, known).is_none().then_some(())
            }
            Stored::Entry(head) => {
                self.keys.push(head.key());
                let (slot, number) = (head.slot, head.number);
                self.table.fill(slot, Row { head: head.into_head(), number })
            }
        }
    }

    /// Returns the state that a catalogue begins with, and the keys.
    fn state(self, searcher: Searcher, disk_bytes: u64) -> (State, Vec<EntryKey>) {
        let counts: Vec<(PublisherId, usize)> = self.table.publishers().collect();
        let mut state = State {
            table: self.table,
            searcher,
            pending: Pending::default(),
            committing: Arc::default(),
            kept_publishers: self.publishers.values().filter(|known| known.is_kept).count(),
            publishers: self.publishers,
            kept: 0,
            strangers: 0,
            disk_bytes,
        };
        for (publisher, entries) in counts {
            state.count(&publisher, entries);
        }
        (state, self.keys)
    }
}
