//! [`Gateway`]: where the running daemon serves its gateways, and the token that makes an owner; for who may read its
//! files.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use super::home::Home;

/// Where to find the gateways of the daemon that runs here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    pub address: SocketAddr,
    pub token: String,
}

/// Why it is not known where the gateways are.
#[derive(Debug, Error)]
pub enum GatewayError {
    #[error("{path} cannot be read")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} does not hold an address")]
    Address { path: PathBuf },
}

impl Gateway {
    /// Reads what the daemon of this home has written.
    ///
    /// # Errors
    /// No daemon has, or the files cannot be read.
    pub fn of(home: &Home) -> Result<Self, GatewayError> {
        let read =
            |path: PathBuf| fs::read_to_string(&path).map_err(|source| GatewayError::Read { path, source });
        let text = read(home.gateway())?;
        let address = text.trim().parse().map_err(|_| GatewayError::Address { path: home.gateway() })?;
        Ok(Self { address, token: read(home.token())?.trim().to_owned() })
    }

    /// Writes where the gateways are; beyond one address of this machine, loopback is where they are reached from here.
    pub(super) fn announce(home: &Home, address: SocketAddr) -> io::Result<()> {
        let mut reached = address;
        if reached.ip().is_unspecified() {
            reached.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        fs::write(home.gateway(), reached.to_string())
    }
}
