//! Lists, adds and removes peers for the owner of a node.

use std::error::Error;
use std::io;

use reg_api::fault::{Fault, FaultKind};
use reg_api::report::{KnownPeer, PeerAdded, PeerReport};
use reg_proto::peer::{Address, PeerId};
use thiserror::Error;
use tokio::time::Instant;

use super::Local;
use crate::net::{ConnectError, Forget, NamePeerError, NamedPeer};
use crate::registry::limits::{FOREIGN_LOOK, FOREIGN_PATIENCE};
use crate::registry::resolve::OTHER_KEY;

/// Why a peer is not added or not removed.
#[derive(Debug, Error)]
pub enum PeersError {
    #[error(transparent)]
    Name(#[from] NamePeerError),
    #[error("{what} is neither a peer id nor an address")]
    Unclear { what: String },
    #[error("{what} is not remembered")]
    Unknown { what: String },
}

impl Fault for PeersError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Name(NamePeerError::Write(source)) if source.kind() == io::ErrorKind::StorageFull => {
                FaultKind::DiskFull
            }
            Self::Name(NamePeerError::Write(_)) => FaultKind::Internal,
            Self::Name(NamePeerError::Off) => FaultKind::Denied,
            Self::Name(_) | Self::Unclear { .. } => FaultKind::Invalid,
            Self::Unknown { .. } => FaultKind::NotFound,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Name(NamePeerError::Off) => {
                Some("`remember` under [node] in the configuration, and the log of the daemon say why".into())
            }
            Self::Name(NamePeerError::NoRoom) => Some("remove one that is of no use: reg peers rm ADDR".into()),
            Self::Name(NamePeerError::Address { .. } | NamePeerError::Transport { .. }) => {
                Some("addresses are of the form /ip4/192.0.2.7/tcp/4600/p2p/12D3KooW…; `reg status` shows a node's".into())
            }
            Self::Unknown { .. } => Some("`reg peers --known` lists what is remembered".into()),
            _ => None,
        }
    }
}

impl Local {
    /// Lists the peers that this node is connected to, and those that must be upgraded.
    pub async fn peers(&self) -> Vec<PeerReport> {
        let foreign = self.network.foreign().await;
        let own = self.network.peers().await.into_iter().filter(|it| !foreign.contains(&it.peer));
        let peers = own.map(|info| {
            let bytes = self.fetching.traffic.with_peer(&info.peer);
            PeerReport {
                peer: info.peer,
                addresses: info.addresses,
                agent: info.agent,
                transport: info.transport,
                rtt_ms: info.rtt_ms,
                lanes: info.lanes,
                no_lane: info.no_lane,
                outdated: info.outdated,
                bytes_fetched: bytes.fetched,
                bytes_served: bytes.served,
                bytes_by_lane: bytes.by_lane,
            }
        });
        peers.collect()
    }

    /// Lists the peers that this node remembers.
    pub fn known_peers(&self) -> Vec<KnownPeer> {
        self.network.remembered().list()
    }

    /// Keeps an address that the user names, and dials it now and at every start.
    ///
    /// # Errors
    /// See [`PeersError`]. An address at which no peer answers now is kept.
    pub async fn add_peer(&self, address: &Address) -> Result<PeerAdded, PeersError> {
        let NamedPeer { address, peer, is_new, unreached } = self.network.name_peer(address).await?;
        let why = |error: &ConnectError| match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        let is_reached = unreached.is_none() && !self.network.is_offline();
        let is_foreign = match peer.filter(|_| is_reached) {
            Some(peer) => self.is_foreign(&peer).await,
            None => false,
        };
        let foreign = is_foreign.then(|| format!("it answers, and is in another swarm: {OTHER_KEY}"));
        Ok(PeerAdded {
            address,
            peer,
            is_new,
            connected: is_reached && !is_foreign,
            unreached: unreached.as_ref().map(why).or(foreign),
        })
    }

    /// Tells whether a connected peer is in another swarm, which it reports a moment after it has connected.
    async fn is_foreign(&self, peer: &PeerId) -> bool {
        let end = Instant::now() + FOREIGN_PATIENCE;
        while Instant::now() < end {
            if self.network.foreign().await.contains(peer) {
                return true;
            }
            let peers = self.network.peers().await;
            if peers.iter().any(|it| it.peer == *peer && it.agent.is_some()) {
                return false;
            }
            tokio::time::sleep(FOREIGN_LOOK).await;
        }
        false
    }

    /// Forgets a peer, by its id or an address, and disconnects it.
    ///
    /// # Errors
    /// See [`PeersError`].
    pub async fn forget_peer(&self, what: &str) -> Result<(), PeersError> {
        let forget = match (what.parse::<PeerId>(), what.parse::<Address>()) {
            (Ok(peer), _) => Forget::Peer(peer),
            (_, Ok(address)) => Forget::Address(address),
            _ => return Err(PeersError::Unclear { what: what.to_owned() }),
        };
        match self.network.forget_peer(&forget).await? {
            true => Ok(()),
            false => Err(PeersError::Unknown { what: what.to_owned() }),
        }
    }
}
