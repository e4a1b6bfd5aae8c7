//! Resolves a reference to a proven manifest: name → tag record → manifest → provenance → the user's policy.
//!
//! In: a reference, and how long the caller is willing to wait. Out: [`Resolved`], or for gateways a [`ModelView`] that
//! is kept for a while. Promise: no file of a model is fetched before its signature, its provenance and the user's
//! rules have been checked.

mod alias;
mod answers;
mod asking;
mod finder;
mod introductions;
mod later;
mod questions;
mod resolved;
mod resolver;
mod slow;
mod verified;

mod attestations;
mod available;
mod bans;
mod documents;
mod prove;
mod version;

mod checks;
mod consent;
mod keep;
mod stored;
mod view;

use std::sync::Arc;

use reg_api::web_seed::WebSeed;

use self::slow::SlowPeers;
use self::view::Views;
use crate::net::Network;
use crate::registry::announce::News;
use crate::registry::price::Verifier;
use crate::registry::trust::Trust;
use crate::store::Store;

pub use self::available::Wanted;
pub use self::bans::Bans;
pub use self::checks::{byte_sources, content_checks, proof_checks, receipt_of};
pub use self::consent::{PolicyError, refuse};
pub use self::documents::Referrers;
pub use self::finder::{Finder, Search};
pub use self::later::Later;
pub use self::prove::accept;
pub use self::resolved::{ResolveError, ResolveOptions, Resolved};
pub use self::stored::{ModelHere, TagHere};
pub use self::view::{ModelView, Revision, ViewError};

/// Resolves references, and remembers what peers and gateways need of that.
#[derive(Debug)]
pub struct Resolver {
    store: Store,
    network: Network,
    trust: Arc<Trust>,
    news: Arc<News>,
    /// Peers that sent wrong bytes.
    pub bans: Bans,
    /// Peers that have let this node wait.
    slow: SlowPeers,
    /// Models that gateways have resolved lately.
    pub views: Views,
    /// Whether gateways serve files that run code when they are loaded, archives, and unrecognised files.
    pub allow_unsafe: bool,
    /// HTTP servers that every pull asks beside peers.
    web_seeds: Vec<WebSeed>,
}

impl Resolver {
    /// Returns a resolver that has resolved nothing yet.
    pub fn new(
        store: Store,
        network: Network,
        trust: Arc<Trust>,
        news: Arc<News>,
        allow_unsafe: bool,
        web_seeds: Vec<WebSeed>,
    ) -> Self {
        let (bans, slow, views) = (Bans::default(), SlowPeers::default(), Views::default());
        Self { store, network, trust, news, bans, slow, views, allow_unsafe, web_seeds }
    }

    /// Returns what verifies the answers of peers.
    pub fn verifier(&self) -> &Verifier {
        self.news.verifier()
    }
}
