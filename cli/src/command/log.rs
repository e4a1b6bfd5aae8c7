//! `reg log`: lists the records of a tag that this node has seen.

use std::process::ExitCode;

use reg_node::registry::local::TagLog;
use reg_proto::revocation::{Revocation, Revoked};

use crate::args::{Global, Named};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, short};

pub async fn run(global: &Global, args: Named) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    let log: Result<TagLog, CliError> =
        client.get("/v1/log", &[("reference", args.reference.to_string())]).await;
    client.close().await;
    let log = log?;
    if global.json {
        output::json(&log)?;
    } else if global.quiet {
        log.records.iter().try_for_each(|it| output::line(it.record.manifest.digest.to_string()))?;
    } else {
        show(&log)?;
    }
    Ok(output::ok())
}

fn show(log: &TagLog) -> Result<(), CliError> {
    output::line(format!("publisher  {}, key document {}", log.publisher, log.key_document))?;
    if log.frozen {
        output::line("frozen     two records contradict each other, so pulls by this tag are refused")?;
    }
    let row = |it: &reg_node::registry::local::LoggedRecord| {
        let record = &it.record;
        let mut remarks = Vec::new();
        remarks.extend(record.fresh_until.map(|time| format!("fresh until {}", output::time(time))));
        remarks.extend(record.expires.map(|time| format!("expires {}", output::time(time))));
        remarks
            .extend((!record.settles.is_empty()).then(|| format!("settles {} heads", record.settles.len())));
        remarks.extend(it.void.as_ref().map(|why| format!("void: {why}")));
        remarks.extend(it.is_here.then(|| "in the store".to_owned()));
        remarks.extend((it.peers > 0).then(|| match it.peers {
            1 => "announced by 1 peer".to_owned(),
            peers => format!("announced by {peers} peers"),
        }));
        remarks.extend(it.seen.is_none().then(|| "announced, not followed".to_owned()));
        vec![
            format!("{}.{}", record.key_document, record.seq),
            record.manifest.digest.to_string(),
            format!("issued {}", output::time(record.issued)),
            it.seen.map_or_else(String::new, |time| format!("seen {}", output::time(time))),
            remarks.join(", "),
        ]
    };
    output::table(&log.records.iter().map(row).collect::<Vec<_>>())?;
    for proof in &log.proofs {
        let [one, two] = &proof.manifests;
        let state = if proof.settled { "settled" } else { "not settled" };
        output::line(format!("proof      number {}: {} and {}, {state}", proof.seq, short(one), short(two)))?;
    }
    for revocation in &log.revocations {
        output::line(format!("revoked    {}", revoked(revocation)))?;
    }
    for it in &log.delegations {
        output::line(format!(
            "delegated  {} to {} until {}, {}",
            it.models,
            it.to,
            output::time(it.expires),
            it.payload
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
