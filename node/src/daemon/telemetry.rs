//! Logs to standard error, where no result is ever printed.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging with `filter`; `RUST_LOG` and `REG_LOG` win over it.
pub fn start(filter: &str) {
    let from_env = std::env::var("REG_LOG").or_else(|_| std::env::var("RUST_LOG")).ok();
    let filter =
        EnvFilter::try_new(from_env.as_deref().unwrap_or(filter)).unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
