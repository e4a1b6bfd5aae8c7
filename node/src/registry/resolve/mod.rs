//! Resolves a reference to a proven manifest: name → tag record → manifest → provenance → the user's policy.
//!
//! In: a reference, and how long the caller is willing to wait. Out: [`Resolved`], or for gateways a [`ModelView`] that
//! is kept for a while. Promise: no file of a model is fetched before its signature, its provenance and the user's
//! rules have been checked.

mod alias;
mod answers;
mod asking;
mod brought;
mod finder;
mod heard_keys;
mod introductions;
mod later;
mod profile;
mod questions;
mod resolved;
mod resolver;
mod sent;
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

mod absent;
mod damaged;
mod described;
mod place;
mod view;
mod views;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use reg_api::consent::Consent;
use reg_api::web_seed::WebSeed;
use reg_proto::peer::PeerId;

use self::described::Described;
use self::slow::SlowPeers;
use self::views::Views;
use crate::net::Network;
use crate::registry::announce::News;
use crate::registry::price::Verifier;
use crate::registry::trust::Trust;
use crate::store::Store;

pub use self::available::Wanted;
pub use self::bans::Bans;
pub use self::brought::Brought;
pub use self::checks::{byte_sources, content_checks, proof_checks, receipt_of, whole_checks};
pub use self::consent::{PolicyError, refuse};
pub use self::documents::Referrers;
pub use self::finder::{Finder, Search};
pub use self::later::Later;
pub use self::place::TagPlace;
pub use self::profile::{FoundProfile, ProfileSearch};
pub use self::prove::accept;
pub use self::resolved::{OTHER_KEY, RecordChoice, ResolveError, ResolveOptions, Resolved};
pub use self::stored::{ModelHere, TagHere};
pub use self::view::{Judged, ModelView, Revision, ViewError};

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
    /// What the files here say of models that are partly in the store.
    described: Described,
    /// The kinds of files that gateways take and serve although they are more than data.
    pub consent: Consent,
    /// HTTP servers that every pull asks beside peers.
    web_seeds: Mutex<Arc<[WebSeed]>>,
    /// When the node started.
    since: Instant,
}

impl Resolver {
    /// Bans a peer that is proven to lie, and forgets that it was of use.
    pub fn ban(&self, peer: PeerId) {
        self.bans.ban(peer);
        self.network.remembered().distrust(&peer);
    }

    /// Returns a resolver that has resolved nothing yet.
    pub fn new(
        store: Store,
        network: Network,
        trust: Arc<Trust>,
        news: Arc<News>,
        consent: Consent,
        web_seeds: Vec<WebSeed>,
    ) -> Self {
        let (bans, slow, views) = (Bans::default(), SlowPeers::default(), Views::default());
        let (described, since) = (Described::default(), Instant::now());
        let web_seeds = Mutex::new(web_seeds.into());
        Self { store, network, trust, news, bans, slow, views, described, consent, web_seeds, since }
    }

    /// Returns the HTTP servers that every pull asks beside peers.
    pub fn web_seeds(&self) -> Arc<[WebSeed]> {
        self.web_seeds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces them, for pulls that begin from now on.
    pub fn set_web_seeds(&self, seeds: Vec<WebSeed>) {
        *self.web_seeds.lock().unwrap_or_else(PoisonError::into_inner) = seeds.into();
    }

    /// Returns what verifies the answers of peers.
    pub fn verifier(&self) -> &Verifier {
        self.news.verifier()
    }
}
