//! [`examine`]: looks at all that a node needs, and returns what it finds, each with what to do about it.
//!
//! Promise: it changes nothing. It opens no store, so it also finds why one cannot be opened, and it binds ports for a moment only.
//! A part that does not answer costs a bounded time.

mod files;
mod machine;
mod network;

use reg_api::doctor::{Diagnosis, Finding};
use reg_api::fault::chain;

use super::config::{Config, Overrides, RawConfig};
use super::home::Home;
use crate::net::Network;
use crate::registry::Registry;

/// What runs beside the examination.
#[derive(Debug)]
pub enum Beside {
    /// No daemon: what one would need when it starts is examined.
    Nothing,
    /// A daemon that gives no answer: its store and its ports are in use.
    Silent,
}

/// The parts of the daemon that is examined from within.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) registry: Registry,
    pub(super) network: Network,
    /// The configuration in effect.
    pub(super) config: Config,
}

/// What an examination knows.
#[derive(Debug)]
struct Examined {
    home: Home,
    /// The configuration in effect; the default where the file is refused.
    config: Config,
    /// Whether a daemon uses the store and the ports.
    has_daemon: bool,
}

/// Examines a node from outside: the files of `home`, the machine, and what it reaches.
pub async fn examine(home: &Home, overrides: Overrides, beside: Beside) -> Diagnosis {
    let read = Config::load(home, overrides);
    let refused = read.as_ref().err().map(|it| chain(it));
    let config = read.or_else(|_| Config::new(RawConfig::default(), Overrides::default()));
    let Ok(config) = config else { return Diagnosis::new(false, Vec::new()) };
    let has_daemon = matches!(beside, Beside::Silent);
    let examined = Examined { home: home.clone(), config, has_daemon };
    Diagnosis::new(has_daemon, examined.all(refused, None).await)
}

/// Examines the daemon of this process. `overrides` are the flags that it was started with.
pub(super) async fn examine_own(home: Home, overrides: Overrides, running: Running) -> Diagnosis {
    let refused = Config::load(&home, overrides).err().map(|it| chain(&it));
    let examined = Examined { home, config: running.config.clone(), has_daemon: true };
    Diagnosis::new(true, examined.all(refused, Some(&running)).await)
}

impl Examined {
    async fn all(self, refused: Option<String>, running: Option<&Running>) -> Vec<Finding> {
        let (dns, servers, connected) = tokio::join!(
            network::dns(&self.config),
            network::servers(&self.config),
            network::connected(running)
        );
        let blocking = tokio::task::spawn_blocking(move || {
            let mut found = files::all(&self.home, &self.config, refused, self.has_daemon);
            found.extend(machine::all(&self.home, &self.config, &servers.times));
            if !self.has_daemon {
                found.extend(network::ports(&self.config));
            }
            found.extend(dns);
            found.extend(servers.findings);
            found
        });
        let mut found = blocking.await.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The node stops.
            Err(_) => Vec::new(),
        });
        found.extend(connected);
        found
    }
}
