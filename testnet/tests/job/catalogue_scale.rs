//! Measures how a node fills its catalogue from a peer: publishers that the user has named, each with some tags, at first and after
//! a twentieth of them has changed; and shows that strangers cannot hide them.
//!
//! The peer is a network node of the test process that answers with listings in memory. The default run is small; `REG_FULL=1`
//! takes 10,000 publishers with 100,000 listings, and 100,000 hostile keys.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use reg_node::net::{Inbound, Network, NetworkConfig};
use reg_proto::bounded::Bounded;
use reg_proto::catalogue::{
    CARD_TYPE, Card, Claimed, Computed, Listing, ListingKey, Tries, View, answer_listings, answer_roots,
    answer_sample,
};
use reg_proto::digest::Digest;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::key::{KeyDocument, publisher_id};
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::tag::{ManifestPointer, TAG_RECORD_TYPE, TagRecord};
use reg_proto::wire::{Message, PublisherVows, Request, Response};
use reg_testnet::process::{Daemon, Home, PATIENCE, anonymous_memory, is_full};
use serde_json::Value;

/// What the catalogue may take at most beside what a node takes without one (issue: 200 MiB for the whole node).
const MIB: u64 = 1 << 20;

/// A publisher with one key, and its listings.
struct Publisher {
    key: SigningKey,
    id: PublisherId,
    document: String,
}

impl Publisher {
    fn new(number: u64) -> Self {
        let mut seed = [9; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        let key = SigningKey::from_bytes(&seed);
        let first = KeyDocument::first(PublicKey::of(&key));
        let id = publisher_id(&first.to_payload());
        let document = first.sign(&key).to_json();
        Self { key, id, document }
    }

    /// Returns the listing of a model, as the `seq`-th version of its tag.
    fn listing(&self, model: &str, seq: u64) -> (ListingKey, Listing) {
        let (name, tag): (ModelName, Tag) = (model.parse().expect("a name"), Tag::latest());
        let manifest = Digest::of(format!("{} {model} {seq}", self.id).as_bytes());
        let record = TagRecord {
            publisher: self.id,
            model: name.clone(),
            tag: tag.clone(),
            seq,
            prev: (seq > 1).then(|| Digest::of(b"the one before")),
            manifest: ManifestPointer { digest: manifest, size: 1000 },
            key_document: 1,
            issued: 1_790_000_000 + seq,
            fresh_until: None,
            expires: None,
            settles: Bounded::empty(),
            min_usable: None,
        };
        let card = Card {
            publisher: self.id,
            model: name.clone(),
            manifest,
            claimed: Claimed {
                title: Some(format!("{model} number {seq}").parse().expect("a label")),
                task: Some("text-generation".parse().expect("a label")),
                summary: Some(
                    "A model that a test has made up, with a sentence about it.".parse().expect("a label"),
                ),
                licence: Some("apache-2.0".parse().expect("a label")),
                languages: Bounded::empty(),
                base: None,
            },
            computed: Computed {
                formats: Bounded::first_of(["gguf".parse().expect("a name")]),
                parameters: Some(seq * 1_000_000),
                quantisations: Bounded::first_of(["Q4_K_M".parse().expect("a name")]),
                bytes: 1 << 30,
                context: Some(4096),
                base_manifest: None,
                content: manifest,
            },
            key_document: 1,
            issued: record.issued,
        };
        let sign = |kind: &str, payload: Vec<u8>| Envelope::sign(kind, payload, &[&self.key]).to_json();
        let listing = Listing::Record {
            record: sign(TAG_RECORD_TYPE, record.to_payload()),
            card: Some(sign(CARD_TYPE, card.fitted().to_payload())),
        };
        (ListingKey::of(&name, &tag), listing)
    }
}

/// What the peer lists.
#[derive(Default)]
struct Listed {
    tries: Tries,
    listings: BTreeMap<(PublisherId, ListingKey), Listing>,
    documents: BTreeMap<PublisherId, String>,
}

impl Listed {
    fn add(&mut self, publisher: &Publisher, (key, listing): (ListingKey, Listing)) {
        let facts = listing.read().expect("it can be read");
        self.tries.of(publisher.id).insert(key, facts.value);
        self.listings.insert((publisher.id, key), listing);
        self.documents.entry(publisher.id).or_insert_with(|| publisher.document.clone());
    }

    fn bytes(&self) -> usize {
        self.listings.values().map(Listing::bytes).sum()
    }
}

impl View for Listed {
    fn listing(&self, publisher: &PublisherId, key: &ListingKey) -> Option<Listing> {
        self.listings.get(&(*publisher, *key)).cloned()
    }

    fn keys(&self, publisher: &PublisherId) -> Option<PublisherVows> {
        let key_documents = Bounded::first_of([self.documents.get(publisher)?.clone()]);
        Some(PublisherVows { key_documents, revocations: Bounded::empty() })
    }
}

/// A peer in this process, and what it has sent and was asked.
struct Peer {
    network: Network,
    listed: Arc<RwLock<Listed>>,
    bytes: Arc<AtomicUsize>,
    questions: Arc<AtomicUsize>,
}

impl Peer {
    async fn start(seed: u8, listed: Listed) -> Self {
        let at = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
        let config = NetworkConfig { listen: at, ..NetworkConfig::quiet([seed; 32]) };
        let (network, inbound) = Network::start(config).await.expect("it starts");
        let (bytes, questions) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let listed = Arc::new(RwLock::new(listed));
        tokio::spawn(answer(inbound, listed.clone(), bytes.clone(), questions.clone()));
        Self { network, listed, bytes, questions }
    }

    async fn meet(&self, daemon: &Daemon) {
        let address = daemon.address().parse().expect("an address");
        self.network.connect(&address).await.expect("it connects");
    }

    /// Returns the bytes that were sent and received since the last call, and the number of questions.
    fn cost(&self) -> (usize, usize) {
        (self.bytes.swap(0, Ordering::Relaxed), self.questions.swap(0, Ordering::Relaxed))
    }
}

async fn answer(
    mut inbound: Inbound,
    listed: Arc<RwLock<Listed>>,
    bytes: Arc<AtomicUsize>,
    questions: Arc<AtomicUsize>,
) {
    while let Some(asked) = inbound.requests.recv().await {
        let listed = listed.read().expect("no panic");
        let response = match &asked.request {
            Request::CompareRoots(page) => answer_roots(&listed.tries, page).map(Response::Differing),
            Request::GetListings(questions) => {
                answer_listings(&listed.tries, &*listed, questions).map(Response::Listings)
            }
            Request::GetSample(question) => {
                let all = listed.listings.keys().copied().take(usize::from(question.count));
                Ok(Response::Listings(answer_sample(&*listed, *question, all)))
            }
            _ => Ok(Response::NotFound),
        };
        let response = response.unwrap_or(Response::NotFound);
        if matches!(asked.request, Request::CompareRoots(_) | Request::GetListings(_)) {
            questions.fetch_add(1, Ordering::Relaxed);
            bytes.fetch_add(asked.request.to_bytes().len() + response.to_bytes().len(), Ordering::Relaxed);
        }
        asked.reply.send(response);
    }
}

fn entries(home: &Home) -> u64 {
    let found: Value = home.json(["search", "--known", "--limit", "1"]);
    found["found"].as_u64().unwrap_or(0)
}

/// Waits until the node lists so many entries of publishers that are named; returns the time that this took.
async fn until_listed(home: &Home, wanted: u64, patience: Duration) -> Duration {
    let start = Instant::now();
    while entries(home) < wanted {
        assert!(start.elapsed() < patience, "{} of {wanted} listed after {patience:?}", entries(home));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    start.elapsed()
}

/// Says what a node takes: its own memory now, and at most with the pages of files that it has mapped.
fn memory(daemon: &Daemon) -> String {
    let own = anonymous_memory(daemon.pid()).unwrap_or(0) / MIB;
    format!("{own} MiB of memory, at most {} MiB with mapped files", daemon.peak_rss() / MIB)
}

/// Returns the bytes of all files below a folder.
fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = entries.map(|it| match it.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&it.path()),
        metadata => metadata.map_or(0, |it| it.len()),
    });
    bytes.sum()
}

/// Names publishers in the trust file of a home.
fn name(home: &Home, publishers: &[Publisher]) {
    let mut text = "[petnames]\n".to_owned();
    for (number, publisher) in publishers.iter().enumerate() {
        writeln!(text, "p{number} = \"{}\"", publisher.id).expect("a string");
    }
    fs::write(home.path().join("trust.toml"), text).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_publishers_are_synced_whole_and_a_difference_costs_little_more_than_itself() {
    let (publishers, each, patience) =
        if is_full() { (10_000, 10, Duration::from_secs(900)) } else { (60, 5, PATIENCE) };
    let made: Vec<Publisher> = (0..publishers).map(Publisher::new).collect();
    let mut listed = Listed::default();
    for publisher in &made {
        for model in 0..each {
            listed.add(publisher, publisher.listing(&format!("model-{model}"), 1));
        }
    }
    let (count, size) = (publishers * each, listed.bytes());
    let home = Home::new("node");
    name(&home, &made);
    let daemon = Daemon::start(&home, ["--dht", "off"]);
    let peer = Peer::start(1, listed).await;
    let before = daemon.cpu_seconds();
    peer.meet(&daemon).await;
    let took = until_listed(&home, count, patience).await;
    let (bytes, questions) = peer.cost();
    let cpu = daemon.cpu_seconds() - before;
    println!(
        "{count} listings of {publishers} publishers ({size} B): {bytes} B in {questions} questions, {took:.1?}, {cpu:.1} CPU s, {}",
        memory(&daemon)
    );
    // A twentieth changes.
    let mut changed = 0;
    {
        let mut listed = peer.listed.write().expect("no panic");
        for (at, publisher) in made.iter().enumerate() {
            for model in (0..each).filter(|model| (at as u64 * each + model).is_multiple_of(20)) {
                let next = publisher.listing(&format!("model-{model}"), 2);
                changed += next.1.bytes();
                listed.add(publisher, next);
            }
        }
    }
    let listed = std::mem::take(&mut *peer.listed.write().expect("no panic"));
    let again = Peer::start(2, listed).await;
    let before = daemon.cpu_seconds();
    again.meet(&daemon).await;
    let start = Instant::now();
    let newest = || home.json(["search", "number", "2", "--known", "--sort", "newest", "--limit", "1"]);
    while newest()["results"][0]["title"].as_str().is_none_or(|title| !title.ends_with("number 2")) {
        assert!(start.elapsed() < patience, "the change has not come: {}", newest());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // The sync is over once no more questions come.
    let mut last = again.questions.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = again.questions.load(Ordering::Relaxed);
        if now == last {
            break;
        }
        last = now;
    }
    let (bytes, questions) = again.cost();
    let cpu = daemon.cpu_seconds() - before;
    println!(
        "a twentieth changed ({changed} B): {bytes} B in {questions} questions, {cpu:.1} CPU s, {}",
        memory(&daemon)
    );
    assert!(bytes <= 2 * changed + 500_000, "{bytes} bytes for a difference of {changed}");
    assert_eq!(entries(&home), count, "nothing was lost or came twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_with_many_keys_hide_no_kept_publisher_and_fill_nothing() {
    let (hostile, patience) = if is_full() { (100_000, Duration::from_secs(900)) } else { (1000, PATIENCE) };
    let kept: Vec<Publisher> = (0..20).map(Publisher::new).collect();
    let mut honest = Listed::default();
    for publisher in &kept {
        for model in 0..10 {
            honest.add(publisher, publisher.listing(&format!("model-{model}"), 1));
        }
    }
    // Some of the hostile ids share as long a prefix with a kept one as so many tries give.
    let mut flood = Listed::default();
    let mut nearest = 0;
    for number in 0..hostile {
        let stranger = Publisher::new(1_000_000 + number);
        let shared = |it: &Publisher| {
            let equal =
                it.id.as_bytes().iter().zip(stranger.id.as_bytes()).take_while(|(one, two)| one == two);
            equal.count()
        };
        nearest = nearest.max(kept.iter().map(shared).max().unwrap_or(0));
        flood.add(&stranger, stranger.listing(&format!("model-{}", number % 10), 1));
    }
    let nodes = if is_full() { 20 } else { 3 };
    let homes: Vec<Home> = (0..nodes).map(|number| Home::new(&format!("node {number}"))).collect();
    homes.iter().for_each(|home| name(home, &kept));
    let liar = Peer::start(3, flood).await;
    let first = Daemon::start(&homes[0], ["--dht", "off"]);
    liar.meet(&first).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let peer = Peer::start(4, honest).await;
    peer.meet(&first).await;
    let took = until_listed(&homes[0], 200, patience).await;
    println!(
        "{hostile} hostile keys, the nearest with {nearest} equal bytes: all kept listings came in {took:.1?}"
    );
    // The others meet the flood and the first node. The publishers' peer they never meet.
    drop(peer);
    let mut daemons = vec![first];
    let address = daemons[0].address();
    for home in &homes[1..] {
        let daemon = Daemon::start(home, ["--dht", "off", "--bootstrap", &address]);
        liar.meet(&daemon).await;
        daemons.push(daemon);
    }
    let start = Instant::now();
    let (mut most, mut largest, mut disk) = (0, 0, 0);
    for (home, daemon) in homes.iter().zip(&daemons) {
        until_listed(home, 200, patience).await;
        let found = home.json(["search", "model", "--limit", "100"]);
        let results = found["results"].as_array().expect("results");
        assert!(results.iter().all(|it| it["is_known"] == true), "the known come first");
        most = most.max(found["entries"].as_u64().unwrap_or(0) - 200);
        largest = largest.max(daemon.peak_rss() / MIB);
        disk = disk.max(bytes_below(&home.path().join("catalogue")));
    }
    println!(
        "{nodes} nodes list all of them after {:.1?}; at most {most} strangers, {largest} MiB of memory and {disk} B of files in one",
        start.elapsed()
    );
    assert!(most <= 50_000, "{most}");
    drop(liar);
}
