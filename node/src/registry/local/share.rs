//! Makes tickets: of a model in the store, or of this node alone.

use std::net::IpAddr;
use std::sync::Arc;

use reg_api::fault::{Fault, FaultKind};
use reg_api::reachability::Reachability;
use reg_api::report::Shared;
use reg_api::request::ShareRequest;
use reg_proto::announcement::Holder;
use reg_proto::bounded::Bounded;
use reg_proto::digest::Digest;
use reg_proto::limits::{TICKET_ADDRESSES_MAX, TICKET_PEERS_MAX};
use reg_proto::name::Reference;
use reg_proto::peer::{Address, PeerId};
use reg_proto::ticket::{About, Host, Ticket, TicketAddress, TicketPeer, Transport};
use thiserror::Error;

use super::{CatalogueError, Local};
use crate::net::{is_public, public_of};
use crate::registry::publishers::revoked;
use crate::registry::resolve::{ModelHere, TagHere};

/// Why there is no ticket.
#[expect(clippy::large_enum_variant, reason = "an error is made once, and moved a few times")]
#[derive(Debug, Error)]
pub enum ShareError {
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error("no daemon runs, so there is no node that a ticket could name")]
    Offline,
    #[error("this node has no public address that a ticket could name")]
    NoPublic,
    #[error("this node has no address that a ticket could name")]
    NoAddress,
}

impl Fault for ShareError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Catalogue(source) => source.kind(),
            Self::Offline | Self::NoPublic | Self::NoAddress => FaultKind::Unreachable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Catalogue(source) => source.hint(),
            Self::Offline => Some("start one: reg daemon".into()),
            Self::NoPublic => Some(HOW_PUBLIC.into()),
            Self::NoAddress => None,
        }
    }
}

/// What to do where a ticket can name no public address.
const HOW_PUBLIC: &str = "for peers in your own network, add --lan; for others, forward a port of your router to this machine and \
                          start the daemon with --external ADDR";

impl Local {
    /// Makes a ticket. It never has a petname, and without `lan` it never has a private address.
    ///
    /// # Errors
    /// See [`ShareError`]. For a model, the ticket may name no peer; a note says so then.
    pub async fn share(self: &Arc<Self>, request: ShareRequest) -> Result<Shared, ShareError> {
        let (about, mut notes) = match &request.reference {
            Some(reference) => self.about(reference).await?,
            None => (About::Peers, Vec::new()),
        };
        let own = TicketPeer {
            peer: self.network.peer_id(),
            addresses: Bounded::first_of(self.own_addresses(request.lan).await),
        };
        let has_own = !own.addresses.is_empty();
        let mut peers: Vec<TicketPeer> = has_own.then_some(own).into_iter().collect();
        if let About::Model { digest: Some(digest), .. } = &about {
            peers.extend(self.other_holders(digest).await);
        } else if !has_own {
            return Err(match (self.network.is_offline(), request.lan) {
                (true, _) => ShareError::Offline,
                (false, false) => ShareError::NoPublic,
                (false, true) => ShareError::NoAddress,
            });
        }
        if !has_own {
            notes.push(match self.network.is_offline() {
                true => "no daemon runs, so the ticket does not name this node: start one with `reg daemon`"
                    .into(),
                false => {
                    format!("the ticket does not name this node, which has no public address: {HOW_PUBLIC}")
                }
            });
        } else if !request.lan && self.network.reachability().await == Some(Reachability::Unknown) {
            notes.push(
                "no peer from outside has reached this node yet: a router or a firewall may keep them out"
                    .into(),
            );
        }
        let ticket = Ticket { about, peers: Bounded::first_of(peers) };
        Ok(Shared {
            reference: ticket.reference(),
            digest: ticket.seen(),
            addresses: ticket.addresses(),
            ticket: ticket.to_string(),
            notes,
        })
    }

    /// Returns the part of a ticket that names a model in the store, and notes for the maker of the ticket.
    async fn about(self: &Arc<Self>, reference: &Reference) -> Result<(About, Vec<String>), ShareError> {
        let named = reference.clone();
        let here = self.on_blocking_thread(move |local| Ok(local.resolver.model_here(&named)?)).await?;
        let ModelHere { manifest, record, tag } = here;
        let mut notes = Vec::new();
        if !self.trust.sharing.gives(&record.publisher, &record.model) {
            notes.push(
                "this node does not share this model with peers: `share` under [swarm] in the configuration"
                    .into(),
            );
        }
        if let Some(why) = revoked::withdrawn(&self.store, record.publisher, &manifest) {
            notes.push(format!(
                "its publisher has withdrawn this version: {why}; no node that knows that pulls it"
            ));
        }
        let tag = tag.map(|TagHere { tag, behind }| {
            if behind.is_some() {
                notes.push("a newer version of the tag is known, and is not in the store".into());
            }
            tag.record().tag.clone()
        });
        let (publisher, model) = (record.publisher, record.model.clone());
        Ok((About::Model { publisher, model, tag, digest: Some(manifest) }, notes))
    }

    /// Returns the addresses of this node that a ticket may have.
    async fn own_addresses(&self, lan: bool) -> Vec<TicketAddress> {
        let peer = self.network.peer_id();
        let listen = self.network.listen_addresses().await;
        let fit = if lan { listen } else { public_of(listen).await };
        chosen(fit.iter(), peer)
    }

    /// Returns connected peers that hold a model too.
    async fn other_holders(&self, manifest: &Digest) -> Vec<TicketPeer> {
        let connected = self.network.connected().await;
        let holders = self.news.holders_of(manifest).into_iter();
        named(holders.filter(|it| connected.contains(&it.peer) && it.peer != self.network.peer_id()))
    }
}

/// Returns other holders with their public addresses, which every peer can learn. Looks up no DNS name that a
/// peer has sent.
fn named(others: impl Iterator<Item = Holder>) -> Vec<TicketPeer> {
    let named = others.map(|Holder { peer, addresses }| TicketPeer {
        peer,
        addresses: Bounded::first_of(chosen(addresses.iter().filter(|it| is_public(it)), peer)),
    });
    named.filter(|it| !it.addresses.is_empty()).take(TICKET_PEERS_MAX - 1).collect()
}

/// Chooses the addresses of a peer for a ticket: one of each kind before a second one, and relayed ones last.
/// Takes loopback addresses only where the peer has no others.
fn chosen<'a>(addresses: impl Iterator<Item = &'a Address>, peer: PeerId) -> Vec<TicketAddress> {
    let all: Vec<TicketAddress> = addresses.filter_map(|it| TicketAddress::of(it, peer)).collect();
    let is_here = |it: &TicketAddress| ip(it).is_some_and(|ip| ip.is_loopback());
    let has_other = all.iter().any(|it| !is_here(it));
    let mut fit: Vec<&TicketAddress> = all.iter().filter(|it| !is_here(it) || !has_other).collect();
    fit.sort_by_key(|it| kind(it));
    let mut ranked: Vec<(bool, usize, u8, &TicketAddress)> = Vec::new();
    for address in fit {
        let alike = (address.relay.is_some(), kind(address));
        let nth = ranked.iter().filter(|(is_relayed, _, kind, _)| (*is_relayed, *kind) == alike).count();
        ranked.push((alike.0, nth, alike.1, address));
    }
    ranked.sort_by_key(|(is_relayed, nth, kind, _)| (*is_relayed, *nth, *kind));
    ranked.into_iter().map(|(.., address)| address.clone()).take(TICKET_ADDRESSES_MAX).collect()
}

fn ip(address: &TicketAddress) -> Option<IpAddr> {
    match address.host {
        Host::Ip4(ip) => Some(ip.into()),
        Host::Ip6(ip) => Some(ip.into()),
        Host::Dns(_) | Host::Dns4(_) | Host::Dns6(_) => None,
    }
}

fn kind(address: &TicketAddress) -> u8 {
    let version = u8::from(!matches!(address.host, Host::Ip4(_)));
    version * 2 + u8::from(matches!(address.transport, Transport::Quic(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen_of(addresses: &[&str], lan: bool) -> Vec<String> {
        let peer = PeerId::from_public_key([1; 32]);
        let all: Vec<Address> = addresses.iter().map(|it| it.parse().unwrap()).collect();
        let chosen = chosen(all.iter().filter(|it| lan || is_public(it)), peer);
        let end = format!("/p2p/{peer}");
        chosen.iter().map(|it| it.to_address(peer).as_str().trim_end_matches(&end).to_owned()).collect()
    }

    #[test]
    fn a_ticket_has_public_addresses_and_others_only_where_that_is_asked_for() {
        let all = [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/10.0.0.1/tcp/1",
            "/ip4/192.168.1.1/tcp/1",
            "/ip4/100.64.0.1/tcp/1",
            "/ip4/169.254.1.1/tcp/1",
            "/ip6/fd00::1/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/ip6/::1/tcp/1",
            "/ip4/45.1.0.1/udp/1/quic-v1",
            "/ip4/45.1.0.1/tcp/1",
        ];
        assert_eq!(chosen_of(&all, false), ["/ip4/45.1.0.1/tcp/1", "/ip4/45.1.0.1/udp/1/quic-v1"]);
        assert_eq!(chosen_of(&all[..8], false), [""; 0]);
        let lan = chosen_of(&all, true);
        assert_eq!(lan.len(), TICKET_ADDRESSES_MAX);
        assert!(lan.iter().all(|it| !it.contains("127.0.0.1") && !it.contains("/ip6/::1/")), "{lan:?}");
        assert_eq!(chosen_of(&all[..1], true), all[..1], "where there is no other");
    }

    #[test]
    fn other_holders_are_named_at_public_addresses_only() {
        let holder = |n: u8, addresses: &[&str]| Holder {
            peer: PeerId::from_public_key([n; 32]),
            addresses: Bounded::first_of(addresses.iter().map(|it| it.parse().unwrap())),
        };
        let private = ["/ip4/192.168.1.1/tcp/1", "/ip6/fd00::1/tcp/1", "/dns4/peer.example/tcp/1"];
        let both = ["/ip4/10.0.0.1/tcp/1", "/ip4/45.1.0.1/tcp/1"];
        let named = named([holder(1, &private), holder(2, &both)].into_iter());
        let shown: Vec<String> = named
            .iter()
            .flat_map(|it| it.addresses.iter().map(|at| at.to_address(it.peer).to_string()))
            .collect();
        let end = PeerId::from_public_key([2; 32]);
        assert_eq!(shown, [format!("/ip4/45.1.0.1/tcp/1/p2p/{end}")]);
        let many = (0..99).map(|n| holder(n, &both));
        assert_eq!(super::named(many).len(), TICKET_PEERS_MAX - 1, "the maker of the ticket is one of them");
    }

    #[test]
    fn one_address_of_each_kind_comes_first_and_relays_last() {
        let relay = PeerId::from_public_key([2; 32]);
        let relayed = format!("/ip4/45.9.0.1/tcp/1/p2p/{relay}/p2p-circuit");
        let all = [
            relayed.as_str(),
            "/ip4/45.1.0.1/tcp/1",
            "/ip4/45.1.0.2/tcp/1",
            "/ip4/45.1.0.1/udp/1/quic-v1",
            "/ip6/2606:4700::1/tcp/1",
        ];
        let order = [
            "/ip4/45.1.0.1/tcp/1",
            "/ip4/45.1.0.1/udp/1/quic-v1",
            "/ip6/2606:4700::1/tcp/1",
            "/ip4/45.1.0.2/tcp/1",
        ];
        assert_eq!(chosen_of(&all, false), order);
        assert_eq!(chosen_of(&all[..2], false), [all[1], all[0]]);
    }
}
