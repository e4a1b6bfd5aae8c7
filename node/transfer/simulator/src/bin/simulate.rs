//! `cargo simulate`: simulates swarms in virtual time, with the node's own scheduler.

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use reg_simulator::{Manner, Outcome, Plan, picture, run};

/// Simulates a swarm that fetches one blob from one seed, and prints its time next to the lower bound.
#[derive(Debug, Parser)]
#[command(
    name = "simulate",
    after_help = "Examples:
  cargo simulate                                      # the table of docs/performance.md, 20 seeds each
  cargo simulate --nodes 1000 --pieces 1000 --seeds 3
  cargo simulate --nodes 256 --pieces 1024 --zones 8 --svg curves.svg"
)]
struct Args {
    /// Number of nodes, with the seed; without it, all scenarios of the table run
    #[arg(long)]
    nodes: Option<u32>,
    /// Number of pieces of the blob; below 2,000 pieces, a unit is one piece
    #[arg(long, default_value_t = 1000)]
    pieces: u32,
    /// Number of neighbours of each node
    #[arg(long, default_value_t = 40)]
    degree: u32,
    /// Number of zones, with the nodes spread evenly
    #[arg(long, default_value_t = 1)]
    zones: u32,
    /// Percentage of nodes that leave during the run; half of them return
    #[arg(long, default_value_t = 0)]
    churn: u32,
    /// Percentage of nodes that send wrong bytes
    #[arg(long, default_value_t = 0)]
    liars: u32,
    /// Percentage of nodes with links of a quarter of the speed
    #[arg(long, default_value_t = 0)]
    slow: u32,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of seeds, from the first one on
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// Draw the completion curves into this file
    #[arg(long)]
    svg: Option<PathBuf>,
}

fn main() -> std::io::Result<()> {
    let args = Args::parse();
    println!("T >= (M - 1 + ceil(log2 N)) x unit/B: M units, N nodes with links of B, one seed\n");
    println!(
        "| scenario | N | M | degree | seeds | T/bound: worst | mean | all nodes' mean | copies into a zone | twice, % | first copy: copies | at | wrong | real s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut curves = Vec::new();
    match args.nodes {
        Some(nodes) => {
            let plan = |seed| Plan {
                zones: args.zones,
                churn_percent: args.churn,
                slow_percent: args.slow,
                ..Plan::new(seed, nodes, args.pieces, args.degree).with_liars(args.liars)
            };
            curves.extend(scenario("as asked", args.seed, args.seeds, plan));
        }
        None => curves = whole(args.seed, args.seeds),
    }
    if let Some(path) = args.svg {
        let named: Vec<(String, &Outcome)> = curves.iter().map(|(name, it)| (name.clone(), it)).collect();
        std::fs::write(path, picture(&named))?;
    }
    Ok(())
}

/// Runs all scenarios of docs/performance.md.
fn whole(seed: u64, seeds: u64) -> Vec<(String, Outcome)> {
    let mut curves = Vec::new();
    curves.extend(scenario("equal links", seed, seeds, |seed| Plan::new(seed, 1000, 1000, 40)));
    curves.extend(scenario("5 % churn, 10 % liars", seed, seeds, |seed| Plan {
        churn_percent: 5,
        ..Plan::new(seed, 1000, 1000, 40).with_liars(10)
    }));
    curves
        .extend(scenario("8 zones", seed, seeds, |seed| Plan { zones: 8, ..Plan::new(seed, 256, 1024, 32) }));
    curves.extend(scenario("the seed dies after 1.2 copies", seed, seeds, |seed| Plan {
        seed_dies_after: Some(1200),
        ..Plan::new(seed, 1000, 1000, 40)
    }));
    curves.extend(scenario("7 of 8 peers bad", seed, 100.max(seeds), |seed| Plan {
        bad: (0..7).map(|place| Manner::BAD[(seed as usize + place) % Manner::BAD.len()]).collect(),
        ..Plan::new(seed, 9, 1000, 8)
    }));
    curves.extend(scenario("ten thousand", seed, 1, |seed| Plan::new(seed, 10_000, 400, 40)));
    curves
}

/// Runs a plan for each seed, prints one line, and returns the worst outcome.
fn scenario(name: &str, first: u64, seeds: u64, plan: impl Fn(u64) -> Plan) -> Option<(String, Outcome)> {
    let start = Instant::now();
    let outcomes: Vec<Outcome> = (first..first + seeds).map(|seed| run(&plan(seed))).collect();
    let Plan { nodes, pieces, degree, .. } = plan(first);
    let count = outcomes.len().max(1) as f64;
    let mean = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / count;
    let most = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).fold(0.0, f64::max);
    println!(
        "| {name} | {nodes} | {pieces} | {degree} | {seeds} | {:.3} | {:.3} | {:.3} | {:.2} | {:.2} | {:.3} | {:.3} | {} | {:.1} |",
        most(Outcome::last),
        mean(Outcome::last),
        mean(Outcome::mean),
        most(Outcome::copies_into_a_zone),
        most(Outcome::wasted_percent),
        most(Outcome::copies_for_the_first),
        most(Outcome::first_copy_at),
        outcomes.iter().map(|it| it.wrong).sum::<u64>(),
        start.elapsed().as_secs_f64(),
    );
    let worst = outcomes.into_iter().max_by(|one, two| one.last().total_cmp(&two.last()))?;
    Some((name.to_owned(), worst))
}
