//! `reg search`: finds models in the catalogue of this node.

use std::process::ExitCode;

use reg_api::clock;
use reg_api::counted::counted;
use reg_api::search::{FactsFrom, FoundModel, SearchReport, SearchRequest};
use reg_proto::name::{Petname, PublisherId};

use crate::args::{Global, Search};
use crate::client::Client;
use crate::error::CliError;
use crate::ids::Ids;
use crate::last_search;
use crate::output::{self, size};
use crate::table::{Column, Table};

/// Fewest characters of a model's name, of a licence, and of what a model is.
const NAME_MIN: usize = 24;
const LICENSE_MIN: usize = 8;
const WHAT_MIN: usize = 16;
/// Names of the same content that are shown with a result. `--json` has all of them.
const OTHER_NAMES_SHOWN: usize = 3;

pub async fn run(global: &Global, args: Search) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    let request = SearchRequest {
        words: args.words.join(" "),
        task: args.task,
        license: args.license,
        format: args.format,
        quant: args.quant,
        max_bytes: args.max_size,
        base: args.base,
        publisher: args.publisher,
        order: args.sort,
        known: args.known,
        offset: args.skip,
        limit: args.limit,
    };
    let is_daemon = client.is_daemon();
    let asked: Result<SearchReport, CliError> = client.post("/v1/search", &request).await;
    client.close().await;
    let report = asked?;
    if !report.results.is_empty() {
        last_search::keep(global, &report.results)?;
    }
    show(global, &report, &request, is_daemon)?;
    Ok(output::ok())
}

fn show(
    global: &Global,
    report: &SearchReport,
    request: &SearchRequest,
    is_daemon: bool,
) -> Result<(), CliError> {
    let skipped = request.offset;
    if global.json {
        return output::json(report);
    }
    if global.quiet {
        return report.results.iter().try_for_each(|it| output::line(last_search::reference(it).to_string()));
    }
    if report.results.is_empty() {
        say_none(report, skipped, is_daemon);
        return Ok(());
    }
    let mut table = Table::new([
        Column::whole(""),
        Column::named("MODEL", NAME_MIN),
        Column::whole("SIZE"),
        Column::whole("REPLICAS"),
        Column::cut("LICENCE", LICENSE_MIN).optional(2),
        Column::cut("WHAT IT IS", WHAT_MIN).optional(1),
    ]);
    let ids = Ids::of(global, report.results.iter().map(|it| it.publisher));
    report.results.iter().for_each(|it| table.row(row(it, &ids)));
    output::draw(global, &table)?;
    for found in report.results.iter().filter(|it| !it.also.is_empty()) {
        output::sentence(others(found, &ids))?;
    }
    for found in &report.results {
        let collected = found.collected.iter();
        collected
            .into_iter()
            .try_for_each(|it| output::sentence(format!("{} is collected by {it}", found.number)))?;
    }
    if let Some(page) = page(report, request) {
        output::say(page);
    }
    output::say(legend(report));
    Ok(())
}

/// Says which results a page has; `None` where it has all. `found` counts each name, and equal contents are one result.
fn page(report: &SearchReport, request: &SearchRequest) -> Option<String> {
    let (first, last) = (request.offset + 1, request.offset + report.results.len());
    match (last < report.found && report.results.len() >= request.limit, request.offset > 0) {
        (true, _) => Some(format!(
            "{first} to {last}, {} fit; the next ones: --skip {last}",
            counted(report.found, "name")
        )),
        (false, true) => Some(format!("{first} to {last}, which are the last")),
        (false, false) => None,
    }
}

/// Returns what the user can do with the results, and what their marks mean.
fn legend(report: &SearchReport) -> String {
    let mut text = "`reg pull NUMBER` fetches one, `reg info NUMBER` shows it".to_owned();
    for (mark, is_shown) in [
        ("* you know the publisher", report.results.iter().any(|it| it.is_known)),
        ("+ it is here", report.results.iter().any(|it| it.is_here)),
    ] {
        if is_shown {
            text = format!("{text}; {mark}");
        }
    }
    text
}

/// Says that nothing was found, and why that may be.
fn say_none(report: &SearchReport, skipped: usize, is_daemon: bool) {
    let SearchReport { found, entries, compared, .. } = report;
    if *found > 0 {
        output::say(format_args!(
            "{} fit, and --skip {skipped} leaves all of them out",
            counted(*found, "model")
        ));
    } else {
        output::say(format_args!("of {} in the catalogue, none fits", counted(*entries, "model")));
    }
    match compared {
        None if !is_daemon => output::say(
            "note: the catalogue is filled while `reg daemon` runs and has peers, and none runs now",
        ),
        None => {
            output::say("note: the catalogue was not compared with a peer yet; `reg peers` shows the peers")
        }
        Some(_) => {}
    }
}

fn row(found: &FoundModel, ids: &Ids) -> [String; 6] {
    let known = if found.is_known { "*" } else { "" };
    let here = if found.is_here { "+" } else { "" };
    let replicas = found.replicas.map_or_else(String::new, |it| {
        format!("{} ({})", it.count, clock::age(clock::now().saturating_sub(it.since)))
    });
    let tag = if found.tag.as_str() == "latest" { String::new() } else { format!(":{}", found.tag) };
    [
        format!("{}{known}{here}", found.number),
        format!("{}/{}{tag}", brief(found.publisher, found.petname.as_ref(), ids), found.model),
        found.bytes.map_or_else(String::new, size),
        replicas,
        found.license.clone().unwrap_or_default(),
        what_it_is(found),
    ]
}

/// Returns the petname of a publisher, or the beginning of its id. Users type the result's number instead.
pub fn brief(publisher: PublisherId, petname: Option<&Petname>, ids: &Ids) -> String {
    petname.map_or_else(|| ids.brief(&publisher), ToString::to_string)
}

fn what_it_is(found: &FoundModel) -> String {
    let said = [found.title.as_deref().or(found.summary.as_deref()), found.task.as_deref()];
    let mut parts: Vec<String> = said.into_iter().flatten().map(str::to_owned).collect();
    parts.extend(
        [&found.formats, &found.quants].into_iter().filter(|it| !it.is_empty()).map(|it| it.join(",")),
    );
    if found.facts == FactsFrom::Node {
        parts.push("(computed here)".to_owned());
    }
    parts.join(", ")
}

fn others(found: &FoundModel, ids: &Ids) -> String {
    let names = found.also.iter().take(OTHER_NAMES_SHOWN);
    let names: Vec<String> = names
        .map(|it| format!("{}/{}:{}", brief(it.publisher, it.petname.as_ref(), ids), it.model, it.tag))
        .collect();
    let more = found.also.len().saturating_sub(OTHER_NAMES_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{} is the same content as {}{more}", found.number, names.join(", "))
}
