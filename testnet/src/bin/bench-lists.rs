//! `cargo bench-lists`: measures what lists cost where a store has many models, in CPU seconds of all processes that take part.
//!
//! A daemon publishes the models, one small file each. Then each command runs some times against it, and the benchmark prints
//! medians. The store lies in memory where the machine has `/dev/shm`, so that publishing so many does not take long.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use reg_testnet::http;
use reg_testnet::measure::{Cost, median, timed};
use reg_testnet::process::{Daemon, Home};

/// Measures the lists of a store with many models
#[derive(Parser)]
struct Args {
    /// Number of models
    #[arg(long, default_value_t = 1000)]
    models: usize,
    /// Number of further publishers with one model each, which have revoked something
    #[arg(long, default_value_t = 20)]
    revoking: usize,
    /// Number of measurements of each part
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Keep the store in this directory, or use the one that it has
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

fn main() {
    let args = Args::parse();
    let shared = Path::new("/dev/shm");
    let scratch = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
    let scratch = scratch.expect("a folder");
    let dir = args.keep.clone().unwrap_or_else(|| scratch.path().join("home"));
    let home = Home::new("lists").kept_at(dir);
    let key = home.run(["key", "show", "me"]);
    let publisher = if key.code() == 0 {
        key.json()["publisher"].as_str().map(str::to_owned)
    } else {
        Some(home.key("me"))
    };
    let publisher = publisher.expect("a publisher");
    let daemon = Daemon::start(&home, [""; 0]);
    fill(&home, &args, scratch.path());
    println!("{} models, {} rounds, medians; CPU seconds of client and daemon", args.models, args.rounds);
    measured(&args, &daemon, "reg publish, one more", || {
        publish(&home, scratch.path(), args.models);
        Vec::new()
    });
    measured(&args, &daemon, "reg ls", || vec![home.command(["ls", "--json"])]);
    measured(&args, &daemon, "reg ls, as a table", || vec![home.command(["ls"])]);
    measured(&args, &daemon, "reg ls PATTERN", || vec![home.command(["ls", "m1*"])]);
    measured(&args, &daemon, "reg status", || vec![home.command(["status"])]);
    let one = format!("{publisher}/m0");
    measured(&args, &daemon, "reg info", || vec![home.command(["info", &one])]);
    revoke(&home, &args, scratch.path());
    let name = format!("reg ls, with {} publishers that have revoked something", args.revoking);
    measured(&args, &daemon, &name, || vec![home.command(["ls", "--json"])]);
    let base = http::base(&daemon);
    for (name, path) in [
        ("GET /api/models?limit=100", "/api/models?limit=100"),
        ("GET /v1/models?limit=100", "/v1/models?limit=100"),
        ("GET /v2/_catalog?n=100", "/v2/_catalog?n=100"),
    ] {
        measured(&args, &daemon, name, || {
            assert_eq!(http::get(&format!("{base}{path}"), &[]).status, 200);
            Vec::new()
        });
    }
    let mut number = 1;
    measured(&args, &daemon, "reg rm", || {
        number += 1;
        vec![home.command(["rm", &format!("{publisher}/m{number}")])]
    });
    measured(&args, &daemon, "reg gc", || vec![home.command(["gc"])]);
    daemon.stop();
    let starts: Vec<Cost> = (0..args.rounds).map(|_| started(&home)).collect();
    print("start of a daemon, until it has told its models", &starts);
    let alone: Vec<Cost> = (0..args.rounds).map(|_| timed(&mut home.command(["ls", "--json"])).0).collect();
    print("reg ls without a daemon", &alone);
}

/// Publishes as many models as are missing.
fn fill(home: &Home, args: &Args, scratch: &Path) {
    let listed = home.json(["ls"]).as_array().map_or(0, Vec::len);
    for number in listed..args.models {
        publish(home, scratch, number);
        if number % 100 == 0 {
            println!("  {number} of {} models", args.models);
        }
    }
}

/// Publishes a model under each of some further keys, which revoke another one.
fn revoke(home: &Home, args: &Args, scratch: &Path) {
    for number in 0..args.revoking {
        let key = format!("revoking-{number}");
        if home.run(["key", "show", &key]).code() == 0 {
            continue;
        }
        home.key(&key);
        publish_by(home, scratch, &format!("r{number}"), &key);
        let manifest = format!("sha256:{number:064x}");
        home.run(["key", "revoke", &key, "--manifest", &manifest, "--yes"]).ok();
    }
}

fn publish(home: &Home, scratch: &Path, number: usize) {
    publish_by(home, scratch, &format!("m{number}"), "me");
}

fn publish_by(home: &Home, scratch: &Path, name: &str, key: &str) {
    let model = scratch.join("model");
    fs::create_dir_all(&model).expect("a folder");
    fs::write(model.join("config.json"), format!("{{\"model_type\":\"bench\",\"n\":\"{name}\"}}"))
        .expect("written");
    fs::write(model.join("README.md"), format!("---\nlicense: mit\n---\n# Model {name}\n")).expect("written");
    home.publish(&model, name, key);
}

/// Runs a part some times, and prints the median cost: that of the commands that it returns, and of the daemon meanwhile.
fn measured(args: &Args, daemon: &Daemon, name: &str, mut part: impl FnMut() -> Vec<Command>) {
    let costs: Vec<Cost> = (0..args.rounds)
        .map(|_| {
            let (start, before) = (std::time::Instant::now(), daemon.cpu_seconds());
            let mut cpu = 0.0;
            for mut command in part() {
                cpu += timed(&mut command).0.cpu;
            }
            Cost { seconds: start.elapsed().as_secs_f64(), cpu: cpu + daemon.cpu_seconds() - before }
        })
        .collect();
    print(name, &costs);
}

/// Starts a daemon, and waits until it has been idle for a while.
fn started(home: &Home) -> Cost {
    let start = std::time::Instant::now();
    let daemon = Daemon::start(home, [""; 0]);
    let seconds = start.elapsed().as_secs_f64();
    let mut cpu = daemon.cpu_seconds();
    loop {
        std::thread::sleep(std::time::Duration::from_secs(1));
        let now = daemon.cpu_seconds();
        if now - cpu < 0.05 {
            daemon.stop();
            return Cost { seconds, cpu: now };
        }
        cpu = now;
    }
}

fn print(name: &str, costs: &[Cost]) {
    let Cost { seconds, cpu, .. } = median(costs);
    println!("{name:48} {seconds:7.3} s  {cpu:7.3} CPU s");
}
