//! [`Fields`]: what an event says, as printable text: its message, and its other fields by name.

use std::fmt;

use reg_api::clock;
use reg_api::printable::Printable;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The fields of an event.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) message: String,
    pub(super) others: Map<String, Value>,
}

impl Fields {
    /// Reads the fields of an event.
    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut fields = Self::default();
        event.record(&mut fields);
        fields
    }

    fn put(&mut self, field: &Field, value: Value) {
        self.others.insert(field.name().to_owned(), value);
    }

    /// Returns them as one line.
    pub(super) fn line(&self) -> String {
        let others = self.others.iter().map(|(name, value)| match value {
            Value::String(text) => format!(" {name}={text}"),
            value => format!(" {name}={value}"),
        });
        std::iter::once(self.message.clone()).chain(others).collect()
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = Printable::line(&format!("{value:?}")).to_string();
        match field.name() {
            "message" => self.message = text,
            _ => self.put(field, Value::String(text)),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

/// Writes an event as one JSON object: `time` in seconds since 1970, `level`, `target`, `message` and `fields`.
#[derive(Debug)]
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (metadata, fields) = (event.metadata(), Fields::of(event));
        let document = json!({
            "time": clock::now(),
            "level": metadata.level().as_str().to_lowercase(),
            "target": metadata.target(),
            "message": fields.message,
            "fields": fields.others,
        });
        writeln!(writer, "{}", Printable::json(&document.to_string()))
    }
}
