//! Tests the promises of the store, each against what could break it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use reg_proto::digest::Digest;
use reg_proto::piece::{PIECE_LEN, PieceIndex};
use reg_proto::states::{Hashed, StateHasher};

use super::*;
use crate::store::{PlaceMode, Placed, ReadError, Recheck, WritePieceError};

pub(super) const MIB: usize = PIECE_LEN as usize;

pub(super) fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
}

pub(super) fn hash(bytes: &[u8]) -> Hashed {
    let mut hasher = StateHasher::new();
    hasher.update(bytes);
    hasher.finish().unwrap()
}

pub(super) fn open(dir: &Path) -> Store {
    Store::open(dir, CacheLimits::default()).unwrap()
}

pub(super) fn import(store: &Store, dir: &Path, bytes: &[u8]) -> Digest {
    let path = dir.join("source");
    fs::write(&path, bytes).unwrap();
    store.import_file(&path, &|_| {}).unwrap().digest
}

pub(super) fn write_all(partial: &Partial, bytes: &[u8], skip: &[u32]) {
    let layout = partial.states().layout();
    for piece in layout.pieces().filter(|piece| !skip.contains(&piece.get())) {
        let start = layout.offset(piece) as usize;
        partial.write_piece(piece, &bytes[start..start + layout.piece_len(piece)]).unwrap();
    }
}

/// Opens a partial blob for these bytes.
pub(super) fn begin(store: &Store, bytes: &[u8]) -> Partial {
    let Hashed { digest, states } = hash(bytes);
    store.partial(digest, bytes.len() as u64, states).unwrap()
}

/// Writes into a file behind the store's back.
fn damage(path: &Path, at: u64) {
    let mut permissions = fs::metadata(path).unwrap().permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "users do this to edit a linked copy")]
    permissions.set_readonly(false);
    fs::set_permissions(path, permissions).unwrap();
    let mut file = File::options().read(true).write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(b"\xff\x00\xff").unwrap();
}

#[test]
fn a_store_is_used_by_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert!(matches!(Store::open(dir.path(), CacheLimits::default()), Err(OpenError::InUse { .. })));
    drop(store);
    open(dir.path());
}

#[test]
fn what_is_imported_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let content = bytes(3 * MIB + 5, 1);
    let store = open(dir.path());
    let digest = import(&store, dir.path(), &content);
    assert_eq!(digest, Digest::of(&content));
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.read_blob(&digest, u64::MAX).unwrap(), content);
    assert_eq!(store.states(&digest).unwrap(), hash(&content).states);
    assert_eq!(store.read_range(&digest, 10, 20).unwrap(), content[10..30]);
    let blob = store.open_blob(&digest).unwrap();
    let mut piece = Vec::new();
    blob.read_piece(blob.layout().last(), &mut piece).unwrap();
    assert_eq!(piece, content[3 * MIB..]);
}

#[test]
fn pieces_that_were_written_and_not_recorded_are_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let content = bytes(5 * MIB + 100, 2);
    let Hashed { digest, states } = hash(&content);
    let store = open(dir.path());
    let partial = store.partial(digest, content.len() as u64, states.clone()).unwrap();
    write_all(&partial, &content, &[1, 4]);
    // As after a kill: nothing is closed, nothing recorded.
    std::mem::forget(partial);
    let copy = tempfile::tempdir().unwrap();
    copy_tree(dir.path(), copy.path());
    let store = open(copy.path());
    let partial = store.partial(digest, content.len() as u64, states).unwrap();
    assert_eq!(partial.have().iter_missing().map(PieceIndex::get).collect::<Vec<_>>(), [1, 4]);
    assert!(!store.contains(&digest));
    write_all(&partial, &content, &[]);
    partial.finish().unwrap();
    assert_eq!(store.read_blob(&digest, u64::MAX).unwrap(), content);
    assert!(store.open_partial(&digest).is_empty());
}

/// Allocated disk space counts as free for the pull, and is freed where nothing was written to it.
#[test]
fn room_that_is_set_aside_is_used_or_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let (store, content) = (open(dir.path()), bytes(64 * MIB, 4));
    let partial = begin(&store, &content);
    let unused = |least: usize, most: usize| {
        let unused = partial.unused_bytes() as usize;
        assert!((least..=most).contains(&unused), "{unused} of {least} to {most}");
    };
    unused(0, MIB);
    partial.set_aside().unwrap();
    // Some file systems allocate nothing.
    let whole = partial.unused_bytes() as usize / MIB * MIB;
    assert!(whole == 0 || whole == 64 * MIB, "{whole}");
    let (all_but_the_last, the_last): (Vec<u32>, Vec<u32>) = (0..64).partition(|piece| *piece < 62);
    write_all(&partial, &content, &all_but_the_last);
    unused(whole.saturating_sub(2 * MIB), whole.max(MIB));
    partial.give_back();
    unused(0, MIB);
    write_all(&partial, &content, &the_last);
    partial.finish().unwrap();
    assert_eq!(store.read_blob(&partial.digest(), u64::MAX).unwrap(), content);
}

/// Freeing disk space does not delete what another thread is writing.
#[test]
fn room_is_given_back_while_pieces_are_written() {
    let content = bytes(48 * MIB, 5);
    // Without the lock, six tries lost something in six runs of seven.
    for _time in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let partial = begin(&store, &content);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| write_all(&partial, &content, &[]));
            while !writer.is_finished() {
                partial.set_aside().unwrap();
                partial.give_back();
            }
        });
        partial.finish().unwrap();
        assert!(store.read_blob(&partial.digest(), u64::MAX).unwrap() == content);
    }
}

/// A node that was killed during a pull frees the allocated disk space when it starts again.
#[test]
fn room_of_a_killed_pull_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let (store, content) = (open(dir.path()), bytes(16 * MIB, 6));
    let partial = begin(&store, &content);
    let copy = tempfile::tempdir().unwrap();
    copy_tree(dir.path(), copy.path());
    let partials = store.paths().partials();
    let partials = copy.path().join(partials.strip_prefix(dir.path()).unwrap());
    let data = fs::read_dir(partials).unwrap().next().unwrap().unwrap().path().join("data");
    let file = File::options().write(true).open(data).unwrap();
    // The copy has zeros where the file had holes.
    file.set_len(0).unwrap();
    file.set_len(content.len() as u64).unwrap();
    disk::set_aside(&file, content.len() as u64).unwrap();
    let store = open(copy.path());
    let unused: u64 = store.open_partial(&partial.digest()).iter().map(Partial::unused_bytes).sum();
    assert!(unused < MIB as u64, "{unused}");
}

#[test]
fn a_wrong_piece_is_not_written_and_a_false_list_spoils_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let content = bytes(2 * MIB + 1, 3);
    let Hashed { digest, states } = hash(&content);
    let store = open(dir.path());
    let mut forged = states.to_bytes();
    forged[0] ^= 1;
    let forged = reg_proto::states::PieceStates::parse(states.layout(), &forged).unwrap();
    let poisoned = store.partial(digest, content.len() as u64, forged).unwrap();
    let honest = store.partial(digest, content.len() as u64, states).unwrap();
    let first = honest.states().layout().piece(0).unwrap();
    let refused = poisoned.write_piece(first, &content[..MIB]);
    assert!(matches!(refused, Err(WritePieceError::Mismatch { .. })));
    write_all(&honest, &content, &[]);
    honest.finish().unwrap();
    assert_eq!(store.read_blob(&digest, u64::MAX).unwrap(), content);
    poisoned.discard().unwrap();
}

#[test]
fn a_lost_or_damaged_index_is_made_anew_from_the_files() {
    let runs = if std::env::var_os("REG_FULL").is_some() { 200 } else { 12 };
    let dir = tempfile::tempdir().unwrap();
    let content = bytes(2 * MIB + 9, 4);
    let small = b"small".as_slice();
    let store = open(dir.path());
    let digest = import(&store, dir.path(), &content);
    store.put_blob(small).unwrap();
    store.put_document(DocumentKind::Seen, "a/b:c", b"{}").unwrap();
    store.put_document(DocumentKind::Model, "long", &bytes(9000, 5)).unwrap();
    let partial_content = bytes(3 * MIB, 6);
    let other = hash(&partial_content);
    let partial = store.partial(other.digest, 3 << 20, other.states.clone()).unwrap();
    write_all(&partial, &partial_content, &[1]);
    partial.checkpoint().unwrap();
    drop((partial, store));
    for seed in 0..runs {
        let copy = tempfile::tempdir().unwrap();
        copy_tree(dir.path(), copy.path());
        harm_index(&copy.path().join("index"), seed);
        let store = Store::open(copy.path(), CacheLimits::default())
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(store.read_blob(&digest, u64::MAX).unwrap(), content, "seed {seed}");
        assert_eq!(
            store.get_document(DocumentKind::Seen, "a/b:c").unwrap().as_deref(),
            Some(&b"{}"[..]),
            "seed {seed}"
        );
        assert_eq!(
            store.list_documents(DocumentKind::Model, "").unwrap()[0].1,
            bytes(9000, 5),
            "seed {seed}"
        );
        let partial = store.partial(other.digest, 3 << 20, other.states.clone()).unwrap();
        assert_eq!(partial.have().count(), 2, "seed {seed}");
        if store.open_blob(&digest).is_err() {
            assert_eq!(store.recheck(&digest, &|_| {}).unwrap(), Recheck::Intact, "seed {seed}");
        }
        assert!(store.open_blob(&digest).is_ok(), "seed {seed}");
    }
}

/// Deletes, truncates or flips bits of the index's files.
fn harm_index(index: &Path, seed: u64) {
    if seed.is_multiple_of(4) {
        fs::remove_dir_all(index).unwrap();
        return;
    }
    let mut files = Vec::new();
    let mut dirs = vec![index.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { dirs.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    for (number, path) in files.iter().enumerate() {
        let mut content = fs::read(path).unwrap();
        let random = bytes(64, seed * 31 + number as u64);
        match seed % 4 {
            1 => content.truncate(content.len() * usize::from(random[0]) / 256),
            2 => random.chunks(8).for_each(|chunk| {
                let at = u64::from_le_bytes(chunk.try_into().unwrap()) as usize;
                if !content.is_empty() {
                    let at = at % content.len();
                    content[at] ^= 1 << (chunk[0] % 8);
                }
            }),
            _ => content.fill(0),
        }
        fs::write(path, content).unwrap();
    }
}

/// A blob's file may have changed while the index was lost: its name is no proof.
#[test]
fn what_a_lost_index_does_not_know_is_not_served_before_it_is_hashed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let [intact, damaged] = [10, 11].map(|seed| import(&store, dir.path(), &bytes(2 * MIB + 9, seed)));
    damage(&store.paths().blob(&damaged), PIECE_LEN);
    let copy = tempfile::tempdir().unwrap();
    copy_tree(dir.path(), copy.path());
    fs::remove_dir_all(copy.path().join("index")).unwrap();
    let store = open(copy.path());
    for digest in [intact, damaged] {
        assert!(store.contains(&digest) && !store.is_verified(&digest), "{digest}");
    }
    assert!(store.open_blob(&intact).is_ok() && store.is_verified(&intact));
    assert!(matches!(store.open_blob(&damaged), Err(ReadError::Damaged { .. })));
    assert!(!store.contains(&damaged));
}

/// Verified pieces of a blob that is not whole are served by a node that runs again, before anything here wants the blob.
#[test]
fn a_partial_blob_can_be_read_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (store, content) = (open(dir.path()), bytes(3 * MIB, 12));
    let partial = begin(&store, &content);
    write_all(&partial, &content, &[1]);
    partial.checkpoint().unwrap();
    let copy = tempfile::tempdir().unwrap();
    copy_tree(dir.path(), copy.path());
    let found = open(copy.path()).open_partial(&partial.digest());
    let [found] = &found[..] else { panic!("{found:?}") };
    assert_eq!(found.have().iter_missing().map(PieceIndex::get).collect::<Vec<_>>(), [1]);
    let mut piece = Vec::new();
    found.read_piece(found.states().layout().last(), &mut piece).unwrap();
    assert_eq!(piece, content[2 * MIB..]);
}

#[test]
fn a_blob_is_read_only_and_a_small_one_is_hashed_whenever_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (store, content) = (open(dir.path()), bytes(3 * MIB, 13));
    let partial = begin(&store, &content);
    write_all(&partial, &content, &[]);
    partial.finish().unwrap();
    let small = store.put_blob(b"a document").unwrap();
    let imported = import(&store, dir.path(), &bytes(MIB, 14));
    for digest in [partial.digest(), small, imported] {
        let metadata = fs::metadata(store.paths().blob(&digest)).unwrap();
        assert!(metadata.permissions().readonly(), "{digest} can be written to");
    }
    assert_eq!(store.read_blob(&small, 100).unwrap(), b"a document");
    damage(&store.paths().blob(&small), 3);
    assert!(matches!(store.read_blob(&small, 100), Err(ReadError::Damaged { .. })));
}

/// A collection beside a pull takes neither the partial blobs that the pull needs, nor what came after the pull began: the
/// model that it belongs to may not be written down yet.
#[test]
fn a_collection_takes_nothing_that_a_live_lease_stands_for() {
    let dir = tempfile::tempdir().unwrap();
    let (store, content) = (open(dir.path()), bytes(2 * MIB, 15));
    let partial = begin(&store, &content);
    write_all(&partial, &content, &[1]);
    let digest = partial.digest();
    let lease = store.reserve(content.len() as u64, &BTreeSet::from([digest])).unwrap();
    let young = store.put_blob(b"a manifest").unwrap();
    store.gc(false).unwrap();
    assert_eq!(store.open_partial(&digest).len(), 1, "the partial blob is waited for");
    assert!(store.contains(&young), "what has just come stays");
    drop(lease);
    store.gc(false).unwrap();
    assert!(
        store.open_partial(&digest).is_empty() && !store.contains(&young),
        "nothing stands for them any more"
    );
}

#[test]
fn what_changes_is_not_served_and_only_its_damaged_pieces_are_lost() {
    let dir = tempfile::tempdir().unwrap();
    let content = bytes(4 * MIB, 7);
    let store = open(dir.path());
    let digest = import(&store, dir.path(), &content);
    let linked = dir.path().join("copy.safetensors");
    let placed = store.place(&digest, &linked, PlaceMode::Auto).unwrap();
    let blob = store.open_blob(&digest).unwrap();
    if placed != Placed::HardLink {
        return;
    }
    damage(&linked, 2 * PIECE_LEN + 7);
    let pieces = blob.layout().pieces().map(|piece| blob.read_piece(piece, &mut Vec::new()));
    let wrong: Vec<bool> = pieces.map(|read| matches!(read, Err(ReadError::Unverified { .. }))).collect();
    assert_eq!(wrong, [false, false, true, false]);
    assert!(matches!(store.open_blob(&digest), Err(ReadError::Damaged { .. })));
    assert!(!store.contains(&digest));
    let partial = store.partial(digest, content.len() as u64, hash(&content).states).unwrap();
    assert_eq!(partial.have().iter_missing().map(PieceIndex::get).collect::<Vec<_>>(), [2]);
    write_all(&partial, &content, &[0, 1, 3]);
    partial.finish().unwrap();
    assert_eq!(store.read_blob(&digest, u64::MAX).unwrap(), content);
    assert_ne!(fs::read(&linked).unwrap(), content, "the user's own copy stays as it is");
}

#[test]
fn removing_a_linked_copy_is_no_change() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let digest = import(&store, dir.path(), &bytes(2 * MIB, 8));
    let linked = dir.path().join("copy");
    store.place(&digest, &linked, PlaceMode::Auto).unwrap();
    assert!(store.open_blob(&digest).is_ok());
    fs::remove_file(&linked).unwrap();
    assert!(store.open_blob(&digest).is_ok());
    drop(store);
    assert!(open(dir.path()).open_blob(&digest).is_ok());
}

#[test]
fn the_cache_stays_below_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let limits = CacheLimits { max_size: crate::store::CacheSize::Bytes(10 << 20), min_free: 0 };
    let store = Store::open(dir.path(), limits).unwrap();
    let mut kept = Vec::new();
    for round in 0..20u64 {
        let content = bytes(3 * MIB, 100 + round);
        let lease = store.reserve(content.len() as u64, &BTreeSet::from([Digest::of(&content)])).unwrap();
        let digest = import(&store, dir.path(), &content);
        store.settle_leases(&digest, content.len() as u64);
        let model = Digest::of(&round.to_be_bytes());
        let document = format!("{{\"blobs\":[\"{digest}\"]}}");
        store.put_document(DocumentKind::Model, &model.to_string(), document.as_bytes()).unwrap();
        if round == 0 {
            store.put_document(DocumentKind::Pin, &model.to_string(), b"").unwrap();
        }
        store.touch(&model);
        drop(lease);
        assert!(store.usage().unwrap().bytes <= 10 << 20, "round {round}");
        kept.push(digest);
    }
    let here: Vec<bool> = kept.iter().map(|digest| store.contains(digest)).collect();
    assert!(here[0], "what is pinned stays");
    assert_eq!(here[1..].iter().rposition(|here| !here), Some(16), "the newest stay: {here:?}");
    assert!(matches!(
        store.reserve(11 << 20, &BTreeSet::new()),
        Err(crate::store::ReserveError::TooLarge { .. })
    ));
    // With the pinned model, evicting all others makes too little room: they stay.
    assert!(matches!(
        store.reserve(8 << 20, &BTreeSet::new()),
        Err(crate::store::ReserveError::CacheFull { .. })
    ));
    assert!(kept[18..].iter().all(|digest| store.contains(digest)));
}

#[test]
fn an_idle_lease_ends_where_another_caller_needs_the_room() {
    let dir = tempfile::tempdir().unwrap();
    let limits = CacheLimits { max_size: crate::store::CacheSize::Bytes(10 << 20), min_free: 0 };
    let store = Store::open(dir.path(), limits).unwrap();
    let nothing = BTreeSet::new();
    let first = store.reserve(6 << 20, &nothing).unwrap();
    assert!(store.reserve(6 << 20, &nothing).is_err(), "it is in use");
    assert!(first.set_idle(true));
    drop(store.reserve(4 << 20, &nothing).unwrap());
    assert!(first.set_idle(false) && first.set_idle(true), "there was room for both");
    let second = store.reserve(6 << 20, &nothing).unwrap();
    assert!(!first.set_idle(false), "it has ended");
    drop(first);
    assert!(second.set_idle(false) && store.reserve(6 << 20, &nothing).is_err());
    let third = store.reserve(3 << 20, &nothing).unwrap();
    third.let_go();
    assert!(store.reserve(5 << 20, &nothing).is_err() && !third.has_ended(), "its end makes too little room");
    drop(second);
    let [old, new] = [3, 3].map(|mib: u64| store.reserve(mib << 20, &nothing).unwrap());
    old.let_go();
    new.let_go();
    let _fourth = store.reserve(4 << 20, &nothing).unwrap();
    assert!(third.has_ended() && !old.has_ended() && !new.has_ended(), "no more end than are needed");
}

#[test]
fn what_needs_no_room_is_served_from_a_disk_without_any() {
    let dir = tempfile::tempdir().unwrap();
    let limits = CacheLimits { max_size: crate::store::CacheSize::Unlimited, min_free: u64::MAX / 2 };
    let store = Store::open(dir.path(), limits).unwrap();
    let digest = import(&store, dir.path(), &bytes(MIB, 1));
    let model = Digest::of(b"model");
    let document = format!("{{\"blobs\":[\"{digest}\"]}}");
    store.put_document(DocumentKind::Model, &model.to_string(), document.as_bytes()).unwrap();
    drop(store.reserve(0, &BTreeSet::from([digest])).unwrap());
    assert!(store.contains(&digest), "nothing is evicted for it");
    assert!(matches!(
        store.reserve(1, &BTreeSet::from([digest])),
        Err(crate::store::ReserveError::DiskFull { .. })
    ));
}

#[test]
fn sled_holds_small_records_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    import(&store, dir.path(), &bytes(9 * MIB, 9));
    for n in 0..100 {
        store.put_document(DocumentKind::Tag, &format!("k{n}"), &bytes(6000, n)).unwrap();
    }
    store.commit();
    let blobs = dir.path().join("index/blobs");
    assert!(!blobs.exists() || fs::read_dir(blobs).unwrap().next().is_none());
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// After a failed rename a document is not read until the one before was written anew.
#[test]
fn a_document_in_doubt_is_written_anew_before_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for before in [None, Some(&b"old"[..])] {
        let key = format!("a/b:{}", before.is_some());
        before.into_iter().for_each(|it| store.put_document(DocumentKind::Tag, &key, it).unwrap());
        let path = store.paths().document("tag", &key);
        // A file cannot be renamed to a directory.
        drop(fs::remove_file(&path));
        fs::create_dir_all(path.join("x")).unwrap();
        assert!(store.put_document(DocumentKind::Tag, &key, b"new").is_err());
        if before.is_some() {
            let read = store.get_document(DocumentKind::Tag, &key);
            assert!(matches!(read, Err(ReadError::InDoubt { .. })), "{read:?}");
            assert!(store.list_documents(DocumentKind::Tag, "a/").is_err());
            assert!(store.list_documents(DocumentKind::Tag, "c/").is_ok(), "others can be read");
        }
        fs::remove_dir_all(&path).unwrap();
        assert_eq!(store.get_document(DocumentKind::Tag, &key).unwrap().as_deref(), before);
        let file = fs::read(&path).ok();
        let expected = before.map(|it| [key.as_bytes(), b"\n", it].concat());
        assert_eq!(file, expected, "file and index agree");
        store.put_document(DocumentKind::Tag, &key, b"new").unwrap();
        assert_eq!(store.get_document(DocumentKind::Tag, &key).unwrap().as_deref(), Some(&b"new"[..]));
    }
}
