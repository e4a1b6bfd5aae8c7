//! Tests peers that claim a whole model and do not serve it: they stall, trickle, cut off or only boast. They cost time, within a
//! bound, and one honest peer is enough.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reg_proto::states::Hashed;
use reg_testnet::evil::{Liars, Manner, Script};
use reg_testnet::process::Home;
use reg_testnet::tree;

use crate::liars::{hashed, honest, pull, script_of, weights};

/// How long a pull of a few pieces may take among such peers, on a busy machine. The peers alone would take forever.
const TAKES: Duration = Duration::from_secs(200);
/// Requests that a peer gets before the puller no longer believes what it claims.
const REQUESTS_MAX: usize = 64;

/// Pulls a model from one honest peer and from peers of these manners, and returns how often each of them was asked.
fn pulls_among(seed: u8, manners: &[Manner]) -> Vec<usize> {
    let content = weights(seed);
    let (honest_home, daemon, reference) = honest(&content);
    let Hashed { digest, states } = hashed(&content);
    let mut liars = Liars::default();
    let mut from: Vec<String> = manners
        .iter()
        .map(|manner| {
            liars.tell(Script {
                blobs: BTreeMap::from([(digest, Arc::new(content.clone()))]),
                states: BTreeMap::from([(digest, states.clone())]),
                manner: *manner,
                ..Script::default()
            })
        })
        .collect();
    from.push(daemon.address());
    let from: Vec<&str> = from.iter().map(String::as_str).collect();
    let home = Home::new("P");
    let start = Instant::now();
    let pulled = pull(&home, &reference, &from).ok().json();
    let took = start.elapsed();
    tree::assert_equal(&honest_home.path().join("model"), &home.path().join("out"));
    println!(
        "{manners:?}: {took:.1?}, {} bytes fetched, asked {:?}",
        pulled["bytes_fetched"],
        liars.requests()
    );
    assert!(took < TAKES, "{manners:?}: {took:?}");
    liars.requests()
}

#[test]
fn peers_that_stall_trickle_or_cut_off_cost_a_bounded_time() {
    for manner in [Manner::Stalls, Manner::Trickles, Manner::CutsOff, Manner::Truncates] {
        pulls_among(31, &[manner; 3]);
    }
    pulls_among(32, &[Manner::Stalls, Manner::Trickles, Manner::CutsOff, Manner::Truncates, Manner::Stalls]);
}

#[test]
fn peers_that_claim_a_model_and_never_serve_it_are_soon_asked_no_more() {
    for requests in pulls_among(33, &[Manner::Boasts; 7]) {
        assert!(requests <= REQUESTS_MAX, "{requests} requests");
    }
}

#[test]
fn pieces_that_nobody_asked_for_do_not_keep_a_pull_waiting() {
    let (script, reference) = script_of(Manner::Drips);
    let mut liars = Liars::default();
    let address = liars.tell(script);
    let home = Home::new("P");
    let start = Instant::now();
    let options = ["--dht", "off", "--no-gossip", "--timeout", "5"];
    home.pull(&reference, &[&address], &options).failed(5, "bytes are missing");
    assert!(start.elapsed() < TAKES, "{:?}", start.elapsed());
    assert!(liars.requests()[0] > 0, "it was asked");
}
