//! `reg drain`: waits until other nodes have taken over the models of this one.

use std::process::ExitCode;
use std::time::Duration;

use reg_api::printable::Printable;
use reg_api::swarm::{DrainReport, DrainRequest, Waiting};

use crate::args::{Drain, Global};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, short, size};

/// Time between two questions to the daemon.
const LOOK: Duration = Duration::from_secs(1);
/// Models that are named in one line.
const NAMED_MAX: usize = 3;

pub async fn run(global: &Global, args: Drain) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    let done = act(global, &client, &args).await;
    client.close().await;
    done.map(|()| output::ok())
}

async fn act(global: &Global, client: &Client, args: &Drain) -> Result<(), CliError> {
    if args.status {
        let report: DrainReport = client.get("/v1/swarm/drain", &[]).await?;
        return say(global, &report);
    }
    let request = DrainRequest { cancel: args.cancel };
    let mut report: DrainReport = client.post("/v1/swarm/drain", &request).await?;
    if args.cancel {
        return say(global, &report);
    }
    let mut told = String::new();
    while !report.done {
        if !report.draining {
            return Err(CliError::new(
                "denied",
                "the node stays in its swarm: `reg drain --cancel` was given",
            ));
        }
        let line = shown(&report);
        if line != told && !global.quiet && !global.json {
            output::say(format_args!("{}", Printable::lines(&line)));
        }
        told = line;
        tokio::time::sleep(LOOK).await;
        report = client.get("/v1/swarm/drain", &[]).await?;
    }
    say(global, &report)
}

fn say(global: &Global, report: &DrainReport) -> Result<(), CliError> {
    match (global.json, global.quiet) {
        (true, _) => output::json(report),
        (_, true) => Ok(()),
        _ => output::sentence(shown(report)),
    }
}

/// Returns how far a node is, as one line.
fn shown(report: &DrainReport) -> String {
    let DrainReport { draining, done, handed_over, waiting, .. } = report;
    if !draining {
        return "this node is not drained".to_owned();
    }
    if *done {
        return format!(
            "done: {handed_over} models of this node have enough copies elsewhere; it may be switched off"
        );
    }
    if waiting.is_empty() {
        return "the members of the swarm are asked".to_owned();
    }
    let bytes: u64 = waiting.iter().map(|it| it.bytes).sum();
    let named: Vec<String> = waiting.iter().take(NAMED_MAX).map(one).collect();
    let more = match waiting.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!(
        "{handed_over} models are handed over, {} wait ({}): {}{more}",
        waiting.len(),
        size(bytes),
        named.join(", ")
    )
}

fn one(waiting: &Waiting) -> String {
    let refused = match waiting.refused_by {
        0 => String::new(),
        nodes => format!(", refused by {nodes}: `reg swarm status` there says why"),
    };
    let Waiting { model, manifest, others, wanted, .. } = waiting;
    format!("{model} {} ({others} of {wanted} copies{refused})", short(manifest))
}
