//! Tests how much memory a node takes: when it is idle, for a large pull, and for a model of many files.
//!
//! `REG_FULL=1` pulls 8 GiB and 5,000 files; without it the models are small. The bounds are the same.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, anonymous_memory, is_full, peak_rss, wait_until};
use reg_testnet::tree;

const MIB: u64 = 1 << 20;
/// Of an idle node, without its code: the unoptimised program that tests run has some 60 MiB of it in memory.
const IDLE_MAX: u64 = 24 * MIB;
/// The same after publications.
const BUSY_MAX: u64 = 32 * MIB;
const PULL_MAX: u64 = 256 * MIB;

/// Pulls without a daemon, and returns the most memory that it took.
fn pull(home: &Home, reference: &str, from: &Daemon, dest: &Path) -> u64 {
    let from = from.address();
    let mut command = home.command(["pull", reference, "--from", &from, "--no-mdns", "-q"]);
    let mut child = command.arg(dest).stdout(Stdio::null()).spawn().expect("reg runs");
    let end = Instant::now() + Duration::from_secs(1800);
    let mut peak = 0;
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < end {
        peak = peak_rss(child.id()).unwrap_or(0).max(peak);
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = wait_until(&mut child, end);
    assert!(status.is_some_and(|status| status.success()), "the pull fails: {status:?}");
    peak
}

#[test]
fn a_node_that_does_nothing_stays_small() {
    let home = Home::new("A");
    home.key("me");
    let daemon = Daemon::start(&home, [""; 0]);
    for number in 0..20 {
        let dir = home.path().join(format!("m{number}"));
        model::generate(&dir, 3 * MIB, number);
        home.publish(&dir, &format!("m{number}"), "me");
    }
    let busy = anonymous_memory(daemon.pid()).expect("it runs");
    daemon.stop();
    let daemon = Daemon::start(&home, [""; 0]);
    // It has started, has no connection and has read its index: nothing more is to come.
    std::thread::sleep(Duration::from_secs(3));
    let idle = anonymous_memory(daemon.pid()).expect("it runs");
    println!("idle with 20 models: {} MiB; after 20 publications: {} MiB", idle / MIB, busy / MIB);
    assert!(idle < IDLE_MAX, "{} MiB", idle / MIB);
    assert!(busy < BUSY_MAX, "{} MiB after publishing", busy / MIB);
}

#[test]
fn a_large_pull_takes_no_more_memory_than_a_small_one_may() {
    let size = if is_full() { 8 << 30 } else { 192 * MIB };
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let server = Daemon::start(&a, [""; 0]);
    let model = a.path().join("model");
    model::generate(&model, size, 7);
    let digest = model::weights_digest(&model);
    let reference = a.publish(&model, "large", "me");
    fs::remove_dir_all(&model).expect("removed");
    let dest = b.path().join("out");
    let peak = pull(&b, &reference, &server, &dest);
    assert_eq!(model::weights_digest(&dest), digest);
    let served = server.peak_rss();
    println!("pull of {} MiB: {} MiB; the node that serves it: {} MiB", size / MIB, peak / MIB, served / MIB);
    assert!(peak < PULL_MAX, "{} MiB to pull", peak / MIB);
    assert!(served < PULL_MAX, "{} MiB to publish and serve", served / MIB);
}

#[test]
fn a_model_of_thousands_of_files_is_published_and_pulled() {
    let files = if is_full() { 5000 } else { 150 };
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let server = Daemon::start(&a, [""; 0]);
    let model = a.path().join("model");
    model::generate(&model, 2 * MIB, 7);
    for number in 0..files {
        let dir = model.join(format!("part-{}", number / 100));
        fs::create_dir_all(&dir).expect("a folder");
        let text = format!(r#"{{"number":{number},"text":"{}"}}"#, "x".repeat(number % 977));
        fs::write(dir.join(format!("{number}.json")), text).expect("written");
    }
    let start = Instant::now();
    let reference = a.publish(&model, "many", "me");
    let published = start.elapsed().as_secs_f64();
    let dest = b.path().join("out");
    let peak = pull(&b, &reference, &server, &dest);
    tree::assert_equal(&model, &dest);
    let (total, served) = (start.elapsed().as_secs_f64(), server.peak_rss());
    println!(
        "{files} files: published in {published:.0} s, pulled in {:.0} s; {} MiB to pull, {} MiB to publish and serve",
        total - published,
        peak / MIB,
        served / MIB
    );
    assert!(peak < PULL_MAX && served < PULL_MAX, "{} and {} MiB", peak / MIB, served / MIB);
    b.run(["verify", "--offline"]).ok();
}
