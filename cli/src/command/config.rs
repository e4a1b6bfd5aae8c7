//! `reg config`: shows, checks and changes the configuration, or writes a sample.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::process::ExitCode;

use reg_api::settings::ConfigReport;
use reg_keys::durable;
use reg_node::daemon::{
    Config as Meant, ConfigFile, EditError, Home, Overrides, SAMPLE, SettingKey, UnknownKey, report,
};
use serde_json::{Map, Value, json};
use toml_edit::DocumentMut;

use crate::args::{Config, Global};
use crate::client::{Client, config, home, is_alive};
use crate::error::CliError;
use crate::origin;
use crate::output;

pub async fn run(global: &Global, command: &Config) -> Result<ExitCode, CliError> {
    let home = home(global)?;
    match command {
        Config::Path => path(global, &home)?,
        Config::Show => show(global, &in_effect(global, &home).await?)?,
        Config::Get { key } => {
            let key = setting(key)?;
            get(global, &in_effect(global, &home).await?, key)?;
            pending(global, &home, key).await;
        }
        Config::Set { key, value } => {
            let key = setting(key)?;
            home.make().map_err(|error| CliError::from_error("other", &error))?;
            file(&home)?.set(key, value).map_err(|error| refused(&error))?;
            changed(global, &home, key, true).await?;
        }
        Config::Unset { key } => {
            let key = setting(key)?;
            let had = file(&home)?.unset(key).map_err(|error| refused(&error))?;
            changed(global, &home, key, had).await?;
        }
        Config::Check => return check(global, &home),
        Config::Init => init(global, &home)?,
    }
    Ok(output::ok())
}

fn path(global: &Global, home: &Home) -> Result<(), CliError> {
    let path = home.config();
    if global.json {
        return output::json(&json!({ "path": path, "exists": path.exists() }));
    }
    output::line(path.display().to_string())
}

fn init(global: &Global, home: &Home) -> Result<(), CliError> {
    home.make().map_err(|error| CliError::from_error("other", &error))?;
    let path = home.config();
    // Whole or not at all: a full disk must not leave half a file, which would stand in the way of the next try.
    durable::create(&path, SAMPLE.as_bytes()).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => CliError::new("denied", format_args!("{} exists", path.display()))
            .hint("an existing file is not replaced: move it away first, or change it with `reg config set`"),
        _ => CliError::of_file(&path, &error),
    })?;
    if global.json {
        return output::json(&json!({ "path": path }));
    }
    output::line(path.display().to_string())
}

/// Returns the configuration of the daemon if one runs, else what a daemon that starts now would have.
async fn in_effect(global: &Global, home: &Home) -> Result<ConfigReport, CliError> {
    if let Some(client) = Client::of_daemon(global).await? {
        return client.post("/v1/config", &json!({})).await;
    }
    let (overrides, origins) = origin::of_variables().unwrap_or_default();
    Ok(report(&config(home, overrides)?, &home.config(), &origins))
}

/// Columns at which the remarks of `reg config show` stand, if the values leave room.
const REMARKS_AT: usize = 48;

fn show(global: &Global, report: &ConfigReport) -> Result<(), CliError> {
    let document = document(report)?;
    if global.json {
        let mut all = sections(&document)?;
        all.insert("sources".to_owned(), json!(report.sources));
        all.insert("path".to_owned(), json!(report.path));
        return output::json(&all);
    }
    let mut section = String::new();
    let mut text = String::new();
    for line in report.written.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            name.clone_into(&mut section);
        }
        let key = line.split_once(" = ").map(|(key, _)| format!("{section}.{key}"));
        match key.and_then(|it| report.sources.get(&it)) {
            Some(source) => text.push_str(&format!("{line:REMARKS_AT$}  # {source}\n")),
            None => text.push_str(&format!("{line}\n")),
        }
    }
    output::write(&text)
}

fn document(report: &ConfigReport) -> Result<DocumentMut, CliError> {
    report.written.parse().map_err(|error: toml_edit::TomlError| CliError::from_error("other", &error))
}

/// Returns the sections of a configuration as JSON.
fn sections(document: &DocumentMut) -> Result<Map<String, Value>, CliError> {
    toml_edit::de::from_document(document.clone()).map_err(|error| CliError::from_error("other", &error))
}

fn get(global: &Global, report: &ConfigReport, key: SettingKey) -> Result<(), CliError> {
    let sections = sections(&document(report)?)?;
    let value = sections.get(key.section).and_then(|it| it.get(key.key)).cloned().unwrap_or(Value::Null);
    if global.json {
        let source = report.sources.get(&key.name());
        return output::json(&json!({ "key": key.name(), "value": value, "source": source }));
    }
    match value {
        Value::Null => Ok(()),
        Value::String(text) => output::line(text),
        Value::Array(all) => all.iter().try_for_each(|it| match it {
            Value::String(text) => output::line(text),
            other => output::line(other.to_string()),
        }),
        other => output::line(other.to_string()),
    }
}

/// Says that the daemon runs with another value than the next one will have, if it does.
async fn pending(global: &Global, home: &Home, key: SettingKey) {
    if global.json || global.quiet || !is_alive(&home.socket()).await {
        return;
    }
    let Ok(now) = in_effect(global, home).await else { return };
    let Ok(meant) = Meant::load(home, of_variables()) else { return };
    let next = report(&meant, &home.config(), &BTreeMap::new());
    let value = |report: &ConfigReport| {
        sections(&document(report).ok()?).ok()?.get(key.section)?.get(key.key).cloned()
    };
    // What the daemon was told by a flag or a variable wins over the file.
    let is_of_file = now.sources.get(&key.name()).is_none_or(|it| it == "default" || it.starts_with("line "));
    if is_of_file && value(&now) != value(&next) {
        output::say(format_args!(
            "note: this is the value of the running daemon; the file has another one, and {}",
            if key.is_live() { "`reg reload` lets the daemon take it" } else { "it counts after a restart" }
        ));
    }
}

/// Says what was changed, and what makes it count.
async fn changed(global: &Global, home: &Home, key: SettingKey, is_changed: bool) -> Result<(), CliError> {
    let runs = is_alive(&home.socket()).await;
    if global.json {
        let path = home.config();
        let how = json!({ "path": path, "key": key.name(), "changed": is_changed, "live": key.is_live(), "daemon": runs });
        return output::json(&how);
    }
    if !is_changed {
        output::say(format_args!("{} does not set {key}", home.config().display()));
    } else if runs && key.is_live() {
        output::say(format_args!(
            "the daemon runs with the value before: `reg reload` lets it take the new one"
        ));
    } else if runs {
        output::say(format_args!("the daemon runs with the value before: {key} counts after its restart"));
    }
    Ok(())
}

fn check(global: &Global, home: &Home) -> Result<ExitCode, CliError> {
    let path = home.config();
    let file = file(home)?;
    let refused = Meant::load(home, of_variables()).err();
    let line = refused.as_ref().and_then(|error| file.line_of(error));
    if global.json {
        let found = refused.as_ref().map(|error| json!({ "line": line, "message": error.to_string() }));
        let verdict =
            json!({ "path": path, "exists": file.exists(), "valid": found.is_none(), "error": found });
        output::json(&verdict)?;
        return Ok(if found.is_none() { output::ok() } else { ExitCode::from(2) });
    }
    match refused {
        None if file.exists() => output::line(format!("{} is valid", path.display()))?,
        None => output::line(format!("{} does not exist: every value is the default", path.display()))?,
        Some(error) => {
            let error = CliError::from_error("invalid", &error);
            return Err(match line {
                Some(line) => error.hint(format_args!("see line {line} of {}", path.display())),
                None => error.hint(format_args!("see {}", path.display())),
            });
        }
    }
    Ok(output::ok())
}

fn file(home: &Home) -> Result<ConfigFile, CliError> {
    let file = ConfigFile::read(&home.config()).map_err(|error| refused(&error))?;
    Ok(file.beside(of_variables()))
}

fn of_variables() -> Overrides {
    origin::of_variables().unwrap_or_default().0
}

fn refused(error: &EditError) -> CliError {
    match error {
        EditError::Read { .. } | EditError::Write { .. } => CliError::from_error("other", error),
        EditError::Toml { .. } => {
            CliError::from_error("invalid", error).hint("`reg config check` says which line it is")
        }
        EditError::Form { key } => CliError::from_error("invalid", error).hint(format_args!(
            "`reg config get {key}` shows a value that it takes, `reg help configuration` what it means"
        )),
        EditError::Refused(_) => CliError::from_error("invalid", error).hint("the file is as it was"),
    }
}

fn setting(text: &str) -> Result<SettingKey, CliError> {
    text.parse().map_err(|error: UnknownKey| {
        let near: Vec<String> = error.near.iter().map(|it| format!("`{it}`")).collect();
        let it = CliError::from_error("invalid", &error);
        match near.as_slice() {
            [] => it.hint("`reg config show` lists the keys"),
            near => it.hint(format_args!("did you mean {}?", near.join(" or "))),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_stays_a_file_with_the_same_meaning() {
        let config = Meant::new(reg_node::daemon::RawConfig::default(), Overrides::default()).expect("valid");
        let report = report(&config, std::path::Path::new("config.toml"), &BTreeMap::new());
        assert!(report.sources.values().all(|it| it == "default"));
        assert!(sections(&document(&report).expect("TOML")).expect("JSON").contains_key("transfer"));
    }
}
