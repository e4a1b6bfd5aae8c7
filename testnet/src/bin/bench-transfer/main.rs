//! `cargo bench-transfer`: measures how fast a model is hashed and transferred, compared with other tools and a floor.
//!
//! The benchmark interleaves the rounds and compares medians, because machines are noisy. Each part reads from the page
//! cache. It begins when no writes are pending, with memory that was in use just before. A part that writes ends when its
//! bytes are synced to the disk.

mod contenders;
mod cost;
mod first;
mod floor;
mod hashing;
mod memory;
mod reg;
mod world;

use std::time::Instant;

use clap::Parser;
use reg_testnet::process::Daemon;

use self::cost::Cost;
use self::world::World;

/// Measures hashing, publishing and pulling beside a floor, curl with openssl, aria2, libtorrent and sendme.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cargo bench-transfer                    2 GiB moved, 4 GiB hashed and published, 3 rounds
  cargo bench-transfer --quick            the same, one round
  cargo bench-transfer --only hashing     one of: hashing, store, transfer, first
  cargo bench-transfer --only first --mib 16
  cargo bench-transfer --only transfer --part reg
  cargo bench-transfer --mib 256 --rounds 1")]
struct Args {
    /// Size of the transferred file; hashing and publishing use twice as much
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    mib: u64,
    /// Number of measurements of each part
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// One round
    #[arg(long)]
    quick: bool,
    /// Only one of the tables
    #[arg(long)]
    only: Option<Table>,
    /// Only the parts with this text in their names
    #[arg(long, value_name = "TEXT", default_value = "")]
    part: String,
}

/// A table of parts that are compared with each other.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Table {
    /// Twice the size, from the page cache
    Hashing,
    /// Twice the size, into the store and inside it
    Store,
    /// The size, over loopback, verified and written
    Transfer,
    /// 2 MiB by name, the first byte through gateways, and 5,000 small files
    First,
}

/// The name of a part, and the function that measures it once.
type Part = (&'static str, fn(&mut World) -> Option<Cost>);

impl Table {
    const ALL: [Self; 4] = [Self::Hashing, Self::Store, Self::Transfer, Self::First];

    const fn title(self) -> &'static str {
        match self {
            Self::Hashing => "hashing alone, 4 files from the page cache",
            Self::Store => "publishing and verifying 4 files",
            Self::Transfer => "one file over loopback, verified and written",
            Self::First => "a name with a connected peer, and small files",
        }
    }

    /// Returns the parts. The others are compared with the first.
    const fn parts(self) -> &'static [Part] {
        match self {
            Self::Hashing => &[
                ("openssl dgst -sha256", hashing::openssl),
                ("sha2, no states", hashing::sha2),
                ("one chain with states", hashing::one_chain),
                ("two chains in turn, one core", hashing::two_chains),
                ("two chains in turn, all cores", hashing::two_chains_on_all_cores),
                ("pieces, two in turn, one core", hashing::pieces),
                ("pieces, two in turn, all cores", hashing::pieces_on_all_cores),
            ],
            Self::Store => &[
                ("openssl dgst -sha256", hashing::openssl),
                ("copy and sync, nothing hashed", reg::copy),
                ("reg publish, one core", reg::publish_on_one_core),
                ("reg publish, all cores", reg::publish_on_all_cores),
                ("reg verify, one core", reg::verify_on_one_core),
                ("reg verify, all cores", reg::verify_on_all_cores),
            ],
            Self::Transfer => &[
                ("curl from nginx, sync, openssl", |world| world.curl.as_ref()?.measure()),
                ("the floor: plain sockets, hash, write", |world| world.floor.measure()),
                ("reg pull, one peer", reg::pull),
                ("reg pull, one peer, libp2p stream", reg::pull_over_streams),
                ("reg pull, two peers", reg::pull_from_two),
                ("aria2, 4 connections, checksum", |world| world.aria2.as_ref()?.measure()),
                ("libtorrent, TCP, tuned queues", |world| world.libtorrent.as_ref()?.measure()),
                ("sendme (iroh)", |world| world.sendme.as_ref()?.measure()),
            ],
            Self::First => &[
                ("reg pull of 2 MiB, no daemon, --from", first::pull_alone),
                ("reg pull of 2 MiB, daemon", first::pull_through_daemon),
                ("first byte, Hugging Face gateway", first::hf_first_byte),
                ("manifest and first byte, OCI gateway", first::oci_first_byte),
                ("a name that its peer does not have", first::miss),
                ("reg publish, 5,000 files", first::publish_files),
                ("reg pull, 5,000 files", first::pull_files),
            ],
        }
    }

    /// Returns the number of bytes that each part handles.
    const fn bytes(self, mib: u64) -> u64 {
        match self {
            Self::Hashing | Self::Store => (2 * mib) << 20,
            Self::Transfer => mib << 20,
            // The parts handle different amounts.
            Self::First => 0,
        }
    }
}

fn main() {
    if floor::run_as_told().is_some() {
        return;
    }
    let args = Args::parse();
    let rounds = if args.quick { 1 } else { args.rounds };
    let start = Instant::now();
    let others = args.only.is_none_or(|only| only == Table::Transfer);
    let mut world = World::new(args.mib, others);
    let tables = Table::ALL.into_iter().filter(|table| args.only.is_none_or(|only| only == *table));
    for table in tables {
        let costs = measure(&mut world, table, (args.mib, rounds), &args.part);
        report(table, args.mib, rounds, &costs);
    }
    let servers: Vec<u64> = world.servers.iter().map(|server| server.peak_rss() >> 20).collect();
    println!("peak memory of the two nodes that served: {servers:?} MiB");
    for (number, server) in world.servers.iter().enumerate() {
        println!("node {} used {:.1} CPU s in all", number + 1, Daemon::cpu_seconds(server));
    }
    println!("the benchmark took {:.0} s", start.elapsed().as_secs_f64());
}

fn measure(world: &mut World, table: Table, (mib, rounds): (u64, usize), named: &str) -> Vec<Vec<Cost>> {
    println!("\n{}", table.title());
    let mut costs = vec![Vec::new(); table.parts().len()];
    for round in 1..=rounds {
        let parts = table.parts().iter().zip(&mut costs).filter(|((name, _), _)| name.contains(named));
        for ((name, part), costs) in parts {
            memory::warm(world.scratch.path(), mib);
            // Sync first, so that pending writes of the previous part do not slow this one.
            rustix::fs::sync();
            let cost = part(world);
            match cost {
                Some(Cost { seconds, cpu, .. }) => {
                    println!("  round {round} {name}: {seconds:.2} s, {cpu:.2} CPU s");
                }
                None => println!("  round {round} {name}: not measured"),
            }
            costs.extend(cost);
        }
    }
    costs
}

fn report(table: Table, mib: u64, rounds: usize, costs: &[Vec<Cost>]) {
    if table == Table::First {
        return report_seconds(table, rounds, costs);
    }
    let gigabytes = table.bytes(mib) as f64 / 1e9;
    let medians: Vec<Option<Cost>> = costs.iter().map(|costs| Cost::median(costs)).collect();
    let first = medians.first().copied().flatten();
    let floor = (table == Table::Transfer).then(|| medians.get(1).copied().flatten()).flatten();
    println!("\n{}: {} MiB, medians of {rounds}", table.title(), table.bytes(mib) >> 20);
    println!("| | s | CPU s | GB/s | GB/CPU s | peak MiB | x {} | x floor |", table.parts()[0].0);
    println!("|---|---|---|---|---|---|---|---|");
    for ((name, _), median) in table.parts().iter().zip(&medians) {
        let Some(Cost { seconds, cpu, memory }) = *median else {
            println!("| {name} | not measured | | | | | | |");
            continue;
        };
        let against =
            |other: Option<Cost>| other.map_or(String::new(), |it| format!("{:.2}", it.seconds / seconds));
        let memory = if memory == 0 { String::new() } else { format!("{}", memory >> 20) };
        println!(
            "| {name} | {seconds:.2} | {cpu:.2} | {:.2} | {:.2} | {memory} | {} | {} |",
            gigabytes / seconds,
            gigabytes / cpu.max(0.01),
            against(first),
            against(floor)
        );
    }
}

/// Prints the seconds of parts that have nothing else in common.
fn report_seconds(table: Table, rounds: usize, costs: &[Vec<Cost>]) {
    println!("\n{}: medians of {rounds}", table.title());
    println!("| | s | fastest | slowest | CPU s |");
    println!("|---|---|---|---|---|");
    for ((name, _), costs) in table.parts().iter().zip(costs) {
        let Some(Cost { seconds, cpu, .. }) = Cost::median(costs) else {
            println!("| {name} | not measured | | | |");
            continue;
        };
        let all = costs.iter().map(|it| it.seconds);
        let (fastest, slowest) = (all.clone().fold(f64::INFINITY, f64::min), all.fold(0.0, f64::max));
        println!("| {name} | {seconds:.3} | {fastest:.3} | {slowest:.3} | {cpu:.2} |");
    }
}
