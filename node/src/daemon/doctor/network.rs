//! Examines what a node reaches and how it is reached: ports, DNS, servers, peers.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use reg_api::doctor::{Finding, Subject};
use reg_api::fault::{FaultKind, chain};
use reg_api::reachability::Reachability;
use reg_api::report::{KnownPeer, Status};
use reg_proto::peer::Address;
use tokio::time::timeout;

use super::Running;
use super::machine::ToldTime;
use crate::daemon::config::Config;
use crate::{webseed, well_known};

/// Servers that are asked: the endpoint, and the first web seeds.
const SERVERS_MAX: usize = 4;
/// How long the node's own parts may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What servers have said.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) times: Vec<ToldTime>,
    pub(super) findings: Vec<Finding>,
}

/// Asks the DNS.
pub(super) async fn dns(config: &Config) -> Vec<Finding> {
    if config.offline {
        return Vec::new();
    }
    let server =
        config.domains.resolver.map_or_else(|| "the system's server".to_owned(), |it| it.to_string());
    let names = config.bootstrap.iter().any(|it| it.as_str().starts_with("/dns"));
    let found = match well_known::responds(&config.domains).await {
        Ok(()) => Finding::ok(Subject::Dns, format!("{server} answers")),
        Err(error) => {
            let what = format!("{server} does not answer: {}", chain(&error));
            let remedy = "names of publishers that are domains, and peers and servers that are named by domains, are not found: \
                          mend /etc/resolv.conf, or name a server in domains.resolver";
            // Without a name in the configuration, a node finds peers and models without the DNS.
            if names || config.domains.resolver.is_some() {
                Finding::fault(Subject::Dns, FaultKind::Unreachable, what, remedy)
            } else {
                Finding::warning(Subject::Dns, what, remedy)
            }
            .try_with("reg config get domains.resolver")
        }
    };
    vec![found]
}

/// Asks the servers of the configuration for the time, and so whether they are reached.
pub(super) async fn servers(config: &Config) -> Servers {
    let mut found = Servers { times: Vec::new(), findings: Vec::new() };
    if config.offline {
        return found;
    }
    let upstream = config.upstream.iter().map(|it| it.endpoint.clone());
    let seeds = config.web_seeds.iter().map(ToString::to_string);
    let mut origins: Vec<String> = upstream.chain(seeds).filter_map(|it| origin(&it)).collect();
    origins.sort();
    origins.dedup();
    let asked = origins.into_iter().take(SERVERS_MAX).map(|server| async move {
        let answer = webseed::date(&server).await;
        (server, answer)
    });
    for (server, answer) in futures::future::join_all(asked).await {
        match answer {
            Ok(time) => {
                found.findings.push(Finding::ok(Subject::Servers, format!("{server} answers")));
                found.times.extend(time.map(|it| (server, it)));
            }
            Err(error) => {
                if let Some(hint) = webseed::dates_hint(&error) {
                    let what = format!("the certificate of {server} is not valid at the time of this clock");
                    let fault = Finding::fault(Subject::Clock, FaultKind::Internal, what, &hint);
                    found.findings.push(fault.try_with("timedatectl set-ntp true"));
                }
                found.findings.push(Finding::warning(
                    Subject::Servers,
                    format!("{server} is not reached: {}", chain(&error)),
                    "nothing comes from it now; see whether it runs, or take it out of the configuration \
                     (transfer.web_seeds, gateway.upstream)",
                ));
            }
        }
    }
    found
}

/// Returns the scheme and the host of a URL, without a name and a password before it.
fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#', '{']).next()?;
    let host = authority.rsplit('@').next().filter(|it| !it.is_empty())?;
    Some(format!("{scheme}://{host}/"))
}

/// Tries to listen where a daemon would, for a moment.
pub(super) fn ports(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Err(error) = TcpListener::bind(config.http) {
        found.push(taken(&format!("{} (http.listen)", config.http), &error, "http.listen 127.0.0.1:4710"));
    }
    let listen = if config.offline { &[][..] } else { &config.listen };
    for address in listen {
        let Some((is_tcp, socket)) = binding(address) else { continue };
        let bound =
            if is_tcp { TcpListener::bind(socket).map(drop) } else { UdpSocket::bind(socket).map(drop) };
        if let Err(error) = bound {
            let port = if is_tcp { "/ip4/0.0.0.0/tcp/4700" } else { "/ip4/0.0.0.0/udp/4700/quic-v1" };
            found.push(taken(&format!("{address} (node.listen)"), &error, &format!("node.listen {port}")));
        } else if is_tcp
            && config.lanes
            && let Some(port) = socket.port().checked_add(1).filter(|it| *it > 1)
            && let Err(error) = TcpListener::bind((socket.ip(), port))
        {
            found.push(taken(
                &format!("port {port} (lanes, above node.listen)"),
                &error,
                "transfer.lanes false",
            ));
        }
    }
    if found.is_empty() {
        found.push(Finding::ok(Subject::Ports, "a daemon can listen on its ports"));
    }
    found
}

fn taken(what: &str, error: &io::Error, setting: &str) -> Finding {
    let (kind, remedy) = match error.kind() {
        ErrorKind::AddrInUse => (
            FaultKind::Denied,
            "another program listens there, perhaps another daemon: end it, or name another address",
        ),
        ErrorKind::AddrNotAvailable => {
            (FaultKind::Invalid, "this machine has no such address: name another one")
        }
        ErrorKind::PermissionDenied => {
            (FaultKind::Denied, "ports below 1024 need the rights of root: name another address")
        }
        _ => (FaultKind::Internal, "name another address"),
    };
    Finding::fault(Subject::Ports, kind, format!("{what} cannot be listened on: {error}"), remedy)
        .try_with(format!("reg config set {setting}"))
}

/// Returns the socket of an address such as `/ip4/0.0.0.0/tcp/4600`, and whether it is one of TCP.
fn binding(address: &Address) -> Option<(bool, SocketAddr)> {
    let parts: Vec<&str> = address.as_str().split('/').collect();
    let ["", "ip4" | "ip6", ip, transport @ ("tcp" | "udp"), port, ..] = parts.as_slice() else {
        return None;
    };
    let socket = SocketAddr::new(ip.parse::<IpAddr>().ok()?, port.parse().ok()?);
    Some((*transport == "tcp", socket))
}

/// Examines the daemon's connections.
pub(super) async fn connected(running: Option<&Running>) -> Vec<Finding> {
    let Some(Running { registry, network, config }) = running else { return Vec::new() };
    if network.is_offline() {
        return vec![Finding::warning(
            Subject::Peers,
            "the node is offline: it makes and accepts no connections",
            "start the daemon without --offline, and take node.offline out of the configuration",
        )];
    }
    let asked = async { (registry.status().await, network.foreign().await.len()) };
    let Ok((Ok(status), foreign)) = timeout(PATIENCE, asked).await else {
        return vec![Finding::fault(
            Subject::Daemon,
            FaultKind::RetryLater,
            format!("the daemon gives no figures within {} s", PATIENCE.as_secs()),
            "its disk or its machine is overloaded; look into its log",
        )];
    };
    let known = network.remembered().list();
    let mut found = vec![listening(&status), reached(status.reachability)];
    found.push(peers(status.peers.saturating_sub(foreign), foreign, &config.bootstrap, &known));
    found.extend(swarm(foreign));
    found.extend(troubles(&status));
    found
}

fn listening(status: &Status) -> Finding {
    match status.listen.as_slice() {
        [] => Finding::fault(
            Subject::Ports,
            FaultKind::Internal,
            "the node listens on no address",
            "no peer can connect to it: name an address in node.listen, and start it again",
        ),
        some => Finding::ok(Subject::Ports, format!("the node listens on {} addresses", some.len())),
    }
}

fn reached(reachability: Option<Reachability>) -> Finding {
    let remedy = "pulls work without it. To serve nodes outside, forward the port of node.listen to this machine, and name it \
                  with --external MULTIADDR";
    let warning = |what: &str| Finding::warning(Subject::Reachability, what, remedy).try_with("reg status");
    match reachability {
        Some(Reachability::Public) => Finding::ok(Subject::Reachability, "nodes outside connect directly"),
        Some(Reachability::Relayed) => {
            warning("nodes outside connect through a relay, and directly where NATs permit")
        }
        Some(Reachability::Unknown) | None => warning("no peer from outside has connected to this node"),
    }
}

fn peers(connected: usize, foreign: usize, bootstrap: &[Address], known: &[KnownPeer]) -> Finding {
    if connected > 0 {
        return Finding::ok(Subject::Peers, format!("{connected} are connected"));
    }
    let named: Vec<String> = bootstrap
        .iter()
        .chain(known.iter().flat_map(|it| it.addresses.first()))
        .map(ToString::to_string)
        .collect();
    if foreign > 0 || !named.is_empty() {
        let first = named.first().map_or_else(String::new, |it| format!(", such as {it}"));
        return Finding::fault(
            Subject::Peers,
            FaultKind::Unreachable,
            format!("none of {} known peers is connected{first}", named.len().max(foreign)),
            "see whether a daemon runs there, whether the address is right, and whether a firewall is between",
        )
        .try_with("reg peers --known");
    }
    Finding::warning(
        Subject::Peers,
        "no peer is known, and none was found in the local network",
        "name one: `reg status` on its machine prints its address",
    )
    .try_with("reg peers add MULTIADDR")
}

fn swarm(foreign: usize) -> Option<Finding> {
    (foreign > 0).then(|| {
        Finding::fault(
            Subject::Swarm,
            FaultKind::Unreachable,
            format!("{foreign} of the peers that were met are in another swarm: their swarm.key is another one"),
            "give all nodes of a private swarm the same key, and none to nodes of the public one; then start the daemon again",
        )
        .try_with("reg config get swarm.key")
    })
}

fn troubles(status: &Status) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(why) = &status.index_trouble {
        found.push(Finding::fault(
            Subject::Store,
            FaultKind::Internal,
            format!("the index is kept in memory, because the disk does not take it: {why}"),
            "free some space, or mount the disk read-write; then start the daemon again",
        ));
    }
    if let Some(why) = &status.catalogue_trouble {
        found.push(Finding::warning(
            Subject::Store,
            format!("the catalogue is closed: {why}"),
            "the node tries again by itself; see whether the disk is full or read-only",
        ));
    }
    if status.outdated_peers > 0 {
        found.push(
            Finding::warning(
                Subject::Peers,
                format!("{} peers are of an earlier version, and are not connected", status.outdated_peers),
                "ask their owners to upgrade",
            )
            .try_with("reg peers"),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use reg_api::doctor::Verdict;

    use super::*;

    #[test]
    fn addresses_are_bound_as_they_are_written() {
        let bound = |text: &str| binding(&text.parse().expect("an address"));
        let v4 = Some((true, SocketAddr::from(([0, 0, 0, 0], 4600))));
        assert_eq!(bound("/ip4/0.0.0.0/tcp/4600"), v4);
        assert_eq!(bound("/ip4/0.0.0.0/udp/4600/quic-v1").map(|it| it.0), Some(false));
        assert_eq!(bound("/ip6/::1/tcp/4600").map(|it| it.1), Some("[::1]:4600".parse().expect("one")));
        for text in ["/dns4/a.example/tcp/4600", "/ip4/1/tcp/4600", "/ip4/0.0.0.0/tcp/x", "/unix/x"] {
            assert_eq!(bound(text), None, "{text}");
        }
    }

    #[test]
    fn a_server_is_asked_by_its_origin() {
        for (url, shown) in [
            ("https://seeds.example/m/{path}", Some("https://seeds.example/")),
            ("http://127.0.0.1:80", Some("http://127.0.0.1:80/")),
            ("https://", None),
            ("x", None),
        ] {
            assert_eq!(origin(url).as_deref(), shown, "{url}");
        }
    }

    #[test]
    fn a_node_without_peers_says_whether_it_knows_any() {
        let bootstrap = ["/ip4/192.0.2.7/tcp/4600".parse().expect("an address")];
        assert_eq!(peers(1, 0, &bootstrap, &[]).verdict, Verdict::Ok);
        let unreached = peers(0, 0, &bootstrap, &[]);
        assert!(unreached.verdict == Verdict::Fault && unreached.what.contains("192.0.2.7"), "{unreached:?}");
        assert_eq!(peers(0, 0, &[], &[]).verdict, Verdict::Warning);
        assert!(swarm(0).is_none() && swarm(2).is_some_and(|it| it.what.contains("swarm.key")));
        assert_eq!(reached(Some(Reachability::Public)).verdict, Verdict::Ok);
        assert_eq!(reached(Some(Reachability::Unknown)).verdict, Verdict::Warning);
    }
}
