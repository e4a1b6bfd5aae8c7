//! Adds and removes peers as the user asks: while a node runs, and without a network.

use std::io;

use libp2p::Multiaddr;
use reg_proto::peer::{Address, PeerId};
use thiserror::Error;

use super::{Forget, Remembered};
use crate::net::Network;
use crate::net::command::Command;
use crate::net::dialling::peer_of;
use crate::net::error::{ConnectError, DialFailure};
use crate::net::limits::NAMED_PEERS_MAX;

/// Why a peer is not added, or not removed.
#[derive(Debug, Error)]
pub enum NamePeerError {
    #[error("{address} is not an address that can be dialled")]
    Address { address: Address, source: libp2p::multiaddr::Error },
    #[error("{address} cannot be reached by this node")]
    Transport { address: Address, source: DialFailure },
    #[error("{address} is this node itself")]
    Own { address: Address },
    #[error("this node remembers no peers")]
    Off,
    #[error("{NAMED_PEERS_MAX} addresses are added already")]
    NoRoom,
    #[error("the file of remembered peers cannot be written")]
    Write(#[from] io::Error),
}

/// A peer that was added.
#[derive(Debug)]
pub struct NamedPeer {
    /// As it is kept: with the peer's id, where that is known.
    pub address: Address,
    pub peer: Option<PeerId>,
    /// Whether the address was not kept before.
    pub is_new: bool,
    /// Why no peer answers there now; `None` where one does, and while the node is offline.
    pub unreached: Option<ConnectError>,
}

impl Network {
    /// Returns the peers that this node remembers.
    pub const fn remembered(&self) -> &Remembered {
        &self.remembered
    }

    /// Keeps an address that the user names, and dials it now and at every start. When this returns, it survives a power cut.
    ///
    /// # Errors
    /// See [`NamePeerError`]. An address at which no peer answers now is kept.
    pub async fn name_peer(&self, address: &Address) -> Result<NamedPeer, NamePeerError> {
        if !self.remembered.is_on() {
            return Err(NamePeerError::Off);
        }
        let own = || NamePeerError::Own { address: address.clone() };
        let mut parsed: Multiaddr = address
            .as_str()
            .parse()
            .map_err(|source| NamePeerError::Address { address: address.clone(), source })?;
        if peer_of(&parsed).is_some_and(|peer| peer.to_string() == self.peer_id().to_string()) {
            return Err(own());
        }
        let unreached = match self.connect(address).await {
            Ok(peer) => {
                if peer_of(&parsed).is_none() {
                    parsed.push(libp2p::multiaddr::Protocol::P2p(crate::net::links::to_libp2p(&peer)));
                }
                None
            }
            Err(ConnectError::Own { .. }) => return Err(own()),
            Err(ConnectError::Address { address, source }) => {
                return Err(NamePeerError::Address { address, source });
            }
            Err(ConnectError::Dial { address, source: source @ DialFailure::Transport }) => {
                return Err(NamePeerError::Transport { address, source });
            }
            Err(ConnectError::Offline) => None,
            Err(error) => Some(error),
        };
        // With the peer's id it may have become too long.
        let kept: Address = parsed.to_string().parse().unwrap_or_else(|_| address.clone());
        let is_new = self.remembered.name(kept.clone()).map_err(|_| NamePeerError::NoRoom)?;
        if let Err(error) = self.remembered.save().await {
            // What is told as a failure must not be written later.
            if is_new {
                self.remembered.unname(&kept);
            }
            return Err(error.into());
        }
        self.tell(Command::Name(parsed)).await;
        let peer = kept.parts().1;
        Ok(NamedPeer { address: kept, peer, is_new, unreached })
    }

    /// Forgets a peer, or an address and the connection to the peer that had it. Returns whether it was remembered, or added by
    /// the user.
    ///
    /// # Errors
    /// The file cannot be written, or this node remembers nothing.
    pub async fn forget_peer(&self, what: &Forget) -> Result<bool, NamePeerError> {
        if !self.remembered.is_on() {
            return Err(NamePeerError::Off);
        }
        let (mut peers, unnamed) = self.remembered.forget(what);
        let addresses: Vec<Multiaddr> = unnamed.iter().filter_map(|it| it.as_str().parse().ok()).collect();
        let is_known = !peers.is_empty() || !unnamed.is_empty();
        if let Forget::Peer(peer) = what {
            peers.push(*peer);
        }
        self.tell(Command::Unname { addresses, peers }).await;
        self.remembered.save().await?;
        Ok(is_known)
    }

    /// Records that a peer has sent something that this node had asked for, and that has verified.
    pub fn was_of_use(&self, peer: PeerId) {
        let is_remembered = self.remembered.was_of_use(peer);
        if let Some(commands) = &self.commands {
            // Where the event loop is busy, the next answer of the peer counts.
            let _full = commands.try_send(Command::WasOfUse { peer, is_remembered });
        }
    }
}
