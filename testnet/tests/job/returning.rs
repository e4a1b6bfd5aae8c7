//! Tests that a pull goes on by itself after its only source has gone and come back, or was stopped, or it was stopped itself.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use reg_testnet::process::{Daemon, Home, is_full, signal, wait_until};
use reg_testnet::{model, tree};
use rustix::process::Signal;

const MIB: u64 = 1 << 20;
/// Longest time until a pull must have ended, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// A seed that needs eight seconds for a model of 8 MiB.
const SLOW: [&str; 3] = ["--limit-up", "1 MB/s", "--limit-local"];

/// A publisher with a model, and a seed that can be ended and started again at the same address.
struct World {
    publisher: Home,
    seed: Option<Daemon>,
    reference: String,
}

impl World {
    fn new() -> Self {
        let publisher = Home::new("publisher");
        model::generate(&publisher.path().join("model"), 8 * MIB, 91);
        publisher.key("me");
        let seed = Daemon::start(&publisher, SLOW);
        let reference = publisher.publish(&publisher.path().join("model"), "m", "me");
        Self { publisher, seed: Some(seed), reference }
    }

    fn seed(&self) -> &Daemon {
        self.seed.as_ref().expect("it runs")
    }

    /// Kills the seed, and starts it again at the same address after `pause`. It is quick from then on.
    fn kill_for(&mut self, pause: Duration) {
        let seed = self.seed.take().expect("it runs");
        let address = seed.address();
        let listen = address.split("/p2p/").next().expect("an address").to_owned();
        seed.kill();
        std::thread::sleep(pause);
        self.seed = Some(Daemon::start_at(&self.publisher, &[&listen], ["--no-mdns"]));
    }

    /// Begins a pull without a daemon, and waits until pieces have come.
    fn begin(&self, home: &Home, flags: &[&str]) -> Child {
        let out = home.path().join("out");
        let mut pull = home.command(["pull", &self.reference]);
        pull.arg(&out).args(["--from", &self.seed().address(), "--no-mdns", "--dht", "off"]).args(flags);
        let said = std::fs::File::create(home.path().join("said")).expect("a file");
        let child = pull.stdout(Stdio::null()).stderr(said).spawn().expect("reg runs");
        let start = Instant::now();
        while self.served() < MIB {
            assert!(start.elapsed() < PATIENCE, "nothing comes: {}", said_by(home));
            std::thread::sleep(Duration::from_millis(50));
        }
        child
    }

    fn served(&self) -> u64 {
        self.publisher.json(["status"])["bytes_served"].as_u64().expect("a number")
    }

    /// Waits until the pull ends with 0 and the files are equal.
    fn ends_well(&self, home: &Home, mut pull: Child) {
        let ended = wait_until(&mut pull, Instant::now() + PATIENCE);
        assert!(ended.is_some_and(|it| it.success()), "{ended:?}: {}", said_by(home));
        tree::assert_equal(&self.publisher.path().join("model"), &home.path().join("out"));
    }
}

fn said_by(home: &Home) -> String {
    std::fs::read_to_string(home.path().join("said")).unwrap_or_default()
}

fn comes_back_after(pause: Duration) {
    let (mut world, home) = (World::new(), Home::new("puller"));
    let pull = world.begin(&home, &[]);
    world.kill_for(pause);
    world.ends_well(&home, pull);
    if pause >= Duration::from_secs(8) {
        let said = said_by(&home);
        assert!(said.contains("waits for") && said.contains("to come back"), "{said}");
    }
}

#[test]
fn the_only_source_comes_back_at_once() {
    comes_back_after(Duration::from_millis(300));
}

#[test]
fn the_only_source_comes_back_after_8_seconds() {
    comes_back_after(Duration::from_secs(8));
}

#[test]
fn the_only_source_comes_back_after_30_seconds() {
    comes_back_after(Duration::from_secs(30));
}

#[test]
fn a_pull_ends_when_the_user_s_patience_does() {
    let (mut world, home) = (World::new(), Home::new("puller"));
    // A busy machine sends nothing for some seconds.
    let mut pull = world.begin(&home, &["--timeout", "8"]);
    world.seed.take().expect("it runs").kill();
    let ended = wait_until(&mut pull, Instant::now() + PATIENCE);
    assert_eq!(ended.and_then(|it| it.code()), Some(5), "{}", said_by(&home));
    assert!(said_by(&home).contains("no source has sent anything for"), "{}", said_by(&home));
    // What was fetched is kept.
    let kept = world.reference.clone();
    world.seed = Some(Daemon::start(&world.publisher, [""; 0]));
    let out = home.path().join("out").to_string_lossy().into_owned();
    let again =
        home.json(["pull", &kept, &out, "--from", &world.seed().address(), "--no-mdns", "--dht", "off"]);
    assert!(again["bytes_fetched"].as_u64().is_some_and(|it| it < 8 * MIB), "{again}");
}

/// The times are those of the issue in the long run only: no test suite should sleep for two minutes.
fn long() -> Duration {
    Duration::from_secs(if is_full() { 65 } else { 22 })
}

#[test]
fn a_source_that_was_stopped_goes_on() {
    let (world, home) = (World::new(), Home::new("puller"));
    let pull = world.begin(&home, &[]);
    signal(world.seed().pid(), Signal::STOP);
    std::thread::sleep(long());
    signal(world.seed().pid(), Signal::CONT);
    world.ends_well(&home, pull);
}

#[test]
fn a_puller_that_was_stopped_goes_on() {
    let (world, home) = (World::new(), Home::new("puller"));
    let pull = world.begin(&home, &[]);
    signal(pull.id(), Signal::STOP);
    std::thread::sleep(long());
    signal(pull.id(), Signal::CONT);
    world.ends_well(&home, pull);
}
