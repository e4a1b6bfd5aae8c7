//! `reg health`: shows how many replicas of models are proven at other nodes.

use std::process::ExitCode;

use reg_api::clock;
use reg_api::health::{HealthReport, HolderFailure, HolderHealth, ModelHealth};
use reg_node::registry::local::shown;

use super::search::brief;
use super::swarm;
use crate::args::{Global, Health};
use crate::client::Client;
use crate::error::CliError;
use crate::ids::Ids;
use crate::output::{self, size};
use crate::table::{Column, Table};

/// Fewest characters of the names and tags in a table.
const NAME_MIN: usize = 20;
const TAGS_MIN: usize = 10;
/// Fewest characters of a zone.
const ZONE_MIN: usize = 14;

pub async fn run(global: &Global, args: Health) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    let query: Vec<(&str, String)> =
        args.reference.iter().map(|reference| ("reference", reference.to_string())).collect();
    let health: HealthReport = client.get("/v1/health", &query).await?;
    client.close().await;
    if global.json {
        output::json(&health)?;
        return Ok(output::ok());
    }
    let mut models: Vec<&ModelHealth> = health.models.iter().collect();
    models.sort_by_key(|it| (!it.endangered, it.replicas, it.publisher, it.model.folded()));
    if global.quiet {
        models.iter().try_for_each(|it| output::sentence(format!("{} {}", it.replicas, it.manifest)))?;
        return Ok(output::ok());
    }
    match (args.reference.is_some(), models.as_slice()) {
        (true, [model]) => one(global, model, &health)?,
        _ => all(global, &models, &health)?,
    }
    if let Some(copies) = &health.swarm {
        output::say(format_args!("in the private swarm: {}", swarm::in_figures(copies)));
    }
    if !health.auditing {
        output::say(format_args!(
            "note: nothing is audited now: a daemon with a network does, unless health.audit is 0"
        ));
    }
    Ok(output::ok())
}

fn all(global: &Global, models: &[&ModelHealth], health: &HealthReport) -> Result<(), CliError> {
    let mut table = Table::new([
        Column::named("MODEL", NAME_MIN),
        Column::cut("TAGS", TAGS_MIN),
        Column::whole("REPLICAS"),
        Column::whole("HOLDERS"),
        Column::whole("AGE"),
        Column::whole(""),
    ]);
    let ids = Ids::of(global, models.iter().map(|it| it.publisher));
    models.iter().for_each(|model| table.row(row(model, health.target, &ids)));
    output::draw(global, &table)?;
    output::say(format_args!(
        "audits have fetched {} in the last hour, of at most {}",
        size(health.audited.last_hour),
        size(health.budget_per_hour)
    ));
    Ok(())
}

fn row(model: &ModelHealth, target: u32, ids: &Ids) -> [String; 6] {
    [
        name(model, ids),
        tags(model),
        shown_replicas(model, target),
        model.claimed.to_string(),
        model.oldest_proof.map_or_else(|| "-".to_owned(), age),
        mark(model).to_owned(),
    ]
}

fn one(global: &Global, model: &ModelHealth, health: &HealthReport) -> Result<(), CliError> {
    let proof = match (model.oldest_proof, model.newest_proof) {
        (Some(oldest), Some(newest)) => {
            format!("oldest piece {} ago, newest {} ago", age(oldest), age(newest))
        }
        _ => "none yet".to_owned(),
    };
    let rows = [
        ("model", format!("{}/{}", shown(model.publisher, model.petname.as_ref()), model.model)),
        ("tags", tags(model)),
        ("manifest", Ids::alone(global).short(&model.manifest)),
        ("replicas", format!("{} proven at other nodes, {} wanted", model.replicas, health.target)),
        ("state", state(model).to_owned()),
        ("proof", proof),
        ("zones", model.zones.iter().map(|it| zone(it)).collect::<Vec<_>>().join(", ")),
        ("holders", format!("{} say that they hold it, {} have proven it", model.claimed, model.copies)),
        (
            "asked",
            format!(
                "{} in the last hour, of at most {} for all models",
                size(model.asked_last_hour),
                size(health.budget_per_hour)
            ),
        ),
    ];
    let mut table = Table::of_facts();
    rows.iter().for_each(|(what, value)| table.fact(what, value));
    output::draw(global, &table)?;
    if !model.holders.is_empty() {
        output::line("")?;
        let mut table = Table::new([
            Column::whole("PEER"),
            Column::named("ZONE", ZONE_MIN),
            Column::whole("PIECES"),
            Column::whole("LAST"),
            Column::whole(""),
        ]);
        let ids = Ids::of(global, model.holders.iter().map(|it| it.peer));
        model.holders.iter().for_each(|it| table.row(holder(it, health.passes_needed, &ids)));
        output::draw(global, &table)?;
    }
    Ok(())
}

fn holder(holder: &HolderHealth, needed: u32, ids: &Ids) -> [String; 5] {
    let state = match (holder.proven, holder.failed) {
        (true, _) => "proven",
        (false, Some(HolderFailure::NotGiven)) => "has not given a piece",
        (false, Some(HolderFailure::Wrong)) => "has sent wrong bytes",
        (false, None) => "",
    };
    [
        ids.short(&holder.peer),
        zone(&holder.zone),
        format!("{} of {needed}", holder.passes),
        holder.newest_pass.map_or_else(|| "-".to_owned(), age),
        state.to_owned(),
    ]
}

/// Writes a zone as people know it: a network with its prefix, or the user's own name.
fn zone(zone: &str) -> String {
    let (kind, rest) = zone.split_once(':').unwrap_or(("", zone));
    let groups = |chars: usize| {
        let part = |at: usize| u16::from_str_radix(rest.get(at..at + chars)?, 16).ok();
        (0..rest.len()).step_by(chars).map(part).collect::<Option<Vec<u16>>>()
    };
    match (kind, groups(2).as_deref(), groups(4).as_deref()) {
        ("v4", Some([a, b, c]), _) => format!("{a}.{b}.{c}.0/24"),
        ("v6", _, Some([a, b, c])) => format!("{a:x}:{b:x}:{c:x}::/48"),
        _ => rest.to_owned(),
    }
}

/// Returns the number of replicas beside the wanted one.
pub(super) fn shown_replicas(model: &ModelHealth, target: u32) -> String {
    format!("{} of {target}", model.replicas)
}

const fn mark(model: &ModelHealth) -> &'static str {
    match (model.endangered, model.audited) {
        (true, _) => "endangered",
        (false, true) => "",
        (false, false) => "not audited",
    }
}

const fn state(model: &ModelHealth) -> &'static str {
    match (model.endangered, model.audited) {
        (true, _) => "endangered: it has had fewer for hours",
        (false, true) => "audited",
        (false, false) => "not audited",
    }
}

/// Names the publisher by its petname, or by the first characters of its id.
fn name(model: &ModelHealth, ids: &Ids) -> String {
    format!("{}/{}", brief(model.publisher, model.petname.as_ref(), ids), model.model)
}

fn tags(model: &ModelHealth) -> String {
    let tags: Vec<&str> = model.tags.iter().map(|tag| tag.as_str()).collect();
    tags.join(",")
}

fn age(at: u64) -> String {
    clock::age(clock::now().saturating_sub(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_shown_as_networks() {
        for (text, shown) in [
            ("v4:c00002", "192.0.2.0/24"),
            ("v6:20010db80001", "2001:db8:1::/48"),
            ("name:rack-1", "rack-1"),
            ("unplaced", "unplaced"),
            ("v4:xx", "xx"),
            ("", ""),
        ] {
            assert_eq!(zone(text), shown, "{text}");
        }
    }
}
