//! `reg status`: shows the node's addresses, reachability, cache and traffic; of a folder, what it holds.

use std::process::ExitCode;

use reg_api::counted::counted;
use reg_api::health::Audited;
use reg_api::reachability::Reachability;
use reg_api::report::{DhtKeys, RendezvousReport, Status};
use reg_node::store::SHARE_OF_DISK;

use super::{folder, swarm, watch_status};
use crate::args::{Global, Status as Args};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, size};

pub async fn run(global: &Global, args: Args) -> Result<ExitCode, CliError> {
    if let Some(dir) = &args.dir {
        return folder::run(global, dir, &args).await;
    }
    if args.watch {
        return watch_status::run(global).await;
    }
    let client = Client::open(global, None).await?;
    let is_daemon = client.is_daemon();
    let status: Status = client.get("/v1/status", &[]).await?;
    client.close().await;
    if global.json {
        output::json(&status)?;
        return Ok(output::ok());
    }
    output::table(&rows(status, is_daemon))?;
    Ok(output::ok())
}

/// Returns the lines that show the state of a node.
pub fn rows(status: Status, is_daemon: bool) -> Vec<Vec<String>> {
    let daemon = match is_daemon {
        true => "running",
        false => "not running, so no model is shared and no peer is known: `reg daemon` starts it",
    };
    let mut rows = vec![
        vec!["daemon".to_owned(), daemon.to_owned()],
        vec!["peer id".into(), status.peer_id.to_string()],
    ];
    rows.extend(status.listen.iter().map(|address| vec!["listen".into(), address.to_string()]));
    if let Some(reachability) = status.reachability {
        rows.push(vec!["reached".into(), reached(reachability).to_owned()]);
    }
    if let Some(rendezvous) = status.rendezvous.filter(|it| it.is_on) {
        rows.push(vec!["strangers".into(), strangers(&rendezvous)]);
    }
    if let Some(copies) = &status.swarm {
        rows.push(vec!["swarm".into(), swarm::in_figures(copies)]);
    }
    if status.paused {
        rows.push(vec!["paused".into(), "everything, until `reg resume`".into()]);
    }
    if let Some(why) = &status.index_trouble {
        rows.push(vec!["index".into(), format!("in memory until the disk takes it: {why}")]);
    }
    if let Some(why) = &status.catalogue_trouble {
        rows.push(vec!["catalogue".into(), format!("{why}; the node tries again")]);
    }
    let origin = match status.cache_size_is_default {
        true => format!(" ({SHARE_OF_DISK} % of the disk; set cache.max_size)"),
        false => String::new(),
    };
    let max =
        status.cache_max_bytes.map_or_else(|| "no limit".into(), |max| format!("of {}{origin}", size(max)));
    let cache = format!("{} in {}, {max}", size(status.bytes), counted(status.blobs, "blob"));
    if is_daemon {
        rows.push(vec!["peers".into(), peers(status.peers, status.outdated_peers)]);
    }
    rows.extend([
        vec!["remembered".into(), counted(status.known_peers, "peer")],
        vec!["models".into(), status.models.to_string()],
        vec!["cache".into(), cache],
        vec!["on its way".into(), size(status.partial_bytes)],
    ]);
    // What a daemon counts while it runs: a node that was started for this question knows nothing of it.
    if is_daemon {
        rows.extend([
            vec!["dht keys".into(), dht_keys(status.dht_keys)],
            vec!["served".into(), size(status.bytes_served)],
            vec!["fetched".into(), size(status.bytes_fetched)],
            vec!["audited".into(), audited(status.audited)],
            vec!["up".into(), format!("{} s", status.uptime_seconds)],
        ]);
    }
    rows.push(vec!["version".into(), status.version]);
    rows
}

fn dht_keys(keys: DhtKeys) -> String {
    let DhtKeys { provided, left_to_others, beyond_bound } = keys;
    let mut shown = provided.to_string();
    if left_to_others > 0 {
        shown += &format!(", and {left_to_others} that enough other nodes provide");
    }
    if beyond_bound > 0 {
        shown += &format!(
            ", and {beyond_bound} are not provided: too many, and these have the most other providers"
        );
    }
    shown
}

/// Shows what was fetched to prove the replicas of models.
fn audited(audited: Audited) -> String {
    format!("{} in the last hour, {} since the start", size(audited.last_hour), size(audited.since_start))
}

fn strangers(report: &RendezvousReport) -> String {
    let RendezvousReport { is_reached, publishers, publishers_left_out, announced, dialled, met, .. } =
        *report;
    let left_out = match publishers_left_out {
        0 => String::new(),
        more => format!(" ({more} are left out)"),
    };
    let announced = match is_reached {
        true => format!("announced under {announced} of {} keys{left_out}", publishers + 1),
        false => "not announced, because no address is known at which strangers reach this node".to_owned(),
    };
    format!("{announced}; {met} of {dialled} that were dialled have answered")
}

fn peers(connected: usize, outdated: usize) -> String {
    match outdated {
        0 => connected.to_string(),
        1 => format!("{connected}, and 1 that its owner must upgrade: `reg peers` names it"),
        more => format!("{connected}, and {more} that their owners must upgrade: `reg peers` names them"),
    }
}

const fn reached(reachability: Reachability) -> &'static str {
    match reachability {
        Reachability::Public => "directly, from any network",
        Reachability::Relayed => "through a relay, and directly where the NATs permit",
        Reachability::Unknown => "not known: no peer from outside has tried",
    }
}
