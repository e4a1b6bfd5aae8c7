//! `reg info` of a model that is not in the store: shows what is proven of it, what a pull would fetch, and the line to pull it.

use reg_api::check::CheckResult;
use reg_api::counted::counted;
use reg_api::looked::Looked;
use reg_api::report::Planned;
use reg_api::request::PullRequest;
use serde_json::json;

use crate::agree;
use crate::args::{Global, Info};
use crate::client::Client;
use crate::command::{facts, lineage};
use crate::error::CliError;
use crate::ids::Ids;
use crate::output::{self, size};
use crate::table::{Column, Table};
use crate::ticketed::ModelSource;

/// Fewest characters of a path.
const PATH_MIN: usize = 20;

/// Asks peers for the model, by the daemon or by a node of this command.
pub async fn run(global: &Global, client: Client, args: &Info, what: &ModelSource) -> Result<(), CliError> {
    let client = if client.is_daemon() {
        client
    } else {
        // The node of this command has no network yet.
        client.close().await;
        Client::open_with(global, Some(&args.net), agree::PULL).await?
    };
    let request = PullRequest {
        from: args.from.iter().cloned().chain(args.net.peers()).collect(),
        web_seeds: args.net.web_seeds.clone(),
        offline: args.net.offline,
        limit_down: args.net.limit_down.as_deref().and_then(reg_node::daemon::parse_rate),
        limit_local: args.net.limit_local,
        ticket: what.ticket.clone(),
        ..PullRequest::into_cache(what.reference.clone())
    };
    let looked: Result<Looked, CliError> = tokio::select! {
        looked = client.stream("/v1/look", &request) => looked,
        _ = tokio::signal::ctrl_c() => Err(CliError::interrupted("run the same command again")),
    };
    client.close().await;
    show(global, args, what, &looked?)
}

/// Returns the command that pulls the model from where it was found.
fn pull_line(args: &Info, what: &ModelSource) -> String {
    let mut line = format!("reg pull {}", what.typed);
    let from = args.from.iter().map(|it| ("--from", it.to_string()));
    let bootstrap = args.net.bootstrap.iter().map(|it| ("--bootstrap", it.clone()));
    let web_seeds = args.net.web_seeds.iter().map(|it| ("--web-seed", it.to_string()));
    for (flag, value) in from.chain(bootstrap).chain(web_seeds) {
        line.push_str(&format!(" {flag} {value}"));
    }
    line
}

fn show(global: &Global, args: &Info, what: &ModelSource, looked: &Looked) -> Result<(), CliError> {
    let refused = looked.checks.iter().find(|it| it.result == CheckResult::Deny);
    let pull = refused.is_none().then(|| pull_line(args, what));
    if global.json {
        let mut document = json!(looked);
        document["in_store"] = json!(false);
        document["pull"] = json!(pull);
        return output::json(&document);
    }
    if global.quiet {
        return output::line(looked.planned.manifest.to_string());
    }
    let Planned { files, bytes, bytes_to_fetch, manifest, behind, entries, .. } = &looked.planned;
    let petname = looked.petname.as_ref().map_or_else(String::new, |it| format!(", which you call {it}"));
    let ids = Ids::of(global, [manifest]);
    let mut rows = Table::of_facts();
    rows.fact("publisher", format!("{}{petname}", looked.publisher));
    rows.fact("model", &looked.model);
    rows.fact("manifest", ids.short(manifest));
    rows.fact("in the store", "no");
    rows.fact("size", format!("{} in {}", size(*bytes), counted(*files, "file")));
    rows.fact("to fetch", size(*bytes_to_fetch));
    rows.fact("peers", format!("{} answered for it", counted(looked.peers, "peer")));
    rows.fact("key document", looked.key_document);
    if let (Some(tag), Some(seq)) = (&looked.tag, looked.seq) {
        rows.fact("tag record", format!("{tag}, number {seq}"));
    }
    if let Some(age) = &looked.tag_age {
        rows.fact("age", age);
    }
    if let Some(it) = behind {
        let manifest = ids.short(&it.manifest);
        rows.fact(
            "newest record",
            format!("number {} ({manifest}), which cannot be had: {}", it.head, it.why),
        );
    }
    looked.collected.iter().for_each(|it| rows.fact("collected by", it));
    output::draw(global, &rows)?;
    facts::attestations(global, &looked.attestations)?;
    facts::checks(global, "proven, and checked by your denylists and rules", &looked.checks)?;
    lineage::show(global, &looked.lineage, &what.typed, false)?;
    output::line("")?;
    output::line("files")?;
    let mut table = Table::new([Column::whole(""), Column::named("", PATH_MIN)]).indented();
    entries.iter().for_each(|it| table.row([size(it.size), it.path.to_string()]));
    output::draw(global, &table)?;
    output::line("")?;
    output::line(match (pull, refused) {
        (None, Some(check)) => format!("a pull is refused: {}: {}", check.check, check.detail),
        (pull, _) => format!("to have it: {}", pull.unwrap_or_default()),
    })
}
