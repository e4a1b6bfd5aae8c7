//! Tests that callers of one node that want the same model share one fetch: pulls, gateways' readers, and both at once. The
//! seed sends each piece about once, however many callers there are and whichever of them end early.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use reg_testnet::clients;
use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, PATIENCE, Ran, wait_until};
use reg_testnet::tree;

const MIB: u64 = 1 << 20;
/// Callers at once.
const CALLERS: usize = 8;
/// Copies that the seed sends at most where callers share one fetch. Callers that fetch for themselves take a copy each. A
/// piece that a busy machine is late with may come twice.
const SHARED: f64 = 1.4;

/// A publisher's node with one model, and a node that does not have it.
struct World {
    seed: Home,
    server: Daemon,
    home: Home,
    daemon: Daemon,
    reference: String,
    bytes: u64,
}

impl World {
    fn new(bytes: u64, seed_flags: &[&str], flags: &[&str]) -> Self {
        let [seed, home] = ["seed", "node"].map(Home::new);
        seed.key("me");
        let dir = seed.path().join("model");
        model::generate(&dir, bytes, 21);
        let server = Daemon::start(&seed, seed_flags);
        let reference = seed.publish(&dir, "m", "me");
        let bootstrap = server.address();
        let daemon = Daemon::start(&home, [flags, &["--bootstrap", &bootstrap]].concat());
        let files = tree::digests(&dir);
        let size = |name: &String| std::fs::metadata(dir.join(name)).expect("a file").len();
        let bytes = files.keys().map(size).sum();
        Self { seed, server, home, daemon, reference, bytes }
    }

    /// Starts a pull into a folder of its own.
    fn pull(&self, name: &str, flags: &[&str]) -> Pulling {
        let dest = self.home.path().join(name);
        let mut command = self.home.command(["pull", &self.reference]);
        command.arg(&dest).args(flags).arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped());
        Pulling { child: command.spawn().expect("it runs"), dest, name: name.to_owned() }
    }

    /// Returns how many copies of the model the seed has sent.
    fn copies(&self) -> f64 {
        let copies = sent(&self.seed) as f64 / self.bytes as f64;
        println!("the seed sent {copies:.2} copies");
        copies
    }

    fn assert_pulled(&self, pulling: Pulling) {
        let dest = pulling.end(&self.home);
        tree::assert_equal(&self.seed.path().join("model"), &dest);
    }
}

fn sent(home: &Home) -> u64 {
    home.json(["status"])["bytes_served"].as_u64().expect("a number")
}

fn fetched(home: &Home) -> u64 {
    home.json(["status"])["bytes_fetched"].as_u64().expect("a number")
}

struct Pulling {
    child: Child,
    dest: PathBuf,
    name: String,
}

impl Pulling {
    fn ran(self, home: &Home) -> Ran {
        home.ended(self.child.wait_with_output().expect("it ends"))
    }

    /// Waits until the pull has ended well. Returns its folder.
    fn end(mut self, home: &Home) -> PathBuf {
        let ended = wait_until(&mut self.child, Instant::now() + PATIENCE);
        assert!(ended.is_some(), "{} does not end", self.name);
        let dest = self.dest.clone();
        self.ran(home).ok();
        dest
    }

    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it has ended");
    }
}

/// Starts a client of Hugging Face's that downloads the model through the node; `None` where there is no such client.
fn download(world: &World, n: usize) -> Option<(Command, PathBuf)> {
    let client = clients::python("hf", &clients::HUGGING_FACE);
    if clients::is_left_out(&client) {
        return None;
    }
    let dest = world.home.path().join(format!("hf{n}"));
    let mut command = Command::new(client.expect("the client is installed").program("hf"));
    command
        .env("HF_ENDPOINT", http::base(&world.daemon))
        .env("HF_HOME", world.home.path().join(format!("hf-home{n}")))
        .env("HF_HUB_DISABLE_XET", "1")
        .env("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        .env_remove("HF_TOKEN")
        .args(["download", &world.repository(), "--local-dir"])
        .arg(&dest)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Some((command, dest))
}

impl World {
    /// The name that Hugging Face's clients use.
    fn repository(&self) -> String {
        self.reference.split(':').next().expect("a name").to_owned()
    }
}

/// Compares what a client has fetched with the model, without the client's own notes.
fn assert_downloaded(model: &Path, fetched: &Path) {
    let expected = tree::digests(model);
    let mut found = tree::digests(fetched);
    found.retain(|name, _| !name.starts_with(".cache/"));
    assert_eq!(expected, found, "{}", fetched.display());
}

#[test]
fn eight_pulls_of_one_model_take_one_copy() {
    let world = World::new(48 * MIB, &[], &[]);
    let pulls: Vec<Pulling> = (0..CALLERS).map(|n| world.pull(&format!("out{n}"), &[])).collect();
    for pull in pulls {
        world.assert_pulled(pull);
    }
    let copies = world.copies();
    assert!(copies <= SHARED, "the seed sent {copies:.2} copies");
    drop(world.server);
    drop(world.daemon);
}

#[test]
fn eight_pulls_and_eight_downloads_of_a_hugging_face_client_take_one_copy() {
    let world = World::new(48 * MIB, &[], &[]);
    let mut clients = Vec::new();
    for n in 0..CALLERS {
        let Some((mut command, dest)) = download(&world, n) else { return };
        clients.push((command.spawn().expect("it runs"), dest));
    }
    let pulls: Vec<Pulling> = (0..CALLERS).map(|n| world.pull(&format!("out{n}"), &[])).collect();
    for pull in pulls {
        world.assert_pulled(pull);
    }
    for (client, dest) in clients {
        let output = client.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_downloaded(&world.seed.path().join("model"), &dest);
    }
    let copies = world.copies();
    assert!(copies <= SHARED, "the seed sent {copies:.2} copies");
}

/// Waits until this many bytes have come.
fn await_bytes(home: &Home, bytes: u64) {
    await_count(bytes, || fetched(home));
}

/// Waits until the count of bytes is so high.
fn await_count(bytes: u64, count: impl Fn() -> u64) {
    let start = Instant::now();
    while count() < bytes {
        assert!(start.elapsed() < PATIENCE, "{bytes} bytes do not come");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_others_go_on_when_the_caller_that_began_is_killed() {
    let world = World::new(24 * MIB, &["--limit-up", "4MB/s", "--limit-local"], &[]);
    let first = world.pull("first", &[]);
    await_bytes(&world.home, MIB);
    let second = world.pull("second", &[]);
    let third = world.pull("third", &[]);
    await_bytes(&world.home, 12 * MIB);
    first.kill();
    third.kill();
    world.assert_pulled(second);
    let copies = world.copies();
    assert!(copies <= SHARED, "the seed sent {copies:.2} copies");
    // What the killed ones wanted is in the store now.
    world.assert_pulled(world.pull("first", &[]));
    assert!(world.copies() < copies + 0.5, "nothing is sent again");
}

#[test]
fn a_pull_without_a_limit_does_not_wait_for_one_with_a_limit() {
    let world = World::new(16 * MIB, &[], &["--limit-local"]);
    // By its own limit it takes four minutes: longer than a pull is waited for below.
    let slow = world.pull("slow", &["--limit-down", "64kB/s"]);
    await_bytes(&world.home, 64 << 10);
    let quick = world.pull("quick", &["--copy"]);
    world.assert_pulled(quick);
    world.assert_pulled(slow);
    let copies = world.copies();
    assert!(copies <= SHARED, "the seed sent {copies:.2} copies");
}

#[test]
fn different_parts_and_versions_share_what_they_have_in_common() {
    let world = World::new(16 * MIB, &["--limit-up", "8MB/s", "--limit-local"], &[]);
    let dir = world.seed.path().join("model");
    // Another version has the same weights and another card.
    std::fs::write(dir.join("README.md"), "another card\n").expect("a file");
    let other = world.seed.publish(&dir, "m:v2", "me");
    let weights = world.pull("weights", &["--include", "*.safetensors"]);
    let whole = world.pull("whole", &[]);
    let dest = world.home.path().join("other");
    let mut command = world.home.command(["pull", &other]);
    command.arg(&dest).arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped());
    let other = Pulling { child: command.spawn().expect("it runs"), dest, name: "other".to_owned() };
    let publishing = {
        // The same bytes come from the user's own disk meanwhile.
        world.home.key("mine");
        let mut command = world.home.command(["publish"]);
        command.arg(&dir).args(["copy", "--key", "mine", "--json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let dest = dir.clone();
        Pulling { child: command.spawn().expect("it runs"), dest, name: "publishing".to_owned() }
    };
    world.home.run(["gc"]).ok();
    let part = weights.end(&world.home);
    let name = "model.safetensors";
    assert_eq!(tree::digests(&part).get(name), tree::digests(&dir).get(name));
    tree::assert_equal(&dir, &other.end(&world.home));
    let whole = whole.end(&world.home);
    assert_eq!(tree::digests(&whole).get(name), tree::digests(&dir).get(name));
    publishing.end(&world.home);
    let copies = world.copies();
    assert!(copies <= SHARED, "the seed sent {copies:.2} copies");
    world.home.run(["verify"]).ok();
}

#[test]
fn two_commands_without_a_daemon_do_not_use_one_store_at_once() {
    let [seed, home] = ["seed", "home"].map(Home::new);
    seed.key("me");
    let dir = seed.path().join("model");
    model::generate(&dir, 8 * MIB, 22);
    let server = Daemon::start(&seed, ["--limit-up", "1MB/s", "--limit-local"]);
    let reference = seed.publish(&dir, "m", "me");
    let from = server.address();
    let begin = |name: &str| {
        let dest = home.path().join(name);
        let mut command = home.command(["pull", &reference]);
        command.arg(&dest).args(["--from", &from, "--no-mdns", "--json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Pulling { child: command.spawn().expect("it runs"), dest, name: name.to_owned() }
    };
    let first = begin("first");
    await_count(1, || sent(&seed));
    // The first one takes longer than the second one waits.
    seed.run(["pause"]).ok();
    let second = begin("second").ran(&home);
    second.failed(75, "uses this store");
    seed.run(["resume"]).ok();
    tree::assert_equal(&dir, &first.end(&home));
    tree::assert_equal(&dir, &begin("second").end(&home));
    let copies = sent(&seed) as f64 / (8 * MIB) as f64;
    assert!(copies <= SHARED, "the seed sent {copies:.2} copies");
}

/// Each pull places whole files only, whatever the others do in the same folder: in a directory and in a cache of Hugging
/// Face's clients.
#[test]
fn pulls_into_one_folder_do_not_disturb_each_other() {
    let [seed, home] = ["seed", "node"].map(Home::new);
    seed.key("me");
    let dir = seed.path().join("model");
    model::generate(&dir, 3 * MIB, 22);
    for n in 0..60 {
        std::fs::write(dir.join(format!("n{n}.json")), format!("{{\"n\":{n}}}")).expect("written");
    }
    let server = Daemon::start(&seed, ["--dht", "off"]);
    let reference = seed.publish(&dir, "m", "me");
    let daemon = Daemon::start(&home, ["--dht", "off", "--bootstrap", &server.address()]);
    home.pull(&reference, &[], &[]).ok();
    let (out, cache) = (home.path().join("together"), home.path().join("hub"));
    let out_text = out.to_string_lossy().into_owned();
    for flags in [vec![&out_text[..]], vec![&out_text, "--copy"], vec!["--to-hf-cache=org/name"]] {
        let pulls: Vec<Pulling> = (0..CALLERS)
            .map(|n| {
                let mut command = home.command(["pull", &reference, "--offline", "--overwrite", "--json"]);
                command.args(&flags).env("HF_HOME", &cache).stdout(Stdio::piped()).stderr(Stdio::piped());
                let child = command.spawn().expect("it runs");
                Pulling { child, dest: out.clone(), name: format!("{n} with {flags:?}") }
            })
            .collect();
        pulls.into_iter().for_each(|pull| drop(pull.end(&home)));
        tree::assert_equal(&dir, &out);
    }
    drop(daemon);
}

#[test]
fn a_model_that_is_removed_while_it_is_pulled_is_pulled_and_then_can_be_removed() {
    let world = World::new(24 * MIB, &["--limit-up", "4 MB/s", "--limit-local"], &[]);
    let pulls = ["one", "two"].map(|name| world.pull(name, &[]));
    await_bytes(&world.home, 4 * MIB);
    // It is removed before the pulls have ended, however long the command takes.
    world.seed.run(["pause"]).ok();
    world.home.run(["rm", &world.reference]).ok();
    world.seed.run(["resume"]).ok();
    pulls.into_iter().for_each(|it| world.assert_pulled(it));
    assert!(world.copies() <= SHARED, "what was fetched is not fetched again");
    assert_eq!(world.home.json(["ls"])[0]["complete"], true);
    world.home.run(["verify"]).ok();
    world.home.run(["rm", &world.reference]).ok();
    let status = world.home.json(["status"]);
    assert_eq!((&status["models"], &status["blobs"]), (&0.into(), &0.into()), "{status}");
}
