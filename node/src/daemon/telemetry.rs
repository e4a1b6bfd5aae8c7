//! Logs to standard error, where no result is ever printed, or to a file that begins anew when it is full. The last lines are kept for
//! the page. What is logged comes from peers and files too, so every field goes through [`Printable`].

mod fields;
pub(crate) mod recent;
mod rotating;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use reg_api::printable::Printable;
use tracing::Subscriber;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::fields::Json;
use self::recent::Recent;
use self::rotating::Rotating;
use super::config::{LogFormat, LogSettings};

/// Changes the filter of the log that runs.
type SetFilter = Box<dyn Fn(EnvFilter) + Send + Sync>;

static SET_FILTER: OnceLock<SetFilter> = OnceLock::new();

/// Whether a flag has set the filter, so that no configuration changes it.
static IS_FIXED: AtomicBool = AtomicBool::new(false);

/// Keeps the filter of the log that runs, whatever a configuration says from now on.
pub fn fix_filter() {
    IS_FIXED.store(true, Ordering::Relaxed);
}

/// Starts logging as the settings say; `REG_LOG` and `RUST_LOG` win over their filter. Lines on standard error may have colours if
/// `has_colours`; those of a file have none. A second start of a process changes nothing.
///
/// # Errors
/// The file cannot be opened.
pub fn start(settings: &LogSettings, has_colours: bool) -> io::Result<()> {
    let filter = from_env().unwrap_or_else(|| filter(&settings.filter));
    let Some(path) = &settings.file else {
        init(filter, settings.format, has_colours, io::stderr);
        return Ok(());
    };
    let file = Rotating::open(path, settings.rotate_size, settings.rotate_keep)?;
    init(filter, settings.format, false, Mutex::new(file));
    Ok(())
}

/// Replaces the filter of the log that runs, unless `REG_LOG`, `RUST_LOG` or a flag has set it.
pub fn set_filter(text: &str) {
    if let (Some(set), false, None) = (SET_FILTER.get(), IS_FIXED.load(Ordering::Relaxed), from_env()) {
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

fn init<W>(filter: EnvFilter, format: LogFormat, has_colours: bool, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (subscriber, set) = subscriber(filter, format, has_colours, writer);
    if subscriber.try_init().is_ok() {
        drop(SET_FILTER.set(set));
    }
}

fn subscriber<W>(
    filter: EnvFilter,
    format: LogFormat,
    has_colours: bool,
    writer: W,
) -> (Box<dyn Subscriber + Send + Sync>, SetFilter)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .fmt_fields(debug_fn(field).delimited(" "))
        .with_writer(writer)
        .with_ansi(has_colours);
    // A change of the filter fails where the log has ended, which it does with the process.
    match format {
        LogFormat::Text => {
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            let set: SetFilter = Box::new(move |filter| drop(handle.reload(filter)));
            (Box::new(builder.finish().with(Recent)), set)
        }
        LogFormat::Json => {
            let builder = builder.event_format(Json).with_filter_reloading();
            let handle = builder.reload_handle();
            let set: SetFilter = Box::new(move |filter| drop(handle.reload(filter)));
            (Box::new(builder.finish().with(Recent)), set)
        }
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
        let (subscriber, _) =
            subscriber(EnvFilter::new("trace"), LogFormat::Text, has_colours, move || own.clone());
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
        let (subscriber, set) =
            subscriber(EnvFilter::new("error"), LogFormat::Text, false, move || own.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("first");
            set(EnvFilter::new("info"));
            tracing::info!("second");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("first") && text.contains("second"), "{text}");
    }

    #[test]
    fn a_line_of_json_is_one_object() {
        let written = Written::default();
        let own = written.clone();
        let (subscriber, _) = subscriber(EnvFilter::new("info"), LogFormat::Json, true, move || own.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(bytes = 7_u64, model = %"a\nb\x1b[2J", "a pull has ended");
            tracing::debug!("not wanted");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert_eq!(line["message"], "a pull has ended");
        assert_eq!((line["level"].as_str(), line["fields"]["bytes"].as_u64()), (Some("info"), Some(7)));
        let model = line["fields"]["model"].as_str().unwrap();
        assert!(!model.contains(['\n', '\x1b']) && line["time"].as_u64().is_some(), "{line}");
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
