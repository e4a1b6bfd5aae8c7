//! The main job between real processes: publish, find, pull, verify, share.

use std::time::{Duration, Instant};

use reg_testnet::model::{self, SILERO_VAD};
use reg_testnet::process::{Daemon, Home, Ran, left_out, until};
use reg_testnet::tree;

const MIB: u64 = 1 << 20;

fn pull(home: &Home, reference: &str, name: &str, flags: &[&str]) -> Ran {
    let dest = home.path().join(name).to_string_lossy().into_owned();
    let args: Vec<&str> = ["pull", reference, &dest].into_iter().chain(flags.iter().copied()).collect();
    home.run(args.into_iter().chain(["--json"]))
}

#[test]
fn what_was_pulled_is_served_when_the_first_node_has_gone() {
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    let scratch = tempfile::tempdir().expect("a folder");
    let model = match SILERO_VAD.get() {
        Ok(file) => {
            std::fs::copy(&file, scratch.path().join("silero_vad_16k.safetensors")).expect("copied");
            scratch.path().to_owned()
        }
        Err(error) => panic!("{error}"),
    };
    let daemon_a = Daemon::start(&a, [""; 0]);
    a.key("me");
    let reference = a.publish(&model, "silero-vad:v6", "me");
    let daemon_b = Daemon::start(&b, ["--bootstrap", &daemon_a.address()]);
    let pulled = pull(&b, &reference, "out", &[]).ok().json();
    assert_eq!(pulled["bytes_fetched"].as_u64().map(|it| it >= 1_239_748), Some(true), "{pulled}");
    assert_eq!(pulled["peers"].as_object().map(serde_json::Map::len), Some(1));
    daemon_a.stop();
    let daemon_c = Daemon::start(&c, ["--bootstrap", &daemon_b.address()]);
    pull(&c, &reference, "out", &[]).ok();
    tree::assert_equal(&model, &b.path().join("out"));
    tree::assert_equal(&model, &c.path().join("out"));
    c.run(["verify", &c.path().join("out").to_string_lossy()]).ok();
    daemon_b.stop();
    daemon_c.stop();
}

#[test]
fn a_large_model_comes_from_two_peers_at_once_without_a_daemon() {
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    let model = a.path().join("model");
    model::generate(&model, 48 * MIB, 7);
    a.key("me");
    let daemon_a = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&model, "big", "me");
    let daemon_b = Daemon::start(&b, ["--bootstrap", &daemon_a.address()]);
    pull(&b, &reference, "out", &[]).ok();
    let (from_a, from_b) = (daemon_a.address(), daemon_b.address());
    let pulled =
        pull(&c, &reference, "out", &["--from", &from_a, "--from", &from_b, "--no-mdns"]).ok().json();
    let peers = pulled["peers"].as_object().expect("bytes by peer");
    assert_eq!(peers.len(), 2, "{pulled}");
    let sum: u64 = peers.values().filter_map(serde_json::Value::as_u64).sum();
    assert_eq!(Some(sum), pulled["bytes_fetched"].as_u64());
    tree::assert_equal(&model, &c.path().join("out"));
    let again = pull(&c, &reference, "again", &["--offline"]).ok().json();
    assert_eq!(again["bytes_fetched"], 0);
    tree::assert_equal(&model, &c.path().join("again"));
}

#[test]
fn neighbours_find_each_other_with_no_address_at_all() {
    let interfaces = std::fs::read_dir("/sys/class/net").map_or(2, Iterator::count);
    if interfaces < 2 {
        left_out("mDNS", "there is no network interface beside loopback", "run the tests where there is one");
        return;
    }
    let [a, b] = ["A", "B"].map(Home::new);
    let model = a.path().join("model");
    model::generate(&model, 3 * MIB, 3);
    a.key("me");
    // mDNS tells of addresses of a real interface, so these two listen everywhere.
    let everywhere = ["--listen", "/ip4/0.0.0.0/tcp/0"];
    let _daemon_a = Daemon::start_with(&a, everywhere);
    let reference = a.publish(&model, "near", "me");
    let _daemon_b = Daemon::start_with(&b, everywhere);
    pull(&b, &reference, "out", &[]).ok();
    tree::assert_equal(&model, &b.path().join("out"));
}

#[test]
fn a_tag_that_moves_is_followed_and_another_publisher_may_have_the_same_bytes() {
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    let model = a.path().join("model");
    model::generate(&model, 2 * MIB, 5);
    a.key("me");
    a.key("other");
    let daemon = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&model, "moving", "me");
    let same = a.publish(&model, "moving", "other");
    let daemon_b = Daemon::start(&b, ["--bootstrap", &daemon.address()]);
    let first = pull(&b, &reference, "one", &[]).ok().json();
    let twin = pull(&b, &same, "twin", &[]).ok().json();
    assert_eq!(first["manifest"], twin["manifest"]);
    assert_ne!(first["publisher"], twin["publisher"]);
    assert_eq!(twin["bytes_fetched"], 0, "the bytes were here: {twin}");
    std::fs::write(model.join("README.md"), "# second").expect("written");
    a.publish(&model, "moving", "me");
    let second = pull(&b, &reference, "two", &[]).ok().json();
    assert_ne!(first["manifest"], second["manifest"]);
    let fetched = second["bytes_fetched"].as_u64().expect("a number");
    assert!(fetched < 1024, "only the card and the config have changed: {second}");
    tree::assert_equal(&model, &b.path().join("two"));
    // What is only here is pulled by its digest too, from B alone.
    let old = format!(
        "{}@{}",
        reference.trim_end_matches(":latest"),
        first["manifest"].as_str().expect("a digest")
    );
    daemon.stop();
    let by_digest = pull(&c, &old, "old", &["--from", &daemon_b.address(), "--no-mdns"]).ok().json();
    assert_eq!(by_digest["manifest"], first["manifest"]);
    tree::assert_equal(&b.path().join("one"), &c.path().join("old"));
}

#[test]
fn a_publisher_without_a_daemon_seeds_until_another_holds_the_model() {
    let [a, b] = ["A", "B"].map(Home::new);
    let model = a.path().join("model");
    model::generate(&model, 2 * MIB, 8);
    let publisher = a.key("me");
    let daemon = Daemon::start(&b, [""; 0]);
    let path = model.to_string_lossy().into_owned();
    let address = daemon.address();
    let args = [
        "publish",
        &path,
        "seeded",
        "--key",
        "me",
        "--wait",
        "1",
        "--bootstrap",
        &address,
        "--no-mdns",
        "--json",
    ];
    let publish = a.command(args).stdout(std::process::Stdio::piped()).spawn().expect("reg runs");
    // A search ends once every peer has answered, and the publisher may not have signed yet.
    until("the model is found", || pull(&b, &format!("{publisher}/seeded"), "out", &[]).code() == 0);
    let output = publish.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let published: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(published["holders"], 1, "{published}");
    tree::assert_equal(&model, &b.path().join("out"));
}

/// Twenty nodes: all know K, which holds nothing; D comes last and knows only K.
fn through_a_node_that_holds_nothing(flags: &[&str]) {
    const OTHERS: usize = 17;
    let known = Home::new("K");
    let daemon_k = Daemon::start(&known, flags);
    let bootstrap = daemon_k.address();
    let with_bootstrap: Vec<&str> = flags.iter().copied().chain(["--bootstrap", &bootstrap]).collect();
    let homes: Vec<Home> = (0..OTHERS).map(|n| Home::new(&format!("N{n}"))).collect();
    let _others: Vec<Daemon> = homes.iter().map(|home| Daemon::start(home, &with_bootstrap)).collect();
    let holder = Home::new("H");
    holder.key("me");
    let model = holder.path().join("model");
    model::generate(&model, 5 * MIB, 20);
    let _daemon_h = Daemon::start(&holder, &with_bootstrap);
    std::thread::sleep(Duration::from_secs(1));
    let reference = holder.publish(&model, "far:v1", "me");
    std::thread::sleep(Duration::from_secs(2));
    let last = Home::new("D");
    let _daemon_d = Daemon::start(&last, &with_bootstrap);
    let start = Instant::now();
    let pulled = pull(&last, &reference, "out", &[]).ok().json();
    println!("{flags:?}: found and pulled in {:.1} s: {}", start.elapsed().as_secs_f64(), pulled["peers"]);
    tree::assert_equal(&model, &last.path().join("out"));
}

#[test]
fn a_stranger_finds_a_model_with_gossip_off() {
    through_a_node_that_holds_nothing(&["--no-gossip", "--dht", "server"]);
}

#[test]
fn a_stranger_finds_a_model_with_the_dht_off() {
    through_a_node_that_holds_nothing(&["--dht", "off"]);
}

#[test]
fn what_nobody_has_is_not_found_and_says_what_to_do() {
    let home = Home::new("A");
    let nobody = "w3wvhlx6okxgeref7vz7cfr7y3m5wm5paa6xejkogaqe2j3bj5gq/none";
    let refused = home.run(["pull", nobody, "--offline", "--cache-only"]).failed(5, "offline");
    assert!(refused.stderr().contains("hint:"));
    home.run(["pull", "stranger/model", "--offline"]).failed(3, "reg trust add");
    home.run(["pull", "no-reference"]).failed(2, "publisher/model");
}
