//! `reg peers`: lists the peers that the daemon is connected to.

use std::process::ExitCode;

use reg_api::report::PeerReport;

use crate::args::Global;
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, size};

pub async fn run(global: &Global) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    let is_daemon = client.is_daemon();
    let peers: Vec<PeerReport> = client.get("/v1/peers", &[]).await?;
    client.close().await;
    let (outdated, connected): (Vec<&PeerReport>, Vec<&PeerReport>) =
        peers.iter().partition(|peer| peer.outdated);
    if global.json {
        output::json(&peers)?;
    } else if global.quiet {
        connected.iter().try_for_each(|peer| output::line(peer.peer.to_string()))?;
    } else {
        let mut rows =
            vec![["PEER", "OVER", "BULK", "RTT", "FETCHED", "SERVED", "ADDRESS"].map(str::to_owned).to_vec()];
        rows.extend(connected.iter().map(|peer| row(peer)));
        output::table(&rows)?;
        for peer in outdated {
            let address = peer.addresses.first().map_or_else(String::new, |address| format!(" at {address}"));
            output::say(format_args!(
                "note: peer {}{address} speaks version 1 of the protocol only: ask its owner to upgrade",
                peer.peer
            ));
        }
        for peer in connected {
            if let (Some(why), "stream") = (&peer.no_lane, bulk(peer).as_str()) {
                output::say(format_args!(
                    "note: pieces of {} travel on the swarm's stream, not a lane: {why}",
                    peer.peer
                ));
            }
        }
        if !is_daemon {
            output::say(format_args!("note: no daemon runs: start one with `reg daemon`"));
        }
    }
    Ok(output::ok())
}

fn row(peer: &PeerReport) -> Vec<String> {
    vec![
        peer.peer.to_string(),
        peer.transport.clone().unwrap_or_default(),
        bulk(peer),
        peer.rtt_ms.map_or_else(String::new, |rtt| format!("{rtt} ms")),
        size(peer.bytes_fetched),
        size(peer.bytes_served),
        peer.addresses.first().map(ToString::to_string).unwrap_or_default(),
    ]
}

/// Returns what carries pieces to and from the peer: its open lanes, else what carried the last pieces.
fn bulk(peer: &PeerReport) -> String {
    match peer.lanes {
        0 if peer.bytes_by_lane > 0 => "lanes".to_owned(),
        0 if peer.bytes_fetched + peer.bytes_served > 0 => "stream".to_owned(),
        0 => String::new(),
        1 => "1 lane".to_owned(),
        lanes => format!("{lanes} lanes"),
    }
}
