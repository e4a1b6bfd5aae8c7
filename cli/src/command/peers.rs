//! `reg peers`: lists the peers that the daemon is connected to, or remembers, and keeps peers that the user adds.

use std::collections::BTreeSet;
use std::process::ExitCode;

use reg_api::report::{KnownPeer, PeerAdded, PeerReport};
use reg_api::settings::Settings;
use reg_node::gateway::admin::{PeerAddress, PeerName};
use reg_proto::peer::{Address, PeerId};
use serde_json::json;

use crate::args::{ChangePeers, Global, Net, Peers};
use crate::client::Client;
use crate::error::CliError;
use crate::ids::{DIGITS_MIN, Ids};
use crate::output::{self, size};
use crate::table::{Column, Table};

/// Fewest characters of an address: its beginning and its port.
const ADDRESS_MIN: usize = 20;

pub async fn run(global: &Global, args: Peers) -> Result<ExitCode, CliError> {
    let net = Net { swarm_key: args.swarm_key, ..Net::default() };
    let client = Client::open_locally(global, &net).await?;
    let done = match args.change {
        Some(ChangePeers::Add { peers }) => {
            add(global, &client, peers.into_iter().flat_map(|it| it.0).collect()).await
        }
        Some(ChangePeers::Rm { peers }) => remove(global, &client, &peers).await.map(|()| output::ok()),
        None if args.known => known(global, &client).await.map(|()| output::ok()),
        None => return connected(global, client).await,
    };
    client.close().await;
    done
}

/// Adds addresses. One that is refused does not keep the others back; the exit code is that of the first failure.
async fn add(global: &Global, client: &Client, addresses: Vec<Address>) -> Result<ExitCode, CliError> {
    let (mut all, mut failed): (Vec<PeerAdded>, Vec<(Address, CliError)>) = (Vec::new(), Vec::new());
    for address in addresses {
        match client.post("/v1/peers/add", &PeerAddress { address: address.clone() }).await {
            Ok(added) => all.push(added),
            Err(error) => failed.push((address, error)),
        }
    }
    // One address alone fails as every command does.
    if all.is_empty()
        && failed.len() == 1
        && let Some((_, error)) = failed.pop()
    {
        return Err(error);
    }
    if global.json {
        output::json(&all)?;
    } else {
        all.iter().try_for_each(|it| show_added(global, it))?;
    }
    for (address, error) in &failed {
        if !global.json {
            output::say(format_args!("{address}:"));
        }
        error.report(global.json);
    }
    Ok(failed.first().map_or_else(output::ok, |(_, error)| error.exit_code()))
}

fn show_added(global: &Global, added: &PeerAdded) -> Result<(), CliError> {
    let PeerAdded { address, is_new, connected, unreached, .. } = added;
    if global.quiet {
        return output::line(address.to_string());
    }
    let kept = if *is_new { "kept" } else { "kept already" };
    output::sentence(format!("{kept}: {address}{}", if *connected { ", connected" } else { "" }))?;
    if let Some(why) = unreached {
        output::say(format_args!("note: {why}; it is dialled again, and at every start"));
    } else if !connected {
        output::say(format_args!("note: it is dialled at the next start, because no daemon runs now"));
    }
    Ok(())
}

async fn remove(global: &Global, client: &Client, peers: &[String]) -> Result<(), CliError> {
    let known: Vec<KnownPeer> = client.get("/v1/peers/known", &[]).await.unwrap_or_default();
    // A daemon of before says nothing of its bootstrap peers.
    let settings: Settings = client.post("/v1/settings", &json!({})).await.unwrap_or_default();
    let connected: Vec<PeerReport> = client.get("/v1/peers", &[]).await.unwrap_or_default();
    let ids: BTreeSet<String> = known
        .iter()
        .filter_map(|it| it.peer)
        .chain(connected.iter().map(|it| it.peer))
        .map(|it| it.to_string())
        .collect();
    let peers: Vec<String> = peers.iter().map(|it| whole(it, &ids)).collect::<Result<_, _>>()?;
    for peer in &peers {
        client.post::<()>("/v1/peers/remove", &PeerName { peer: peer.clone() }).await?;
        if !global.json && !global.quiet {
            output::sentence(format!("removed: {peer}"))?;
        }
        let addresses = known.iter().filter(|it| it.peer.is_some_and(|id| id.to_string() == *peer));
        let addresses = addresses.flat_map(|it| it.addresses.iter().map(ToString::to_string));
        let addresses: Vec<String> = addresses.chain([peer.clone()]).collect();
        if let Some(again) = settings.bootstrap.iter().find(|it| is_of(it, peer, &addresses)) {
            output::say(format_args!(
                "note: {again} is a bootstrap peer, so the node connects to it again: take it out of node.bootstrap in the \
                 configuration, or of --bootstrap"
            ));
        }
    }
    if global.json {
        output::json(&json!({ "removed": peers }))?;
    }
    Ok(())
}

/// Returns the id of the one peer that begins so; what begins none is left as it is, and an address is whole.
fn whole(typed: &str, ids: &BTreeSet<String>) -> Result<String, CliError> {
    let is_short = typed.len() >= DIGITS_MIN && !typed.starts_with('/');
    let found: Vec<&String> = ids.iter().filter(|it| is_short && it.starts_with(typed)).collect();
    match found.as_slice() {
        [] => Ok(typed.to_owned()),
        [one] => Ok((*one).clone()),
        many => {
            let all = many.iter().map(|it| it.as_str()).collect::<Vec<_>>().join("\n");
            Err(CliError::new("invalid", format_args!("{typed} could be each of these:\n{all}"))
                .hint("type more of it, or the whole id"))
        }
    }
}

/// Tells whether a bootstrap address leads to a peer, of which these addresses are known.
fn is_of(bootstrap: &str, peer: &str, addresses: &[String]) -> bool {
    let place = |text: &str| text.split("/p2p/").next().unwrap_or_default().to_owned();
    bootstrap.ends_with(&format!("/p2p/{peer}")) || addresses.iter().any(|it| place(it) == place(bootstrap))
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
    let ids = Ids::of(global, peers.iter().filter_map(|it| it.peer));
    let mut table = Table::new([
        Column::whole("PEER"),
        Column::whole("BY"),
        Column::whole("LAST CONNECTED"),
        Column::whole("LAST OF USE").optional(2),
        Column::whole("FAILED").optional(1),
        Column::named("ADDRESS", ADDRESS_MIN),
    ]);
    for peer in &peers {
        let by = match peer {
            KnownPeer { added: true, .. } => "you",
            KnownPeer { claimed: true, .. } => "its claim",
            _ => "dialling",
        };
        let time = |at: Option<u64>| at.map_or_else(String::new, output::time);
        let failed = if peer.failures == 0 { String::new() } else { peer.failures.to_string() };
        table.row([
            peer.peer.map_or_else(String::new, |it| ids.short(&it)),
            by.to_owned(),
            time(peer.success),
            time(peer.used),
            failed,
            without_id(global, peer.addresses.first(), peer.peer.as_ref()),
        ]);
    }
    if table.is_empty() {
        output::say("no peer is remembered: `reg peers add MULTIADDR` keeps one");
    }
    output::draw(global, &table)
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
        let ids = Ids::of(global, peers.iter().map(|it| it.peer));
        let mut table = Table::new([
            Column::whole("PEER"),
            Column::whole("OVER"),
            Column::whole("BULK").optional(1),
            Column::whole("RTT"),
            Column::whole("FETCHED"),
            Column::whole("SERVED"),
            Column::named("ADDRESS", ADDRESS_MIN),
        ]);
        connected.iter().for_each(|peer| table.row(row(global, peer, &ids)));
        if table.is_empty() && is_daemon {
            output::say(
                "no peer is connected yet: `reg peers add MULTIADDR` adds one, `reg help run-a-node` says how peers are found",
            );
        }
        output::draw(global, &table)?;
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

/// Returns an address without the id of its peer, which has a column of its own.
fn without_id(global: &Global, address: Option<&Address>, peer: Option<&PeerId>) -> String {
    let text = address.map(ToString::to_string).unwrap_or_default();
    let id = peer.map(|it| format!("/p2p/{it}")).filter(|_| !global.view.full).unwrap_or_default();
    text.strip_suffix(&id).unwrap_or(&text).to_owned()
}

fn row(global: &Global, peer: &PeerReport, ids: &Ids) -> [String; 7] {
    [
        ids.short(&peer.peer),
        peer.transport.clone().unwrap_or_default(),
        bulk(peer),
        peer.rtt_ms.map_or_else(String::new, |rtt| format!("{rtt} ms")),
        size(peer.bytes_fetched),
        size(peer.bytes_served),
        without_id(global, peer.addresses.first(), Some(&peer.peer)),
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
