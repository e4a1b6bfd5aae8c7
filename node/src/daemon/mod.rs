//! The daemon: reads the configuration, starts the parts of a node in order, and stops them in order.

mod config;
mod gateway;
mod home;
mod identity;
mod node;
mod open_files;
pub mod telemetry;

pub use self::config::{
    Config, ConfigError, HubAccount, Overrides, RawConfig, SAMPLE, parse_rate, parse_size,
};
pub use self::gateway::{Gateway, GatewayError};
pub use self::home::{Home, HomeError};
pub use self::identity::IdentityError;
pub use self::node::{Mode, Node, NodeError};
pub use self::open_files::TooFewFiles;
