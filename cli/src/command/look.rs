//! `reg info` of a model that is not in the store: shows what is proven of it, what a pull would fetch, and the line to pull it.

use reg_api::check::Check;
use reg_api::looked::Looked;
use reg_api::report::{Planned, PlannedFile};
use reg_api::request::PullRequest;
use serde_json::json;

use crate::agree;
use crate::args::{Global, Info};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, size};

/// Asks peers for the model, by the daemon or by a node of this command.
pub async fn run(global: &Global, client: Client, args: &Info) -> Result<(), CliError> {
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
        ..PullRequest::into_cache(args.reference.clone())
    };
    let looked: Result<Looked, CliError> = tokio::select! {
        looked = client.stream("/v1/look", &request) => looked,
        _ = tokio::signal::ctrl_c() => Err(CliError::interrupted("run the same command again")),
    };
    client.close().await;
    show(global, args, &looked?)
}

fn show(global: &Global, args: &Info, looked: &Looked) -> Result<(), CliError> {
    let pull = format!("reg pull {}", args.reference);
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
    let mut rows = vec![
        vec!["publisher".to_owned(), format!("{}{petname}", looked.publisher)],
        vec!["model".into(), looked.model.to_string()],
        vec!["manifest".into(), manifest.to_string()],
        vec!["in the store".into(), "no".into()],
        vec!["size".into(), format!("{} in {files} files", size(*bytes))],
        vec!["to fetch".into(), size(*bytes_to_fetch)],
        vec!["peers".into(), format!("{} have answered for it", looked.peers)],
        vec!["key document".into(), looked.key_document.to_string()],
    ];
    if let (Some(tag), Some(seq)) = (&looked.tag, looked.seq) {
        rows.push(vec!["tag record".into(), format!("{tag}, number {seq}")]);
    }
    rows.extend(looked.tag_age.as_ref().map(|age| vec!["age".into(), age.to_string()]));
    rows.extend(behind.as_ref().map(|it| {
        let newer = format!("number {} ({}), which cannot be had: {}", it.head, it.manifest, it.why);
        vec!["newest record".into(), newer]
    }));
    output::table(&rows)?;
    if !looked.attestations.is_empty() {
        output::line("")?;
        output::line("attestations")?;
        for said in &looked.attestations {
            output::line(format!("  {}", crate::command::attest::line(said)))?;
        }
    }
    output::line("")?;
    output::line("proven, and checked by your denylists and rules")?;
    let row = |it: &Check| vec![format!("  {}", it.check), it.result.to_string(), it.detail.clone()];
    output::table(&looked.checks.iter().map(row).collect::<Vec<_>>())?;
    output::line("")?;
    output::line("files")?;
    let row = |file: &PlannedFile| vec![format!("  {}", size(file.size)), file.path.to_string()];
    output::table(&entries.iter().map(row).collect::<Vec<_>>())?;
    output::line("")?;
    output::line(format!("to have it: {pull}"))
}
