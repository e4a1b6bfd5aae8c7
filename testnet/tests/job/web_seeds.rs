//! Tests web servers as sources of a pull: alone, beside peers, with wrong bytes, without ranges, and asking for a pause.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use reg_testnet::endpoint::{Asked, Endpoint, Manner};
use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::nginx::Nginx;
use reg_testnet::process::{Daemon, Home, PATIENCE, Ran, text, wait_until};
use reg_testnet::tree;
use serde_json::Value;

const MIB: u64 = 1 << 20;
const WEIGHTS: &str = "model.safetensors";

/// A model that was published, and the peer that published it.
struct World {
    home: Home,
    peer: Daemon,
    model: PathBuf,
    reference: String,
}

impl World {
    fn new(bytes: u64, seed: u64, flags: &[&str]) -> Self {
        let home = Home::new("publisher");
        let model = home.path().join("model");
        model::generate(&model, bytes, seed);
        home.key("me");
        let peer = Daemon::start(&home, flags);
        let reference = home.publish(&model, "m:v1", "me");
        Self { home, peer, model, reference }
    }

    /// Returns a home that has the smallest file, and the description of the model, from the peer, which from now on says what
    /// there is and sends no bytes.
    fn puller_alone(&self) -> Home {
        let home = Home::new("puller");
        self.pull(&home, &[], &["--include", "README.md"]).ok();
        self.home.run(["pause"]).ok();
        home
    }

    /// Pulls from a web seed alone until something has happened, then from the peer too.
    fn pull_alone_until(&self, home: &Home, seed: &str, more: &[&str], happened: impl Fn() -> bool) -> Ran {
        std::thread::scope(|scope| {
            let pull = scope.spawn(|| self.pull(home, &[seed], more));
            while !happened() && !pull.is_finished() {
                std::thread::sleep(Duration::from_millis(20));
            }
            self.home.run(["resume"]).ok();
            pull.join().expect("a pull")
        })
    }

    /// Bytes of the files but the smallest.
    fn bytes(&self) -> u64 {
        ["config.json", WEIGHTS].iter().map(|path| len(&self.model.join(path))).sum()
    }

    /// Pulls into `out` of a home, asking the peer and the web seeds.
    fn pull(&self, home: &Home, seeds: &[&str], more: &[&str]) -> Ran {
        home.ran(&mut self.pulling(home, seeds, more))
    }

    fn pulling(&self, home: &Home, seeds: &[&str], more: &[&str]) -> std::process::Command {
        let mut command = home.command(["pull", &self.reference]);
        command.arg(home.path().join("out")).args(["--from", &self.peer.address(), "--no-mdns", "--json"]);
        command.args(seeds.iter().flat_map(|seed| ["--web-seed", seed])).args(more);
        command
    }

    fn is_pulled(&self, home: &Home) {
        tree::assert_equal(&self.model, &home.path().join("out"));
    }
}

fn len(path: &Path) -> u64 {
    fs::metadata(path).expect("a file").len()
}

fn from_web(pulled: &Value, seed: &str) -> u64 {
    pulled["web"][seed].as_u64().unwrap_or(0)
}

fn from_peers(pulled: &Value) -> u64 {
    pulled["peers"].as_object().into_iter().flat_map(|it| it.values()).filter_map(Value::as_u64).sum()
}

#[test]
fn nginx_alone_has_the_files() {
    let world = World::new(24 * MIB, 71, &[]);
    let nginx = Nginx::start(world.home.path(), &world.model).expect("nginx");
    let home = world.puller_alone();
    let pulled = world.pull(&home, &[nginx.base()], &[]).ok().json();
    world.is_pulled(&home);
    assert_eq!(from_web(&pulled, nginx.base()), world.bytes(), "{pulled}");
    assert_eq!((from_peers(&pulled), pulled["bytes_fetched"].as_u64()), (0, Some(world.bytes())));
    let source = &pulled["sources"][0];
    assert_eq!((source["kind"].as_str(), source["seed"].as_str()), (Some("web"), Some(nginx.base())));
    home.run(["verify", &world.reference]).ok();
}

#[test]
fn nginx_beside_a_peer_takes_its_part() {
    // A peer that needs ten seconds for all of it.
    let world = World::new(24 * MIB, 72, &["--limit-up", "2 MB/s", "--limit-local"]);
    let nginx = Nginx::start(world.home.path(), &world.model).expect("nginx");
    let home = Home::new("puller");
    let pulled = world.pull(&home, &[nginx.base()], &[]).ok().json();
    world.is_pulled(&home);
    let (web, peers) = (from_web(&pulled, nginx.base()), from_peers(&pulled));
    assert!(web > 0 && peers > 0, "both have sent something: {pulled}");
    assert_eq!(Some(web + peers), pulled["bytes_fetched"].as_u64(), "{pulled}");
}

#[test]
fn a_web_server_that_lies_is_out_after_one_piece() {
    let world = World::new(24 * MIB, 73, &[]);
    let mut wrong = fs::read(world.model.join(WEIGHTS)).expect("weights");
    wrong.iter_mut().for_each(|byte| *byte ^= 1);
    let wrong = [(WEIGHTS.to_owned(), wrong)].into();
    let liar = Endpoint::start("org/m", &world.model, Manner { wrong, ..Manner::default() });
    let seed = format!("{}/org/m/resolve/main/", liar.url());
    let home = world.puller_alone();
    let ran = world.pull_alone_until(&home, &seed, &[], || liar.sent(WEIGHTS) > 0);
    assert!(ran.stderr().contains("sent wrong bytes"), "{}", ran.stderr());
    let pulled = ran.ok().json();
    world.is_pulled(&home);
    let small = world.bytes() - len(&world.model.join(WEIGHTS));
    assert!(from_web(&pulled, &seed) <= small, "nothing of the wrong file counts: {pulled}");
    let asked = liar.take_asked();
    let weights: Vec<_> = asked.iter().filter(|it| it.path.ends_with(WEIGHTS)).collect();
    assert!(weights.len() <= 4, "what was under way when the first piece came: {weights:?}");
    assert!(liar.sent(WEIGHTS) < 24 * MIB);
}

#[test]
fn a_server_that_asks_for_a_pause_gets_it() {
    let world = World::new(3 * MIB, 74, &[]);
    let busy = Manner { busy: Some(3), ..Manner::default() };
    let server = Endpoint::start("org/m", &world.model, busy);
    let seed = format!("{}/org/m/resolve/main/", server.url());
    let home = world.puller_alone();
    let mut pull = world.pulling(&home, &[&seed], &[]);
    let mut pull = pull.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("reg runs");
    let (start, pause) = (Instant::now(), Duration::from_secs(3));
    let mut refused = Vec::new();
    let in_pause = |refused: &[Asked]| {
        let first = refused.iter().map(|it| it.at).min()?;
        Some(refused.iter().filter(|it| it.at - first < pause).count())
    };
    // The server refuses until it is asked after the pause.
    while in_pause(&refused).is_none_or(|it| it == refused.len()) {
        assert!(start.elapsed() < PATIENCE, "the web server was not asked again: {refused:?}");
        std::thread::sleep(Duration::from_millis(10));
        refused.extend(server.take_asked());
    }
    server.behave(Manner::default());
    let ended = wait_until(&mut pull, Instant::now() + PATIENCE);
    assert!(ended.is_some_and(|it| it.success()), "{ended:?}");
    world.is_pulled(&home);
    let in_pause = in_pause(&refused).expect("it was asked");
    assert!(in_pause <= 4, "no more than may be under way at once: {refused:?}");
}

#[test]
fn a_long_pause_is_told_and_not_sat_out() {
    let world = World::new(MIB / 2, 75, &[]);
    let busy = Manner { busy: Some(4000), ..Manner::default() };
    let server = Endpoint::start("org/m", &world.model, busy);
    let home = Home::new("puller");
    // A template, and no other peer: the peer is gone once it has sent the smallest file. Files of one piece need no states.
    let seed = format!("{}/org/m/resolve/main/{{path}}", server.url());
    world.pull(&home, &[], &["--include", "README.md"]).ok();
    let World { peer, reference, .. } = world;
    peer.stop();
    let manifest = text(&home.json(["ls"])[0]["manifest"]);
    let (name, _) = reference.rsplit_once(':').expect("a tag");
    let of_digest = format!("{name}@{manifest}");
    let ran =
        home.run(["pull", &of_digest, "--cache-only", "--no-mdns", "--dht", "off", "--web-seed", &seed]);
    ran.failed(75, "asks for a pause");
}

#[test]
fn a_server_without_ranges_gives_small_files_and_says_so_of_large_ones() {
    let world = World::new(18 * MIB, 76, &["--limit-up", "3 MB/s", "--limit-local"]);
    let manner = Manner { ignores_ranges: true, ..Manner::default() };
    let server = Endpoint::start("org/m", &world.model, manner);
    let seed = format!("{}/org/m/resolve/main/", server.url());
    let home = Home::new("puller");
    let ran = world.pull(&home, &[&seed], &[]);
    let said = ran.stderr();
    ran.ok();
    world.is_pulled(&home);
    assert!(said.contains("no ranges") && said.contains("--from MULTIADDR"), "{said}");
    assert!(server.sent(WEIGHTS) < 4 * 18 * MIB);
}

#[test]
fn redirects_are_followed_and_kept_and_do_not_lead_into_ones_own_network() {
    let world = World::new(24 * MIB, 77, &[]);
    let manner = Manner { redirects: true, ..Manner::default() };
    let server = Endpoint::start("org/m", &world.model, manner);
    let home = world.puller_alone();
    let pulled = world.pull(&home, &[&format!("{}/org/m/resolve/main/", server.url())], &[]).ok().json();
    world.is_pulled(&home);
    assert!(pulled["bytes_fetched"].as_u64() >= Some(24 * MIB), "{pulled}");
    let asked = server.take_asked();
    let resolved = asked.iter().filter(|it| it.path.ends_with(&format!("resolve/main/{WEIGHTS}"))).count();
    let sent = asked.iter().filter(|it| it.path.ends_with(&format!("cdn/{WEIGHTS}"))).count();
    assert!(sent > resolved, "{resolved} questions where it is, {sent} for its bytes");

    // The same by another name of this machine: it leads to a private address that the user has not named.
    let world = World::new(18 * MIB, 79, &[]);
    let server = Endpoint::start("org/m", &world.model, Manner { redirects: true, ..Manner::default() });
    let other = world.puller_alone();
    let by_name = format!("{}/org/m/resolve/main/", server.url().replace("127.0.0.1", "localhost"));
    let is_asked = || server.has_been_asked();
    let ran = world.pull_alone_until(&other, &by_name, &["--include", WEIGHTS], is_asked);
    assert!(ran.stderr().contains("is not followed"), "{}", ran.stderr());
    ran.ok();
    let asked = server.take_asked();
    assert!(asked.iter().all(|it| !it.path.contains("/cdn/")), "{asked:?}");
}

#[test]
fn a_gateway_of_another_node_is_a_web_seed_of_the_configuration() {
    let world = World::new(8 * MIB, 78, &["--limit-up", "500 kB/s", "--limit-local"]);
    let template = format!("{}/v2/{{publisher}}/{{model}}/blobs/{{digest}}", http::base(&world.peer));
    let home = Home::new("puller");
    fs::write(home.path().join("config.toml"), format!("[transfer]\nweb_seeds = [{template:?}]\n"))
        .expect("written");
    let pulled = world.pull(&home, &[], &[]).ok().json();
    world.is_pulled(&home);
    assert!(from_web(&pulled, &template) > 0, "{pulled}");
    home.run(["pull", &world.reference, "--web-seed", "ftp://x/"]).failed(2, "is no HTTP address");
}
