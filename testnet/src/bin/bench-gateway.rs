//! `cargo bench-gateway`: measures how fast a gateway serves a model, compared with nginx for the same file and client.
//!
//! The benchmark interleaves the rounds and compares medians, because machines are noisy. Warm means that the gateway's node
//! holds the model. Cold means that an empty node fetches the model from a peer while it serves it. Each measurement ends
//! when the client's file is synced to the disk.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use clap::Parser;
use reg_testnet::clients::{self, Python};
use reg_testnet::http;
use reg_testnet::measure::{Cost, median, timed};
use reg_testnet::model;
use reg_testnet::nginx::{Nginx, REPOSITORY};
use reg_testnet::process::{Daemon, Home};

/// Measures curl and hf from a gateway, warm and cold, beside nginx.
#[derive(Parser)]
struct Args {
    /// Size of the model
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    mib: u64,
    /// Number of measurements of each part
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// The client that fetches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Client {
    Curl,
    Hf,
}

/// The server that it fetches from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Nginx,
    Warm,
    Cold,
}

const PARTS: [(&str, Client, From); 6] = [
    ("curl from nginx", Client::Curl, From::Nginx),
    ("curl from the gateway, warm", Client::Curl, From::Warm),
    ("curl from the gateway, cold", Client::Curl, From::Cold),
    ("hf download from nginx", Client::Hf, From::Nginx),
    ("hf download from the gateway, warm", Client::Hf, From::Warm),
    ("hf download from the gateway, cold", Client::Hf, From::Cold),
];

struct World {
    scratch: tempfile::TempDir,
    nginx: Nginx,
    python: Python,
    repository: String,
    server: Daemon,
    _home: Home,
}

fn main() {
    let args = Args::parse();
    let world = World::new(args.mib);
    println!("{} MiB, {} rounds, medians", args.mib, args.rounds);
    let idle = median(&(0..args.rounds).map(|_| world.start_of_hf()).collect::<Vec<_>>());
    let mut costs: [Vec<Cost>; PARTS.len()] = Default::default();
    for round in 0..args.rounds {
        for ((name, client, from), costs) in PARTS.into_iter().zip(&mut costs) {
            let cost = world.fetch(client, from);
            println!("  round {} {name}: {:.2} s", round + 1, cost.seconds);
            costs.push(cost);
        }
    }
    report(&args, idle, &costs.map(|costs| median(&costs)));
}

fn report(args: &Args, idle: Cost, medians: &[Cost; PARTS.len()]) {
    let gigabytes = args.mib as f64 * 1_048_576.0 / 1e9;
    println!("\n{:36} {:>8} {:>8} {:>8} {:>12}", "", "s", "CPU s", "GB/s", "of nginx's");
    for ((name, client, _), cost) in PARTS.iter().zip(medians) {
        let same =
            PARTS.iter().zip(medians).find(|((_, other, from), _)| other == client && *from == From::Nginx);
        let ratio = same.map_or(f64::NAN, |(_, nginx)| nginx.seconds / cost.seconds);
        println!(
            "{name:36} {:8.2} {:8.2} {:8.2} {ratio:12.2}",
            cost.seconds,
            cost.cpu,
            gigabytes / cost.seconds
        );
    }
    println!(
        "of each hf download, {:.2} s (CPU {:.2} s) are its own start: `hf version`",
        idle.seconds, idle.cpu
    );
}

impl World {
    fn new(mib: u64) -> Self {
        let scratch = tempfile::tempdir().expect("a temporary folder");
        let model = scratch.path().join("model");
        println!("making a model of {mib} MiB");
        model::generate(&model, mib << 20, 1);
        let home = Home::new("A");
        home.key("bench");
        let server = Daemon::start(&home, [""; 0]);
        let reference = home.publish(&model, "bench", "bench");
        let nginx = Nginx::start(scratch.path(), &model).expect("nginx");
        let python = clients::python("hf", &clients::HUGGING_FACE).expect("Hugging Face's client");
        let repository = reference.trim_end_matches(":latest").to_owned();
        Self { scratch, nginx, python, repository, server, _home: home }
    }

    fn start_of_hf(&self) -> Cost {
        timed(Command::new(self.python.program("hf")).arg("version")).0
    }

    /// Fetches the weights once. The cost includes that of the servers.
    fn fetch(&self, client: Client, from: From) -> Cost {
        let cold = (from == From::Cold).then(|| {
            let home = Home::new("B");
            let daemon = Daemon::start(&home, ["--bootstrap", &self.server.address()]);
            let start = Instant::now();
            while home.json(["status"])["peers"].as_u64() == Some(0) {
                assert!(start.elapsed().as_secs() < 30, "the peer is not met");
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            (daemon, home)
        });
        let daemon = cold.as_ref().map(|(daemon, _)| daemon);
        let (base, repository) = match (from, daemon) {
            (From::Nginx, _) => (self.nginx.base().to_owned(), REPOSITORY),
            (_, Some(daemon)) => (http::base(daemon), self.repository.as_str()),
            (_, None) => (http::base(&self.server), self.repository.as_str()),
        };
        let used = || {
            let cold = daemon.map_or(0.0, Daemon::cpu_seconds);
            if from == From::Nginx { self.nginx.cpu() } else { self.server.cpu_seconds() + cold }
        };
        let before = used();
        let (mut cost, file) = match client {
            Client::Curl => self.curl(&format!("{base}/{repository}/resolve/main/model.safetensors")),
            Client::Hf => self.hf(&base, repository),
        };
        let start = Instant::now();
        File::open(&file).and_then(|file| file.sync_all()).expect("synced");
        cost.seconds += start.elapsed().as_secs_f64();
        cost.cpu += used() - before;
        fs::remove_dir_all(self.out()).expect("removed");
        cost
    }

    fn out(&self) -> PathBuf {
        self.scratch.path().join("out")
    }

    fn curl(&self, url: &str) -> (Cost, PathBuf) {
        fs::create_dir_all(self.out()).expect("a folder");
        let file = self.out().join("curl");
        (timed(Command::new("curl").args(["-sSf", "-o"]).arg(&file).arg(url)).0, file)
    }

    fn hf(&self, base: &str, repository: &str) -> (Cost, PathBuf) {
        let mut command = Command::new(self.python.program("hf"));
        command.args(["download", repository, "model.safetensors", "--local-dir"]).arg(self.out());
        command.env("HF_ENDPOINT", base).env("HF_HOME", self.scratch.path().join("hf"));
        command.env("HF_HUB_DISABLE_XET", "1").env("HF_HUB_DISABLE_PROGRESS_BARS", "1");
        command.env("HF_HUB_DISABLE_TELEMETRY", "1").env_remove("HF_TOKEN");
        (timed(&mut command).0, self.out().join("model.safetensors"))
    }
}
