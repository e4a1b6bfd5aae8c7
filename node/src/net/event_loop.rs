//! [`EventLoop`]: the task that owns the swarm. `select!` names what happened, and each protocol handles its own
//! events.

use std::collections::BTreeSet;
use std::time::Instant;

use futures::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, Swarm, dcutr, gossipsub, identify, kad, mdns, ping, relay as circuit};
use reg_api::reachability::Reachability;
use reg_proto::announcement::Holder;
use reg_proto::bounded::Bounded;
use reg_proto::peer::{Address, PeerId};
use reg_proto::swarm::Protocols;
use reg_proto::wire::{Request, Response};
use tokio::sync::{mpsc, oneshot};

use super::behaviour::{Behaviour, BehaviourEvent};
use super::command::Command;
use super::dialling::{self, Dialling, peer_of};
use super::error::ConnectError;
use super::inbound::PeerEvent;
use super::limits::{ADDRESSES_DIALLED_MAX, ADDRESSES_PER_PEER_MAX, TICK};
use super::links::{Links, PeerInfo, from_libp2p, to_libp2p};
use super::outdated::{self, Outdated};
use super::protocol::blobs;
use super::protocol::discovery::{Discovery, Kad};
use super::protocol::gossip::Gossip;
use super::protocol::reachability;
use super::protocol::records::{self, Records};
use super::protocol::relay::{self, Relays};
use super::reach::{OpenRanges, is_fit};
use super::refusals::Refusals;
use super::remembered::Redialler;

/// The swarm, and the state of each protocol.
pub(super) struct EventLoop {
    pub(super) swarm: Swarm<Behaviour>,
    /// The names of this swarm's protocols.
    pub(super) names: Protocols,
    pub(super) ranges: OpenRanges,
    pub(super) links: Links,
    pub(super) dialling: Dialling,
    pub(super) records: Records,
    pub(super) discovery: Discovery,
    pub(super) gossip: Gossip,
    pub(super) relays: Relays,
    pub(super) refusals: Refusals,
    pub(super) redialler: Redialler,
    pub(super) outdated: Outdated,
    /// Peers of other swarms that were met and disconnected.
    pub(super) foreign: Outdated,
    pub(super) peers: mpsc::Sender<PeerEvent>,
}

impl EventLoop {
    /// Handles commands and events until a shutdown, or until the last handle is gone.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                command = commands.recv() => match command {
                    Some(Command::Shutdown(reply)) => {
                        let _heard = reply.send(());
                        return;
                    }
                    Some(command) => self.on_command(command),
                    None => return,
                },
                Some(answered) = self.records.answering.next() => {
                    Records::answered(&mut self.swarm.behaviour_mut().records, answered);
                }
                Some(judged) = self.gossip.judging.next() => {
                    self.with_gossip(|_, behaviour| Gossip::judged(behaviour, judged));
                }
                _ = tick.tick() => self.on_tick(),
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::ListenAddresses(reply) => drop(reply.send(self.own_addresses(|_| true))),
            Command::AddressesFor { peer, reply } => drop(reply.send(self.addresses_for(&peer))),
            Command::Connect { shown, address, reply } => self.connect(shown, address, reply),
            Command::DialHint { peer, addresses, told_by, is_given, reply } => {
                self.dial_hint(peer, &addresses, told_by, is_given, reply)
            }
            Command::Ask { peer, request, reply } => {
                self.links.asked(&peer);
                self.records.ask(&mut self.swarm.behaviour_mut().records, &peer, request, reply);
            }
            Command::OpenStream { peer, reply } => {
                self.links.asked(&peer);
                let known = self.links.gone(&peer);
                self.swarm.behaviour_mut().blobs.open(to_libp2p(&peer), known, reply);
            }
            Command::Providers { key, found, awaits_peers } => {
                self.with_kad(|discovery, kad| discovery.providers(kad, key, found, awaits_peers))
            }
            Command::Provide { key, is_own } => {
                self.with_kad(|discovery, kad| discovery.provide(kad, key, is_own))
            }
            Command::Hold(held) => self.with_kad(|discovery, kad| discovery.hold(kad, &held)),
            Command::DhtKeys(reply) => drop(reply.send(self.discovery.keys())),
            Command::Announce(announcement) => {
                self.with_gossip(|gossip, behaviour| gossip.announce(behaviour, &announcement));
            }
            Command::Acquaintances { asker, reply } => drop(reply.send(self.acquaintances(&asker))),
            Command::Reachability(reply) => drop(reply.send(self.reachability())),
            Command::Connected(reply) => drop(reply.send(self.links.ours())),
            Command::Peers(reply) => drop(reply.send(self.peer_infos())),
            Command::Foreign(reply) => drop(reply.send(self.foreign.infos(Instant::now()))),
            Command::Standing(reply) => drop(reply.send(self.standing())),
            Command::Meet { address, reply } => self.meet(address, reply),
            Command::Refuse(peer) => {
                let refused = &mut self.swarm.behaviour_mut().refused;
                self.refusals.refuse(refused, peer, Instant::now());
            }
            Command::WasOfUse { peer, is_remembered } => self.was_of_use(peer, is_remembered),
            Command::Name(address) => self.name(address),
            Command::Unname { addresses, peers } => self.unname(&addresses, &peers),
            Command::RemoteIps { peer, reply } => drop(reply.send(self.links.remote_ips(&peer))),
            Command::Shutdown(_) => {}
        }
    }

    fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, endpoint, .. } => {
                self.on_disconnected(&peer_id, connection_id, &endpoint);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.call_ended(connection_id, Some(&error));
                self.dialling.failed(connection_id, error);
            }
            SwarmEvent::ListenerClosed { listener_id, .. } => self.relays.closed(listener_id, Instant::now()),
            SwarmEvent::ExternalAddrConfirmed { address } => self.on_own_address(&address),
            event => tracing::trace!(?event, "swarm"),
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(event) => self.on_identify(event),
            BehaviourEvent::Ping(event) => self.on_ping(&event),
            BehaviourEvent::Mdns(event) => self.on_mdns(event),
            BehaviourEvent::Kad(event) => self.on_kad(event),
            BehaviourEvent::Gossip(event) => {
                self.with_gossip(|gossip, behaviour| gossip.on_event(behaviour, event));
            }
            BehaviourEvent::Blobs(blobs::Taken(peer)) => self.links.used(&peer),
            BehaviourEvent::Records(event) => self.on_records(event),
            BehaviourEvent::Punch(event) => self.on_punch(event),
            BehaviourEvent::Relay(circuit::Event::ReservationReqAccepted { src_peer_id, .. }) => {
                from_libp2p(&src_peer_id).iter().for_each(|peer| self.links.set_guest(peer, true));
            }
            BehaviourEvent::Relay(
                circuit::Event::ReservationClosed { src_peer_id }
                | circuit::Event::ReservationTimedOut { src_peer_id },
            ) => {
                from_libp2p(&src_peer_id).iter().for_each(|peer| self.links.set_guest(peer, false));
            }
            event @ (BehaviourEvent::ReachClient(_)
            | BehaviourEvent::Upnp(_)
            | BehaviourEvent::Relayed(_)
            | BehaviourEvent::Relay(_)) => tracing::debug!(?event, "reach"),
            _ => {}
        }
    }

    fn with_kad(&mut self, act: impl FnOnce(&mut Discovery, &mut Kad)) {
        if let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() {
            act(&mut self.discovery, kad);
        }
    }

    fn with_gossip(&mut self, act: impl FnOnce(&mut Gossip, &mut gossipsub::Behaviour)) {
        if let Some(behaviour) = self.swarm.behaviour_mut().gossip.as_mut() {
            act(&mut self.gossip, behaviour);
        }
    }

    fn on_tick(&mut self) {
        self.dial_bootstrap();
        self.recall();
        self.dial_neighbours();
        let is_reachable = self.reachability() == Reachability::Public;
        self.keep_reservations(is_reachable);
        self.swarm.behaviour_mut().blobs.tick(Instant::now());
        self.refusals.tick(&mut self.swarm.behaviour_mut().refused, Instant::now());
        let now = Instant::now();
        for peer in self.outdated.leaving(now).into_iter().chain(self.foreign.leaving(now)) {
            let _was_connected = self.swarm.disconnect_peer_id(to_libp2p(&peer));
        }
        for needless in self.links.needless() {
            self.swarm.close_connection(needless);
        }
        self.disconnect_surplus();
        let any_global = self.links.any_global();
        self.with_kad(|discovery, kad| {
            discovery.choose_mode(kad, any_global, is_reachable);
            discovery.tick(kad);
        });
    }

    /// Disconnects peers where more are connected than are of use.
    fn disconnect_surplus(&mut self) {
        let behaviour = self.swarm.behaviour();
        let mesh: BTreeSet<PeerId> = match behaviour.gossip.as_ref() {
            Some(gossip) => gossip.all_mesh_peers().filter_map(from_libp2p).collect(),
            None => BTreeSet::new(),
        };
        let is_needed = |peer: &PeerId| {
            let libp2p = to_libp2p(peer);
            mesh.contains(peer)
                || behaviour.blobs.is_busy(peer)
                || self.relays.holds(&libp2p)
                || self.discovery.is_named(&libp2p)
        };
        for peer in self.links.surplus(is_needed) {
            tracing::debug!(%peer, "a peer is disconnected, because more are connected than are of use");
            let _was_connected = self.swarm.disconnect_peer_id(to_libp2p(&peer));
        }
    }

    /// Dials the bootstrap peers that are due. Where none of them is connected, no crowd of others stands in for them: they
    /// are few, and each waits longer from dial to dial.
    fn dial_bootstrap(&mut self) {
        let is_connected = |address: &Multiaddr| match peer_of(address) {
            Some(peer) => self.swarm.is_connected(&peer),
            None => self.links.is_dialled_at(address),
        };
        if self.links.are_enough() && self.discovery.is_any_bootstrap(is_connected) {
            return;
        }
        for address in self.discovery.due_bootstrap(Instant::now(), is_connected) {
            // Where the name leads to a private network, this dial is refused, and the next one is not.
            self.ranges.open_named(&address);
            if let Err(error) = self.swarm.dial(dialling::options(&address)) {
                tracing::debug!(%address, %error, "a bootstrap peer is not dialled");
            }
        }
    }

    fn reachability(&self) -> Reachability {
        reachability::reachability(self.swarm.external_addresses())
    }

    /// Offers this node as a relay, or keeps reservations with other relays.
    fn keep_reservations(&mut self, is_reachable: bool) {
        let serves = self.relays.is_to_serve(is_reachable);
        if self.relays.is_forced() {
            let known = |address: &Multiaddr| self.swarm.external_addresses().any(|it| it == address);
            let public = self.swarm.listeners().filter(|it| reachability::is_public(it) && !known(it));
            for address in public.cloned().collect::<Vec<_>>() {
                self.swarm.add_external_address(address);
            }
        }
        self.swarm.behaviour_mut().relay.offer(serves);
        let due = self.relays.due(is_reachable || serves, Instant::now());
        due.release.into_iter().for_each(|listener: ListenerId| {
            let _was_open = self.swarm.remove_listener(listener);
        });
        for (peer, address) in due.reserve {
            match self.swarm.listen_on(address) {
                Ok(listener) => self.relays.asked(&peer, listener),
                Err(error) => tracing::debug!(%peer, %error, "a relay is not asked"),
            }
        }
    }

    /// This node and a peer, both behind NATs, have tried to reach each other directly.
    fn on_punch(&mut self, event: dcutr::Event) {
        let dcutr::Event { remote_peer_id: peer, result } = event;
        match result {
            Ok(_) => tracing::info!(%peer, "peer is reached directly, through the NATs"),
            Err(error) => {
                tracing::info!(%peer, %error, "peer is not reached directly");
                self.swarm.behaviour_mut().blobs.punch_failed(&peer);
            }
        }
    }

    fn on_connected(&mut self, peer: libp2p::PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        if !endpoint.is_relayed() {
            self.ranges.connected(endpoint.get_remote_address());
        }
        let Some(ours) = from_libp2p(&peer) else {
            let _was_connected = self.swarm.disconnect_peer_id(peer);
            return;
        };
        self.links.connected(ours, connection, endpoint);
        if endpoint.is_listener()
            && let Some(useless) = self.links.make_room()
        {
            tracing::debug!(peer = %useless, "an idle peer is disconnected to make room");
            let _was_connected = self.swarm.disconnect_peer_id(to_libp2p(&useless));
        }
        self.call_ended(connection, None);
        self.dialling.connected(connection, ours);
    }

    fn on_disconnected(
        &mut self,
        peer: &libp2p::PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
    ) {
        if !endpoint.is_relayed() {
            self.ranges.disconnected(endpoint.get_remote_address());
        }
        let Some(ours) = from_libp2p(peer) else { return };
        if self.links.disconnected(ours, connection) {
            self.relays.withdrawn(peer);
            let peer = ours;
            let _heard = self.peers.try_send(PeerEvent::Disconnected(peer));
        }
    }

    fn on_own_address(&mut self, address: &Multiaddr) {
        tracing::info!(%address, "peers reach this node at this address");
        self.discovery.own_addresses_changed();
    }

    fn on_ping(&mut self, event: &ping::Event) {
        if let (Some(peer), Ok(rtt)) = (from_libp2p(&event.peer), &event.result) {
            self.links.pinged(peer, *rtt);
        }
    }

    fn on_records(&mut self, event: libp2p::request_response::Event<Request, Response>) {
        if let Some(peer) = records::asker(&event) {
            self.links.used(&peer);
        }
        self.records.on_event(&mut self.swarm.behaviour_mut().records, event);
    }

    fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        let Some(peer) = from_libp2p(&peer_id) else { return };
        if info.protocol_version != self.names.identify {
            let protocol = info.protocol_version;
            tracing::debug!(peer = %peer_id, protocol, "a peer of another network is disconnected");
            self.met_stranger(&peer);
            if Protocols::are_of_family(&protocol) {
                let addresses = outdated::shown(self.links.addresses(&peer));
                let _is_new = self.foreign.met(peer, info.agent_version, addresses, Instant::now());
            }
            // One of the family stays for a moment: it learns from this node what this node has learnt from it.
            if !self.foreign.is_leaving(&peer) {
                let _was_connected = self.swarm.disconnect_peer_id(peer_id);
            }
            return;
        }
        if self.names.is_of_before(info.protocols.iter().map(AsRef::as_ref)) {
            return self.meet_outdated(peer, info.agent_version);
        }
        self.outdated.upgraded(&peer);
        let ranges = self.links.ranges_of(&peer);
        let in_dht = info.protocols.iter().any(|protocol| protocol.as_ref() == self.names.dht);
        let fit = info.listen_addrs.into_iter().filter(|it| is_fit(it, &ranges));
        let listens: Vec<Multiaddr> = fit.take(ADDRESSES_PER_PEER_MAX).collect();
        self.links.listens(&peer, listens.clone());
        for address in listens.iter().cloned() {
            self.swarm.add_peer_address(peer_id, address.clone());
            if let Some(kad) = self.swarm.behaviour_mut().kad.as_mut().filter(|_| in_dht) {
                kad.add_address(&peer_id, address);
            }
        }
        match self.links.dialled(&peer) {
            Some(address) if relay::is_offered(&info.protocols) => {
                self.relays.offered(peer_id, address, Instant::now());
            }
            _ => {}
        }
        let is_new = self.links.identified(peer, info.agent_version);
        self.remember(&peer);
        if is_new {
            let _heard = self.peers.try_send(PeerEvent::Connected(peer));
            self.dial_past_relay(&peer, listens);
        }
    }

    /// Names a peer that speaks version 1 of the protocols only. It is disconnected a moment later, so that its question
    /// is answered.
    fn meet_outdated(&mut self, peer: PeerId, agent: String) {
        let addresses = outdated::shown(self.links.addresses(&peer));
        if self.outdated.met(peer, agent, addresses, Instant::now()) {
            tracing::warn!("peer {peer} speaks version 1 of the protocol only: ask its owner to upgrade");
        }
    }

    /// Dials a peer that is connected through relays only, at its public addresses.
    ///
    /// This is a plain dial. Were both ends to dial at one moment, as hole punching does, both ends of the connection
    /// would wait for the other to speak first.
    fn dial_past_relay(&mut self, peer: &PeerId, mut addresses: Vec<Multiaddr>) {
        addresses.retain(reachability::is_public);
        if addresses.is_empty() || self.links.is_direct(peer) {
            return;
        }
        let options = DialOpts::peer_id(to_libp2p(peer)).condition(PeerCondition::Always);
        if let Err(error) = self.swarm.dial(options.addresses(addresses).build()) {
            tracing::debug!(%peer, %error, "a peer behind a relay is not dialled");
        }
    }

    fn on_mdns(&mut self, event: mdns::Event) {
        match event {
            mdns::Event::Discovered(found) => {
                for (peer, address) in found {
                    self.ranges.open(&address);
                    self.discovery.neighbour_found(peer, address);
                }
                self.dial_neighbours();
            }
            mdns::Event::Expired(lost) => {
                lost.iter().for_each(|(peer, address)| self.discovery.neighbour_lost(peer, address));
            }
        }
    }

    /// Dials the neighbours that are due, each from a new port.
    ///
    /// Two nodes that dial each other from their listening ports in the same instant open one connection that has no
    /// listener, and both wait for the other to answer.
    fn dial_neighbours(&mut self) {
        if self.links.are_enough() {
            return;
        }
        let swarm = &self.swarm;
        for (peer, addresses) in
            self.discovery.due_neighbours(Instant::now(), |peer| swarm.is_connected(peer))
        {
            let condition = PeerCondition::DisconnectedAndNotDialing;
            let options = DialOpts::peer_id(peer).condition(condition).addresses(addresses);
            if let Err(error) = self.swarm.dial(options.allocate_new_port().build()) {
                tracing::trace!(%peer, %error, "a neighbour is not dialled");
            }
        }
    }

    fn on_kad(&mut self, event: kad::Event) {
        let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() else { return };
        for peer in self.discovery.on_kad(kad, event) {
            if !self.swarm.is_connected(&peer) {
                drop(self.swarm.dial(DialOpts::peer_id(peer).build()));
            }
        }
    }

    fn connect(
        &mut self,
        shown: Address,
        address: Multiaddr,
        reply: oneshot::Sender<Result<PeerId, ConnectError>>,
    ) {
        self.ranges.open(&address);
        self.ranges.open_named(&address);
        if let Some(peer) = peer_of(&address).and_then(|peer| from_libp2p(&peer))
            && self.links.is_connected(&peer)
        {
            return drop(reply.send(Ok(peer)));
        }
        self.dialling.connect(&mut self.swarm, shown, &address, reply);
    }

    fn dial_hint(
        &mut self,
        peer: PeerId,
        addresses: &[Address],
        told_by: Option<PeerId>,
        is_given: bool,
        reply: oneshot::Sender<()>,
    ) {
        let ranges = told_by.map(|peer| self.links.ranges_of(&peer));
        let fit = |address: &Multiaddr| {
            ranges.as_ref().is_none_or(|ranges| is_fit(address, ranges))
                && (is_given || self.ranges.may_dial(address))
        };
        let addresses: Vec<Multiaddr> = addresses
            .iter()
            .take(ADDRESSES_PER_PEER_MAX)
            .filter_map(|address| address.as_str().parse().ok())
            .filter(fit)
            .take(ADDRESSES_DIALLED_MAX)
            .collect();
        if addresses.is_empty() || self.links.is_connected(&peer) {
            let _heard = reply.send(());
            return;
        }
        self.dialling.hint(&mut self.swarm, &peer, addresses, is_given, reply);
    }

    fn addresses_for(&self, peer: &PeerId) -> Vec<Address> {
        let ranges = self.links.ranges_of(peer);
        self.own_addresses(|address| is_fit(address, &ranges))
    }

    fn acquaintances(&self, asker: &PeerId) -> Vec<Holder> {
        let named = self.links.acquaintances(asker).into_iter().map(|(peer, addresses)| {
            let addresses = addresses.iter().filter_map(|address| address.to_string().parse().ok());
            Holder { peer, addresses: Bounded::first_of(addresses) }
        });
        named.collect()
    }

    fn peer_infos(&mut self) -> Vec<PeerInfo> {
        let mut infos = [self.links.infos(), self.outdated.infos(Instant::now())].concat();
        let blobs = &self.swarm.behaviour().blobs;
        for info in &mut infos {
            // The streams of a connection over QUIC do not wait for each other.
            let waits = info.transport.as_deref() == Some("tcp");
            info.rtt_is_behind_pieces = waits && blobs.moves_pieces(&info.peer);
        }
        infos
    }

    fn own_addresses(&self, fit: impl Fn(&Multiaddr) -> bool) -> Vec<Address> {
        let own = Protocol::P2p(*self.swarm.local_peer_id());
        let known = self.swarm.listeners().chain(self.swarm.external_addresses());
        let mut addresses: Vec<Address> = known
            .filter(|address| fit(address))
            .filter_map(|address| address.clone().with_p2p(*self.swarm.local_peer_id()).ok())
            .filter(|address| address.iter().last() == Some(own.clone()))
            .filter_map(|address| address.to_string().parse().ok())
            .collect();
        addresses.sort();
        addresses.dedup();
        addresses
    }
}
