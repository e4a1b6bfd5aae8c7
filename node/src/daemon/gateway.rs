//! [`Gateway`]: the address of the running daemon's gateways, and the token that makes a caller the owner. Programs that
//! may read the daemon's files learn both.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use super::home::Home;

/// The address and the token of the daemon that runs on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    pub address: SocketAddr,
    pub token: String,
}

/// Why the address of the gateways cannot be read.
#[derive(Debug, Error)]
pub enum GatewayError {
    #[error("{path} cannot be read")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} does not hold an address")]
    Address { path: PathBuf },
}

impl Gateway {
    /// Reads the files that the daemon of this home has written.
    ///
    /// # Errors
    /// Fails where there are none, or they cannot be read.
    pub fn of(home: &Home) -> Result<Self, GatewayError> {
        let read =
            |path: PathBuf| fs::read_to_string(&path).map_err(|source| GatewayError::Read { path, source });
        let text = read(home.gateway())?;
        let address = text.trim().parse().map_err(|_| GatewayError::Address { path: home.gateway() })?;
        Ok(Self { address, token: read(home.token())?.trim().to_owned() })
    }

    /// Writes the address of the gateways for programs of this machine: loopback where they listen on all addresses.
    pub(super) fn announce(home: &Home, address: SocketAddr) -> io::Result<()> {
        let mut reached = address;
        if reached.ip().is_unspecified() {
            reached.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        let (path, text) = (home.gateway(), reached.to_string());
        match fs::read_to_string(&path) {
            Ok(written) if written == text => Ok(()),
            _ => match fs::write(&path, text) {
                // The node serves what it has. Only programs that ask this file do not find it.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
                {
                    tracing::warn!(%error, path = %path.display(), "the address of the gateways cannot be written");
                    Ok(())
                }
                written => written,
            },
        }
    }
}
