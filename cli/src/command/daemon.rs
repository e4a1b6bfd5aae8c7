//! `reg daemon`: runs a node until SIGTERM or Ctrl-C.

use std::process::ExitCode;

use reg_node::daemon::{HubAccount, Mode, Node, NodeError, Overrides, telemetry};
use reg_node::store::OpenError;
use serde_json::json;

use crate::args::{Daemon, Global};
use crate::client::{config, home, is_alive, overrides};
use crate::error::CliError;
use crate::hugging_face;
use crate::output;
use crate::unstarted::node_error;

pub async fn run(global: &Global, args: Daemon) -> Result<ExitCode, CliError> {
    let home = home(global)?;
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
    let overrides = Overrides {
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
    };
    let config = config(&home, overrides)?;
    telemetry::start(&config.log_filter);
    let node = match Node::start(&home, &config, Mode::Daemon).await {
        Ok(node) => node,
        Err(NodeError::Store(OpenError::InUse { .. })) if is_alive(&home.socket()).await => {
            let shown = home.data_dir.display();
            return Err(CliError::new("retry_later", format_args!("a daemon runs already in {shown}"))
                .hint("`reg status` asks it; a second one needs another folder: --home DIR"));
        }
        Err(error) => return Err(node_error(&error)),
    };
    let listen = node.listen_addresses().await;
    let http = node.http().map(|address| address.to_string());
    if global.json {
        output::json(&json!({ "peer_id": node.peer_id(), "listen": listen, "http": http }))?;
    } else {
        output::line(format!("peer id  {}", node.peer_id()))?;
        for address in &listen {
            output::line(format!("listen   {address}"))?;
        }
        output::line(format!("http     http://{}", http.unwrap_or_default()))?;
        output::line(format!("home     {}", home.data_dir.display()))?;
    }
    stop_signal().await;
    tracing::info!("stopping");
    node.shutdown().await;
    Ok(output::ok())
}

/// Waits for SIGTERM or Ctrl-C.
async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    drop(tokio::signal::ctrl_c().await);
}
