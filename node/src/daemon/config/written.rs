//! [`ConfigFile`]: the configuration file as text: where each key stands, and changes of one key that keep everything else.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use reg_api::settings::ConfigReport;
use reg_keys::durable;
use thiserror::Error;
use toml_edit::{Document, DocumentMut, Item, Table, TomlError, Value};

use super::keys::{SettingKey, keys};
use super::{Config, ConfigError, Overrides, RawConfig};

/// Why a change of the file is refused. The file is then as it was.
#[derive(Debug, Error)]
pub enum EditError {
    #[error("{path} cannot be read")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is no TOML, so no key of it can be changed")]
    Toml { path: PathBuf, source: TomlError },
    #[error("{key} takes no such value")]
    Form { key: SettingKey },
    #[error("the value is refused")]
    Refused(#[source] Box<ConfigError>),
    #[error("{path} cannot be written")]
    Write { path: PathBuf, source: io::Error },
}

/// The configuration file, read once.
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
    text: String,
    /// Whether the file is there.
    exists: bool,
    /// What flags and variables say beside it.
    overrides: Overrides,
}

impl ConfigFile {
    /// Reads the file at `path`; a missing file counts as empty.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(path: &Path) -> Result<Self, EditError> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Self::of(path, text, true)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::of(path, String::new(), false)),
            Err(source) => Err(EditError::Read { path: path.to_owned(), source }),
        }
    }

    fn of(path: &Path, text: String, exists: bool) -> Self {
        Self { path: path.to_owned(), text, exists, overrides: Overrides::default() }
    }

    /// Says what flags and variables say beside the file: a value may need another one of them.
    pub fn beside(self, overrides: Overrides) -> Self {
        Self { overrides, ..self }
    }

    /// Tells whether the file is there.
    pub const fn exists(&self) -> bool {
        self.exists
    }

    /// Returns the lines of the keys that the file sets, by name; none where it is no TOML.
    pub fn lines(&self) -> BTreeMap<String, usize> {
        let text = bare(&self.text);
        let Ok(document) = Document::parse(text) else { return BTreeMap::new() };
        let mut lines = BTreeMap::new();
        for (section, item) in document.iter() {
            for (key, span) in spans(item) {
                lines.insert(format!("{section}.{key}"), line_of(text, span.start));
            }
        }
        lines
    }

    /// Returns the line that an error of this configuration is about, where it is known.
    pub fn line_of(&self, error: &ConfigError) -> Option<usize> {
        match error {
            ConfigError::Parse { source, .. } => Some(line_of(bare(&self.text), source.span()?.start)),
            _ => {
                let text = error.to_string();
                self.lines().get(&SettingKey::named_in(&text)?.name()).copied()
            }
        }
    }

    /// Sets one key, and writes the file. A value is read as TOML where that fits the key, else as text.
    ///
    /// # Errors
    /// See [`EditError`].
    pub fn set(&self, key: SettingKey, values: &[String]) -> Result<(), EditError> {
        let mut document = self.document()?;
        let value = fitting(key, values).ok_or(EditError::Form { key })?;
        let Some(section) = document.get_mut(key.section) else {
            // At the end, behind comments that belong to no key.
            let mut text = bare(&self.text).to_owned();
            if !text.is_empty() {
                text = text.trim_end().to_owned() + "\n\n";
            }
            return self.write(key, &format!("{text}[{}]\n{} = {value}\n", key.section, key.key));
        };
        let table = section.as_table_like_mut().ok_or(EditError::Form { key })?;
        match table.get_mut(key.key) {
            Some(Item::Value(old)) => {
                let decor = old.decor().clone();
                *old = value;
                *old.decor_mut() = decor;
            }
            _ => drop(table.insert(key.key, Item::Value(value))),
        }
        self.write(key, &document.to_string())
    }

    /// Removes one key, and writes the file; returns whether the file had it. Comments above it stay.
    ///
    /// # Errors
    /// See [`EditError`].
    pub fn unset(&self, key: SettingKey) -> Result<bool, EditError> {
        let mut document = self.document()?;
        let table = document.get_mut(key.section).and_then(Item::as_table_like_mut);
        if table.and_then(|it| it.remove(key.key)).is_none() {
            return Ok(false);
        }
        let text = self.without_lines(key).unwrap_or_else(|| document.to_string());
        self.write(key, &text).map(|()| true)
    }

    /// Returns the text without the lines of a key, where it has lines of its own.
    fn without_lines(&self, key: SettingKey) -> Option<String> {
        let text = bare(&self.text);
        let document = Document::parse(text).ok()?;
        let (_, span) = spans(document.get(key.section)?).into_iter().find(|(name, _)| name == key.key)?;
        let from = text[..span.start].rfind('\n').map_or(0, |it| it + 1);
        let to = text[span.end..].find('\n').map_or(text.len(), |it| span.end + it + 1);
        let without = format!("{}{}", &text[..from], &text[to..]);
        // A key of an inline table has none: then the line says more than this key.
        let (before, mut expected): (toml::Table, toml::Table) = (without.parse().ok()?, text.parse().ok()?);
        expected.get_mut(key.section)?.as_table_mut()?.remove(key.key);
        (before == expected).then_some(without)
    }

    fn document(&self) -> Result<DocumentMut, EditError> {
        bare(&self.text).parse().map_err(|source| EditError::Toml { path: self.path.clone(), source })
    }

    /// Writes the file whole, with the line ends that it had, if it is a valid configuration: beside the flags and variables, and
    /// as far as `key` is concerned without them too, because commands that have none of them read it.
    fn write(&self, key: SettingKey, text: &str) -> Result<(), EditError> {
        let refused = |error| EditError::Refused(Box::new(error));
        let alone = Config::new(RawConfig::parse(text, &self.path).map_err(refused)?, Overrides::default());
        if let Err(error) = alone
            && SettingKey::named_in(&error.to_string()) == Some(key)
        {
            return Err(refused(error));
        }
        let raw = RawConfig::parse(text, &self.path).map_err(refused)?;
        Config::new(raw, self.overrides.clone()).map_err(refused)?;
        let failed = |source| EditError::Write { path: self.path.clone(), source };
        let unix = text.replace("\r\n", "\n");
        let text = if self.text.contains("\r\n") { unix.replace('\n', "\r\n") } else { unix };
        // A link to a file elsewhere stays one, and the file keeps its rights.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let rights = fs::metadata(&path).map(|it| it.permissions()).ok();
        durable::replace(&path, text.as_bytes()).map_err(failed)?;
        rights.map_or(Ok(()), |rights| fs::set_permissions(&path, rights)).map_err(failed)
    }
}

/// Describes a configuration in effect: each key with what it comes from. `origins` win over the file at `path`.
pub fn report(config: &Config, path: &Path, origins: &BTreeMap<SettingKey, String>) -> ConfigReport {
    let lines = ConfigFile::read(path).map(|it| it.lines()).unwrap_or_default();
    let source = |key: SettingKey| {
        let of_file = || lines.get(&key.name()).map(|line| format!("line {line}"));
        let of = origins.get(&key).cloned().or_else(of_file);
        (key.name(), of.unwrap_or_else(|| "default".to_owned()))
    };
    ConfigReport {
        path: path.to_owned(),
        written: config.written().to_toml(),
        sources: keys().map(source).collect(),
    }
}

/// Returns a text without the mark that some editors put before it.
pub(super) fn bare(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Returns the keys of a section, each with its place in the text.
fn spans(section: &Item) -> Vec<(String, Range<usize>)> {
    let Some(table) = section.as_table_like() else { return Vec::new() };
    let span = |(name, item): (&str, &Item)| {
        let key = table.key(name).and_then(|it| it.span());
        let value = item.span();
        let (first, last) = (key.clone().or_else(|| value.clone())?, value.or(key)?);
        Some((name.to_owned(), first.start..last.end))
    };
    table.iter().filter_map(span).collect()
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|it| **it == b'\n').count() + 1
}

/// Returns the first form of `values` that the key takes: as TOML, as a text, as a list.
fn fitting(key: SettingKey, values: &[String]) -> Option<Value> {
    let list = || Value::from_iter(values.iter().map(String::as_str));
    let forms = match values {
        [one] => vec![one.parse().ok(), Some(Value::from(one.as_str())), Some(list())],
        _ => vec![Some(list())],
    };
    let fits = |value: &Value| {
        let mut table = Table::new();
        table.insert(key.key, Item::Value(value.clone()));
        let mut document = DocumentMut::new();
        document.insert(key.section, Item::Table(table));
        toml::from_str::<RawConfig>(&document.to_string()).is_ok()
    };
    forms.into_iter().flatten().find(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(
        before: &str,
        change: impl FnOnce(&ConfigFile) -> Result<(), EditError>,
    ) -> Result<String, EditError> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("config.toml");
        fs::write(&path, before).expect("written");
        let changed = change(&ConfigFile::read(&path).expect("read"));
        let after = fs::read_to_string(&path).expect("read");
        if changed.is_err() {
            assert_eq!(after, before, "a refused change changes nothing");
        }
        changed.map(|()| after)
    }

    fn set(before: &str, key: &str, values: &[&str]) -> Result<String, EditError> {
        let values: Vec<String> = values.iter().map(|it| (*it).to_owned()).collect();
        written(before, |file| file.set(key.parse().expect("a key"), &values))
    }

    fn unset(before: &str, key: &str) -> String {
        written(before, |file| file.unset(key.parse().expect("a key")).map(drop)).expect("removed")
    }

    #[test]
    fn one_key_changes_and_all_else_stays() {
        let before = "# mine\n[transfer]\n# slow line\nlimit_up = \"1 MB/s\" # for now\n\n[log]\n# filter = \"info\"\n";
        let after = set(before, "transfer.limit_up", &["2 MB/s"]).expect("set");
        assert_eq!(after, before.replace("1 MB/s", "2 MB/s"));
        let after = set(before, "node.mdns", &["false"]).expect("set");
        assert_eq!(after, format!("{before}\n[node]\nmdns = false\n"));
        let after =
            set(before, "node.bootstrap", &["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/1"]).expect("set");
        assert!(
            after.contains("bootstrap = [\"/ip4/192.0.2.1/tcp/1\", \"/ip4/192.0.2.2/tcp/1\"]"),
            "{after}"
        );
        let after =
            set("", "node.bootstrap", &["/ip4/192.0.2.1/tcp/1"]).expect("one address is a list of one");
        assert_eq!(after, "[node]\nbootstrap = [\"/ip4/192.0.2.1/tcp/1\"]\n");
        let after = set("", "health.zones", &["{ rack-1 = ['10.1.0.0/16'] }"]).expect("TOML");
        assert!(after.contains("rack-1"), "{after}");
        assert_eq!(
            unset(before, "transfer.limit_up"),
            "# mine\n[transfer]\n# slow line\n\n[log]\n# filter = \"info\"\n"
        );
        assert_eq!(
            unset("transfer = { limit_up = '1 MB/s', limit_local = true }\n", "limit_up"),
            "transfer = { limit_local = true }\n"
        );
        assert_eq!(unset("transfer.limit_up = '1 MB/s'\n", "limit_up"), "");
    }

    #[test]
    fn line_ends_and_marks_of_other_editors_are_taken_and_kept() {
        let before = "\u{feff}[transfer]\r\n# slow\r\nlimit_up = \"1 MB/s\"\r\nlanes = true\r\n";
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("config.toml");
        fs::write(&path, before).expect("written");
        assert_eq!(RawConfig::read(&path).expect("valid").transfer.limit_up.as_deref(), Some("1 MB/s"));
        assert_eq!(ConfigFile::read(&path).expect("read").lines()["transfer.limit_up"], 3);
        let after = set(before, "transfer.limit_up", &["2 MB/s"]).expect("set");
        assert_eq!(after, "[transfer]\r\n# slow\r\nlimit_up = \"2 MB/s\"\r\nlanes = true\r\n");
        assert_eq!(unset(before, "limit_up"), "[transfer]\r\n# slow\r\nlanes = true\r\n");
    }

    #[test]
    fn what_is_refused_names_its_line() {
        for (text, line) in [
            ("[node]\nmdns = true\nnothing = 1\n", 3),
            ("[node]\nmdns = 'yes'\n", 2),
            ("[node]\n\ndht = 'sometimes'\n", 3),
            ("[transfer]\nlimit_up = '1 kB/s'\n", 2),
            ("[health]\naudit = 'x'\n", 2),
            ("[node\n", 1),
        ] {
            let file = ConfigFile::of(Path::new("config.toml"), text.to_owned(), true);
            let error =
                RawConfig::parse(text, &file.path).and_then(|raw| Config::new(raw, Overrides::default()));
            assert_eq!(file.line_of(&error.expect_err("refused")), Some(line), "{text}");
        }
        assert!(matches!(set("", "node.mdns", &["perhaps"]), Err(EditError::Form { .. })));
        assert!(matches!(set("", "transfer.limit_up", &["1 kB/s"]), Err(EditError::Refused(_))));
        assert!(matches!(set("[node", "node.mdns", &["true"]), Err(EditError::Toml { .. })));
    }
}
