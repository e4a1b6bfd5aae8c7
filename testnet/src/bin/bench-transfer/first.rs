//! Measures how long a name takes, from nothing but a connected peer: a whole pull of 2 MiB, and the first verified byte that
//! a gateway sends. Also measures thousands of small files. Every measurement has a fresh home.

use std::cell::RefCell;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, until};

use super::cost::{Cost, run};
use super::world::World;

/// Size of the model that is looked up by its name.
const BYTES: u64 = 2 << 20;
/// Small files of the other model.
const FILES: usize = 5000;
/// Flags of a node that asks only the peer that it is told of.
const ALONE: [&str; 4] = ["--dht", "off", "--no-gossip", "--no-mdns"];

/// The publisher of both models, and where their files lie.
pub(crate) struct First {
    _home: Home,
    daemon: Daemon,
    reference: String,
    digest: String,
    files: PathBuf,
    many: String,
    /// Homes of many small files, until the end: ext4 without a journal passes over inodes that were deleted just now, one by
    /// one, and that took longer than what is measured.
    homes: RefCell<Vec<Home>>,
}

impl First {
    fn start(scratch: &Path) -> Self {
        let home = Home::new("F");
        home.key("bench");
        let daemon = Daemon::start(&home, ["--dht", "off"]);
        let (small, files) = (scratch.join("small"), scratch.join("files"));
        model::generate(&small, BYTES, 7);
        let digest = model::weights_digest(&small).to_string();
        let reference = home.publish(&small, "small", "bench").trim_end_matches(":latest").to_owned();
        for number in 0..FILES {
            let dir = files.join(format!("part-{}", number % 50));
            fs::create_dir_all(&dir).expect("a folder");
            fs::write(dir.join(format!("{number}.json")), format!("{{\"number\":\"{number:0>1000}\"}}"))
                .expect("written");
        }
        let many = home.publish(&files, "files", "bench");
        Self { _home: home, daemon, reference, digest, files, many, homes: RefCell::default() }
    }

    /// Returns a fresh node that is connected to the publisher's.
    fn neighbour(&self) -> (Home, Daemon) {
        let home = Home::new("N");
        let daemon =
            Daemon::start(&home, ["--bootstrap", &self.daemon.address(), "--dht", "off", "--no-gossip"]);
        until("it is connected", || home.json(["peers"]).as_array().is_some_and(|it| !it.is_empty()));
        (home, daemon)
    }

    fn pull(&self, home: &Home, reference: &str, flags: &[&str]) -> Option<Cost> {
        let out = home.path().join("out");
        let mut command = home.command(["pull", reference]);
        run(command.arg(out).arg("-q").args(flags))
    }
}

fn first(world: &mut World) -> &First {
    let scratch = world.scratch.path();
    world.first.get_or_insert_with(|| First::start(scratch))
}

/// Pulls 2 MiB by a command alone, which dials the peer first.
pub(crate) fn pull_alone(world: &mut World) -> Option<Cost> {
    let first = first(world);
    let from = ["--from", &first.daemon.address()];
    first.pull(&Home::new("P"), &first.reference, &[&ALONE[..], &from].concat())
}

/// Pulls 2 MiB through a daemon that is connected to the peer.
pub(crate) fn pull_through_daemon(world: &mut World) -> Option<Cost> {
    let first = first(world);
    let (home, _daemon) = first.neighbour();
    first.pull(&home, &first.reference, &[])
}

/// Reads the first byte of a file through the Hugging Face gateway.
pub(crate) fn hf_first_byte(world: &mut World) -> Option<Cost> {
    let first = first(world);
    let (_home, daemon) = first.neighbour();
    let url = format!("{}/{}/resolve/main/model.safetensors", http::base(&daemon), first.reference);
    Some(timed(|| byte_of(&url)))
}

/// Reads the manifest of a tag and the first byte of a layer through the OCI gateway.
pub(crate) fn oci_first_byte(world: &mut World) -> Option<Cost> {
    let first = first(world);
    let (_home, daemon) = first.neighbour();
    let base = format!("{}/v2/{}", http::base(&daemon), first.reference);
    Some(timed(|| {
        byte_of(&format!("{base}/manifests/latest"));
        byte_of(&format!("{base}/blobs/{}", first.digest));
    }))
}

/// Publishes 5,000 small files.
pub(crate) fn publish_files(world: &mut World) -> Option<Cost> {
    let first = first(world);
    let home = Home::new("P");
    home.key("bench");
    let mut command = home.command(["publish"]);
    let cost = run(command.arg(&first.files).args(["files", "--key", "bench", "--offline", "-q"]));
    first.homes.borrow_mut().push(home);
    cost
}

/// Pulls 5,000 small files, and places them.
pub(crate) fn pull_files(world: &mut World) -> Option<Cost> {
    let first = first(world);
    let before = first.daemon.cpu_seconds();
    let from = ["--from", &first.daemon.address()];
    let home = Home::new("P");
    let cost = first.pull(&home, &first.many, &[&ALONE[..], &from].concat());
    first.homes.borrow_mut().push(home);
    cost.map(|it| it.with_server(before, first.daemon.cpu_seconds()))
}

/// Looks for a name that its one peer does not have.
pub(crate) fn miss(world: &mut World) -> Option<Cost> {
    let first = first(world);
    let home = Home::new("P");
    let nobody = first.reference.replace("/small", "/nothing");
    let address = first.daemon.address();
    let from = ["--from", &address];
    let mut command = home.command(["pull", &nobody, "--cache-only", "-q"]);
    Some(timed(|| drop(command.args(ALONE).args(from).output())))
}

fn timed(work: impl FnOnce()) -> Cost {
    let start = Instant::now();
    work();
    Cost { seconds: start.elapsed().as_secs_f64(), ..Cost::default() }
}

fn byte_of(url: &str) {
    let response = ureq::get(url).call().expect("the gateway answers");
    response.into_reader().read_exact(&mut [0]).expect("a byte");
}
