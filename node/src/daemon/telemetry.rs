//! Logs to standard error, where no result is ever printed, or to a file. What is logged comes from peers and files too, so every
//! field goes through [`Printable`].

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use reg_api::printable::Printable;
use tracing::Subscriber;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::util::SubscriberInitExt;

/// Changes the filter of the log that runs.
type SetFilter = Box<dyn Fn(EnvFilter) + Send + Sync>;

static SET_FILTER: OnceLock<SetFilter> = OnceLock::new();

/// Where and how to log.
#[derive(Debug, Clone, Copy)]
pub struct Logging<'a> {
    /// The filter; `REG_LOG` and `RUST_LOG` win over it.
    pub filter: &'a str,
    /// Whether lines on standard error may be coloured. Those of a file are not.
    pub has_colours: bool,
    /// The file that lines are appended to, in place of standard error.
    pub file: Option<&'a Path>,
}

/// Starts logging. A second start of a process changes nothing.
///
/// # Errors
/// The file cannot be opened.
pub fn start(logging: Logging<'_>) -> io::Result<()> {
    let filter = from_env().unwrap_or_else(|| filter(logging.filter));
    let Some(path) = logging.file else {
        init(filter, logging.has_colours, io::stderr);
        return Ok(());
    };
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    init(filter, false, Mutex::new(file));
    Ok(())
}

/// Replaces the filter of the log that runs, unless `REG_LOG` or `RUST_LOG` has set it.
pub fn set_filter(text: &str) {
    if let (Some(set), None) = (SET_FILTER.get(), from_env()) {
        set(filter(text));
    }
}

fn from_env() -> Option<EnvFilter> {
    let text = std::env::var("REG_LOG").or_else(|_| std::env::var("RUST_LOG")).ok()?;
    Some(filter(&text))
}

fn filter(text: &str) -> EnvFilter {
    EnvFilter::try_new(text).unwrap_or_else(|_| EnvFilter::new("info"))
}

fn init<W>(filter: EnvFilter, has_colours: bool, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (subscriber, set) = subscriber(filter, has_colours, writer);
    if subscriber.try_init().is_ok() {
        drop(SET_FILTER.set(set));
    }
}

fn subscriber<W>(
    filter: EnvFilter,
    has_colours: bool,
    writer: W,
) -> (impl Subscriber + Send + Sync, SetFilter)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .fmt_fields(debug_fn(field).delimited(" "))
        .with_writer(writer)
        .with_ansi(has_colours)
        .with_filter_reloading();
    let handle = builder.reload_handle();
    // It fails where the log has ended, which it does with the process.
    (builder.finish(), Box::new(move |filter| drop(handle.reload(filter))))
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
    use std::sync::Arc;

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
        let (subscriber, _) = subscriber(EnvFilter::new("trace"), has_colours, move || own.clone());
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
    fn a_filter_can_change_while_the_log_runs() {
        let written = Written::default();
        let own = written.clone();
        let (subscriber, set) = subscriber(EnvFilter::new("error"), false, move || own.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("first");
            set(EnvFilter::new("info"));
            tracing::info!("second");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("first") && text.contains("second"), "{text}");
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
