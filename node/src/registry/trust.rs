//! [`TrustFile`]: whom the user calls by which name, what models must show, and whose warnings count. It means what this
//! user has said, and nothing else.
//!
//! The file is the user's own: it is read anew each time, so that an edit counts at once, and what a command changes leaves
//! the rest, comments too, as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use reg_proto::attestation::{AttestationKind, AttestationWordError};
use reg_proto::content::kind::ContentKind;
use reg_proto::denylist::{Denied, DeniedError};
use reg_proto::name::{ModelName, NameError, Petname, Publisher, PublisherId, Reference};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

use super::durable;
use super::fault::{Fault, FaultKind};
use super::policy::{Quorum, Rule, Scope, ScopeError};

/// Bytes of a trust file: ten thousand publishers at 60 bytes each, and as much again for comments.
const TRUST_FILE_BYTES_MAX: usize = 1 << 20;
/// Rules: each pull looks at all of them.
const RULES_MAX: usize = 256;
/// Lists subscribed to: each is fetched every hour and kept.
pub(super) const DENYLISTS_MAX: usize = 16;

const FIRST_LINES: &str = "\
# Whom you trust with what, on this machine only. `reg trust --help` tells what can be said; comments stay.

[petnames]
";

/// The file of petnames, rules and subscriptions.
#[derive(Debug, Clone)]
pub struct TrustFile {
    path: PathBuf,
}

/// Why a petname means nobody, or is not given.
#[derive(Debug, Error)]
pub enum TrustError {
    #[error("{petname} is not a petname you have given")]
    Unknown { petname: Petname },
    #[error("petname {petname} is given to {publisher} already")]
    Taken { petname: Petname, publisher: PublisherId },
    #[error("trust file {path} is not understood")]
    Syntax { path: PathBuf, source: Box<toml::de::Error> },
    #[error("trust file {path} has an entry that is refused")]
    Entry { path: PathBuf, source: EntryError },
    #[error("{what} is not in the trust file")]
    Missing { what: String },
    #[error("trust file {path} is written in a way that no command can add to")]
    Form { path: PathBuf },
    #[error("trust file {path} would become larger than {TRUST_FILE_BYTES_MAX} bytes")]
    Full { path: PathBuf },
    #[error("trust file {path} cannot be read")]
    Read { path: PathBuf, source: io::Error },
    #[error("trust file {path} cannot be written")]
    Write { path: PathBuf, source: io::Error },
}

/// Why an entry of the trust file is refused.
#[derive(Debug, Error)]
pub enum EntryError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error(transparent)]
    Word(#[from] AttestationWordError),
    #[error(transparent)]
    Denied(#[from] DeniedError),
    #[error("{text:?} is no kind of content, as in safetensors, gguf, json, text")]
    Format { text: String },
    #[error(
        "{text} is a list that is named with a tag or a digest: name the model alone, its tag latest counts"
    )]
    List { text: Reference },
    #[error("rule for {scope} wants {count} attestations of {by} attestors")]
    Count { scope: Scope, count: usize, by: usize },
    #[error("rule for {scope} requires nothing")]
    Nothing { scope: Scope },
    #[error("{petname} is not a petname of yours")]
    Petname { petname: Petname },
    #[error("there are {count} {what}, at most {max} are followed")]
    TooMany { what: &'static str, count: usize, max: usize },
}

impl Fault for TrustError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Unknown { .. }
            | Self::Taken { .. }
            | Self::Syntax { .. }
            | Self::Entry { .. }
            | Self::Form { .. } => FaultKind::Invalid,
            Self::Missing { .. } => FaultKind::NotFound,
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => FaultKind::DiskFull,
            Self::Full { .. } | Self::Read { .. } | Self::Write { .. } => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { petname } => Some(format!("reg trust add {petname} ID")),
            Self::Taken { petname, .. } => Some(format!(
                "is the new id really theirs? ask them another way; then `reg trust accept {petname} ID`"
            )),
            Self::Missing { .. } => Some("`reg trust show` shows all of it".to_owned()),
            Self::Form { path } => Some(format!("change {} yourself", path.display())),
            _ => None,
        }
    }
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTrust {
    #[serde(default)]
    petnames: BTreeMap<String, String>,
    #[serde(default)]
    rules: Vec<RawRule>,
    #[serde(default)]
    denylists: RawDenylists,
}

/// A rule as it is written, and as commands send it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawRule {
    /// PUBLISHER/MODELS, where both may be `*`.
    pub models: String,
    #[serde(default)]
    pub known_publisher: bool,
    #[serde(default)]
    pub licenses: Vec<String>,
    #[serde(default)]
    pub formats: Vec<String>,
    #[serde(default)]
    pub attestations: Vec<RawQuorum>,
}

/// A number of attestations, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawQuorum {
    pub kind: String,
    pub count: usize,
    /// Petnames or ids; empty: everybody with a petname.
    #[serde(default)]
    pub by: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDenylists {
    #[serde(default)]
    subscribed: Vec<String>,
    #[serde(default)]
    allow: Vec<String>,
}

/// The file as it is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    pub petnames: BTreeMap<Petname, PublisherId>,
    pub rules: Vec<Rule>,
    /// Lists that count, by whom and what each is called.
    pub denylists: Vec<Subscription>,
    /// What is taken and served, whatever a list says.
    pub allowed: BTreeSet<Denied>,
}

/// A list that the user has subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// As it is written: `acme/denylist`.
    pub name: String,
    pub publisher: PublisherId,
    pub model: ModelName,
}

impl TrustFile {
    /// Returns the trust file at `path`, which need not exist yet.
    pub const fn open(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns what the file says.
    ///
    /// # Errors
    /// The file cannot be read, or holds what is not understood. One that is not there says nothing.
    pub fn load(&self) -> Result<Trust, TrustError> {
        self.parse(&self.read()?)
    }

    /// Returns every petname with the publisher it means.
    ///
    /// # Errors
    /// As for [`TrustFile::load`].
    pub fn list(&self) -> Result<BTreeMap<Petname, PublisherId>, TrustError> {
        Ok(self.load()?.petnames)
    }

    /// Returns whom a user means: an id means itself, a petname what the file says.
    ///
    /// # Errors
    /// A petname that was never given, or a file that cannot be read.
    pub fn resolve(&self, publisher: &Publisher) -> Result<PublisherId, TrustError> {
        match publisher {
            Publisher::Id(id) => Ok(*id),
            Publisher::Petname(petname) => {
                let known = self.list()?.get(petname).copied();
                known.ok_or_else(|| TrustError::Unknown { petname: petname.clone() })
            }
        }
    }

    /// Gives a petname to a publisher, and returns whether that is new. Once this returns, it is there after a power cut.
    ///
    /// # Errors
    /// The petname means somebody else already, or the file cannot be read or written.
    pub fn add(&self, petname: &Petname, publisher: PublisherId) -> Result<bool, TrustError> {
        self.edit(|document, trust| match trust.petnames.get(petname) {
            Some(known) if *known == publisher => Ok(false),
            Some(known) => Err(TrustError::Taken { petname: petname.clone(), publisher: *known }),
            None => self.point(document, petname, publisher),
        })
    }

    /// Points a petname at another publisher than before, and returns whether that is new.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn accept(&self, petname: &Petname, publisher: PublisherId) -> Result<bool, TrustError> {
        self.edit(|document, trust| match trust.petnames.get(petname) {
            Some(known) if *known == publisher => Ok(false),
            _ => self.point(document, petname, publisher),
        })
    }

    /// Takes a petname away.
    ///
    /// # Errors
    /// It was never given, a rule or a list needs it, or the file cannot be read or written.
    pub fn remove(&self, petname: &Petname) -> Result<(), TrustError> {
        self.edit(|document, trust| {
            if !trust.petnames.contains_key(petname) {
                return Err(TrustError::Missing { what: petname.to_string() });
            }
            let names = document.get_mut("petnames").and_then(Item::as_table_like_mut);
            names.ok_or_else(|| self.form())?.remove(petname.as_str());
            Ok(true)
        })
        .map(drop)
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// The rule is not understood, or the file cannot be read or written.
    pub fn require(&self, rule: &RawRule) -> Result<(), TrustError> {
        self.edit(|document, _| {
            let rules = document.entry("rules").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
            rules.as_array_of_tables_mut().ok_or_else(|| self.form())?.push(rule.to_table());
            Ok(true)
        })
        .map(drop)
    }

    /// Takes away the rules for a scope, and returns how many there were.
    ///
    /// # Errors
    /// There is none, or the file cannot be read or written.
    pub fn waive(&self, scope: &Scope) -> Result<usize, TrustError> {
        let mut count = 0;
        self.edit(|document, trust| {
            count = trust.rules.iter().filter(|it| it.scope == *scope).count();
            if count == 0 {
                return Err(TrustError::Missing { what: format!("a rule for {scope}") });
            }
            let rules = document.get_mut("rules").and_then(Item::as_array_of_tables_mut);
            let of_scope = |table: &Table| {
                table.get("models").and_then(Item::as_str).is_some_and(|it| it.parse().as_ref() == Ok(scope))
            };
            rules.ok_or_else(|| self.form())?.retain(|table| !of_scope(table));
            Ok(true)
        })?;
        Ok(count)
    }

    /// Subscribes to a list, or ends that; returns whether that is new.
    ///
    /// # Errors
    /// The list is not there to be ended, or the file cannot be read or written.
    pub fn subscribe(&self, list: &str, on: bool) -> Result<bool, TrustError> {
        self.edit(|document, trust| {
            let has = trust.denylists.iter().any(|it| it.name == list);
            self.switch(document, "subscribed", list, has, on)
        })
    }

    /// Allows what a list denies, or ends that; returns whether that is new.
    ///
    /// # Errors
    /// It is not there to be ended, or the file cannot be read or written.
    pub fn allow(&self, denied: &Denied, on: bool) -> Result<bool, TrustError> {
        self.edit(|document, trust| {
            self.switch(document, "allow", &denied.to_string(), trust.allowed.contains(denied), on)
        })
    }

    /// Writes a text into one of the lists of `[denylists]`, or takes it away.
    fn switch(
        &self,
        document: &mut DocumentMut,
        key: &str,
        text: &str,
        has: bool,
        on: bool,
    ) -> Result<bool, TrustError> {
        if has == on {
            return if on { Ok(false) } else { Err(TrustError::Missing { what: text.to_owned() }) };
        }
        let table = document.entry("denylists").or_insert(Item::Table(Table::new()));
        let list = table.as_table_like_mut().ok_or_else(|| self.form())?;
        let list = list.entry(key).or_insert(value(toml_edit::Array::new()));
        let list = list.as_array_mut().ok_or_else(|| self.form())?;
        if on {
            list.push(text);
        } else {
            list.retain(|it| it.as_str() != Some(text));
        }
        Ok(true)
    }

    fn point(
        &self,
        document: &mut DocumentMut,
        petname: &Petname,
        publisher: PublisherId,
    ) -> Result<bool, TrustError> {
        let names = document.entry("petnames").or_insert(Item::Table(Table::new()));
        let names = names.as_table_like_mut().ok_or_else(|| self.form())?;
        // A value that is there keeps what stands around it.
        match names.get_mut(petname.as_str()).and_then(Item::as_value_mut) {
            Some(known) => {
                let around = known.decor().clone();
                *known = publisher.to_string().into();
                *known.decor_mut() = around;
            }
            None => drop(names.insert(petname.as_str(), value(publisher.to_string()))),
        }
        Ok(true)
    }

    /// Changes the file, unless `change` returns false. What comes out must be understood again.
    fn edit(
        &self,
        change: impl FnOnce(&mut DocumentMut, &Trust) -> Result<bool, TrustError>,
    ) -> Result<bool, TrustError> {
        let _lock = self.lock().map_err(|source| self.unwritten(source))?;
        let text = self.read()?;
        let Some(text) = self.changed(&text, change)? else { return Ok(false) };
        if text.len() > TRUST_FILE_BYTES_MAX {
            return Err(TrustError::Full { path: self.path.clone() });
        }
        // Where the file is a link, what it points to is replaced and not the link.
        let target = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        durable::replace(&target, text.as_bytes()).map_err(|source| self.unwritten(source))?;
        Ok(true)
    }

    fn changed(
        &self,
        text: &str,
        change: impl FnOnce(&mut DocumentMut, &Trust) -> Result<bool, TrustError>,
    ) -> Result<Option<String>, TrustError> {
        let trust = self.parse(text)?;
        let text = if text.is_empty() { FIRST_LINES } else { text };
        let mut document: DocumentMut = text.parse().map_err(|_| self.form())?;
        if !change(&mut document, &trust)? {
            return Ok(None);
        }
        let text = document.to_string();
        self.parse(&text)?;
        Ok(Some(text))
    }

    /// Keeps two commands from adding to the same old text; ends when it is dropped.
    fn lock(&self) -> io::Result<File> {
        if let Some(directory) = self.path.parent().filter(|it| !it.as_os_str().is_empty() && !it.exists()) {
            durable::create_directory(directory)?;
        }
        let mut name = self.path.clone().into_os_string();
        name.push(".lock");
        let lock = File::options().create(true).truncate(false).write(true).open(name)?;
        lock.lock()?;
        Ok(lock)
    }

    fn read(&self) -> Result<String, TrustError> {
        let failed = |source| TrustError::Read { path: self.path.clone(), source };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
            Err(source) => return Err(failed(source)),
        };
        let bytes = durable::read(&file, TRUST_FILE_BYTES_MAX).map_err(failed)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| failed(io::ErrorKind::InvalidData.into()))?;
        Ok(text.to_owned())
    }

    fn parse(&self, text: &str) -> Result<Trust, TrustError> {
        let raw: RawTrust = toml::from_str(text)
            .map_err(|source| TrustError::Syntax { path: self.path.clone(), source: Box::new(source) })?;
        raw.mean().map_err(|source| TrustError::Entry { path: self.path.clone(), source })
    }

    /// Tells of an entry that a user wanted.
    pub(super) fn refused(&self, source: EntryError) -> TrustError {
        TrustError::Entry { path: self.path.clone(), source }
    }

    fn form(&self) -> TrustError {
        TrustError::Form { path: self.path.clone() }
    }

    fn unwritten(&self, source: io::Error) -> TrustError {
        TrustError::Write { path: self.path.clone(), source }
    }
}

impl RawTrust {
    fn mean(self) -> Result<Trust, EntryError> {
        let petnames = self.petnames.into_iter().map(|(petname, id)| Ok((petname.parse()?, id.parse()?)));
        let petnames: BTreeMap<Petname, PublisherId> = petnames.collect::<Result<_, NameError>>()?;
        let too_many = |what, count, max| Err(EntryError::TooMany { what, count, max });
        let (rules, lists) = (self.rules.len(), self.denylists.subscribed.len());
        if rules > RULES_MAX {
            return too_many("rules", rules, RULES_MAX);
        }
        if lists > DENYLISTS_MAX {
            return too_many("denylists", lists, DENYLISTS_MAX);
        }
        let rules = self.rules.iter().map(|rule| rule.mean(&petnames)).collect::<Result<_, _>>()?;
        let denylists = self.denylists.subscribed.iter().map(|list| {
            let text: Reference = list.parse()?;
            if text.tag.is_some() || text.digest.is_some() {
                return Err(EntryError::List { text });
            }
            let publisher = id_of(&text.publisher, &petnames)?;
            Ok(Subscription { name: list.clone(), publisher, model: text.model })
        });
        let denylists = denylists.collect::<Result<_, EntryError>>()?;
        let allowed = self.denylists.allow.iter().map(|it| it.parse()).collect::<Result<_, DeniedError>>()?;
        Ok(Trust { petnames, rules, denylists, allowed })
    }
}

impl RawRule {
    fn mean(&self, petnames: &BTreeMap<Petname, PublisherId>) -> Result<Rule, EntryError> {
        let scope: Scope = self.models.parse()?;
        let publisher = scope.publisher.as_ref().map(|it| id_of(it, petnames)).transpose()?;
        let formats = self.formats.iter().map(|text| {
            let known = ContentKind::ALL.into_iter().find(|it| it.name() == text);
            known.ok_or_else(|| EntryError::Format { text: text.clone() })
        });
        let attestations = self.attestations.iter().map(|it| {
            let kind: AttestationKind = it.kind.parse()?;
            let by = it.by.iter().map(|who| id_of(&who.parse()?, petnames));
            let by: BTreeSet<PublisherId> = by.collect::<Result<_, EntryError>>()?;
            let count = it.count;
            if count == 0 || (!by.is_empty() && by.len() < count) {
                return Err(EntryError::Count { scope: scope.clone(), count, by: by.len() });
            }
            Ok(Quorum { kind, count, by })
        });
        let rule = Rule {
            attestations: attestations.collect::<Result<_, EntryError>>()?,
            known_publisher: self.known_publisher,
            licenses: self.licenses.iter().map(|it| it.to_lowercase()).collect(),
            formats: formats.collect::<Result<_, EntryError>>()?,
            publisher,
            scope,
        };
        let requires = rule.known_publisher
            || !(rule.attestations.is_empty() && rule.licenses.is_empty() && rule.formats.is_empty());
        if requires { Ok(rule) } else { Err(EntryError::Nothing { scope: rule.scope }) }
    }

    fn to_table(&self) -> Table {
        let texts = |all: &[String]| value(all.iter().map(String::as_str).collect::<toml_edit::Array>());
        let mut table = Table::new();
        table.insert("models", value(&self.models));
        if self.known_publisher {
            table.insert("known-publisher", value(true));
        }
        if !self.licenses.is_empty() {
            table.insert("licenses", texts(&self.licenses));
        }
        if !self.formats.is_empty() {
            table.insert("formats", texts(&self.formats));
        }
        let quorums = self.attestations.iter().map(|it| {
            let mut quorum = toml_edit::InlineTable::new();
            quorum.insert("kind", it.kind.as_str().into());
            quorum.insert("count", i64::try_from(it.count).unwrap_or(i64::MAX).into());
            quorum.insert("by", it.by.iter().map(String::as_str).collect::<toml_edit::Array>().into());
            quorum
        });
        if !self.attestations.is_empty() {
            table.insert("attestations", value(quorums.collect::<toml_edit::Array>()));
        }
        table
    }
}

fn id_of(
    publisher: &Publisher,
    petnames: &BTreeMap<Petname, PublisherId>,
) -> Result<PublisherId, EntryError> {
    match publisher {
        Publisher::Id(id) => Ok(*id),
        Publisher::Petname(petname) => {
            let known = petnames.get(petname).copied();
            known.ok_or_else(|| EntryError::Petname { petname: petname.clone() })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    fn id(byte: u8) -> PublisherId {
        PublisherId::from_bytes([byte; 32])
    }

    fn petname(text: &str) -> Petname {
        text.parse().unwrap()
    }

    fn with_text(text: &str) -> (TempDir, TrustFile) {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("trust.toml");
        fs::write(&path, text).unwrap();
        (home, TrustFile::open(path))
    }

    #[test]
    fn means_what_was_given_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let trust = TrustFile::open(home.path().join("config/trust.toml"));
        assert!(trust.list().unwrap().is_empty());
        let acme = Publisher::Petname(petname("acme"));
        let unknown = trust.resolve(&acme).unwrap_err();
        assert_eq!(unknown.to_string(), "acme is not a petname you have given");
        assert_eq!(unknown.hint().as_deref(), Some("reg trust add acme ID"));
        assert!(trust.add(&petname("acme"), id(1)).unwrap());
        assert!(!trust.add(&petname("acme"), id(1)).unwrap());
        assert_eq!(trust.resolve(&acme).unwrap(), id(1));
        assert_eq!(trust.resolve(&Publisher::Id(id(9))).unwrap(), id(9));
        let taken = trust.add(&petname("acme"), id(2)).unwrap_err();
        assert!(matches!(&taken, TrustError::Taken { publisher, .. } if *publisher == id(1)));
        assert!(taken.to_string().contains(&id(1).to_string()));
        assert!(trust.add(&petname("acme.labs"), id(1)).unwrap());
        assert_eq!(trust.list().unwrap().len(), 2);
    }

    #[test]
    fn an_added_line_leaves_the_users_own_as_they_were() {
        let text = format!("# mine\n[petnames]\n  acme = \"{}\" # since 2024", id(1));
        let (home, trust) = with_text(&text);
        trust.add(&petname("zeta"), id(2)).unwrap();
        let after = fs::read_to_string(home.path().join("trust.toml")).unwrap();
        assert!(after.starts_with(&text), "{after}");
        assert_eq!(trust.list().unwrap().len(), 2);
        for text in ["", "[petnames]\n", "petnames = {}\n", &format!("petnames.acme = \"{}\"\n", id(1))] {
            let (_home, trust) = with_text(text);
            let before = trust.list().unwrap().len();
            trust.add(&petname("zeta"), id(2)).unwrap();
            assert_eq!(trust.list().unwrap().len(), before + 1, "{text}");
        }
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        let line = |name: &str, value: &str| format!("[petnames]\n{name} = \"{value}\"\n");
        for text in [
            "petname = 1\n".to_owned(),
            "[petnames]\nacme = 1\n".to_owned(),
            line("Acme", &id(1).to_string()),
            line("acme", "abc"),
            line("acme", &id(1).to_string().to_uppercase()),
            line(&id(2).to_string(), &id(1).to_string()),
            line("acme", &id(1).to_string()) + &format!("acme = \"{}\"\n", id(2)),
            line("acme", &id(1).to_string()) + "[other]\n",
        ] {
            let (home, trust) = with_text(&text);
            assert!(trust.list().is_err(), "{text}");
            assert!(trust.add(&petname("zeta"), id(3)).is_err());
            assert_eq!(fs::read_to_string(home.path().join("trust.toml")).unwrap(), text);
        }
        let (_home, trust) = with_text(&"#".repeat(TRUST_FILE_BYTES_MAX + 1));
        assert!(matches!(trust.list(), Err(TrustError::Read { .. })));
    }

    #[test]
    fn two_that_add_at_once_lose_nothing() {
        let (_home, trust) = with_text("");
        std::thread::scope(|scope| {
            for thread in 0..4u8 {
                let trust = trust.clone();
                scope.spawn(move || {
                    for it in 0..8u8 {
                        trust.add(&petname(&format!("p{thread}-{it}")), id(it)).unwrap();
                    }
                });
            }
        });
        assert_eq!(trust.list().unwrap().len(), 32);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link() {
        let (home, trust) = with_text("");
        let link = home.path().join("link.toml");
        std::os::unix::fs::symlink(home.path().join("trust.toml"), &link).unwrap();
        TrustFile::open(link.clone()).add(&petname("acme"), id(1)).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(trust.list().unwrap().len(), 1);
    }

    fn rule() -> RawRule {
        RawRule {
            models: "acme/*".to_owned(),
            known_publisher: true,
            licenses: vec!["MIT".to_owned()],
            formats: vec!["safetensors".to_owned()],
            attestations: vec![RawQuorum {
                kind: "scan".to_owned(),
                count: 2,
                by: vec!["acme".to_owned(), id(7).to_string()],
            }],
        }
    }

    #[test]
    fn rules_lists_and_exceptions_come_and_go_and_comments_stay() {
        let text = format!("# mine\n[petnames]\nacme = \"{}\" # since 2024\n# the end\n", id(1));
        let (home, trust) = with_text(&text);
        trust.require(&rule()).unwrap();
        assert!(trust.subscribe("acme/denylist", true).unwrap());
        assert!(!trust.subscribe("acme/denylist", true).unwrap());
        let denied: Denied = id(9).to_string().parse().unwrap();
        assert!(trust.allow(&denied, true).unwrap());
        trust.add(&petname("zeta"), id(2)).unwrap();
        let meant = trust.load().unwrap();
        assert_eq!(meant.rules[0].publisher, Some(id(1)));
        assert_eq!(meant.rules[0].attestations[0].by, [id(1), id(7)].into());
        assert_eq!(meant.rules[0].licenses, ["mit".to_owned()].into());
        assert_eq!((meant.denylists[0].publisher, meant.allowed.len()), (id(1), 1));
        let file = home.path().join("trust.toml");
        let after = fs::read_to_string(&file).unwrap();
        for kept in ["# mine", "# since 2024", "# the end"] {
            assert!(after.contains(kept), "{after}");
        }
        assert!(trust.accept(&petname("acme"), id(5)).unwrap());
        assert!(fs::read_to_string(&file).unwrap().contains("# since 2024"));
        assert_eq!(trust.load().unwrap().rules[0].publisher, Some(id(5)), "a rule follows the name");
        let needed = trust.remove(&petname("acme")).unwrap_err();
        assert!(matches!(needed, TrustError::Entry { source: EntryError::Petname { .. }, .. }));
        assert_eq!(trust.waive(&"acme/*".parse().unwrap()).unwrap(), 1);
        assert!(matches!(trust.waive(&"acme/*".parse().unwrap()), Err(TrustError::Missing { .. })));
        trust.subscribe("acme/denylist", false).unwrap();
        assert!(trust.subscribe("acme/denylist", false).is_err());
        trust.allow(&denied, false).unwrap();
        trust.remove(&petname("acme")).unwrap();
        let meant = trust.load().unwrap();
        assert_eq!(meant, Trust { petnames: [(petname("zeta"), id(2))].into(), ..Trust::default() });
    }

    #[test]
    fn rules_that_cannot_be_meant_are_refused_and_change_nothing() {
        let text = format!("[petnames]\nacme = \"{}\"\n", id(1));
        let (home, trust) = with_text(&text);
        let with = |change: fn(&mut RawRule)| {
            let mut rule = rule();
            change(&mut rule);
            rule
        };
        for rule in [
            with(|it| it.models = "acme".to_owned()),
            with(|it| it.models = "nobody/*".to_owned()),
            with(|it| it.formats = vec!["exe".to_owned()]),
            with(|it| it.attestations[0].kind = "scans".to_owned()),
            with(|it| it.attestations[0].count = 0),
            with(|it| it.attestations[0].count = 3),
            with(|it| it.attestations[0].by = vec!["nobody".to_owned()]),
            RawRule { models: "*/*".to_owned(), ..RawRule::default() },
        ] {
            assert!(trust.require(&rule).is_err(), "{rule:?}");
        }
        for list in ["denylist", "nobody/denylist", "acme/denylist:v1"] {
            assert!(trust.subscribe(list, true).is_err(), "{list}");
        }
        assert_eq!(fs::read_to_string(home.path().join("trust.toml")).unwrap(), text);
    }

    proptest! {
        #[test]
        fn a_damaged_file_is_an_error_at_most(
            text in "(\\[petnames\\]\n|\\[\\[rules\\]\\]\n|\\[denylists\\]\nallow=\\[\\]\n|[a-z\"=.\n#\\[\\]{} ]|\\PC){0,60}"
        ) {
            let trust = TrustFile::open(PathBuf::from("trust.toml"));
            if let Ok(before) = trust.parse(&text) {
                let name = petname("added-by-test");
                let added = trust.changed(&text, |document, _| trust.point(document, &name, id(1)));
                if let Ok(Some(after)) = added {
                    let mut wanted = before;
                    wanted.petnames.insert(name, id(1));
                    prop_assert_eq!(trust.parse(&after).unwrap(), wanted);
                }
            }
        }
    }
}
