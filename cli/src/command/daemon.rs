//! `reg daemon`: runs a node until SIGTERM or Ctrl-C.

use std::io;
use std::process::ExitCode;
use std::time::Instant;

use reg_node::daemon::{HubAccount, Mode, Node, NodeError, Overrides, Service, Started, passed_listener};
use reg_node::store::OpenError;
use serde_json::json;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::{Daemon, Global};
use crate::client::{config, home, is_alive, overrides};
use crate::command::reload;
use crate::error::CliError;
use crate::hugging_face;
use crate::logging;
use crate::origin::Origins;
use crate::output;
use crate::place;
use crate::unstarted::node_error;

/// Returns what the flags and variables of a daemon override in the configuration.
pub fn overrides_of(args: Daemon) -> Overrides {
    let Daemon {
        listen,
        http,
        net,
        relay,
        no_upnp,
        external,
        public,
        cache_max_size,
        publish_key,
        allow_unsafe,
        allow,
        upstream,
    } = args;
    Overrides {
        listen,
        http,
        relay,
        upnp: no_upnp.then_some(false),
        external,
        public: public.then_some(true),
        cache_max_size,
        publish_key,
        allow_unsafe: allow_unsafe.then_some(true),
        allow: allow.into_iter().collect(),
        upstream,
        hub: HubAccount { endpoint: hugging_face::endpoint(), token: hugging_face::token() },
        ..overrides(&net)
    }
}

pub async fn run(global: &Global, args: Daemon, origins: Origins) -> Result<ExitCode, CliError> {
    let home = home(global)?;
    let overrides = overrides_of(args);
    let config = config(&home, overrides.clone())?;
    logging::start_as(global, config.log.clone())?;
    place::warnings(&home.data_dir).into_iter().for_each(output::say);
    let service = Service::from_env();
    let listener = passed_listener().map_err(|error| {
        CliError::new("invalid", format_args!("the supervisor has passed no listener of TCP: {error}"))
            .hint("the unit of the socket has ListenStream=127.0.0.1:4610")
    })?;
    let started = Started { overrides, origins, listener };
    let node = match Node::start_with(&home, &config, started, Mode::Daemon).await {
        Ok(node) => node,
        Err(NodeError::Store(OpenError::InUse { .. })) if is_alive(&home.socket()).await => {
            let shown = home.data_dir.display();
            return Err(CliError::new("denied", format_args!("a daemon runs already in {shown}"))
                .hint("`reg status` asks it; a second one needs another folder: --home DIR"));
        }
        Err(error) => return Err(node_error(&error)),
    };
    let signals = Signals::listen()
        .map_err(|error| CliError::new("other", format_args!("signals cannot be listened for: {error}")))?;
    let listen = node.listen_addresses().await;
    let http = node.http().map(|address| address.to_string());
    if global.json {
        output::json(&json!({ "peer_id": node.peer_id(), "listen": listen, "http": http }))?;
    } else {
        output::line(format!("peer id  {}", node.peer_id()))?;
        for address in &listen {
            output::line(format!("listen   {address}"))?;
        }
        output::line(format!("http     http://{}", http.as_deref().unwrap_or_default()))?;
        output::line(format!("home     {}", home.data_dir.display()))?;
    }
    let at = http.as_deref().unwrap_or_default();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), peer = %node.peer_id(), http = at, "the node has started");
    service.ready(&format!("serving http://{at}"));
    tokio::select! {
        () = signals.obey(&node) => {}
        () = watch(&node, &service) => {}
    }
    tracing::info!("stopping");
    service.stopping();
    let start = Instant::now();
    node.shutdown().await;
    tracing::info!(milliseconds = start.elapsed().as_millis() as u64, "stopped");
    Ok(output::ok())
}

/// After a look at which the network did not answer, the next one comes this many times as soon. One late answer must not end a daemon.
const LOOKS_AGAIN: u32 = 10;

/// Tells the supervisor that the node is well, as often as it asks for that, as long as the network answers. Never ends.
async fn watch(node: &Node, service: &Service) {
    let Some(beat) = service.beat() else { return std::future::pending().await };
    loop {
        let pause = if node.answers().await {
            service.is_well();
            beat
        } else {
            tracing::warn!(
                "the network does not answer, so the supervisor is not told that the node is well"
            );
            beat / LOOKS_AGAIN
        };
        tokio::time::sleep(pause).await;
    }
}

/// The signals that the daemon obeys. They are listened for before anything is told to have started: one that came before would end
/// the process, or be lost.
#[cfg(unix)]
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self { interrupt: interrupt?, terminate: terminate?, hangup: hangup? })
    }

    /// Waits for SIGTERM or Ctrl-C. Reads the configuration again at each SIGHUP.
    async fn obey(mut self, node: &Node) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                Some(()) = self.hangup.recv() => reload(node).await,
            }
        }
    }
}

/// Ctrl-C, which is all that the daemon obeys here.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    /// Waits for Ctrl-C.
    async fn obey(self, _: &Node) {
        drop(tokio::signal::ctrl_c().await);
    }
}

/// Reads the configuration again, and says what that has changed.
#[cfg(unix)]
async fn reload(node: &Node) {
    match node.reload().await {
        Ok(reloaded) => reload::lines(&reloaded).into_iter().for_each(output::say),
        Err(error) => drop(CliError::from_error("invalid", &error).report(false)),
    }
}
