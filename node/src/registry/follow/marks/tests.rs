//! Tests the marks of what follows keep, over a real store.

use super::*;
use crate::registry::follow::plan::tests::{START, follow, pull, version};
use crate::store::{CacheLimits, DocumentKind};

/// Returns a follow with three versions that were pulled, and a store that has them.
fn three() -> (tempfile::TempDir, Store, Follow) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), CacheLimits::default()).unwrap();
    let mut follow = follow(2, 0);
    for seq in 1..=3 {
        follow.hear(version("llama-8b", seq, START), START + 700 + seq);
        pull(&mut follow, START + 700 + seq);
    }
    for version in &follow.versions {
        store.put_document(DocumentKind::Model, &key(follow.publisher, version), b"{}").unwrap();
    }
    (dir, store, follow)
}

fn mark(store: &Store, follows: &[&Follow], unread: &[PublisherId]) {
    let follows: Vec<Follow> = follows.iter().copied().cloned().collect();
    reconcile(store, &follows, &unread.iter().copied().collect(), START + 1000).unwrap();
}

/// Returns the numbers of the versions that are marked.
fn marked(store: &Store, follow: &Follow) -> Vec<u64> {
    let held = Held::of(store).unwrap();
    let is_marked = |it: &&Version| held.kept.get(&key(follow.publisher, it)) == Some(&Kept::Followed);
    follow.versions.iter().filter(is_marked).map(|it| it.seq).collect()
}

#[test]
fn marks_are_what_the_follows_keep_and_go_with_the_last_of_them() {
    let (_dir, store, mut follow) = three();
    mark(&store, &[&follow], &[]);
    assert_eq!(marked(&store, &follow), [2, 3]);
    follow.settings.keep = 1;
    mark(&store, &[&follow], &[]);
    assert_eq!(marked(&store, &follow), [3]);
    follow.settings.keep = 3;
    mark(&store, &[&follow], &[]);
    assert_eq!(marked(&store, &follow), [1, 2, 3]);
    mark(&store, &[], &[]);
    assert!(marked(&store, &follow).is_empty(), "also where a kill has left them behind");
}

#[test]
fn a_follow_that_cannot_be_read_keeps_its_marks() {
    let (_dir, store, follow) = three();
    mark(&store, &[&follow], &[]);
    mark(&store, &[], &[follow.publisher]);
    assert_eq!(marked(&store, &follow), [2, 3]);
    mark(&store, &[], &[PublisherId::from_bytes([1; 32])]);
    assert!(marked(&store, &follow).is_empty());
}

#[test]
fn pins_of_the_user_stay_and_what_is_gone_is_neither_kept_nor_here() {
    let (_dir, store, follow) = three();
    let keys: Vec<String> = follow.versions.iter().map(|it| key(follow.publisher, it)).collect();
    kept::pin(&store, &keys[0], "acme/llama-8b").unwrap();
    ModelRecord::remove(&store, &keys[2]).unwrap();
    mark(&store, &[&follow], &[]);
    assert_eq!(marked(&store, &follow), [2]);
    let says = |held: &Held| -> Vec<(bool, bool)> {
        let of = |it| (held.has(follow.publisher, it), held.keeps(follow.publisher, it));
        follow.versions.iter().map(of).collect()
    };
    assert_eq!(says(&Held::of(&store).unwrap()), [(true, true), (true, true), (false, false)]);
    kept::release(&store, &keys[1]).unwrap();
    assert_eq!(says(&Held::of(&store).unwrap()), [(true, true), (true, false), (false, false)]);
}
