//! What holds of a sync: the asker gets all that the peer lists, for few bytes, and a peer that lies cannot hold it.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use reg_proto::bounded::Bounded;
use reg_proto::catalogue::{
    CARD_TYPE, Card, Claimed, Computed, Differing, Listing, ListingFacts, ListingKey, ListingsPage,
    Reconciliation, SampleQuestion, SyncBounds, SyncError, TOMBSTONE_TYPE, Tombstone, Tries, View,
    answer_listings, answer_roots, answer_sample, take_sample,
};
use reg_proto::digest::Digest;
use reg_proto::envelope::Envelope;
use reg_proto::name::PublisherId;
use reg_proto::tag::{ManifestPointer, TAG_RECORD_TYPE, TagRecord};
use reg_proto::wire::{Message, PublisherVows, Request, Response};

/// Cases of a law: each signs some hundred listings.
fn cases() -> u32 {
    if std::env::var_os("REG_FULL").is_some() { 1000 } else { 40 }
}

/// A node's catalogue in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    pub(crate) tries: Tries,
    listings: BTreeMap<(PublisherId, ListingKey), (ListingFacts, Listing)>,
}

impl View for Node {
    fn listing(&self, publisher: &PublisherId, key: &ListingKey) -> Option<Listing> {
        self.listings.get(&(*publisher, *key)).map(|(_, listing)| listing.clone())
    }

    fn keys(&self, publisher: &PublisherId) -> Option<PublisherVows> {
        let texts = [data_encoding::HEXLOWER.encode(publisher.as_bytes())];
        Some(PublisherVows { key_documents: Bounded::first_of(texts), revocations: Bounded::empty() })
    }
}

impl Node {
    pub(crate) fn merge(&mut self, listing: Listing) {
        let facts = listing.read().expect("a listing");
        let name = (facts.publisher, facts.key);
        if self.listings.get(&name).is_none_or(|(known, _)| facts.supersedes(known)) {
            self.tries.of(facts.publisher).insert(facts.key, facts.value);
            self.listings.insert(name, (facts, listing));
        }
    }

    pub(crate) fn answer(&self, request: &Request) -> Response {
        match request {
            Request::CompareRoots(page) => {
                Response::Differing(answer_roots(&self.tries, page).expect("a page"))
            }
            Request::GetListings(questions) => {
                Response::Listings(answer_listings(&self.tries, self, questions).expect("questions"))
            }
            _ => Response::NotFound,
        }
    }

    fn begin(&self, publishers: u8, needs_keys: bool, bounds: SyncBounds) -> Reconciliation {
        Reconciliation::new((0..publishers).map(|it| (publisher(it.into()), needs_keys)), bounds)
    }
}

pub(crate) fn publisher(number: u32) -> PublisherId {
    PublisherId::from_bytes(*Digest::of(&number.to_be_bytes()).as_bytes())
}

/// What a node lists for a tag: a number of a record, and whether a card or a tombstone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Card,
    Tombstone,
}

pub(crate) fn listing(of: u32, tag: u32, seq: u64, kind: Kind) -> Listing {
    let key = SigningKey::from_bytes(&[1; 32]);
    let (publisher, manifest) = (publisher(of), Digest::of(&seq.to_be_bytes()));
    let (model, tag) = ("tiny".parse().expect("a name"), format!("v{tag}").parse().expect("a tag"));
    let (key_document, issued) = (1, 1_700_000_000);
    let sign = |kind: &str, payload| Envelope::sign(kind, payload, &[&key]).to_json();
    if kind == Kind::Tombstone {
        let tombstone = Tombstone { publisher, model, tag, seq, key_document, issued };
        return Listing::Tombstone { tombstone: sign(TOMBSTONE_TYPE, tombstone.to_payload()) };
    }
    let card = Card {
        publisher,
        model,
        manifest,
        claimed: Claimed { title: "Tiny".parse().ok(), ..Claimed::default() },
        computed: Computed {
            formats: Bounded::first_of(["safetensors".parse().expect("a name")]),
            parameters: Some(1),
            quantisations: Bounded::empty(),
            bytes: 1,
            context: None,
            base_manifest: None,
            content: manifest,
        },
        key_document,
        issued,
    };
    let record = TagRecord {
        publisher,
        model: card.model.clone(),
        tag,
        seq,
        prev: None,
        manifest: ManifestPointer { digest: manifest, size: 1 },
        key_document,
        issued,
        fresh_until: None,
        expires: None,
        settles: Bounded::empty(),
        min_usable: None,
    };
    let record = sign(TAG_RECORD_TYPE, record.to_payload());
    let card = (kind == Kind::Card).then(|| sign(CARD_TYPE, card.to_payload()));
    Listing::Record { record, card }
}

/// Bytes and messages of a sync.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// Runs a sync over the wire's bytes.
pub(crate) fn run(
    sync: &mut Reconciliation,
    asker: &mut Node,
    answer: &mut dyn FnMut(&Request) -> Response,
) -> Result<Cost, SyncError> {
    let mut cost = Cost::default();
    while let Some(request) = sync.next_request(&asker.tries) {
        let sent = request.to_bytes();
        assert!(request.payload().len() <= 64 << 10);
        assert_eq!(Request::from_bytes(&sent).expect("a request"), request);
        let answered = answer(&request).to_bytes();
        assert!(answered.len() <= (1 << 20) + 100);
        cost.messages += 1;
        cost.bytes += sent.len() + answered.len();
        let brought = sync.take(&Response::from_bytes(&answered).expect("an answer"))?;
        for (facts, listing) in brought.listings {
            assert_eq!(listing.read().expect("a listing"), facts);
            asker.merge(listing);
        }
    }
    Ok(cost)
}

/// Returns how many bytes the listings have that differ: the peer's, or else the asker's.
pub(crate) fn differing_bytes(asker: &Node, peer: &Node) -> usize {
    let of_peer = peer.listings.iter().filter(|(name, (facts, _))| {
        asker.listings.get(name).is_none_or(|(own, _)| own.value != facts.value)
    });
    let of_asker = asker.listings.iter().filter(|(name, _)| !peer.listings.contains_key(name));
    of_peer.chain(of_asker).map(|(_, (_, listing))| listing.bytes()).sum()
}

/// Bytes of a sync that differing listings and publishers do not explain: prefixes and headers of the messages, and three levels of
/// hashes.
const SYNC_CONSTANT: usize = 4 << 10;

fn check(asker: &mut Node, peer: &Node, publishers: u8) -> Result<(), TestCaseError> {
    let before = asker.clone();
    let differing = differing_bytes(asker, peer);
    let mut sync = asker.begin(publishers, false, SyncBounds::default());
    let cost = run(&mut sync, asker, &mut |request| peer.answer(request)).expect("an honest peer");
    prop_assert!(!sync.is_cut());
    prop_assert_eq!(sync.cost().0, cost.messages);
    for old in [&before, peer] {
        for (name, (facts, _)) in &old.listings {
            let (own, _) = asker.listings.get(name).expect("it is listed");
            prop_assert!(own == facts || own.supersedes(facts));
        }
    }
    let bound = 2 * differing + 48 * usize::from(publishers) + SYNC_CONSTANT;
    prop_assert!(cost.bytes <= bound, "{} bytes, {} are allowed", cost.bytes, bound);
    prop_assert_eq!(before.listings.len() <= asker.listings.len(), true);
    Ok(())
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![3 => Just(Kind::Plain), 3 => Just(Kind::Card), 1 => Just(Kind::Tombstone)]
}

/// What the asker, the peer or both list. Most of it is equal.
fn lists() -> impl Strategy<Value = Vec<(u8, u32, u64, Kind, u8)>> {
    let one =
        (0..6_u8, 0..60_u32, 1..4_u64, kind(), prop_oneof![12 => Just(3_u8), 1 => Just(1), 1 => Just(2)]);
    prop::collection::vec(one, 0..150)
}

fn two_nodes(lists: &[(u8, u32, u64, Kind, u8)]) -> (Node, Node) {
    let (mut asker, mut peer) = (Node::default(), Node::default());
    for (of, tag, seq, kind, at) in lists {
        let listing = listing((*of).into(), *tag, *seq, *kind);
        if at & 1 == 1 {
            asker.merge(listing.clone());
        }
        if at & 2 == 2 {
            peer.merge(listing);
        }
    }
    (asker, peer)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn the_asker_has_all_after_a_sync_and_pays_for_what_differs(lists in lists()) {
        let (mut asker, peer) = two_nodes(&lists);
        check(&mut asker, &peer, 6)?;
        let mut back = peer.clone();
        let again = asker.clone();
        check(&mut back, &again, 6)?;
        prop_assert_eq!(asker.tries, back.tries, "two syncs make two nodes equal");
    }

    #[test]
    fn a_peer_that_lies_cannot_hold_the_asker(
        lists in lists(),
        lie in 0..8_u8,
        from in 0..6_usize,
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let (mut asker, peer) = two_nodes(&lists);
        let bounds = SyncBounds { messages: 60, bytes: 4 << 20, listings: 500 };
        let mut sync = asker.begin(6, true, bounds);
        let (mut asked, mut last) = (0, None);
        let mut answer = |request: &Request| {
            asked += 1;
            let honest = peer.answer(request);
            let told = if asked <= from { honest } else { lied(honest, lie, last.take(), (at, byte)) };
            last = Some(told.clone());
            told
        };
        let ended = run(&mut sync, &mut asker, &mut answer);
        prop_assert!(sync.cost().0 <= bounds.messages);
        prop_assert!(sync.cost().1 <= bounds.bytes + (2 << 20));
        if let Ok(cost) = ended {
            prop_assert!(cost.messages <= bounds.messages);
        }
    }
}

/// Returns an answer that is not the honest one.
fn lied(
    honest: Response,
    lie: u8,
    last: Option<Response>,
    (at, byte): (prop::sample::Index, u8),
) -> Response {
    match (honest, lie) {
        // Every publisher and every part differs.
        (Response::Differing(Differing { bytes }), 0) if !bytes.is_empty() => {
            Response::Differing(Differing { bytes: vec![0b0011_1111] })
        }
        (Response::Listings(ListingsPage { bytes, .. }), 1) => {
            Response::Listings(ListingsPage { more: true, bytes })
        }
        (Response::Listings(page), 2) => last.unwrap_or(Response::Listings(page)),
        (Response::Listings(ListingsPage { more, mut bytes }), 3) => {
            bytes.extend_from_within(..);
            Response::Listings(ListingsPage { more, bytes })
        }
        (Response::Listings(ListingsPage { more, mut bytes }), 4) if !bytes.is_empty() => {
            let place = at.index(bytes.len());
            bytes[place] = byte;
            Response::Listings(ListingsPage { more, bytes })
        }
        (Response::Listings(_), 5) => Response::Listings(ListingsPage { more: true, bytes: Vec::new() }),
        (Response::Listings(_), 6) => {
            let children = [2, 0, 0, 0xff, 0xff];
            Response::Listings(ListingsPage { more: false, bytes: children.to_vec() })
        }
        (_, 7) => Response::NotFound,
        (other, _) => other,
    }
}

/// The peer makes up one listing after the other, each in a page of its own. It signs them with a key that is not the publisher's,
/// so a real asker ends the sync at the first one. This one does not look.
#[test]
fn endless_pages_end_at_the_bound() {
    let mut invented: Vec<(ListingKey, Listing)> = (0..500)
        .map(|tag| {
            let listing = listing(0, tag, 1, Kind::Plain);
            (listing.read().expect("a listing").key, listing)
        })
        .collect();
    invented.sort_unstable_by_key(|(key, _)| *key);
    for (bounds, listings) in [
        (SyncBounds { messages: 40, ..SyncBounds::default() }, 39),
        (SyncBounds { listings: 25, ..SyncBounds::default() }, 25),
        (SyncBounds { bytes: 10_000, ..SyncBounds::default() }, 16),
    ] {
        let mut asker = Node::default();
        let mut sync = asker.begin(1, false, bounds);
        let mut next = invented.iter();
        let mut answer = |request: &Request| match request {
            Request::GetListings(_) => {
                let mut one = Node::default();
                one.merge(next.next().expect("a listing").1.clone());
                let Response::Listings(page) = one.answer(request) else { return Response::NotFound };
                Response::Listings(ListingsPage { more: true, ..page })
            }
            _ => Response::Differing(Differing { bytes: vec![1] }),
        };
        let cost = run(&mut sync, &mut asker, &mut answer).expect("each page fits the question");
        assert!(sync.is_cut());
        assert!(asker.listings.len() <= listings, "{} listings, {cost:?}", asker.listings.len());
        assert!(asker.listings.len() >= listings / 2, "{} listings, {cost:?}", asker.listings.len());
    }
}

#[test]
fn lies_are_named() {
    let mut peer = Node::default();
    for tag in 0..3 {
        peer.merge(listing(0, tag, 1, Kind::Card));
    }
    let refused = |own: &Node, change: &dyn Fn(ListingsPage) -> Response| {
        let mut asker = own.clone();
        let mut sync = asker.begin(1, false, SyncBounds::default());
        let mut answer = |request: &Request| match peer.answer(request) {
            Response::Listings(page) => change(page),
            other => other,
        };
        run(&mut sync, &mut asker, &mut answer).map(|cost| cost.messages)
    };
    let none = Node::default();
    let with = |bytes| Response::Listings(ListingsPage { more: false, bytes });
    let whole = |node: &Node| match node.answer(&first_question(&none)) {
        Response::Listings(page) => page.bytes,
        _ => Vec::new(),
    };
    assert_eq!(refused(&none, &|page| with(page.bytes)).expect("an honest peer"), 2);
    let twice = |page: ListingsPage| with([page.bytes.clone(), page.bytes].concat());
    assert!(matches!(refused(&none, &twice), Err(SyncError::Order)));
    let endless = |_| Response::Listings(ListingsPage { more: true, bytes: Vec::new() });
    assert!(matches!(refused(&none, &endless), Err(SyncError::Endless)));
    let mut other = Node::default();
    other.merge(listing(1, 0, 1, Kind::Card));
    let of_other =
        answer_sample(&other, SampleQuestion { count: 1, seed: 0 }, [(publisher(1), key_of(1, 0))]);
    assert!(matches!(refused(&none, &|_| with(of_other.bytes.clone())), Err(SyncError::Keys { .. })));
    // The same without keys: in the place of the publisher that was asked about.
    let mut foreign = Node::default();
    let listed = listing(1, 0, 1, Kind::Plain);
    let facts = listed.read().expect("a listing");
    foreign.tries.of(publisher(0)).insert(facts.key, facts.value);
    foreign.listings.insert((publisher(0), facts.key), (facts, listed));
    assert!(matches!(refused(&none, &|_| with(whole(&foreign))), Err(SyncError::OtherPublisher { .. })));
    let mut one = Node::default();
    one.merge(listing(0, 1, 1, Kind::Card));
    assert!(matches!(refused(&one, &|_| with(whole(&peer))), Err(SyncError::Same { .. })));
    let again = |_| Response::Listings(ListingsPage { more: true, bytes: whole(&one) });
    assert!(
        matches!(refused(&none, &again), Err(SyncError::OtherPart { .. })),
        "it is not behind the last one"
    );
    let no_part = |_| with(vec![2, 0, 0, 0, 1]);
    assert!(matches!(refused(&none, &no_part), Err(SyncError::NoSuchPart { .. })));
    let cut = |page: ListingsPage| with(page.bytes[..page.bytes.len() - 1].to_vec());
    assert!(matches!(refused(&none, &cut), Err(SyncError::Message(_))));
    assert!(matches!(refused(&none, &|_| Response::Busy { retry_ms: 1 }), Err(SyncError::NotAsked)));
}

fn key_of(of: u32, tag: u32) -> ListingKey {
    listing(of, tag, 1, Kind::Plain).read().expect("a listing").key
}

/// Returns the question of a node that asks about the first publisher and has nothing of it.
fn first_question(node: &Node) -> Request {
    let mut sync = node.begin(1, false, SyncBounds::default());
    sync.next_request(&node.tries).expect("roots");
    sync.take(&Response::Differing(Differing { bytes: vec![1] })).expect("an answer");
    sync.next_request(&node.tries).expect("a question")
}

#[test]
fn a_large_trie_is_descended_to_what_differs() {
    let mut peer = Node::default();
    (0..3000).for_each(|tag| peer.merge(listing(0, tag, 1, Kind::Plain)));
    let mut asker = peer.clone();
    asker.merge(listing(0, 5000, 1, Kind::Plain));
    [7, 2999, 4000].into_iter().for_each(|tag| peer.merge(listing(0, tag, 2, Kind::Card)));
    let bound = 2 * differing_bytes(&asker, &peer) + 48 + SYNC_CONSTANT;
    let mut sync = asker.begin(1, true, SyncBounds::default());
    let mut asked = 0;
    // The first answer to each request is lost.
    while let Some(first) = sync.next_request(&asker.tries) {
        let request = sync.next_request(&asker.tries).expect("the same request");
        assert_eq!(request, first);
        let brought = sync.take(&peer.answer(&request)).expect("an honest peer");
        brought.listings.into_iter().for_each(|(_, listing)| asker.merge(listing));
        asked += 1;
    }
    assert_eq!(asked, 4, "roots, two levels of hashes, listings");
    assert!(sync.cost().1 / 2 <= bound, "{} bytes, {bound} are allowed", sync.cost().1);
    peer.merge(listing(0, 5000, 1, Kind::Plain));
    assert_eq!(asker.tries, peer.tries);
}

#[test]
fn keys_come_once_where_they_are_asked_for() {
    let mut peer = Node::default();
    (0..1500).for_each(|tag| peer.merge(listing(0, tag, 1, Kind::Card)));
    (0..3).for_each(|tag| peer.merge(listing(1, tag, 1, Kind::Plain)));
    let (mut asker, mut keys, mut pages) = (Node::default(), Vec::new(), 0);
    let mut sync = asker.begin(3, true, SyncBounds::default());
    while let Some(request) = sync.next_request(&asker.tries) {
        let brought = sync.take(&peer.answer(&request)).expect("an honest peer");
        keys.extend(
            brought.keys.into_iter().map(|(publisher, keys)| (publisher, keys.key_documents.into_vec())),
        );
        brought.listings.into_iter().for_each(|(_, listing)| asker.merge(listing));
        pages += 1;
    }
    assert_eq!(asker.tries, peer.tries);
    assert!(pages > 3, "1,500 listings have no room in one page");
    keys.sort_unstable();
    let mut expected: Vec<_> = [0, 1]
        .map(|it| (publisher(it), peer.keys(&publisher(it)).expect("keys").key_documents.into_vec()))
        .into();
    expected.sort_unstable();
    assert_eq!(keys, expected);
}

#[test]
fn a_sample_is_what_was_chosen_with_keys() {
    let mut node = Node::default();
    let chosen: Vec<_> = (0..100_u32)
        .map(|it| {
            node.merge(listing(it / 2, it, 1, Kind::Card));
            (publisher(it / 2), key_of(it / 2, it))
        })
        .collect();
    for (count, expected) in [(0, 0), (5, 5), (200, 64)] {
        let page = answer_sample(&node, SampleQuestion { count, seed: 7 }, chosen.iter().copied());
        let sample = take_sample(&page, SampleQuestion { count, seed: 7 }).expect("a sample");
        assert_eq!(sample.listings.len(), expected);
        assert_eq!(sample.keys.len(), expected.div_ceil(2));
        if expected > 0 {
            let fewer = SampleQuestion { count: 1, seed: 7 };
            assert!(matches!(take_sample(&page, fewer), Err(SyncError::TooMany { max: 1 })));
        }
    }
}
