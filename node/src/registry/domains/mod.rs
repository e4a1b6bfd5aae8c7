//! Turns a domain into a publisher: asks the domain, confirms it by the publisher's signed profile, and pins it.
//!
//! In: a domain, and what the user consents to. Out: the publisher that is pinned. Promise: a domain is pinned only where its
//! publisher's profile names it back, a pin changes only where the user says so, and gateways never ask a domain.

mod error;
mod peers;
mod resolve;

use std::sync::Arc;

use crate::net::Network;
use crate::registry::resolve::Resolver;
use crate::registry::trust::Trust;
use crate::well_known::DomainClient;

pub use self::error::DomainError;
pub use self::peers::dial_all;

/// Resolves domains.
#[derive(Debug)]
pub struct Domains {
    trust: Arc<Trust>,
    network: Network,
    resolver: Arc<Resolver>,
    client: DomainClient,
}

impl Domains {
    /// Returns what resolves domains by these settings.
    pub const fn new(
        trust: Arc<Trust>,
        network: Network,
        resolver: Arc<Resolver>,
        client: DomainClient,
    ) -> Self {
        Self { trust, network, resolver, client }
    }
}
