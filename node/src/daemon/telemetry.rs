//! Logs to standard error, where no result is ever printed. What is logged comes from peers and files too, so every field goes
//! through [`Printable`].

use std::fmt;
use std::io::IsTerminal;

use reg_api::printable::Printable;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

/// Starts logging with `filter`; `RUST_LOG` and `REG_LOG` win over it.
pub fn start(filter: &str) {
    let from_env = std::env::var("REG_LOG").or_else(|_| std::env::var("RUST_LOG")).ok();
    let filter =
        EnvFilter::try_new(from_env.as_deref().unwrap_or(filter)).unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .fmt_fields(debug_fn(field).delimited(" "))
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}

/// Writes a field of an event or of a span.
fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = Printable::line(&format!("{value:?}"));
    match field.name() {
        "message" => write!(writer, "{value}"),
        name => write!(writer, "{name}={value}"),
    }
}
