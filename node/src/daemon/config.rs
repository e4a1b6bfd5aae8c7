//! The configuration, typed twice: [`RawConfig`] as the user writes it, [`Config`] as the node uses it.
//!
//! Flags win over `REG_*` variables, which win over the file. Every default is in one place: [`Config::new`].

mod donate;
mod health;
mod keys;
mod log;
mod network;
mod swarm;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use reg_api::consent::{Consent, kind_to_allow};
use reg_api::fault::{Fault, FaultKind};
use reg_api::settings::Settings;
use reg_api::size::Given;
use reg_api::web_seed::{SeedError, WebSeed};
use reg_keys::keyring::{KeyName, KeyNameError};
use reg_proto::content::kind::ContentKind;
use reg_proto::digest::Digest;
use reg_proto::domain::DomainError;
use reg_proto::name::NameError;
use reg_proto::peer::{Address, AddressError, PeerIdError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::donate::{DonateConfigError, RawDonate};
use self::health::{HealthConfigError, RawHealth};
pub use self::keys::{SettingKey, UnknownKey, keys};
use self::log::{LogConfigError, RawLog};
pub use self::log::{LogFormat, LogSettings};
use self::network::RawNetwork;
use self::swarm::{CopiesError, RawSwarm};
pub use self::written::{ConfigFile, EditError, report};
use super::home::{Home, expanded};
use crate::net::{DhtMode, NatConfig, RelayMode, RendezvousConfig, SwarmConfig};
use crate::registry::donate::DonateConfig;
use crate::registry::fetch::{SubnetError, TransferLimits, UpLimit, Zone};
use crate::registry::health::HealthSettings;
use crate::registry::spread::SpreadSettings;
use crate::registry::trust::{PatternError, SharingRules};
use crate::store::{CacheLimits, CacheSize};
use crate::well_known::DomainSettings;

/// The file that `reg config init` writes: every key with its default, as a comment.
pub const SAMPLE: &str = include_str!("config/sample.toml");

/// What is hashed before a swarm's key, so that the digest is that of nothing else.
const SWARM_MARK: &[u8] = b"reg settings: swarm key\0";

/// The configuration file as the user writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawConfig {
    pub node: RawNode,
    pub network: RawNetwork,
    pub transfer: RawTransfer,
    pub http: RawHttp,
    pub gateway: RawGateway,
    pub cache: RawCache,
    pub swarm: RawSwarm,
    pub domains: RawDomains,
    pub health: RawHealth,
    pub donate: RawDonate,
    pub log: RawLog,
}

/// Section `[node]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawNode {
    pub listen: Option<Vec<String>>,
    pub bootstrap: Option<Vec<String>>,
    pub mdns: Option<bool>,
    pub dht: Option<String>,
    pub gossip: Option<bool>,
    pub remember: Option<bool>,
    pub offline: Option<bool>,
    pub relay: Option<String>,
    pub upnp: Option<bool>,
    pub external: Option<Vec<String>>,
}

/// Section `[transfer]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawTransfer {
    pub lanes: Option<bool>,
    pub limit_up: Option<String>,
    pub limit_down: Option<String>,
    pub limit_local: Option<bool>,
    pub web_seeds: Option<Vec<String>>,
    pub zone: Option<Vec<String>>,
}

/// Section `[http]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawHttp {
    pub listen: Option<String>,
    pub origins: Option<Vec<String>>,
}

/// Section `[gateway]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawGateway {
    pub publish_key: Option<String>,
    pub allow_unsafe: Option<bool>,
    pub allow: Option<Vec<String>>,
    pub upstream: Option<String>,
}

/// Section `[cache]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawCache {
    pub max_size: Option<String>,
    pub min_free: Option<String>,
}

/// Section `[domains]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawDomains {
    pub resolver: Option<String>,
    pub ca_file: Option<PathBuf>,
    pub private: Option<Vec<String>>,
    pub https_port: Option<u16>,
}

/// A Hugging Face endpoint, and the user's token for it.
#[derive(Clone, PartialEq, Eq)]
pub struct HubAccount {
    /// The URL, as in `https://huggingface.co`.
    pub endpoint: String,
    pub token: Option<String>,
}

impl Default for HubAccount {
    fn default() -> Self {
        Self { endpoint: "https://huggingface.co".to_owned(), token: None }
    }
}

impl fmt::Debug for HubAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubAccount").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// Values of flags and variables; each that is set wins over the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    pub listen: Vec<String>,
    pub bootstrap: Vec<String>,
    pub http: Option<String>,
    pub mdns: Option<bool>,
    pub dht: Option<String>,
    pub gossip: Option<bool>,
    pub remember: Option<bool>,
    pub offline: Option<bool>,
    pub relay: Option<String>,
    pub upnp: Option<bool>,
    pub external: Vec<String>,
    /// Whether to meet strangers.
    pub public: Option<bool>,
    pub lanes: Option<bool>,
    pub limit_up: Option<String>,
    pub limit_down: Option<String>,
    pub limit_local: Option<bool>,
    pub web_seeds: Vec<String>,
    pub swarm_key: Option<String>,
    pub publish_key: Option<String>,
    pub allow_unsafe: Option<bool>,
    /// Kinds beside those of the file.
    pub allow: BTreeSet<ContentKind>,
    pub upstream: Option<String>,
    /// The endpoint that `upstream = "hf"` means.
    pub hub: HubAccount,
    pub cache_max_size: Option<String>,
    pub cache_min_free: Option<String>,
}

/// The configuration as the node uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub listen: Vec<Address>,
    pub bootstrap: Vec<Address>,
    pub mdns: bool,
    pub dht: DhtMode,
    pub gossip: bool,
    /// Whether the peers that were reached are remembered from one start to the next.
    pub remember: bool,
    pub offline: bool,
    pub nat: NatConfig,
    /// Whether pieces go over lanes, where they connect.
    pub lanes: bool,
    pub limits: TransferLimits,
    /// HTTP servers that every pull asks beside peers.
    pub web_seeds: Vec<WebSeed>,
    /// Where near peers are, which are asked first.
    pub zone: Zone,
    pub swarm: SwarmConfig,
    /// How copies are spread over the nodes of a private swarm.
    pub spread: SpreadSettings,
    pub rendezvous: RendezvousConfig,
    pub sharing: SharingRules,
    /// The address of the local API and the gateways; beyond loopback, every request needs the token.
    pub http: SocketAddr,
    /// Web pages of other origins that may use it.
    pub origins: Vec<String>,
    pub publish_key: Option<KeyName>,
    /// The kinds of files that the gateways take and serve although they are more than data.
    pub consent: Consent,
    /// Where to look up names that are neither an id nor a petname.
    pub upstream: Option<HubAccount>,
    pub cache: CacheLimits,
    /// How domains are asked for their publishers.
    pub domains: DomainSettings,
    /// How replicas are counted; where, the node knows.
    pub health: HealthSettings,
    pub donate: DonateConfig,
    pub log: LogSettings,
}

/// Why a configuration is refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("{path} cannot be read")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is refused:\n{source}")]
    Parse { path: PathBuf, source: toml::de::Error },
    #[error("{key} = {text:?} is not an address")]
    Address { key: &'static str, text: String, source: AddressError },
    #[error("{key} = {text:?} is not a socket address, as in 127.0.0.1:4610")]
    Socket { key: &'static str, text: String },
    #[error("http.origins has {text:?}, which is no origin, as in https://page.example")]
    Origin { text: String },
    #[error("gateway.publish_key = {text:?} is not the name of a key")]
    KeyName { text: String, source: KeyNameError },
    #[error("gateway.allow is refused: {reason}")]
    Allow { reason: String },
    #[error("gateway.upstream = {text:?} is not \"hf\"")]
    Upstream { text: String },
    #[error("{key} = {text:?} is not a size, as in \"50 GiB\" or \"500 MB\"")]
    Size { key: &'static str, text: String },
    #[error("{key} = {text:?} is not a rate of at least 64 kB/s, as in \"2 MB/s\"")]
    Rate { key: &'static str, text: String },
    #[error("transfer.zone is refused")]
    Zone(#[from] SubnetError),
    #[error("node.dht = {text:?} is none of auto, server, client, off")]
    Dht { text: String },
    #[error("swarm.peers has {text:?}, which is no peer id (`reg status` shows that of a node)")]
    Peer { text: String, source: PeerIdError },
    #[error("swarm.publishers has {text:?}, which is neither an id nor a petname")]
    Publisher { text: String, source: NameError },
    #[error("transfer.web_seeds is refused")]
    WebSeed(#[from] SeedError),
    #[error("swarm.share is refused")]
    Share(#[from] PatternError),
    #[error("domains.private has {text:?}, which is no domain")]
    Domain { text: String, source: DomainError },
    #[error(transparent)]
    Health(#[from] HealthConfigError),
    #[error(transparent)]
    Donate(#[from] DonateConfigError),
    #[error("swarm.key is empty")]
    SwarmKey,
    #[error(transparent)]
    Copies(#[from] CopiesError),
    #[error("network.rendezvous = {text:?} is neither mainline nor off")]
    Rendezvous { text: String },
    #[error("network.rendezvous_bootstrap has {text:?}, which is no HOST:PORT")]
    RendezvousNode { text: String },
    #[error("network.rendezvous_publishers has {text:?}, which is neither an id nor a petname")]
    RendezvousPublisher { text: String, source: NameError },
    #[error(
        "network.rendezvous (--public) is not for a private swarm: it would publish the addresses of its nodes, and a key from \
         which a short swarm.key can be guessed; name peers with node.bootstrap instead"
    )]
    RendezvousOfSwarm,
    #[error(transparent)]
    Log(#[from] LogConfigError),
    #[error("node.relay = {text:?} is none of auto, on, off")]
    Relay { text: String },
}

impl Fault for ConfigError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Read { source, .. } => FaultKind::of_path(source),
            _ => FaultKind::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        Some("`reg config check` says which line it is; all values stay as they were".to_owned())
    }
}

impl RawConfig {
    /// Reads the file at `path`; a missing file counts as empty.
    ///
    /// # Errors
    /// Fails where the file cannot be read, is no TOML, or has an unknown key.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(ConfigError::Read { path: path.to_owned(), source }),
        };
        Self::parse(&text, path)
    }

    /// Reads the text of the file at `path`.
    ///
    /// # Errors
    /// The text is no TOML, or has an unknown key.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let parsed = toml::from_str(written::bare(text));
        parsed.map_err(|source| ConfigError::Parse { path: path.to_owned(), source })
    }
}

impl RawConfig {
    /// Returns the text of a file with this configuration.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("sections of texts, numbers and lists are TOML")
    }
}

impl Config {
    /// Reads the file of a home, and applies flags and variables.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(home: &Home, overrides: Overrides) -> Result<Self, ConfigError> {
        Self::new(RawConfig::read(&home.config())?, overrides)
    }

    /// Returns the configuration as a file that sets every key.
    pub fn written(&self) -> RawConfig {
        let texts = |list: &[Address]| Some(list.iter().map(ToString::to_string).collect());
        let bytes = |bytes: u64| Given(bytes).exact();
        let rate = |bytes: u64| format!("{}/s", Given(bytes).exact());
        let mut raw = RawConfig::default();
        raw.node.listen = texts(&self.listen);
        raw.node.bootstrap = texts(&self.bootstrap);
        raw.node.mdns = Some(self.mdns);
        raw.node.dht = Some(format!("{:?}", self.dht).to_lowercase());
        raw.node.gossip = Some(self.gossip);
        raw.node.remember = Some(self.remember);
        raw.node.offline = Some(self.offline);
        raw.node.relay = Some(format!("{:?}", self.nat.relay).to_lowercase());
        raw.node.upnp = Some(self.nat.upnp);
        raw.node.external = texts(&self.nat.external);
        raw.network = RawNetwork::written(&self.rendezvous);
        raw.transfer.lanes = Some(self.lanes);
        raw.transfer.limit_up = Some(match self.limits.up {
            UpLimit::Auto => "auto".to_owned(),
            UpLimit::None => "none".to_owned(),
            UpLimit::Rate(bytes) => rate(bytes),
        });
        raw.transfer.limit_down = Some(self.limits.down.map_or_else(|| "none".to_owned(), rate));
        raw.transfer.limit_local = Some(self.limits.local);
        raw.transfer.web_seeds = Some(shown(&self.web_seeds));
        raw.transfer.zone = self.zone.subnets().map(shown);
        raw.http.listen = Some(self.http.to_string());
        raw.http.origins = Some(self.origins.clone());
        raw.gateway.publish_key = self.publish_key.as_ref().map(ToString::to_string);
        raw.gateway.allow_unsafe = Some(self.consent.is_to_everything());
        raw.gateway.allow = Some(self.consent.kinds().iter().map(ToString::to_string).collect());
        raw.gateway.upstream = self.upstream.as_ref().map(|_| "hf".to_owned());
        raw.cache.max_size = Some(match self.cache.max_size {
            CacheSize::Share => "auto".to_owned(),
            CacheSize::Unlimited => "unlimited".to_owned(),
            CacheSize::Bytes(size) => bytes(size),
        });
        raw.cache.min_free = Some(bytes(self.cache.min_free));
        raw.swarm = RawSwarm::of_copies(&self.spread);
        raw.swarm.key = self.swarm.key.clone();
        raw.swarm.peers = self.swarm.peers.as_ref().map(|all| all.iter().map(ToString::to_string).collect());
        raw.swarm.publishers = self.sharing.publishers.as_deref().map(shown);
        raw.swarm.share = self.sharing.share.as_deref().map(shown);
        raw.domains.resolver = self.domains.resolver.map(|it| it.to_string());
        raw.domains.ca_file = self.domains.ca_file.clone();
        raw.domains.private = Some(self.domains.private.iter().map(ToString::to_string).collect());
        raw.domains.https_port = Some(self.domains.https_port.unwrap_or(443));
        raw.health = RawHealth::written(&self.health);
        raw.donate = RawDonate::written(&self.donate);
        raw.log = RawLog::written(&self.log);
        raw
    }

    /// Returns the values of all keys that are set, by name, as the configuration writes them.
    pub fn values(&self) -> BTreeMap<String, toml::Value> {
        let sections =
            toml::Table::try_from(self.written()).expect("sections of texts, numbers and lists are TOML");
        let named = |(section, keys): (String, toml::Value)| {
            let keys = if let toml::Value::Table(keys) = keys { keys } else { toml::Table::new() };
            keys.into_iter().map(move |(key, value)| (format!("{section}.{key}"), value))
        };
        sections.into_iter().flat_map(named).collect()
    }

    /// Takes from another configuration what a running node can take.
    pub(super) fn take_live(&mut self, new: &Self) {
        self.limits = new.limits;
        self.web_seeds.clone_from(&new.web_seeds);
        self.origins.clone_from(&new.origins);
        self.cache = new.cache;
        self.health.webhook.clone_from(&new.health.webhook);
        self.log.filter.clone_from(&new.log.filter);
    }

    /// Returns what the flags of a command are compared with.
    pub fn settings(&self) -> Settings {
        let RawConfig { node, transfer, .. } = self.written();
        let key = |key: &String| Digest::of([SWARM_MARK, key.as_bytes()].concat().as_slice()).hex();
        Settings {
            bootstrap: node.bootstrap.unwrap_or_default(),
            mdns: self.mdns,
            dht: node.dht.unwrap_or_default(),
            gossip: self.gossip,
            remember: self.remember,
            offline: self.offline,
            lanes: self.lanes,
            limit_up: transfer.limit_up.unwrap_or_default(),
            limit_down: transfer.limit_down.unwrap_or_default(),
            limit_local: self.limits.local,
            web_seeds: transfer.web_seeds.unwrap_or_default(),
            swarm: self.swarm.key.as_ref().map(key),
        }
    }

    /// Checks a configuration, and fills in the defaults.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn new(mut raw: RawConfig, overrides: Overrides) -> Result<Self, ConfigError> {
        let given =
            |over: Vec<String>, file: Option<Vec<String>>| if over.is_empty() { file } else { Some(over) };
        let listen = given(overrides.listen, raw.node.listen)
            .unwrap_or_else(|| vec!["/ip4/0.0.0.0/tcp/4600".into(), "/ip4/0.0.0.0/udp/4600/quic-v1".into()]);
        let bootstrap = given(overrides.bootstrap, raw.node.bootstrap).unwrap_or_default();
        let http = overrides.http.or(raw.http.listen).unwrap_or_else(|| "127.0.0.1:4610".into());
        let publish_key = overrides.publish_key.or(raw.gateway.publish_key);
        let upstream = overrides.upstream.or(raw.gateway.upstream);
        let max_size = overrides.cache_max_size.or(raw.cache.max_size);
        let min_free = overrides.cache_min_free.or(raw.cache.min_free).unwrap_or_else(|| "1 GiB".into());
        let dht = overrides.dht.or(raw.node.dht).unwrap_or_else(|| "auto".into());
        let relay = overrides.relay.or(raw.node.relay).unwrap_or_else(|| "auto".into());
        let external = given(overrides.external, raw.node.external).unwrap_or_default();
        let nat = NatConfig {
            relay: relay_mode(&relay)?,
            upnp: overrides.upnp.or(raw.node.upnp).unwrap_or(true),
            external: addresses("node.external", external)?,
        };
        let web_seeds = given(overrides.web_seeds, raw.transfer.web_seeds).unwrap_or_default();
        let key = overrides.swarm_key.or(raw.swarm.key.take());
        let spread = raw.swarm.copies(key.is_some())?;
        let swarm = swarm(key, raw.swarm.peers)?;
        let sharing = sharing(raw.swarm.publishers, raw.swarm.share)?;
        let rendezvous = raw.network.meant(overrides.public, &swarm)?;
        Ok(Self {
            swarm,
            spread,
            rendezvous,
            sharing,
            nat,
            listen: addresses("node.listen", listen)?,
            bootstrap: addresses("node.bootstrap", bootstrap)?,
            mdns: overrides.mdns.or(raw.node.mdns).unwrap_or(true),
            dht: dht_mode(&dht)?,
            gossip: overrides.gossip.or(raw.node.gossip).unwrap_or(true),
            remember: overrides.remember.or(raw.node.remember).unwrap_or(true),
            offline: overrides.offline.or(raw.node.offline).unwrap_or(false),
            lanes: overrides.lanes.or(raw.transfer.lanes).unwrap_or(true),
            limits: TransferLimits {
                up: up_limit(overrides.limit_up.or(raw.transfer.limit_up))?,
                down: down_limit(overrides.limit_down.or(raw.transfer.limit_down))?,
                local: overrides.limit_local.or(raw.transfer.limit_local).unwrap_or(false),
            },
            web_seeds: web_seeds.iter().map(|text| text.parse()).collect::<Result<_, SeedError>>()?,
            zone: zone(raw.transfer.zone)?,
            http: socket("http.listen", &http)?,
            origins: raw
                .http
                .origins
                .unwrap_or_default()
                .into_iter()
                .map(origin)
                .collect::<Result<_, _>>()?,
            publish_key: publish_key.map(key_name).transpose()?,
            consent: Consent::new(
                overrides.allow_unsafe.or(raw.gateway.allow_unsafe).unwrap_or(false),
                allowed(raw.gateway.allow.unwrap_or_default())?.union(&overrides.allow).copied().collect(),
            ),
            upstream: upstream.map(|text| is_hf(&text)).transpose()?.map(|()| overrides.hub),
            cache: CacheLimits {
                max_size: cache_size(max_size)?,
                min_free: size("cache.min_free", &min_free)?,
            },
            domains: domains(raw.domains)?,
            health: raw.health.meant()?,
            donate: raw.donate.meant()?,
            log: raw.log.meant()?,
        })
    }
}

/// Checks the origin of a page: a scheme, a host and perhaps a port, as a browser writes them.
fn origin(text: String) -> Result<String, ConfigError> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_written = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || "-.:[]".contains(it);
    match host {
        Some(host) if !host.is_empty() && host.chars().all(is_written) => Ok(text),
        _ => Err(ConfigError::Origin { text }),
    }
}

fn zone(subnets: Option<Vec<String>>) -> Result<Zone, ConfigError> {
    let parse = |all: Vec<String>| all.iter().map(|text| text.parse()).collect::<Result<_, SubnetError>>();
    Ok(subnets.map(parse).transpose()?.map_or_else(Zone::default, Zone::of))
}

fn up_limit(text: Option<String>) -> Result<UpLimit, ConfigError> {
    match text.as_deref() {
        None | Some("auto") => Ok(UpLimit::Auto),
        Some("none") => Ok(UpLimit::None),
        Some(text) => rate("transfer.limit_up", text).map(UpLimit::Rate),
    }
}

fn down_limit(text: Option<String>) -> Result<Option<u64>, ConfigError> {
    text.filter(|text| text != "none").map(|text| rate("transfer.limit_down", &text)).transpose()
}

fn rate(key: &'static str, text: &str) -> Result<u64, ConfigError> {
    parse_rate(text).ok_or_else(|| ConfigError::Rate { key, text: text.to_owned() })
}

/// Least rate of a limit, in bytes per second: below it, a piece takes longer than a peer may be silent.
const RATE_MIN: u64 = 64_000;

/// Reads a rate in bytes per second: a size as of [`parse_size`], with or without `/s`, of at least 64 kB.
pub fn parse_rate(text: &str) -> Option<u64> {
    let text = text.trim();
    parse_size(text.strip_suffix("/s").unwrap_or(text)).filter(|rate| *rate >= RATE_MIN)
}

fn addresses(key: &'static str, texts: Vec<String>) -> Result<Vec<Address>, ConfigError> {
    let parse = |text: String| text.parse().map_err(|source| ConfigError::Address { key, text, source });
    texts.into_iter().map(parse).collect()
}

fn dht_mode(text: &str) -> Result<DhtMode, ConfigError> {
    match text {
        "auto" => Ok(DhtMode::Auto),
        "server" => Ok(DhtMode::Server),
        "client" => Ok(DhtMode::Client),
        "off" => Ok(DhtMode::Off),
        _ => Err(ConfigError::Dht { text: text.to_owned() }),
    }
}

fn shown(all: &[impl ToString]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

fn swarm(key: Option<String>, peers: Option<Vec<String>>) -> Result<SwarmConfig, ConfigError> {
    if key.as_ref().is_some_and(String::is_empty) {
        return Err(ConfigError::SwarmKey);
    }
    let parse = |text: String| text.parse().map_err(|source| ConfigError::Peer { text, source });
    let peers = peers.map(|all| all.into_iter().map(parse).collect()).transpose()?;
    Ok(SwarmConfig { key, peers })
}

fn sharing(publishers: Option<Vec<String>>, share: Option<Vec<String>>) -> Result<SharingRules, ConfigError> {
    let parse = |text: String| text.parse().map_err(|source| ConfigError::Publisher { text, source });
    let publishers = publishers.map(|all| all.into_iter().map(parse).collect()).transpose()?;
    let share = share.map(|all| all.iter().map(|text| text.parse()).collect()).transpose()?;
    Ok(SharingRules { publishers, share })
}

fn domains(raw: RawDomains) -> Result<DomainSettings, ConfigError> {
    let parse = |text: String| text.parse().map_err(|source| ConfigError::Domain { text, source });
    Ok(DomainSettings {
        resolver: raw.resolver.map(|text| socket("domains.resolver", &text)).transpose()?,
        ca_file: raw.ca_file.map(|path| expanded(&path)),
        private: raw.private.unwrap_or_default().into_iter().map(parse).collect::<Result<_, _>>()?,
        https_port: raw.https_port.filter(|port| *port != 443),
    })
}

fn relay_mode(text: &str) -> Result<RelayMode, ConfigError> {
    match text {
        "auto" => Ok(RelayMode::Auto),
        "on" => Ok(RelayMode::On),
        "off" => Ok(RelayMode::Off),
        _ => Err(ConfigError::Relay { text: text.to_owned() }),
    }
}

fn socket(key: &'static str, text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| ConfigError::Socket { key, text: text.to_owned() })
}

fn key_name(text: String) -> Result<KeyName, ConfigError> {
    text.parse().map_err(|source| ConfigError::KeyName { text, source })
}

fn allowed(kinds: Vec<String>) -> Result<BTreeSet<ContentKind>, ConfigError> {
    kinds.iter().map(|it| kind_to_allow(it).map_err(|reason| ConfigError::Allow { reason })).collect()
}

fn is_hf(text: &str) -> Result<(), ConfigError> {
    if text == "hf" { Ok(()) } else { Err(ConfigError::Upstream { text: text.to_owned() }) }
}

fn cache_size(text: Option<String>) -> Result<CacheSize, ConfigError> {
    match text.as_deref() {
        None | Some("auto") => Ok(CacheSize::Share),
        Some("unlimited" | "none") => Ok(CacheSize::Unlimited),
        Some(text) => Ok(match size("cache.max_size", text)? {
            0 => CacheSize::Unlimited,
            bytes => CacheSize::Bytes(bytes),
        }),
    }
}

fn size(key: &'static str, text: &str) -> Result<u64, ConfigError> {
    parse_size(text).ok_or_else(|| ConfigError::Size { key, text: text.to_owned() })
}

/// Reads a size in bytes: a whole or decimal number and a unit of 1000 (`kB`, `MB`, `GB`, `TB`) or 1024 (`KiB` …).
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1000_u64.pow(2),
        "g" | "gb" => 1000_u64.pow(3),
        "t" | "tb" => 1000_u64.pow(4),
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    let part = match fraction {
        "" => 0,
        digits if digits.len() <= 6 => digits.parse::<u64>().ok()? * factor / 10_u64.pow(digits.len() as u32),
        _ => return None,
    };
    whole.checked_mul(factor)?.checked_add(part)
}

#[cfg(test)]
mod tests;
