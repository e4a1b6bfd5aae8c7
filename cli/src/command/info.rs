//! `reg info`: shows a model, with computed and claimed facts in separate sections.

use std::process::ExitCode;

use reg_api::counted::counted;
use reg_api::report::{LicenceFrom, ModelInfo};
use reg_node::gateway::admin::Named;
use reg_proto::attestation::Mirror;

use crate::agree;
use crate::args::{Global, Info};
use crate::client::{Client, home, is_alive};
use crate::command::{facts, lineage, look};
use crate::error::CliError;
use crate::ids::Ids;
use crate::output::{self, size};
use crate::table::Table;
use crate::ticketed::ModelSource;

pub async fn run(global: &Global, args: Info) -> Result<ExitCode, CliError> {
    let what = args.what.clone().model(global)?;
    // Without a daemon the store is read first, by a node without a network.
    let has_daemon = is_alive(&home(global)?.socket()).await;
    let net = (has_daemon && args.net.is_any_given()).then_some(&args.net);
    let client = Client::open_with(global, net, agree::PULL).await?;
    let asked: Result<ModelInfo, CliError> =
        client.get("/v1/info", &[("reference", what.reference.to_string())]).await;
    let is_elsewhere = asked.as_ref().is_err_and(|error| error.document().kind == "not_found");
    if is_elsewhere && !args.local && !args.net.offline {
        look::run(global, client, &args, &what).await?;
        return Ok(output::ok());
    }
    let asked = match asked {
        Ok(info) if args.lineage => with_shared_tensors(&client, info).await,
        asked => asked,
    };
    client.close().await;
    let info = asked?;
    show(global, &info, &what)?;
    Ok(output::ok())
}

fn show(global: &Global, info: &ModelInfo, what: &ModelSource) -> Result<(), CliError> {
    if global.json {
        return output::json(info);
    }
    if global.quiet {
        return output::line(info.summary.manifest.to_string());
    }
    output::draw(global, &rows(global, info))?;
    facts::computed(global, &info.metadata)?;
    facts::claimed(global, "claimed by the publisher", &info.claims)?;
    facts::claimed(global, "claimed in the files", &info.metadata.claimed)?;
    lineage::show(global, &info.lineage, &what.typed, true)?;
    facts::attestations(global, &info.attestations)?;
    facts::checks(global, "checked by your denylists and rules", &info.checks)
}

/// Returns what is known of the model itself, as rows of a table.
fn rows(global: &Global, info: &ModelInfo) -> Table {
    let summary = &info.summary;
    let ids = Ids::of(global, [summary.manifest]);
    let tags: Vec<&str> = summary.tags.iter().map(|tag| tag.as_str()).collect();
    let yes = |is: bool| if is { "yes" } else { "no" };
    let petname = summary.petname.as_ref().map_or_else(String::new, |it| format!(", which you call {it}"));
    let mut rows = Table::of_facts();
    rows.fact("publisher", format!("{}{petname}", summary.publisher));
    rows.fact("model", &summary.model);
    rows.fact("tags", tags.join(", "));
    rows.fact("manifest", ids.short(&summary.manifest));
    rows.fact("size", format!("{} in {}", size(summary.bytes), counted(summary.files, "file")));
    rows.fact("complete", yes(summary.complete));
    rows.fact("pinned", yes(summary.pinned));
    rows.fact("key document", info.key_document_version);
    if let Some(licence) = &info.licence {
        let names = licence.licenses.join(", ");
        rows.fact(
            "licence",
            match licence.from {
                LicenceFrom::Publisher => format!("{names}, as the publisher states"),
                LicenceFrom::Files => format!("{names}, as the model card in the files claims"),
                LicenceFrom::Nowhere => "none is claimed".to_owned(),
            },
        );
    }
    if let (Some(here), false) = (summary.bytes_here, summary.here) {
        let size = size(here);
        let tag = summary.pulling.as_ref().map_or_else(String::new, |tag| format!(" of {tag}"));
        rows.fact("here", format!("{size}: a pull{tag} has not ended; the same `reg pull` goes on with it"));
    }
    if let Some(why) = &summary.withdrawn {
        rows.fact("withdrawn", format!("by its publisher: {why}"));
    }
    for (is_kept, why) in [
        (summary.published && !summary.pinned, "published here: until `reg unpin` or `reg rm`"),
        (summary.followed, "its publisher is followed: see `reg follow ls`"),
        (summary.donated, "for others: see `reg donate ls`"),
        (summary.spread, "a copy for the private swarm: see `reg swarm status`"),
    ] {
        if is_kept {
            rows.fact("kept", why);
        }
    }
    if let (false, Some(part)) = (summary.complete, &summary.part) {
        let of = if part.complete { "all of them in the store" } else { "not all of them in the store" };
        rows.fact("chosen", format!("{} in {}, {of}", size(part.bytes), counted(part.files, "file")));
    }
    if let Some(profile) = &info.profile {
        rows.fact("publisher says", profile.line());
    }
    if let Some(seq) = info.seq {
        rows.fact("tag record", format!("number {seq}"));
    }
    if let Some(it) = &info.behind {
        let manifest = ids.short(&it.manifest);
        rows.fact("newest record", format!("number {} ({manifest}), which is not used: {}", it.head, it.why));
    }
    if let Some(Mirror { endpoint, repository, commit, .. }) = &info.mirror {
        rows.fact("attested origin", format!("{endpoint}/{repository} at {commit}"));
    }
    info.collected.iter().for_each(|it| rows.fact("collected by", it));
    rows
}

/// Asks for the tensors that the model shares with those that are related to it.
async fn with_shared_tensors(client: &Client, mut info: ModelInfo) -> Result<ModelInfo, CliError> {
    let named = Named { reference: info.reference.clone() };
    info.lineage.shared = Some(client.stream("/v1/shared-tensors", &named).await?);
    Ok(info)
}
