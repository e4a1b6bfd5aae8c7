//! Measures tries and a sync of 10,000 publishers with 100,000 listings. It runs where it is asked for:
//! `cargo test --release -p reg-proto --test laws -- --ignored --nocapture sizes`.

use std::time::Instant;

use reg_proto::catalogue::{
    ListingKey, ListingValue, Reconciliation, SyncBounds, Tries, answer_listings, answer_roots,
};
use reg_proto::digest::Digest;
use reg_proto::wire::{Message, Request, Response};

use crate::syncs::{Kind, Node, listing, publisher};

const PUBLISHERS: u32 = 10_000;
const LISTINGS: u32 = 100_000;
/// Memory that so many listings may take in tries.
const BYTES_MAX: u64 = 30 << 20;

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("pages") * 4096
}

#[test]
#[ignore = "it measures"]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn sizes_of_tries() {
    let hash = |text: String| *Digest::of(text.as_bytes()).as_bytes();
    let items: Vec<_> = (0..LISTINGS)
        .map(|it| {
            let (key, value) = (hash(format!("k{it}")), hash(format!("v{it}")));
            (publisher(it % PUBLISHERS), ListingKey::from_bytes(key), ListingValue::from_bytes(value))
        })
        .collect();
    let (before, begun) = (resident(), Instant::now());
    let mut tries = Tries::new();
    for (publisher, key, value) in &items {
        tries.of(*publisher).insert(*key, *value);
    }
    let (built, bytes) = (begun.elapsed(), resident() - before);
    let begun = Instant::now();
    let roots = tries.iter().fold(0_u8, |all, (_, trie)| all ^ trie.root()[0]);
    let hashed = begun.elapsed();
    println!("10,000 tries: built in {built:?}, {bytes} bytes, roots in {hashed:?} ({roots})");
    assert!(bytes < BYTES_MAX);
    let (before, begun) = (resident(), Instant::now());
    let mut one = Tries::new();
    for (_, key, value) in &items {
        one.of(publisher(0)).insert(*key, *value);
    }
    println!("one trie: built in {:?}, {} bytes", begun.elapsed(), resident() - before);
    assert!(resident() - before < BYTES_MAX);
}

#[test]
#[ignore = "it measures"]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn sizes_of_a_sync() {
    let mut peer = Node::default();
    (0..LISTINGS).for_each(|it| peer.merge(listing(it % PUBLISHERS, it, 1, Kind::Card)));
    let mut own = peer.tries.clone();
    let changed: Vec<_> =
        (0..LISTINGS).step_by(20).map(|it| listing(it % PUBLISHERS, it, 2, Kind::Card)).collect();
    let differing: usize = changed.iter().map(|it| it.bytes()).sum();
    let begun = Instant::now();
    changed.into_iter().for_each(|it| peer.merge(it));
    let changed_in = begun.elapsed();
    let kept = (0..PUBLISHERS).map(|it| (publisher(it), false));
    let mut sync = Reconciliation::new(kept, SyncBounds::default());
    let (mut sent, mut received, mut messages, mut listings) = (0, 0, 0, 0);
    let begun = Instant::now();
    while let Some(request) = sync.next_request(&own) {
        sent += request.to_bytes().len();
        let answer = match &request {
            Request::CompareRoots(page) => {
                Response::Differing(answer_roots(&peer.tries, page).expect("a page"))
            }
            Request::GetListings(asked) => {
                Response::Listings(answer_listings(&peer.tries, &peer, asked).expect("questions"))
            }
            _ => Response::NotFound,
        };
        received += answer.to_bytes().len();
        messages += 1;
        for (facts, _) in sync.take(&answer).expect("an honest peer").listings {
            own.of(facts.publisher).insert(facts.key, facts.value);
            listings += 1;
        }
    }
    println!(
        "sync: {messages} requests, {sent} bytes sent, {received} received, {listings} listings of {differing} bytes, \
         in {:?} (merged in {changed_in:?})",
        begun.elapsed()
    );
    assert_eq!(own, peer.tries);
}
