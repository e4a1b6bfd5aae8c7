//! Tests swarms of real processes: what a single seed sends first, and one good peer among many bad ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use reg_proto::digest::Digest;
use reg_proto::piece::PIECE_LEN;
use reg_testnet::evil::{Liar, Manner, Script};
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, is_full, until};
use reg_testnet::tree;

const MIB: u64 = 1 << 20;
const QUIET: [&str; 3] = ["--dht", "off", "--no-gossip"];

fn number(home: &Home, key: &str) -> u64 {
    home.json(["status"])[key].as_u64().expect("a number")
}

/// A seed with a slow uplink sends most pieces once before it sends one twice, and its pullers pass pieces on. Pullers that ask
/// for the same pieces cost as many copies as there are pullers, for the first as well as in all; the bounds are three quarters
/// of that. `node/transfer/simulator` has the exact figures: here, a busy machine is late with the news of the pullers.
#[test]
fn a_single_seed_with_a_slow_uplink_sends_everything_once_first() {
    let (pullers, bytes) = if is_full() { (8, 256 * MIB) } else { (4, 40 * MIB) };
    let home = Home::new("seed");
    home.key("me");
    let model = home.path().join("model");
    model::generate(&model, bytes, 5);
    let flags: Vec<&str> = [&["--limit-up", "4MB/s", "--limit-local"], &QUIET[..]].concat();
    let seed = Daemon::start(&home, flags);
    let reference = home.publish(&model, "wide", "me");
    let address = seed.address();
    let homes: Vec<Home> = (0..pullers).map(|n| Home::new(&format!("P{n}"))).collect();
    let flags: Vec<&str> = [&["--bootstrap", address.as_str()], &QUIET[..]].concat();
    let daemons: Vec<Daemon> = homes.iter().map(|home| Daemon::start(home, flags.clone())).collect();
    let sent_for_the_first = std::thread::scope(|scope| {
        let pulls: Vec<_> = homes
            .iter()
            .map(|home| {
                let dest = home.path().join("out").to_string_lossy().into_owned();
                let reference = reference.as_str();
                scope.spawn(move || drop(home.run(["pull", reference, &dest, "--json"]).ok()))
            })
            .collect();
        let start = Instant::now();
        let sent = loop {
            // Small files count too: the weights are nearly all.
            if number(&home, "bytes_served_first") >= bytes {
                break number(&home, "bytes_served");
            }
            assert!(start.elapsed() < Duration::from_secs(300), "{}", seed.log());
            std::thread::sleep(Duration::from_millis(50));
        };
        pulls.into_iter().for_each(|pull| pull.join().expect("it is pulled"));
        sent
    });
    homes.iter().for_each(|home| tree::assert_equal(&model, &home.path().join("out")));
    let copies = |sent: u64| sent as f64 / bytes as f64;
    let served = number(&home, "bytes_served");
    println!(
        "the seed sent {:.2} copies for the first, {:.2} in all",
        copies(sent_for_the_first),
        copies(served)
    );
    let most = f64::from(pullers) * 0.75;
    assert!(copies(sent_for_the_first) < most, "{:.2} copies", copies(sent_for_the_first));
    assert!(copies(served) < most, "the pullers pass pieces on: {:.2} copies", copies(served));

    drop(daemons);
}

/// What a peer that lies says it holds: every file of a model, with wrong bytes.
fn false_blobs(model: &Path) -> BTreeMap<Digest, Arc<Vec<u8>>> {
    let files = fs::read_dir(model).expect("a model").map(|entry| entry.expect("a file").path());
    let large = files.filter(|path| path.is_file() && path.metadata().is_ok_and(|it| it.len() > PIECE_LEN));
    large
        .map(|path| {
            let mut bytes = fs::read(path).expect("it is read");
            let digest = Digest::of(&bytes);
            bytes.iter_mut().step_by(4096).for_each(|byte| *byte ^= 1);
            (digest, Arc::new(bytes))
        })
        .collect()
}

/// Seven of eight peers are bad, in every way there is: the pull completes, and a peer that has sent wrong bytes is not asked
/// again.
#[tokio::test(flavor = "multi_thread")]
async fn one_good_peer_among_seven_bad_ones_is_enough() {
    let bytes = 16 * MIB;
    let (home_a, home_b) = (Home::new("A"), Home::new("B"));
    home_a.key("me");
    let models = ["one", "two"].map(|name| home_a.path().join(name));
    (20..).zip(&models).for_each(|(seed, model)| model::generate(model, bytes, seed));
    let flags: Vec<&str> = [&["--limit-up", "4MB/s", "--limit-local"], &QUIET[..]].concat();
    let good = Daemon::start(&home_a, flags);
    let references = models.each_ref().map(|model| {
        let name = model.file_name().and_then(|name| name.to_str()).expect("a name");
        home_a.publish(model, name, "me")
    });
    let blobs: BTreeMap<Digest, Arc<Vec<u8>>> = models.iter().flat_map(|model| false_blobs(model)).collect();
    let manners = [
        Manner::Sends,
        Manner::Stalls,
        Manner::Truncates,
        Manner::Boasts,
        Manner::Sends,
        Manner::Truncates,
        Manner::Stalls,
    ];
    let (mut liars, mut addresses) = (Vec::new(), vec![good.address()]);
    for (seed, manner) in (60..).zip(manners) {
        let script = Script { blobs: blobs.clone(), manner, ..Script::default() };
        let liar = Liar::start(seed, script).await;
        addresses.push(liar.address().await);
        liars.push((manner, liar));
    }
    let bootstrap: Vec<&str> = addresses.iter().flat_map(|address| ["--bootstrap", address]).collect();
    let daemon_b = Daemon::start(&home_b, [&bootstrap[..], &QUIET[..]].concat());
    until("the good one and the bad ones are connected", || number(&home_b, "peers") >= 8);
    let sends_wrong = |manner: &Manner| matches!(manner, Manner::Sends | Manner::Truncates);
    for (round, (reference, model)) in references.iter().zip(&models).enumerate() {
        let dest = home_b.path().join(format!("out{round}"));
        tokio::task::block_in_place(|| {
            home_b.run(["pull", reference, &dest.to_string_lossy(), "--json"]).ok();
            tree::assert_equal(model, &dest);
        });
        for (manner, liar) in &liars {
            let (streams, requests) =
                (liar.asked.streams.load(Ordering::Relaxed), liar.asked.requests.load(Ordering::Relaxed));
            println!("round {round}, {manner:?}: {streams} streams, {requests} requests");
            if round == 0 {
                assert!(requests > 0, "no puller has asked a peer that {manner:?}");
            } else if sends_wrong(manner) {
                assert_eq!(streams, 1, "a peer that {manner:?} is not asked again");
            }
        }
    }
    let log = daemon_b.log();
    let out = log.matches("a peer sent wrong bytes and is not asked again").count();
    assert_eq!(out, manners.iter().filter(|manner| sends_wrong(manner)).count(), "{log}");
}
