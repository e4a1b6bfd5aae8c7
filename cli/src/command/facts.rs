//! Shows the facts about a model in words: what is computed from its files, what is claimed, attested and checked.

use reg_api::check::Check;
use reg_api::counted::counted;
use reg_api::report::AttestationInfo;
use reg_proto::content::metadata::{Metadata, WeightSet};
use serde_json::Value;

use crate::args::Global;
use crate::command::attest;
use crate::error::CliError;
use crate::ids::Ids;
use crate::output::{self, size};
use crate::table::{Column, Table};

/// Sets of weight files that are listed. The others are only counted.
const WEIGHTS_SHOWN_MAX: usize = 20;
/// Fewest characters of the names of a set of weight files, of their type, and of a line of a check's detail.
const FILES_MIN: usize = 20;
const TYPE_MIN: usize = 10;
const DETAIL_MIN: usize = 30;
/// Entries of a list or a map that are shown.
const ENTRIES_SHOWN_MAX: usize = 10;

/// Prints what is computed from the files.
pub fn computed(global: &Global, metadata: &Metadata) -> Result<(), CliError> {
    let mut facts = value(&metadata.computed)?;
    let weights = &metadata.computed.weights;
    if let Some(facts) = facts.as_object_mut() {
        facts.remove("weights");
        if let Some(parameters) = metadata.computed.parameters {
            facts.insert("parameters".to_owned(), Value::String(count(parameters)));
        }
    }
    let rows = rows(global, &facts);
    heading("computed from the files", rows.is_empty() && weights.is_empty())?;
    output::draw(global, &rows)?;
    if !weights.is_empty() {
        heading("weights", false)?;
        let mut table = Table::new([
            Column::named("FILES", FILES_MIN),
            Column::whole("COUNT"),
            Column::whole("SIZE"),
            Column::whole("PARAMETERS"),
            Column::cut("TYPE", TYPE_MIN),
        ])
        .indented();
        weights.iter().take(WEIGHTS_SHOWN_MAX).for_each(|it| table.row(set(it)));
        output::draw(global, &table)?;
        if let Some(more) = weights.len().checked_sub(WEIGHTS_SHOWN_MAX).filter(|more| *more > 0) {
            output::sentence(format!("  and {more} more (--json shows all)"))?;
        }
    }
    Ok(())
}

/// Prints claims under a title.
pub fn claimed(global: &Global, title: &str, claims: &impl serde::Serialize) -> Result<(), CliError> {
    let rows = rows(global, &value(claims)?);
    heading(title, rows.is_empty())?;
    output::draw(global, &rows)
}

/// Prints what others have signed about the model, where there is any.
pub fn attestations(global: &Global, said: &[AttestationInfo]) -> Result<(), CliError> {
    if said.is_empty() {
        return Ok(());
    }
    output::line("")?;
    output::line("attestations")?;
    said.iter().try_for_each(|it| output::text(global, format!("  {}", attest::line(it))))
}

/// Prints checks with their results under a title.
pub fn checks(global: &Global, title: &str, checks: &[Check]) -> Result<(), CliError> {
    output::line("")?;
    output::line(title)?;
    let mut table =
        Table::new([Column::whole(""), Column::whole(""), Column::text("", DETAIL_MIN)]).indented();
    let ids = Ids::alone(global);
    for it in checks {
        table.row([it.check.to_string(), it.result.to_string(), ids.short_in(&it.detail)]);
    }
    output::draw(global, &table)
}

fn heading(title: &str, is_empty: bool) -> Result<(), CliError> {
    output::line("")?;
    output::sentence(format!("{title}{}", if is_empty { ": nothing" } else { "" }))
}

fn value(facts: &impl serde::Serialize) -> Result<Value, CliError> {
    serde_json::to_value(facts).map_err(|error| CliError::new("other", error))
}

/// Returns the row of a set of weight files.
fn set(set: &WeightSet) -> [String; 5] {
    let files = match (set.count, set.of) {
        (count, of) if count == of => counted(count, "file"),
        (count, of) => format!("{count} of {}", counted(of, "file")),
    };
    let mut types: Vec<(&String, &u64)> = set.elements.iter().collect();
    types.sort_by(|one, two| two.1.cmp(one.1));
    let types: Vec<&str> = types.iter().take(3).map(|(name, _)| name.as_str()).collect();
    let quantisation = set.quantization.as_ref().map_or_else(|| types.join(", "), |it| it.method.to_string());
    let parameters = set.parameters().map_or_else(String::new, count);
    [set.files.clone(), files, size(set.size), parameters, quantisation]
}

/// Returns a number as people read it: 1.5 B for 1,500,000,000.
fn count(number: u64) -> String {
    for (unit, name) in [(1_000_000_000_000, "T"), (1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k")] {
        if number >= unit {
            return format!("{:.1} {name}", number as f64 / unit as f64);
        }
    }
    number.to_string()
}

/// Returns the facts that there are, with their names.
fn rows(global: &Global, facts: &Value) -> Table {
    let ids = Ids::alone(global);
    let mut table = Table::of_facts().indented();
    for (name, value) in facts.as_object().into_iter().flatten() {
        if let Some(value) = text(name, value) {
            table.fact(&name.replace('_', " "), ids.short_in(&value));
        }
    }
    table
}

/// Returns a fact in words; `None` where there is none.
fn text(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some("yes".to_owned()),
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) => listed(items.iter().filter_map(|it| text(name, it))),
        Value::Object(entries) if name == "chat_template" => {
            let digest = entries.get("sha256").and_then(Value::as_str)?;
            let leads_out = entries.get("reaches_out") == Some(&Value::Bool(true));
            let more = if leads_out { ", uses names that can lead out of its sandbox" } else { "" };
            Some(format!("{digest}{more}"))
        }
        Value::Object(entries) => listed(entries.iter().filter_map(|(entry, it)| {
            let it = text(entry, it)?;
            Some(format!("{}: {it}", entry.replace('_', " ")))
        })),
    }
}

fn listed(items: impl Iterator<Item = String>) -> Option<String> {
    let items: Vec<String> = items.collect();
    let more = items.len().saturating_sub(ENTRIES_SHOWN_MAX);
    let shown = items.iter().take(ENTRIES_SHOWN_MAX).cloned().collect::<Vec<_>>().join(", ");
    match (shown.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(shown),
        (false, more) => Some(format!("{shown} and {more} more (--json shows all)")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn facts_are_words_and_no_json() {
        for (name, value, expected) in [
            ("licenses", json!(["mit", "apache-2.0"]), Some("mit, apache-2.0")),
            ("licenses", json!([]), None),
            ("remote_code", json!(false), None),
            ("remote_code", json!(true), Some("yes")),
            ("quantization", json!({"method": "Q4_K_M", "bits": 4}), Some("bits: 4, method: Q4_K_M")),
            ("chat_template", json!({"sha256": "sha256:aa", "reaches_out": false}), Some("sha256:aa")),
            ("context_length", json!(4096), Some("4096")),
            ("title", json!(""), None),
        ] {
            assert_eq!(text(name, &value).as_deref(), expected, "{name} {value}");
        }
        for (number, shown) in
            [(999, "999"), (1500, "1.5 k"), (494_032_768, "494.0 M"), (7_241_732_096, "7.2 B")]
        {
            assert_eq!(count(number), shown);
        }
        let many = json!((0..12).map(|it| it.to_string()).collect::<Vec<_>>());
        assert!(text("tags", &many).expect("words").ends_with("9 and 2 more (--json shows all)"));
    }
}
