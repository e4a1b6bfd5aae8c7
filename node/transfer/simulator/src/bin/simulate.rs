//! `cargo simulate`: simulates swarms in virtual time, with the node's own scheduler.

use std::path::PathBuf;
use std::time::Instant;

use clap::{Parser, Subcommand};
use reg_simulator::year::{self, Policy, Summary};
use reg_simulator::{Manner, Outcome, Plan, picture, run};

/// Simulates a swarm that fetches one blob from one seed, and prints its time next to the lower bound.
#[derive(Debug, Parser)]
#[command(
    name = "simulate",
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  cargo simulate                                      # the table of docs/performance.md, 20 seeds each
  cargo simulate --nodes 1000 --pieces 1000 --seeds 3
  cargo simulate --nodes 256 --pieces 1024 --zones 8 --svg curves.svg
  cargo simulate year --svg year.svg                  # the year of docs/reliability.md, 20 seeds"
)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
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

#[derive(Debug, Subcommand)]
enum Command {
    Year(YearArgs),
}

/// Simulates a year of a network without a hub, and prints which share of its models lives on, for each policy of donors
#[derive(Debug, Parser)]
struct YearArgs {
    /// Number of nodes
    #[arg(long)]
    nodes: Option<u16>,
    /// Number of models
    #[arg(long)]
    models: Option<u16>,
    /// Days after the hub is gone
    #[arg(long)]
    days: Option<u32>,
    /// Models that each user pulls in a week
    #[arg(long)]
    pulls_per_week: Option<f64>,
    /// Median of the sizes of caches in GB
    #[arg(long)]
    cache: Option<u64>,
    /// Pieces that a donor audits in an hour
    #[arg(long)]
    audits: Option<u32>,
    /// What donors do: `none`, `random`, `popular first` or `scarcest first`; without it, each of them in turn
    #[arg(long, value_parser = policy)]
    policy: Option<Policy>,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of seeds, from the first one on
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// Draw the shares of living models into this file
    #[arg(long)]
    svg: Option<PathBuf>,
}

/// Reads the name of a policy, as in the table.
fn policy(name: &str) -> Result<Policy, String> {
    let named = Policy::ALL.into_iter().find(|it| it.name() == name);
    named.ok_or_else(|| format!("the policies are {}", Policy::ALL.map(Policy::name).join(", ")))
}

impl YearArgs {
    fn plan(&self, seed: u64, policy: Policy) -> year::Plan {
        let usual = year::Plan::new(seed, policy);
        year::Plan {
            nodes: self.nodes.unwrap_or(usual.nodes),
            models: self.models.unwrap_or(usual.models),
            days: self.days.unwrap_or(usual.days),
            pulls_per_week: self.pulls_per_week.unwrap_or(usual.pulls_per_week),
            cache_median: self.cache.map_or(usual.cache_median, |gb| gb * 1_000_000_000),
            audits_per_hour: self.audits.unwrap_or(usual.audits_per_hour),
            ..usual
        }
    }
}

fn main() -> std::io::Result<()> {
    let args = Args::parse();
    if let Some(Command::Year(args)) = args.command {
        return whole_year(&args);
    }
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

/// Runs each policy for each seed, and prints a table.
fn whole_year(args: &YearArgs) -> std::io::Result<()> {
    println!("{:?}\n", args.plan(args.seed, Policy::ScarcestFirst));
    println!("random seeds {} to {}\n", args.seed, args.seed + args.seeds - 1);
    println!(
        "| donors | alive: mean | worst | best | online, mean of days | 1 to 3 copies | pulls failed, % | pulled, TB | donated, TB | given back, TB | audited, TB | real s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut curves = Vec::new();
    for policy in Policy::ALL.into_iter().filter(|it| args.policy.is_none_or(|only| only == *it)) {
        let start = Instant::now();
        let outcomes = years(args, policy);
        let Some(it) = Summary::of(&outcomes) else { continue };
        let tb = |bytes: f64| bytes / 1e12;
        println!(
            "| {} | {:.4} | {:.4} | {:.4} | {:.3} | {:.3} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
            policy.name(),
            it.alive_mean,
            it.alive_worst,
            it.alive_best,
            it.online,
            it.scarce,
            100.0 * it.failed,
            tb(it.pulled),
            tb(it.donated),
            tb(it.given_back),
            tb(it.audited),
            start.elapsed().as_secs_f64(),
        );
        curves.push((policy.name(), outcomes));
    }
    if let Some(path) = &args.svg {
        let curves: Vec<(&str, &[year::Outcome])> =
            curves.iter().map(|(name, it)| (*name, it.as_slice())).collect();
        std::fs::write(path, year::picture(&curves))?;
    }
    Ok(())
}

/// Runs a policy for each seed, as many at once as there are processors.
fn years(args: &YearArgs, policy: Policy) -> Vec<year::Outcome> {
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let seeds: Vec<u64> = (args.seed..args.seed + args.seeds).collect();
    let run = |seed: u64| year::run(&args.plan(seed, policy));
    seeds
        .chunks(at_once)
        .flat_map(|seeds| {
            std::thread::scope(|scope| {
                let runs: Vec<_> = seeds.iter().map(|seed| scope.spawn(move || run(*seed))).collect();
                let joined = runs.into_iter().map(|it| it.join());
                joined.map(|it| it.unwrap_or_else(|why| std::panic::resume_unwind(why))).collect::<Vec<_>>()
            })
        })
        .collect()
}
