//! `reg peers`: lists the peers that the daemon is connected to, or remembers, and keeps peers that the user adds.

use std::process::ExitCode;

use reg_api::report::{KnownPeer, PeerAdded, PeerReport};
use reg_node::gateway::admin::{PeerAddress, PeerName};
use reg_proto::peer::Address;

use crate::args::{ChangePeers, Global, Net, Peers};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, size};

pub async fn run(global: &Global, args: Peers) -> Result<ExitCode, CliError> {
    let net = Net { swarm_key: args.swarm_key, ..Net::default() };
    let client = Client::open_locally(global, &net).await?;
    let done = match args.change {
        Some(ChangePeers::Add { peers }) => {
            add(global, &client, peers.into_iter().flat_map(|it| it.0).collect()).await
        }
        Some(ChangePeers::Rm { peers }) => remove(&client, &peers).await,
        None if args.known => known(global, &client).await,
        None => return connected(global, client).await,
    };
    client.close().await;
    done.map(|()| output::ok())
}

async fn add(global: &Global, client: &Client, addresses: Vec<Address>) -> Result<(), CliError> {
    let mut all: Vec<PeerAdded> = Vec::new();
    for address in addresses {
        all.push(client.post("/v1/peers/add", &PeerAddress { address }).await?);
    }
    if global.json {
        return output::json(&all);
    }
    for PeerAdded { address, is_new, connected, unreached, .. } in all {
        if global.quiet {
            output::line(address.to_string())?;
            continue;
        }
        let kept = if is_new { "kept" } else { "kept already" };
        output::line(format!("{kept}: {address}{}", if connected { ", connected" } else { "" }))?;
        if let Some(why) = unreached {
            output::say(format_args!("note: {why}; it is dialled again, and at every start"));
        } else if !connected {
            output::say(format_args!("note: it is dialled at the next start, because no daemon runs now"));
        }
    }
    Ok(())
}

async fn remove(client: &Client, peers: &[String]) -> Result<(), CliError> {
    for peer in peers {
        client.post::<()>("/v1/peers/remove", &PeerName { peer: peer.clone() }).await?;
    }
    Ok(())
}

async fn known(global: &Global, client: &Client) -> Result<(), CliError> {
    let peers: Vec<KnownPeer> = client.get("/v1/peers/known", &[]).await?;
    if global.json {
        return output::json(&peers);
    }
    let name = |peer: &KnownPeer| peer.peer.map_or_else(String::new, |it| it.to_string());
    if global.quiet {
        return peers.iter().filter(|it| it.peer.is_some()).try_for_each(|it| output::line(name(it)));
    }
    let mut rows = vec![
        ["PEER", "BY", "LAST CONNECTED", "LAST OF USE", "FAILED", "ADDRESS"].map(str::to_owned).to_vec(),
    ];
    rows.extend(peers.iter().map(|peer| {
        let by = match peer {
            KnownPeer { added: true, .. } => "you",
            KnownPeer { claimed: true, .. } => "its claim",
            _ => "dialling",
        };
        let time = |at: Option<u64>| at.map_or_else(String::new, output::time);
        let address = peer.addresses.first().map(ToString::to_string).unwrap_or_default();
        vec![name(peer), by.into(), time(peer.success), time(peer.used), peer.failures.to_string(), address]
    }));
    output::table(&rows)
}

async fn connected(global: &Global, client: Client) -> Result<ExitCode, CliError> {
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
