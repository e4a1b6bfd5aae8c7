//! [`TrustFile`]: the user's petnames, pinned domains, rules, denylists and collections. The file says what this user decided, and nothing else.
//!
//! The file belongs to the user. It is read anew for each use, so an edit counts at once. A command changes one entry
//! and leaves the rest as it was, with all comments.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, io};

use reg_api::fault::{Fault, FaultKind};
use reg_api::rule::Scope;
use reg_keys::durable;
use reg_proto::denylist::Denied;
use reg_proto::domain::Domain;
use reg_proto::name::{Petname, Publisher, PublisherId};
use thiserror::Error;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

use super::said::{EntryError, Names, TrustEntries};
use super::written::RawTrust;

pub(super) use super::written::RawRule;

/// Bytes of a trust file: ten thousand publishers at 60 bytes each, and as much again for comments.
const TRUST_FILE_BYTES_MAX: usize = 1 << 20;
/// Rules of a trust file. Each pull evaluates all of them.
pub(super) const RULES_MAX: usize = 256;
/// Aliases of a trust file. Each resolved name is looked up among all of them.
pub(super) const ALIASES_MAX: usize = 256;
/// Subscribed denylists. Each is fetched every hour and kept.
pub const DENYLISTS_MAX: usize = 16;
/// Followed collections. Each is fetched every hour and kept, as a denylist is.
pub const COLLECTIONS_MAX: usize = 16;

const FIRST_LINES: &str = "\
# The publishers that you trust, and with what, on this machine only. `reg trust --help` explains the entries; comments stay.

[petnames]
";

/// The file of petnames, rules and subscriptions.
#[derive(Debug, Clone)]
pub struct TrustFile {
    path: PathBuf,
    /// The text of the file when it was read last, and what it means. A long file costs more to parse than to read.
    last: Arc<Mutex<LastRead>>,
    own: Option<OwnNames>,
}

/// Finds the publisher of a key of the user's by the name of the key.
#[derive(Clone)]
pub struct OwnNames(Arc<FindOwn>);

type FindOwn = dyn Fn(&Petname) -> Option<PublisherId> + Send + Sync;

impl OwnNames {
    /// Returns names that are looked up with `find`, which may read files.
    pub fn new(find: impl Fn(&Petname) -> Option<PublisherId> + Send + Sync + 'static) -> Self {
        Self(Arc::new(find))
    }
}

impl fmt::Debug for OwnNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnNames")
    }
}

/// A text and the entries in it; `None` before the first one was read.
type LastRead = Option<(String, Arc<TrustEntries>)>;

/// Why the trust file gives no answer, or is not changed.
#[derive(Debug, Error)]
pub enum TrustError {
    #[error("{petname} is not a petname you have given")]
    Unknown { petname: Petname },
    #[error("domain {domain} is not pinned: this node has not asked it for its publisher yet")]
    Unpinned { domain: Domain },
    #[error("domain {domain} is pinned to {publisher} already")]
    Pinned { domain: Domain, publisher: PublisherId },
    #[error("{petname} has a dot: such a name is a domain, and no petname")]
    Dotted { petname: Petname },
    #[error("petname {petname} is given to {publisher} already")]
    Taken { petname: Petname, publisher: PublisherId },
    #[error("trust file {path} cannot be parsed")]
    Syntax { path: PathBuf, source: Box<toml::de::Error> },
    #[error("trust file {path} has an entry that is refused")]
    Entry { path: PathBuf, source: EntryError },
    #[error(transparent)]
    Refused(EntryError),
    #[error("{petname} is in use: a rule, a denylist, a collection or an alias of yours names it")]
    InUse { petname: Petname },
    #[error("domain {domain} is in use: a rule, a denylist, a collection or an alias of yours names it")]
    DomainInUse { domain: Domain },
    #[error("{what} is not in the trust file")]
    Missing { what: String },
    #[error("trust file {path} has a form that no command can change")]
    Form { path: PathBuf },
    #[error("trust file {path} would become larger than {TRUST_FILE_BYTES_MAX} bytes")]
    Full { path: PathBuf },
    #[error("trust file {path} cannot be read")]
    Read { path: PathBuf, source: io::Error },
    #[error("trust file {path} cannot be written")]
    Write { path: PathBuf, source: io::Error },
}

impl Fault for TrustError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Unknown { .. }
            | Self::Refused(EntryError::Petname { .. } | EntryError::Unpinned { .. }) => FaultKind::NotFound,
            Self::Taken { .. }
            | Self::Dotted { .. }
            | Self::Refused(_)
            | Self::Syntax { .. }
            | Self::Entry { .. }
            | Self::Form { .. } => FaultKind::Invalid,
            Self::Missing { .. } | Self::Unpinned { .. } => FaultKind::NotFound,
            Self::InUse { .. } | Self::DomainInUse { .. } => FaultKind::Denied,
            Self::Pinned { .. } => FaultKind::Verification,
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => FaultKind::DiskFull,
            Self::Full { .. } | Self::Read { .. } | Self::Write { .. } => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { petname } => Some(format!(
                "a publisher is named by its id, its domain, or a name that you gave: `reg search {petname}` finds models, \
                 `reg trust add {petname} ID` names their publisher; `reg import hf:{petname}/MODEL --key KEY` copies from Hugging Face"
            )),
            Self::InUse { .. } | Self::DomainInUse { .. } => {
                Some("`reg trust show` shows them; `reg trust waive MODELS` takes a rule back".to_owned())
            }
            Self::Refused(EntryError::Petname { petname }) => {
                Some(format!("`reg trust show` lists your petnames; `reg trust add {petname} ID` gives one"))
            }
            Self::Unpinned { domain } => Some(format!(
                "`reg trust add {domain}` asks the domain and pins its publisher, and so does `reg pull {domain}/MODEL`"
            )),
            Self::Pinned { domain, .. } => Some(format!("`reg trust accept {domain}` shows both publishers")),
            Self::Dotted { petname } => Some(format!(
                "`reg trust add {petname}` asks the domain for its publisher; a petname has no dots, as in {}",
                petname.as_str().replace('.', "-")
            )),
            Self::Taken { petname, .. } => Some(format!(
                "is the new id really theirs? ask them another way; then `reg trust accept {petname} ID`"
            )),
            Self::Missing { .. } => Some("`reg trust show` shows all of it".to_owned()),
            Self::Form { path } => Some(format!("edit {} yourself", path.display())),
            _ => None,
        }
    }
}

impl TrustFile {
    /// Returns the trust file at `path`, which need not exist yet.
    pub fn open(path: PathBuf) -> Self {
        Self { path, last: Arc::default(), own: None }
    }

    /// Returns the file with the names of the user's own keys. A petname in the file comes before them.
    pub fn with_own(self, own: Option<OwnNames>) -> Self {
        Self { own, ..self }
    }

    /// Returns the entries of the file.
    ///
    /// # Errors
    /// The file cannot be read, or has an entry that is refused. A missing file has no entries.
    pub fn load(&self) -> Result<TrustEntries, TrustError> {
        Ok(TrustEntries::clone(&*self.entries()?))
    }

    /// Tells whether a petname is given to a publisher. Where the file cannot be used, the answer is no.
    pub fn has_named(&self, publisher: &PublisherId) -> bool {
        self.entries().is_ok_and(|entries| entries.names.petnames.values().any(|it| it == publisher))
    }

    /// Returns the entries of the file as it is now.
    fn entries(&self) -> Result<Arc<TrustEntries>, TrustError> {
        let text = self.read()?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((read, entries)) if *read == text => Ok(entries.clone()),
            _ => {
                let entries = Arc::new(self.parse(&text)?);
                *last = Some((text, entries.clone()));
                Ok(entries)
            }
        }
    }

    /// Returns every petname with its publisher.
    ///
    /// # Errors
    /// As for [`TrustFile::load`].
    pub fn list(&self) -> Result<BTreeMap<Petname, PublisherId>, TrustError> {
        Ok(self.load()?.names.petnames)
    }

    /// Returns the publisher that a user means: an id is the publisher's own, and a petname is looked up in the file, then among
    /// the user's own keys.
    ///
    /// # Errors
    /// The petname is not in the file, or the file cannot be read.
    pub fn resolve(&self, publisher: &Publisher) -> Result<PublisherId, TrustError> {
        match publisher {
            Publisher::Id(id) => Ok(*id),
            Publisher::Petname(petname) => {
                let known = self.list()?.get(petname).copied();
                let known = known.or_else(|| self.own.as_ref().and_then(|own| (own.0)(petname)));
                known.ok_or_else(|| TrustError::Unknown { petname: petname.clone() })
            }
            Publisher::Domain(domain) => {
                let known = self.load()?.names.id_of(publisher).ok();
                known.ok_or_else(|| TrustError::Unpinned { domain: domain.clone() })
            }
        }
    }

    /// Pins a domain to a publisher. Returns whether that is new. With `replace` it may have been pinned to another one. When
    /// this returns, the entry survives a power cut.
    ///
    /// # Errors
    /// The domain is pinned to another publisher, or the file cannot be read or written.
    pub fn pin_domain(
        &self,
        domain: &Domain,
        publisher: PublisherId,
        replace: bool,
    ) -> Result<bool, TrustError> {
        self.edit(|document, trust| match trust.names.domains.get(domain) {
            Some(known) if *known == publisher => Ok(false),
            Some(known) if !replace => Err(TrustError::Pinned { domain: domain.clone(), publisher: *known }),
            _ => self.point(document, "domains", domain.as_str(), publisher),
        })
    }

    /// Unpins a domain.
    ///
    /// # Errors
    /// The domain is not pinned, a rule or a denylist needs it, or the file cannot be read or written.
    pub fn unpin_domain(&self, domain: &Domain) -> Result<(), TrustError> {
        self.edit(|document, trust| {
            if !trust.names.domains.contains_key(domain) {
                return Err(TrustError::Missing { what: domain.to_string() });
            }
            let names = document.get_mut("domains").and_then(Item::as_table_like_mut);
            let names = names.ok_or_else(|| self.form())?;
            // The user may have typed another spelling of the domain into the file.
            let meant: Vec<String> = names
                .iter()
                .filter(|(key, _)| key.parse::<Domain>().as_ref() == Ok(domain))
                .map(|(key, _)| key.to_owned())
                .collect();
            meant.iter().for_each(|key| drop(names.remove(key)));
            if names.is_empty() {
                // A file without the table is read by an earlier version.
                document.remove("domains");
            }
            Ok(true)
        })
        .map(drop)
        .map_err(|error| match error {
            TrustError::Refused(EntryError::Unpinned { .. }) => {
                TrustError::DomainInUse { domain: domain.clone() }
            }
            error => error,
        })
    }

    /// Returns the petnames and the pinned domains.
    ///
    /// # Errors
    /// As for [`TrustFile::load`].
    pub fn names(&self) -> Result<Names, TrustError> {
        Ok(self.load()?.names)
    }

    /// Gives a petname to a publisher. Returns whether that is new. When this returns, the entry survives a power cut.
    ///
    /// # Errors
    /// The petname belongs to another publisher, or the file cannot be read or written.
    pub fn add(&self, petname: &Petname, publisher: PublisherId) -> Result<bool, TrustError> {
        self.edit(|document, trust| match trust.names.petnames.get(petname) {
            Some(known) if *known == publisher => Ok(false),
            Some(known) => Err(TrustError::Taken { petname: petname.clone(), publisher: *known }),
            None if petname.has_dot() => Err(TrustError::Dotted { petname: petname.clone() }),
            None => self.point(document, "petnames", petname.as_str(), publisher),
        })
    }

    /// Moves a petname to another publisher, and returns whether that is new.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn accept(&self, petname: &Petname, publisher: PublisherId) -> Result<bool, TrustError> {
        self.edit(|document, trust| match trust.names.petnames.get(petname) {
            Some(known) if *known == publisher => Ok(false),
            None if petname.has_dot() => Err(TrustError::Dotted { petname: petname.clone() }),
            _ => self.point(document, "petnames", petname.as_str(), publisher),
        })
    }

    /// Removes a petname.
    ///
    /// # Errors
    /// The petname is not in the file, a rule or a denylist needs it, or the file cannot be read or written.
    pub fn remove(&self, petname: &Petname) -> Result<(), TrustError> {
        self.edit(|document, trust| {
            if !trust.names.petnames.contains_key(petname) {
                return Err(TrustError::Missing { what: petname.to_string() });
            }
            let names = document.get_mut("petnames").and_then(Item::as_table_like_mut);
            names.ok_or_else(|| self.form())?.remove(petname.as_str());
            Ok(true)
        })
        .map(drop)
        .map_err(|error| match error {
            TrustError::Refused(EntryError::Petname { .. }) => TrustError::InUse { petname: petname.clone() },
            error => error,
        })
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// The rule is refused, or the file cannot be read or written.
    pub fn require(&self, rule: &RawRule) -> Result<(), TrustError> {
        self.edit(|document, _| {
            let rules = document.entry("rules").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
            rules.as_array_of_tables_mut().ok_or_else(|| self.form())?.push(rule.to_table());
            Ok(true)
        })
        .map(drop)
    }

    /// Removes the rules for a scope, and returns how many there were.
    ///
    /// # Errors
    /// There is no such rule, or the file cannot be read or written.
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

    /// Subscribes to a denylist or ends the subscription; returns whether that is new.
    ///
    /// # Errors
    /// The subscription to end does not exist, or the file cannot be read or written.
    pub fn subscribe(&self, list: &str, on: bool) -> Result<bool, TrustError> {
        self.edit(|document, trust| {
            let has = trust.denylists.iter().any(|it| it.name == list);
            self.switch(document, ("denylists", "subscribed"), list, has, on)
        })
    }

    /// Follows a collection or ends that; returns whether that is new.
    ///
    /// # Errors
    /// The collection is not followed, or the file cannot be read or written.
    pub fn collect(&self, collection: &str, on: bool) -> Result<bool, TrustError> {
        self.edit(|document, trust| {
            let has = trust.collections.iter().any(|it| it.name == collection);
            let is_new = self.switch(document, ("collections", "followed"), collection, has, on)?;
            if !on && trust.collections.len() == 1 {
                // A file without the table is read by an earlier version.
                document.remove("collections");
            }
            Ok(is_new)
        })
    }

    /// Allows what a denylist warns of, or ends that; returns whether that is new.
    ///
    /// # Errors
    /// The exception to end does not exist, or the file cannot be read or written.
    pub fn allow(&self, denied: &Denied, on: bool) -> Result<bool, TrustError> {
        self.edit(|document, trust| {
            let has = trust.allowed.contains(denied);
            self.switch(document, ("denylists", "allow"), &denied.to_string(), has, on)
        })
    }

    /// Points a name to another one: `acme/m` to `other/m`, or `acme/*` to `other/*`. Returns whether that is new.
    ///
    /// # Errors
    /// A name is refused, or the file cannot be read or written.
    pub fn alias(&self, from: &str, to: &str) -> Result<bool, TrustError> {
        self.edit(|document, trust| {
            if trust.aliases.iter().any(|it| it.entry.from == from && it.entry.to == to) {
                return Ok(false);
            }
            let aliases = document.entry("aliases").or_insert(Item::Table(Table::new()));
            aliases.as_table_like_mut().ok_or_else(|| self.form())?.insert(from, value(to));
            Ok(true)
        })
    }

    /// Ends an alias.
    ///
    /// # Errors
    /// There is no such alias, or the file cannot be read or written.
    pub fn unalias(&self, from: &str) -> Result<(), TrustError> {
        self.edit(|document, _| {
            let aliases = document.get_mut("aliases").and_then(Item::as_table_like_mut);
            let removed = aliases.and_then(|it| it.remove(from));
            removed.map(|_| true).ok_or_else(|| TrustError::Missing { what: format!("an alias for {from}") })
        })
        .map(drop)
    }

    /// Adds a text to a list of a table, or removes it.
    fn switch(
        &self,
        document: &mut DocumentMut,
        (table, key): (&str, &str),
        text: &str,
        has: bool,
        on: bool,
    ) -> Result<bool, TrustError> {
        if has == on {
            return if on { Ok(false) } else { Err(TrustError::Missing { what: text.to_owned() }) };
        }
        let table = document.entry(table).or_insert(Item::Table(Table::new()));
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
        table: &str,
        name: &str,
        publisher: PublisherId,
    ) -> Result<bool, TrustError> {
        let names = document.entry(table).or_insert(Item::Table(Table::new()));
        let names = names.as_table_like_mut().ok_or_else(|| self.form())?;
        // An existing value keeps the comments around it.
        match names.get_mut(name).and_then(Item::as_value_mut) {
            Some(known) => {
                let around = known.decor().clone();
                *known = publisher.to_string().into();
                *known.decor_mut() = around;
            }
            None => drop(names.insert(name, value(publisher.to_string()))),
        }
        Ok(true)
    }

    /// Changes the file, unless `change` returns false. The new text must be valid too.
    fn edit(
        &self,
        change: impl FnOnce(&mut DocumentMut, &TrustEntries) -> Result<bool, TrustError>,
    ) -> Result<bool, TrustError> {
        let _lock = self.lock().map_err(|source| self.unwritten(source))?;
        let text = self.read()?;
        let Some(text) = self.changed(&text, change)? else { return Ok(false) };
        if text.len() > TRUST_FILE_BYTES_MAX {
            return Err(TrustError::Full { path: self.path.clone() });
        }
        // If the file is a link, its target is replaced and not the link.
        let target = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        durable::replace(&target, text.as_bytes()).map_err(|source| self.unwritten(source))?;
        Ok(true)
    }

    fn changed(
        &self,
        text: &str,
        change: impl FnOnce(&mut DocumentMut, &TrustEntries) -> Result<bool, TrustError>,
    ) -> Result<Option<String>, TrustError> {
        let trust = self.parse(text)?;
        let text = if text.is_empty() { FIRST_LINES } else { text };
        let mut document: DocumentMut = text.parse().map_err(|_| self.form())?;
        if !change(&mut document, &trust)? {
            return Ok(None);
        }
        let text = document.to_string();
        // What was there has been read before, so it is the change that is refused.
        self.parse(&text).map_err(|error| match error {
            TrustError::Entry { source, .. } => TrustError::Refused(source),
            error => error,
        })?;
        Ok(Some(text))
    }

    /// Locks the file, so that two commands cannot change the same old text. The lock ends when it is dropped.
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

    fn parse(&self, text: &str) -> Result<TrustEntries, TrustError> {
        let raw: RawTrust = toml::from_str(text)
            .map_err(|source| TrustError::Syntax { path: self.path.clone(), source: Box::new(source) })?;
        raw.mean().map_err(|source| TrustError::Entry { path: self.path.clone(), source })
    }

    /// Returns the error for an entry that the user asked for.
    pub const fn refused(source: EntryError) -> TrustError {
        TrustError::Refused(source)
    }

    fn form(&self) -> TrustError {
        TrustError::Form { path: self.path.clone() }
    }

    fn unwritten(&self, source: io::Error) -> TrustError {
        TrustError::Write { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests;
