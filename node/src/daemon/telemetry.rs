//! Logs to standard error, where no result is ever printed. What is logged comes from peers and files too, so every field goes
//! through [`Printable`].

use std::fmt;
use std::io::IsTerminal;

use reg_api::printable::Printable;
use tracing::Subscriber;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging with `filter`; `RUST_LOG` and `REG_LOG` win over it.
pub fn start(filter: &str) {
    let from_env = std::env::var("REG_LOG").or_else(|_| std::env::var("RUST_LOG")).ok();
    let filter =
        EnvFilter::try_new(from_env.as_deref().unwrap_or(filter)).unwrap_or_else(|_| EnvFilter::new("info"));
    let has_colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if subscriber(filter, has_colours, std::io::stderr).try_init().is_err() {
        tracing::debug!("logging was started before");
    }
}

fn subscriber<W>(filter: EnvFilter, has_colours: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .fmt_fields(debug_fn(field).delimited(" "))
        .with_writer(writer)
        .with_ansi(has_colours)
        .finish()
}

/// Writes a field of an event or of a span.
fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = Printable::line(&format!("{value:?}"));
    match field.name() {
        "message" => write!(writer, "{value}"),
        name => write!(writer, "{name}={value}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Logs 10,000 strings of control characters and letters.
    fn logged(has_colours: bool) -> String {
        let written = Written::default();
        let own = written.clone();
        let subscriber = subscriber(EnvFilter::new("trace"), has_colours, move || own.clone());
        tracing::subscriber::with_default(subscriber, || {
            let mut state = 0x9e37_79b9_u32;
            for _ in 0..10_000 {
                let next = |_| {
                    state ^= state << 13;
                    state ^= state >> 17;
                    state ^= state << 5;
                    char::from_u32(state % 0xa0).unwrap_or('x')
                };
                let text: String = (0..8).map(next).chain("\x1b]52;c;x\x07\n\u{9b}2J".chars()).collect();
                let span = tracing::info_span!("of", peer = %text);
                let _entered = span.enter();
                tracing::warn!(error = %text, name = text, debug = ?text, "a peer said {text}");
            }
        });
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn no_string_steers_the_terminal_by_the_log() {
        let plain = logged(false);
        assert_eq!(plain.lines().count(), 10_000, "no string begins a line of its own");
        // The colours are the log's own; none of them is in a field.
        let mut coloured = logged(true);
        for own in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[3m", "\x1b[33m"] {
            coloured = coloured.replace(own, "");
        }
        for text in [plain, coloured] {
            assert!(text.contains("a peer said ") && text.contains("\\u{1b}]52;c;x\\u{7}"));
            let raw = text.chars().find(|it| it.is_control() && *it != '\n');
            assert_eq!(raw, None);
        }
    }
}
