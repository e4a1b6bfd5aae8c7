//! The daemon: reads the configuration, starts the parts of a node in order, and stops them in order.

mod config;
mod doctor;
mod gateway;
mod home;
mod hourly;
mod identity;
mod node;
mod open_files;
mod place;
mod reload;
mod service;
pub mod telemetry;

pub use self::config::{
    Config, ConfigError, ConfigFile, EditError, HubAccount, LogFormat, LogSettings, Overrides, RawConfig,
    SAMPLE, SettingKey, UnknownKey, keys, parse_rate, parse_size, report,
};
pub use self::doctor::{Beside, examine};
pub use self::gateway::{Gateway, GatewayError};
pub use self::home::{Home, HomeError, expanded};
pub use self::identity::IdentityError;
pub use self::node::{Mode, Node, NodeError, ReloadError};
pub use self::open_files::TooFewFiles;
pub use self::place::{Strange, strange};
pub use self::reload::Started;
pub use self::service::{Service, passed_listener};
