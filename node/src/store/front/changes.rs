//! Tests that a blob is verified again before a byte of it leaves, and that the store's own
//! changes leave no doubt.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Barrier;
use std::thread;

use reg_proto::digest::Digest;

use super::tests::{MIB, begin, bytes, hash, import, open, write_all};
use crate::store::{PlaceMode, Placed, Store};

/// Writes into a file in place and sets its time of modification back, as some tools do that edit copies.
fn edit_secretly(path: &Path, at: u64) {
    use std::os::unix::fs::PermissionsExt;
    let before = fs::metadata(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(b"\xff\x00\xff", at).unwrap();
    file.set_times(FileTimes::new().set_modified(before.modified().unwrap())).unwrap();
    fs::set_permissions(path, before.permissions()).unwrap();
}

/// Imports a blob of 4 MiB and links it into a folder; `None` where the file system copies.
fn linked(store: &Store, dir: &Path, seed: u64) -> Option<(Digest, Vec<u8>, std::path::PathBuf)> {
    let content = bytes(4 * MIB, seed);
    let digest = import(store, dir, &content);
    let linked = dir.join(format!("linked-{seed}"));
    let placed = store.place(&digest, &linked, PlaceMode::Auto).unwrap();
    (placed == Placed::HardLink).then_some((digest, content, linked))
}

#[test]
fn a_new_link_excuses_no_change() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let Some((digest, _, path)) = linked(&store, dir.path(), 1) else { return };
    let opened = store.open_blob(&digest).unwrap();
    edit_secretly(&path, 2 * MIB as u64 + 7);
    fs::hard_link(&path, dir.path().join("one-more")).unwrap();
    let piece = opened.layout().piece(2).unwrap();
    assert!(opened.read_piece(piece, &mut Vec::new()).is_err(), "an open file");
    assert!(store.read_range(&digest, 2 * MIB as u64, 100).is_err(), "a range");
    assert!(store.open_blob(&digest).is_err(), "a blob that is opened");
    assert!(store.place(&digest, &dir.path().join("next"), PlaceMode::Auto).is_err(), "a checkout");
}

#[test]
fn a_new_link_excuses_no_change_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let Some((digest, _, path)) = linked(&store, dir.path(), 1) else { return };
    edit_secretly(&path, 2 * MIB as u64 + 7);
    fs::hard_link(&path, dir.path().join("one-more")).unwrap();
    drop(store);
    assert!(open(dir.path()).open_blob(&digest).is_err());
}

#[test]
fn a_checkout_leaves_no_doubt_and_what_is_in_doubt_and_intact_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let Some((digest, content, path)) = linked(&store, dir.path(), 2) else { return };
    assert!(store.is_verified(&digest), "the link is the store's own");
    let again = store.place(&digest, &path, PlaceMode::Auto).unwrap();
    assert!(again == Placed::HardLink && store.is_verified(&digest), "it was there already");
    let opened = store.open_blob(&digest).unwrap();
    fs::hard_link(&path, dir.path().join("by-a-user")).unwrap();
    assert!(!store.is_verified(&digest), "a link of the user");
    let mut bytes = Vec::new();
    for piece in opened.layout().pieces() {
        assert!(!store.is_verified(&digest));
        opened.read_piece(piece, &mut bytes).unwrap();
        let start = opened.layout().offset(piece) as usize;
        assert_eq!(bytes, content[start..start + bytes.len()]);
    }
    assert!(store.is_verified(&digest), "every piece was verified");
    fs::remove_file(&path).unwrap();
    assert!(store.open_blob(&digest).is_ok() && store.is_verified(&digest));
}

/// Two sources may send one piece, and two pulls may open one partial blob.
#[test]
fn late_writers_of_a_partial_blob_leave_the_whole_one_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, content) = (open(dir.path()), bytes(3 * MIB, 3));
    let (first, second) = (begin(&store, &content), begin(&store, &content));
    write_all(&first, &content, &[]);
    first.finish().unwrap();
    write_all(&second, &content, &[]);
    second.set_aside().unwrap();
    second.give_back();
    second.finish().unwrap();
    assert!(store.is_verified(&first.digest()));
    let third = begin(&store, &content);
    assert!(third.have().is_full(), "the store has all of it");
    write_all(&third, &content, &[]);
    third.finish().unwrap();
    second.discard().unwrap();
    assert!(store.is_verified(&first.digest()));
    assert_eq!(store.read_blob(&first.digest(), u64::MAX).unwrap(), content);
    assert!(store.open_partial(&first.digest()).is_empty());
}

#[test]
fn one_blob_that_many_threads_store_at_once_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for round in 0..40 {
        let content = bytes(3 * MIB, 100 + round);
        let (digest, barrier) = (hash(&content).digest, Barrier::new(8));
        thread::scope(|scope| {
            for thread in 0..8 {
                let (store, content, barrier) = (&store, &content, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    if thread % 2 == 0 {
                        let partial = begin(store, content);
                        write_all(&partial, content, &[]);
                        partial.finish().unwrap();
                    } else {
                        store.put_blob(content).unwrap();
                    }
                });
            }
        });
        assert!(store.is_verified(&digest), "round {round}");
        assert_eq!(store.read_blob(&digest, u64::MAX).unwrap(), content);
        assert_eq!(store.usage().unwrap().blobs as u64, round + 1);
    }
}

/// Callers that open a blob in doubt at once wait for one rehash.
#[test]
fn a_blob_in_doubt_is_rehashed_once_for_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let Some((digest, _, path)) = linked(&store, dir.path(), 4) else { return };
    fs::hard_link(&path, dir.path().join("by-a-user")).unwrap();
    let barrier = Barrier::new(8);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                barrier.wait();
                store.open_blob(&digest).unwrap();
            });
        }
    });
    assert!(store.is_verified(&digest));
}
