//! [`Node`]: the parts of a node, started and stopped in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use reg_api::settings::Reloaded;
use reg_keys::keyring::KeyringError;
use reg_proto::peer::{Address, PeerId};
use thiserror::Error;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::config::{Config, ConfigError, HubAccount};
use super::doctor::{self, Running};
use super::gateway::Gateway;
use super::home::{Home, HomeError};
use super::identity::{self, IdentityError};
use super::open_files::{self, TooFewFiles};
use super::reload::{Reloading, Started};
use super::{hourly, telemetry};
use crate::gateway::admin::Steering;
use crate::gateway::admin::error::ErrorDocument;
use crate::gateway::guard::{Caller, Guard, Origins};
use crate::gateway::server::{At, HttpServer, ServeError};
use crate::gateway::{self, Page, Signer};
use crate::net::{NatConfig, Network, NetworkConfig, RelayMode, Remembered, RendezvousConfig, StartError};
use crate::registry::health::HealthSettings;
use crate::registry::publishers::{MigrateError, migrate};
use crate::registry::spread::SpreadSettings;
use crate::registry::trust::{OwnNames, TrustError};
use crate::registry::upstream::UpstreamUnusable;
use crate::registry::{Registry, RegistryParts};
use crate::store::{OpenError, Store};

/// How long the network may take to name its addresses, before a supervisor is told that the node is not ready.
const NETWORK_PATIENCE: Duration = Duration::from_secs(5);

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A daemon: it listens on the configured addresses, and serves the local API.
    Daemon,
    /// A node that lives as long as one command, and listens on ports of its own.
    Command,
    /// The same, without a network.
    Local,
}

/// Why a node does not start.
#[derive(Debug, Error)]
pub enum NodeError {
    #[error("node has no directory for its files")]
    Home(#[from] HomeError),
    #[error("node cannot have enough files and connections open")]
    Files(#[from] TooFewFiles),
    #[error("node's key or token cannot be read")]
    Identity(#[from] IdentityError),
    #[error("store cannot be opened")]
    Store(#[from] OpenError),
    #[error("store of the version before cannot be migrated")]
    Migrate(#[from] MigrateError),
    #[error("rules of sharing cannot be applied")]
    Sharing(#[from] TrustError),
    #[error("network cannot be started")]
    Network(#[from] StartError),
    #[error("local API cannot be served")]
    Serve(#[from] ServeError),
    #[error("address of the gateways cannot be written")]
    Announce(#[source] std::io::Error),
    #[error("key that signs uploads cannot be used")]
    PublishKey(#[from] KeyringError),
    #[error("upstream cannot be used")]
    Upstream(#[from] UpstreamUnusable),
    #[error("upstream {endpoint} is this node itself")]
    OwnUpstream { endpoint: String },
    #[error("a task ended early")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// Why a configuration was not read again. The node runs on with the one before.
#[derive(Debug, Error)]
pub enum ReloadError {
    #[error("configuration is refused, and the one before stays in effect")]
    Config(#[from] ConfigError),
    #[error("a task ended early")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    registry: Registry,
    network: Network,
    router: Router,
    server: Option<HttpServer>,
    reloading: Arc<Reloading>,
    page: Page,
    /// The task that tells the log each hour what was served.
    hourly: Option<AbortHandle>,
}

impl Node {
    /// Starts the parts of a node.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn start(home: &Home, config: &Config, mode: Mode) -> Result<Self, NodeError> {
        Self::start_with(home, config, Started::default(), mode).await
    }

    /// Starts the parts of a node. What it was `started` with is in `config`, and wins over the file again when it is read again.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn start_with(
        home: &Home,
        config: &Config,
        mut started: Started,
        mode: Mode,
    ) -> Result<Self, NodeError> {
        let passed = started.listener.take();
        open_files::allow(mode)?;
        home.make()?;
        let seed = identity::secret(&home.identity())?;
        let is_offline = mode == Mode::Local || config.offline;
        if !is_offline {
            Network::prepare();
        }
        let (path, limits) = (home.store(), config.cache);
        let peers = home.remembered_peers(&seed, config.swarm.key.as_deref());
        let remembers = config.remember;
        let open = move || {
            let store = Store::open(&path, limits)?;
            migrate(&store)?;
            // The store's lock keeps other processes from this file too.
            let remembered = if remembers { Remembered::open(&peers) } else { Remembered::nothing() };
            Ok::<_, NodeError>((store, remembered))
        };
        let (store, remembered) = tokio::task::spawn_blocking(open).await??;
        let (network, inbound) = if is_offline {
            (Network::offline(own_peer(seed), remembered), None)
        } else {
            let config = NetworkConfig { remembered, ..network_config(seed, config, mode) };
            let (network, inbound) = Network::start(config).await?;
            (network, Some(inbound))
        };
        let parts = RegistryParts {
            store,
            network: network.clone(),
            inbound,
            trust: home.trust(),
            own_names: Some(own_names(home)),
            consent: config.consent.clone(),
            limits: config.limits,
            web_seeds: config.web_seeds.clone(),
            zone: config.zone.clone(),
            sharing: config.sharing.clone(),
            domains: config.domains.clone(),
            catalogue: Some(home.catalogue()),
            pulls_followed: mode == Mode::Daemon && !is_offline,
            health: HealthSettings {
                audits: mode == Mode::Daemon && !is_offline && config.health.budget > 0,
                file: Some(home.health(&seed, config.swarm.key.as_deref())),
                ..config.health.clone()
            },
            donate: config.donate,
            spread: SpreadSettings {
                acts: mode == Mode::Daemon && !is_offline,
                file: config.swarm.key.as_deref().map(|key| home.swarm_members(&seed, key)),
                zones: config.health.zones.clone(),
                ..config.spread.clone()
            },
        };
        let registry = Registry::start(parts)?;
        let signer = match (&config.publish_key, mode) {
            (Some(name), Mode::Daemon) => Some(Signer::new(name.clone(), home.keyring())?),
            _ => None,
        };
        let upstream = match (&config.upstream, mode) {
            (Some(HubAccount { endpoint, token }), Mode::Daemon) => {
                Some(registry.upstream(endpoint, token.clone())?)
            }
            _ => None,
        };
        let page = Page::new();
        let router = gateway::router(registry.clone(), signer, upstream, page.clone());
        let origins = Origins::from(config.origins.clone());
        let (folders, effective) = (home.clone(), config.clone());
        let reloading = Reloading::new(folders, started, effective, registry.clone(), origins.clone());
        let reloading = Arc::new(reloading);
        let router = router.layer(Extension(steering(&reloading, &registry, &network)));
        let server = match mode {
            Mode::Daemon => {
                let token = identity::token(&home.token())?;
                let guard = |address| Guard::new(address, token, page.tokens(), origins);
                let at = passed.map_or(At::Address(config.http), At::Passed);
                let server =
                    HttpServer::start(router.clone(), at, &home.socket(), guard, registry.metrics()).await?;
                let own = format!("http://{}", server.address());
                if config.upstream.as_ref().is_some_and(|it| it.endpoint == own) {
                    return Err(NodeError::OwnUpstream { endpoint: own });
                }
                Gateway::announce(home, server.address()).map_err(NodeError::Announce)?;
                Some(server)
            }
            Mode::Command | Mode::Local => None,
        };
        let tells = server.is_some().then(|| tokio::spawn(hourly::tell(registry.clone())).abort_handle());
        Ok(Self { registry, network, router, server, reloading, page, hourly: tells })
    }

    /// Returns the routes of the local API, for calls within this process.
    pub fn router(&self) -> Router {
        self.router.clone().layer(Extension(Caller::Owner))
    }

    /// Reads the configuration again, and takes what a running node can take.
    ///
    /// # Errors
    /// The file is refused. Then all values stay as they were.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let reloading = self.reloading.clone();
        Ok(tokio::task::spawn_blocking(move || reloading.reload()).await??)
    }

    /// Returns the peer id of this node.
    pub fn peer_id(&self) -> PeerId {
        self.network.peer_id()
    }

    /// Returns the addresses that this node listens on.
    pub async fn listen_addresses(&self) -> Vec<Address> {
        self.network.listen_addresses().await
    }

    /// Tells whether the network answers in time. One that listens on no address is well: it was told so.
    pub async fn answers(&self) -> bool {
        self.network.is_offline() || timeout(NETWORK_PATIENCE, self.network.listen_addresses()).await.is_ok()
    }

    /// Returns the address of the local API; `None` where the node does not serve it.
    pub fn http(&self) -> Option<SocketAddr> {
        self.server.as_ref().map(HttpServer::address)
    }

    /// Stops the API, then the background tasks, then the network, and syncs the store's index last.
    pub async fn shutdown(self) {
        self.page.end();
        self.hourly.iter().for_each(AbortHandle::abort);
        if let Some(server) = self.server {
            server.shutdown().await;
        }
        self.registry.shutdown().await;
    }
}

/// Returns what the local API asks of a node.
fn steering(reloading: &Arc<Reloading>, registry: &Registry, network: &Network) -> Steering {
    let (of_settings, of_reload, of_report) = (reloading.clone(), reloading.clone(), reloading.clone());
    let (examined, registry, network) = (reloading.clone(), registry.clone(), network.clone());
    let listening = network.clone();
    Steering::new(
        move || of_settings.settings(),
        move || of_report.report(),
        move || of_reload.reload().map_err(|error| ErrorDocument::of(&error)),
        move || {
            let running =
                Running { registry: registry.clone(), network: network.clone(), config: examined.config() };
            doctor::examine_own(examined.home().clone(), examined.overrides(), running)
        },
        move || {
            let network = listening.clone();
            async move { unready(&network).await }
        },
        telemetry::recent::since,
    )
}

/// Returns why a node cannot do its work, once its store is open; `None` where it can.
async fn unready(network: &Network) -> Option<String> {
    if network.is_offline() {
        return None;
    }
    match timeout(NETWORK_PATIENCE, network.listen_addresses()).await {
        Ok(addresses) if addresses.is_empty() => Some("the node listens on no address".to_owned()),
        Ok(_) => None,
        Err(_) => Some("the network does not answer".to_owned()),
    }
}

fn own_peer(seed: [u8; 32]) -> PeerId {
    PeerId::from_public_key(ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().to_bytes())
}

fn network_config(seed: [u8; 32], config: &Config, mode: Mode) -> NetworkConfig {
    let any_port =
        || ["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1"].map(|it| it.parse().expect("an address"));
    NetworkConfig {
        seed,
        listen: if mode == Mode::Daemon { config.listen.clone() } else { any_port().to_vec() },
        bootstrap: config.bootstrap.clone(),
        mdns: config.mdns,
        dht: config.dht,
        gossip: config.gossip,
        swarm: config.swarm.clone(),
        // The node of a command has gone before a stranger could come.
        rendezvous: RendezvousConfig { announces: mode == Mode::Daemon, ..config.rendezvous.clone() },
        nat: match mode {
            Mode::Daemon => config.nat.clone(),
            // The command ends before a relay or an open port is useful.
            Mode::Command | Mode::Local => NatConfig { relay: RelayMode::Off, ..NatConfig::default() },
        },
        lanes: config.lanes,
        remembered: Remembered::nothing(),
    }
}

/// Returns the names of the keys in the user's key ring: each means its publisher on this machine.
fn own_names(home: &Home) -> OwnNames {
    let keyring = home.keyring();
    OwnNames::new(move |petname| keyring.publisher_of(petname))
}
