//! `cargo bench-lines`: a pull over bad lines against curl over the same line, in turn, and the median of several rounds.
//!
//! Needs root, iproute2, nftables, curl and /dev/net/tun. Every pull is a node of its own that knows the address of the
//! seed and nothing else, so its time has all handshakes and all of the search in it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::Parser;
use reg_testnet::chance::Chance;
use reg_testnet::line::{self, Line, Manner};
use reg_testnet::netns::{Machine, World};
use reg_testnet::nginx::Nginx;
use reg_testnet::process::{Daemon, Home};
use reg_testnet::{model, tree};

/// Longest time of one fetch.
const PATIENCE: Duration = Duration::from_secs(300);
/// When a line is cut, after the beginning of a fetch, and for how long.
const CUT: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(10)];

#[derive(Debug, Parser)]
#[command(name = "bench-lines")]
struct Args {
    /// Lines to measure, by number, as in 1,3: all without it
    #[arg(long, value_delimiter = ',')]
    lines: Vec<usize>,
    /// Rounds of each line
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Bytes of the model in MiB, if not those of the line
    #[arg(long)]
    mib: Option<u64>,
    /// The `reg` of the puller, if not the one of this workspace
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Additional flags of `reg pull`
    #[arg(long, allow_hyphen_values = true, value_delimiter = ' ')]
    flags: Vec<String>,
}

/// A line to measure, and how much goes over it.
struct Row {
    name: &'static str,
    bytes: u64,
    manner: Manner,
    is_cut: bool,
}

fn rows() -> Vec<Row> {
    let line = |ms, loss, rate: Option<u64>| Manner { delay: Duration::from_millis(ms), loss, rate };
    let row = |name, mib: u64, manner, is_cut| Row { name, bytes: mib << 20, manner, is_cut };
    vec![
        row("100 ms round trip", 12, line(50, 0, None), false),
        row("100 ms round trip, 1 % loss", 12, line(50, 1, None), false),
        row("100 ms round trip, 5 % loss", 12, line(50, 5, None), false),
        row("100 ms round trip, 20 % loss", 6, line(50, 20, None), false),
        row("8 Mbit/s, 20 ms, cut for 10 s", 12, line(10, 0, Some(8_000_000)), true),
        row("1 Mbit/s, 20 ms", 2, line(10, 0, Some(1_000_000)), false),
        row("1 Mbit/s, 100 ms, 1 % loss", 2, line(50, 1, Some(1_000_000)), false),
    ]
}

struct Bench {
    machine: Machine,
    line: Line,
    home: Home,
    seed: Daemon,
    nginx: Nginx,
    reference: String,
    _world: World,
}

impl Bench {
    fn new(row: &Row, chance: &mut Chance) -> Self {
        let mut world = World::new();
        let ends = [("seed", Ipv4Addr::new(45, 1, 0, 10)), ("puller", Ipv4Addr::new(45, 1, 0, 20))];
        let ([far, machine], line) = world.line(ends, row.manner, chance);
        let home = Home::on(&far, "seed");
        let model = home.path().join("model");
        model::generate(&model, row.bytes, 17);
        home.key("me");
        let listen = ["/ip4/45.1.0.10/tcp/4600", "/ip4/45.1.0.10/udp/4600/quic-v1"];
        let seed = Daemon::start_at(&home, &listen, ["--no-mdns", "--no-upnp"]);
        let reference = home.publish(&model, "m", "me");
        let nginx = Nginx::start_on(&far, home.path(), &model).expect("nginx");
        Self { machine, line, home, seed, nginx, reference, _world: world }
    }

    /// Runs a fetch, and cuts the line meanwhile where that is meant. Returns its seconds.
    fn time(&self, is_cut: bool, mut fetch: std::process::Command) -> f64 {
        let start = Instant::now();
        let mut child = fetch.stdout(Stdio::null()).spawn().expect("it runs");
        let status = std::thread::scope(|scope| {
            let cutting = is_cut.then(|| {
                scope.spawn(|| {
                    std::thread::sleep(CUT[0]);
                    self.line.cut(true);
                    std::thread::sleep(CUT[1]);
                    self.line.cut(false);
                })
            });
            let status = reg_testnet::process::wait_until(&mut child, Instant::now() + PATIENCE);
            let seconds = start.elapsed().as_secs_f64();
            cutting.into_iter().for_each(|it| it.join().expect("it is cut"));
            status.map(|status| (status, seconds))
        });
        let (status, seconds) = status.unwrap_or_else(|| panic!("{fetch:?}: not within {PATIENCE:?}"));
        assert!(status.success(), "{fetch:?}: {status}");
        seconds
    }

    fn curl(&self, is_cut: bool) -> f64 {
        let (to, url) = (self.home.path().join("curled"), format!("{}/model.safetensors", self.nginx.base()));
        let mut curl = self.machine.command(Path::new("curl"));
        curl.args(["--silent", "--show-error", "--fail", "--output"]).arg(&to).arg(url);
        let seconds = self.time(is_cut, curl);
        let same = fs::read(&to).ok() == fs::read(self.home.path().join("model/model.safetensors")).ok();
        assert!(same, "curl's file differs");
        seconds
    }

    fn reg(&self, is_cut: bool, args: &Args) -> f64 {
        let mut home = Home::on(&self.machine, "puller");
        home.use_binary(args.binary.as_deref());
        let out = home.path().join("out");
        let from = format!("/ip4/45.1.0.10/tcp/4600/p2p/{}", self.seed.peer_id());
        let mut pull = home.command(["pull", &self.reference]);
        pull.arg(&out).args(["--from", &from, "--no-mdns", "--dht", "off", "--quiet"]).args(&args.flags);
        pull.env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_default());
        let seconds = self.time(is_cut, pull);
        tree::assert_equal(&self.home.path().join("model"), &out);
        seconds
    }
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn main() {
    let args = Args::parse();
    if line::is_left_out("pulls over bad lines") {
        return;
    }
    let mut chance = Chance::of_this_run("lines");
    println!(
        "| line | MiB | curl s | reg s | times | all of curl | all of reg |\n|---|---|---|---|---|---|---|"
    );
    for (number, mut row) in rows().into_iter().enumerate() {
        row.bytes = args.mib.map_or(row.bytes, |mib| mib << 20);
        if !args.lines.is_empty() && !args.lines.contains(&(number + 1)) {
            continue;
        }
        let bench = Bench::new(&row, &mut chance);
        let (mut curl, mut reg) = (Vec::new(), Vec::new());
        for _round in 0..args.rounds {
            curl.push(bench.curl(row.is_cut));
            reg.push(bench.reg(row.is_cut, &args));
        }
        let (by_curl, by_reg) = (median(curl.clone()), median(reg.clone()));
        println!(
            "| {} | {} | {by_curl:.1} | {by_reg:.1} | {:.2} | {curl:.1?} | {reg:.1?} |",
            row.name,
            row.bytes >> 20,
            by_reg / by_curl
        );
    }
}
