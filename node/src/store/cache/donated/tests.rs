//! Tests of models that are kept for others.

use std::fs;

use super::super::super::{CacheLimits, CacheSize};
use super::*;

const MIB: u64 = 1 << 20;

fn open(max_size: u64) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let limits = CacheLimits { max_size: CacheSize::Bytes(max_size), min_free: 0 };
    let store = Store::open(&dir.path().join("store"), limits).unwrap();
    (dir, store)
}

/// Stores a model of one blob of `bytes` bytes, with more of its blobs. Returns its key.
fn model(store: &Store, name: &str, bytes: u64, more: &[Digest]) -> (String, Digest) {
    let content: Vec<u8> = name.bytes().cycle().take(bytes as usize).collect();
    let blob = store.put_blob(&content).unwrap();
    let manifest = store.put_blob(name.as_bytes()).unwrap();
    let blobs: Vec<String> = more.iter().chain([&blob, &manifest]).map(|it| format!("\"{it}\"")).collect();
    let key = format!("{manifest} p/{name}");
    let record = format!("{{\"blobs\":[{}]}}", blobs.join(","));
    store.put_document(DocumentKind::Model, &key, record.as_bytes()).unwrap();
    (key, blob)
}

#[test]
fn what_is_kept_for_others_takes_nothing_from_the_cache_and_is_not_evicted() {
    let (_dir, store) = open(4 * MIB);
    let (donated, blob) = model(&store, "donated", 3 * MIB, &[]);
    let (_, own) = model(&store, "own", 2 * MIB - 3, &[]);
    store.keep_donated(&donated, 3).unwrap();
    drop(store.reserve(2 * MIB, &BTreeSet::new()).unwrap());
    assert!(store.contains(&own), "the owner has room for both");
    drop(store.reserve(3 * MIB, &BTreeSet::new()).unwrap());
    assert!(!store.contains(&own) && store.contains(&blob));
    assert_eq!(store.gc(false).unwrap().models, []);
    // A pin makes it the owner's.
    store.put_document(DocumentKind::Pin, &donated, b"p/donated").unwrap();
    assert!(!store.is_donated(&donated));
    assert!(store.reserve(2 * MIB, &BTreeSet::new()).is_err());
}

#[test]
fn a_reservation_for_others_evicts_nothing() {
    let (_dir, store) = open(3 * MIB);
    let (own, blob) = model(&store, "own", 2 * MIB, &[]);
    let manifest = Digest::of(b"another");
    store.keep_donated(&format!("{manifest} p/another"), 0).unwrap();
    let lease = store.reserve(100 * MIB, &[manifest].into()).unwrap();
    assert!(store.contains(&blob) && store.get_document(DocumentKind::Model, &own).unwrap().is_some());
    assert!(store.reserve(MIB / 2, &BTreeSet::new()).is_ok(), "it takes no room of the owner");
    assert!(!lease.has_ended());
    let too_much = store.reserve(u64::MAX / 2, &[manifest].into());
    assert!(matches!(too_much, Err(ReserveError::DiskFull { .. })), "{too_much:?}");
}

#[test]
fn the_most_replicated_goes_first_and_shared_blobs_stay() {
    let (_dir, store) = open(100 * MIB);
    let (own, shared) = model(&store, "own", MIB, &[]);
    let (scarce, scarce_blob) = model(&store, "scarce", MIB, &[shared]);
    let (popular, popular_blob) = model(&store, "popular", MIB, &[shared, scarce_blob]);
    for (key, elsewhere) in [(&scarce, 0), (&popular, 9)] {
        store.keep_donated(key, elsewhere).unwrap();
    }
    let donations = store.donations().unwrap();
    assert_eq!(donations.order(), [&popular, &scarce]);
    assert_eq!(donations.bytes(), 2 * MIB + 13);
    let gone = store.release_until(&donations, &|| !store.contains(&popular_blob)).unwrap();
    assert_eq!(gone, [popular]);
    assert!(store.contains(&shared) && store.contains(&scarce_blob));
    store.give_back(&own).unwrap();
    assert!(store.contains(&shared), "it is not a donation");
    store.give_back(&scarce).unwrap();
    assert!(!store.contains(&scarce_blob) && store.contains(&shared));
    assert!(store.donated().unwrap().is_empty());
}

#[test]
fn a_download_for_others_ends_where_it_gives_way_and_its_room_is_free_at_once() {
    let (_dir, store) = open(100 * MIB);
    let content: Vec<u8> = (0..4 * MIB).map(|at| (at >> 10) as u8).collect();
    let mut hasher = reg_proto::states::StateHasher::new();
    hasher.update(&content);
    let hashed = hasher.finish().unwrap();
    let (blob, states) = (hashed.digest, hashed.states);
    let manifest = Digest::of(b"manifest");
    let key = format!("{manifest} p/m");
    store.keep_donated(&key, 1).unwrap();
    let record = format!("{{\"blobs\":[\"{blob}\",\"{manifest}\"]}}");
    store.put_document(DocumentKind::Model, &key, record.as_bytes()).unwrap();
    let lease = store.reserve_blobs(&[(blob, states.clone())]).unwrap();
    let partial = store.partial(blob, 4 * MIB, states.clone()).unwrap();
    for index in 0..3 {
        let piece = &content[(index as usize) << 20..(index as usize + 1) << 20];
        partial.write_piece(states.layout().piece(index).unwrap(), piece).unwrap();
    }
    let data = fs::File::open(store.paths().partial(&blob, &states.digest()).join("data")).unwrap();
    store.give_back(&key).unwrap();
    assert!(lease.has_ended());
    assert_eq!(data.metadata().unwrap().len(), 0, "although it is open");
    partial.write_piece(states.layout().piece(3).unwrap(), &content[3 << 20..]).unwrap();
    assert!(partial.finish().is_err());
    assert!(!store.contains(&blob) && store.open_partial(&blob).is_empty());
}
