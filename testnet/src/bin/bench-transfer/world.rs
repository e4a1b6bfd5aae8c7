//! Sets up the benchmark: two models, two serving nodes, and the servers of the contenders.
//!
//! The model of one large file is transferred. The model of four files is hashed and published.

use std::fs;
use std::path::PathBuf;

use reg_proto::digest::Digest;
use reg_proto::states::Hashed;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home};

use super::contenders::{self, Contender};
use super::first::First;
use super::floor::Floor;
use super::hashing::hash;

/// Number of shards of the model that is hashed and published. Large models are sharded too.
const SHARDS: usize = 4;

pub(crate) struct World {
    pub(crate) scratch: tempfile::TempDir,
    /// The sharded model: four files of half the size, which are hashed and published.
    pub(crate) sharded: PathBuf,
    pub(crate) reference: String,
    pub(crate) servers: Vec<Daemon>,
    _homes: Vec<Home>,
    /// The home in which the sharded model is published; `None` before that.
    pub(crate) published: Option<Home>,
    hashed: Vec<(PathBuf, Hashed)>,
    pub(crate) floor: Floor,
    /// The models of the table of names; `None` before that.
    pub(crate) first: Option<First>,
    pub(crate) curl: Option<Contender>,
    pub(crate) aria2: Option<Contender>,
    pub(crate) libtorrent: Option<Contender>,
    pub(crate) sendme: Option<Contender>,
}

impl World {
    /// Makes the models and starts the servers.
    ///
    /// Names and leaves out each contender that cannot be installed. Without `others`, starts no contender.
    pub(crate) fn new(mib: u64, others: bool) -> Self {
        let scratch = tempfile::Builder::new().prefix("reg-bench-").tempdir().expect("a temporary folder");
        let dir = scratch.path();
        // nginx may run as another user.
        fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("changed");
        println!("making models of {mib} and {} MiB", 2 * mib);
        let (model, sharded) = (dir.join("model"), dir.join("sharded"));
        model::generate(&model, mib << 20, 1);
        make_shards(&sharded, ((2 * mib) << 20) / SHARDS as u64);
        let weights = model.join("model.safetensors");
        let [a, b] = ["A", "B"].map(Home::new);
        a.key("bench");
        let daemon_a = Daemon::start(&a, [""; 0]);
        let reference = a.publish(&model, "bench", "bench");
        let daemon_b = Daemon::start(&b, ["--bootstrap", &daemon_a.address()]);
        b.run(["pull", &reference, "--cache-only", "--no-mdns"]).ok();
        type Start<'a> = &'a dyn Fn() -> Result<Contender, String>;
        let start = |name: &str, start: Start<'_>| others.then(|| named(name, start())).flatten();
        let floor = Floor::start(&weights, dir);
        let digest: Digest = model::weights_digest(&model);
        Self {
            curl: start("curl from nginx", &|| contenders::curl(&weights, dir)),
            aria2: start("aria2", &|| contenders::aria2(&weights, digest, dir)),
            libtorrent: start("libtorrent", &|| contenders::libtorrent(&weights, dir)),
            sendme: start("sendme", &|| contenders::sendme(&weights, dir)),
            sharded,
            reference,
            servers: vec![daemon_a, daemon_b],
            _homes: vec![a, b],
            published: None,
            hashed: Vec::new(),
            floor,
            first: None,
            scratch,
        }
    }

    /// Returns the files of the sharded model.
    pub(crate) fn shards(&self) -> Vec<PathBuf> {
        (1..=SHARDS).map(|number| self.sharded.join(shard_name(number))).collect()
    }

    /// Returns the same files with their digests and states. Hashes them once.
    pub(crate) fn hashed_shards(&mut self) -> &[(PathBuf, Hashed)] {
        if self.hashed.is_empty() {
            self.hashed = self.shards().into_iter().map(|path| (path.clone(), hash(&path))).collect();
        }
        &self.hashed
    }
}

fn named(name: &str, contender: Result<Contender, String>) -> Option<Contender> {
    contender.inspect_err(|why| println!("  {name} is left out: {why}")).ok()
}

fn shard_name(number: usize) -> String {
    format!("model-{number:05}-of-{SHARDS:05}.safetensors")
}

fn make_shards(dir: &std::path::Path, bytes: u64) {
    fs::create_dir_all(dir).expect("a folder");
    for number in 1..=SHARDS {
        let part = dir.with_file_name("part");
        model::generate(&part, bytes, 100 + number as u64);
        fs::rename(part.join("model.safetensors"), dir.join(shard_name(number))).expect("moved");
        fs::rename(part.join("config.json"), dir.join("config.json")).expect("moved");
        fs::remove_dir_all(part).expect("removed");
    }
}
