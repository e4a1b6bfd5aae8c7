//! `reg swarm`: shows the members of a private swarm, and the copies of each model.

use std::process::ExitCode;

use reg_api::clock::{self, age};
use reg_api::counted::counted;
use reg_api::printable::Printable;
use reg_api::swarm::{MemberReport, SpreadModel, SwarmReport, SwarmSummary};

use crate::args::{Global, SwarmCommand};
use crate::client::Client;
use crate::error::CliError;
use crate::ids::Ids;
use crate::output::{self, size};
use crate::table::{Column, Table};

/// Fewest characters of a zone, of a model's name, and of a line of its state.
const ZONE_MIN: usize = 10;
const NAME_MIN: usize = 20;
const STATE_MIN: usize = 24;

pub async fn run(global: &Global, command: SwarmCommand) -> Result<ExitCode, CliError> {
    let SwarmCommand::Status = command;
    let client = Client::open(global, None).await?;
    let report = client.get::<SwarmReport>("/v1/swarm/health", &[]).await;
    client.close().await;
    let report = report?;
    if global.json {
        output::json(&report)?;
        return Ok(output::ok());
    }
    if global.quiet {
        for model in report.models.iter().filter(|it| it.is_short()) {
            output::line(model.manifest.to_string())?;
        }
        return Ok(output::ok());
    }
    let SwarmReport { replicas, repair_after, zone, settled, .. } = &report;
    output::sentence(format!(
        "{} of each model; repaired {} after a node is gone; this node is in {zone}",
        counted(*replicas, "copy"),
        age(*repair_after)
    ))?;
    if !settled {
        output::sentence(
            "the members are being asked; this node does nothing until they are the same for a while",
        )?;
    }
    if let Some(drain) = &report.drain {
        let state = if drain.done { "drained: it may be switched off" } else { "being drained" };
        output::sentence(format!("this node is {state}; `reg drain --status` says more"))?;
    }
    let peers = Ids::of(global, report.members.iter().map(|it| it.peer));
    let mut members = Table::new([
        Column::whole("NODE"),
        Column::named("ZONE", ZONE_MIN),
        Column::whole("STATE"),
        Column::whole("COPIES"),
        Column::whole("ROOM"),
    ]);
    report.members.iter().for_each(|it| members.row(member(it, &peers)));
    output::draw(global, &members)?;
    let manifests = Ids::of(global, report.models.iter().map(|it| it.manifest));
    let mut models = Table::new([
        Column::named("MODEL", NAME_MIN),
        Column::whole("MANIFEST"),
        Column::whole("SIZE"),
        Column::text("", STATE_MIN),
    ]);
    report.models.iter().for_each(|it| models.row(model(it, &manifests)));
    output::draw(global, &models)?;
    Ok(output::ok())
}

/// Returns the copies of a swarm in a line.
pub(super) fn in_figures(copies: &SwarmSummary) -> String {
    let SwarmSummary { replicas, members, away, models, short, draining } = copies;
    let draining = if *draining { "; this node is drained (`reg drain --status`)" } else { "" };
    format!(
        "{} of each model; {}, {away} away; {short} of {} with too few{draining}",
        counted(*replicas, "copy"),
        counted(*members, "other node"),
        counted(*models, "model")
    )
}

fn member(it: &MemberReport, ids: &Ids) -> [String; 5] {
    let state = match it.away_since {
        Some(since) => format!("away for {}", age(clock::now().saturating_sub(since))),
        None if !it.takes_part => "keeps no copies".to_owned(),
        None if it.draining => "drained".to_owned(),
        None => "here".to_owned(),
    };
    [ids.short(&it.peer), it.zone.clone(), state, counted(it.copies, "copy"), size(it.room)]
}

fn model(it: &SpreadModel, ids: &Ids) -> [String; 4] {
    let tag = it.tag.as_ref().map_or_else(String::new, |tag| format!(":{tag}"));
    let short_of = if it.is_short() { "  TOO FEW" } else { "" };
    let mut state = format!("{}{short_of}", it.verdict);
    if !it.refuted.is_empty() {
        state += &format!("; {} that say they hold it sent no piece", it.refuted.len());
    }
    if let Some(why) = &it.refused {
        state += &format!("; not taken: {}", Printable::lines(why));
    }
    [
        format!("{}{tag}", it.model),
        ids.short(&it.manifest),
        size(it.bytes),
        format!(
            "{} of {} in {}, {} proven; {state}",
            it.copies,
            counted(it.wanted, "copy"),
            counted(it.zones, "zone"),
            it.proven.len()
        ),
    ]
}
