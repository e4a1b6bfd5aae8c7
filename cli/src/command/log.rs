//! `reg log`: lists the records of a tag that this node has seen.

use std::process::ExitCode;

use reg_api::counted::counted;
use reg_node::registry::local::{LoggedRecord, TagLog};
use reg_proto::revocation::{Revocation, Revoked};

use crate::args::{Global, Log};
use crate::client::Client;
use crate::error::CliError;
use crate::ids::Ids;
use crate::output;
use crate::table::{Column, Table};

/// Fewest characters of a line of remarks.
const REMARKS_MIN: usize = 24;

pub async fn run(global: &Global, args: Log) -> Result<ExitCode, CliError> {
    let reference = args.what.reference(global)?;
    let client = Client::open(global, None).await?;
    let log: Result<TagLog, CliError> = client.get("/v1/log", &[("reference", reference.to_string())]).await;
    client.close().await;
    let log = log?;
    if global.json {
        output::json(&log)?;
    } else if global.quiet {
        log.records.iter().try_for_each(|it| output::line(it.record.manifest.digest.to_string()))?;
    } else {
        show(global, &log)?;
    }
    Ok(output::ok())
}

fn show(global: &Global, log: &TagLog) -> Result<(), CliError> {
    output::sentence(format!("publisher  {}, key document {}", log.publisher, log.key_document))?;
    if log.frozen {
        output::sentence("frozen     two records contradict each other, so pulls by this tag are refused")?;
    }
    let ids = Ids::of(global, log.records.iter().map(|it| it.record.manifest.digest));
    let row = |it: &LoggedRecord| {
        let record = &it.record;
        let mut remarks = Vec::new();
        remarks.extend(record.fresh_until.map(|time| format!("fresh until {}", output::time(time))));
        remarks.extend(record.expires.map(|time| format!("expires {}", output::time(time))));
        remarks.extend(
            (!record.settles.is_empty())
                .then(|| format!("settles {}", counted(record.settles.len(), "head"))),
        );
        remarks.extend(it.void.as_ref().map(|why| format!("void: {why}")));
        remarks.extend(it.is_here.then(|| "in the store".to_owned()));
        remarks.extend((it.peers > 0).then(|| format!("announced by {}", counted(it.peers, "peer"))));
        remarks.extend(it.seen.is_none().then(|| "announced, not followed".to_owned()));
        [
            format!("{}.{}", record.key_document, record.seq),
            ids.short(&record.manifest.digest),
            output::time(record.issued),
            it.seen.map_or_else(String::new, output::time),
            remarks.join(", "),
        ]
    };
    let mut table = Table::new([
        Column::whole("NUMBER"),
        Column::whole("MANIFEST"),
        Column::whole("ISSUED"),
        Column::whole("SEEN").optional(1),
        Column::text("", REMARKS_MIN),
    ]);
    log.records.iter().for_each(|it| table.row(row(it)));
    output::draw(global, &table)?;
    for proof in &log.proofs {
        let [one, two] = &proof.manifests;
        let state = if proof.settled { "settled" } else { "not settled" };
        output::sentence(format!(
            "proof      number {}: {} and {}, {state}",
            proof.seq,
            ids.short(one),
            ids.short(two)
        ))?;
    }
    for revocation in &log.revocations {
        output::sentence(format!("revoked    {}", ids.short_in(&revoked(revocation))))?;
    }
    for it in &log.delegations {
        output::sentence(format!(
            "delegated  {} to {} until {}, {}",
            it.models,
            it.to,
            output::time(it.expires),
            ids.short(&it.payload)
        ))?;
    }
    Ok(())
}

/// Returns a revocation as text: what is revoked, since when, and why.
pub fn revoked(revocation: &Revocation) -> String {
    let what = match &revocation.subject {
        Revoked::Key(key) => format!("key {key}"),
        Revoked::Manifest(digest) => format!("manifest {digest}"),
        Revoked::Delegation(digest) => format!("delegation {digest}"),
    };
    format!("{what}, {}: {:?}", output::time(revocation.issued), revocation.reason.as_str())
}
