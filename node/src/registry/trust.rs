//! [`TrustFile`]: whom the user calls by which name. A petname means what this user has said, and nothing else.
//!
//! The file is the user's own: it is read anew each time, so that an edit counts at once, and an added line leaves the
//! rest, comments too, as it was.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use reg_proto::name::{NameError, Petname, Publisher, PublisherId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::durable;
use super::fault::{Fault, FaultKind};

/// Bytes of a trust file: ten thousand publishers at 60 bytes each, and as much again for comments.
const TRUST_FILE_BYTES_MAX: usize = 1 << 20;

const FIRST_LINES: &str = "\
# Who is meant by which name, on this machine only: NAME = \"PUBLISHER ID\".
# `reg trust add NAME ID` adds a line.

[petnames]
";

/// The file of petnames.
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
    Taken { petname: Petname, publisher: PublisherId, path: PathBuf },
    #[error("trust file {path} is not understood")]
    Syntax { path: PathBuf, source: Box<toml::de::Error> },
    #[error("trust file {path} has an entry that is refused")]
    Entry { path: PathBuf, source: NameError },
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
            Self::Unknown { .. } | Self::Taken { .. } | Self::Syntax { .. } | Self::Entry { .. } => {
                FaultKind::Invalid
            }
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => FaultKind::DiskFull,
            Self::Full { .. } | Self::Read { .. } | Self::Write { .. } => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { petname } => Some(format!("reg trust add {petname} ID")),
            Self::Taken { path, .. } => {
                Some(format!("choose another name, or change the line in {} yourself", path.display()))
            }
            _ => None,
        }
    }
}

/// The file as it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTrust {
    #[serde(default)]
    petnames: BTreeMap<String, String>,
}

/// The file as it is meant.
type Petnames = BTreeMap<Petname, PublisherId>;

impl TrustFile {
    /// Returns the trust file at `path`, which need not exist yet.
    pub const fn open(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns every petname with the publisher it means.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else than petnames. One that is not there holds none.
    pub fn list(&self) -> Result<BTreeMap<Petname, PublisherId>, TrustError> {
        self.parse(&self.read()?)
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
        let _lock = self.lock().map_err(|source| self.unwritten(source))?;
        let text = self.read()?;
        let mut petnames = self.parse(&text)?;
        match petnames.insert(petname.clone(), publisher) {
            Some(known) if known == publisher => return Ok(false),
            Some(known) => {
                let (petname, path) = (petname.clone(), self.path.clone());
                return Err(TrustError::Taken { petname, publisher: known, path });
            }
            None => {}
        }
        let text = self.with(&text, petname, publisher, &petnames);
        if text.len() > TRUST_FILE_BYTES_MAX {
            return Err(TrustError::Full { path: self.path.clone() });
        }
        // Where the file is a link, what it points to is replaced and not the link.
        let target = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        durable::replace(&target, text.as_bytes()).map_err(|source| self.unwritten(source))?;
        Ok(true)
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

    fn parse(&self, text: &str) -> Result<Petnames, TrustError> {
        let RawTrust { petnames } = toml::from_str(text)
            .map_err(|source| TrustError::Syntax { path: self.path.clone(), source: Box::new(source) })?;
        let parsed = petnames.into_iter().map(|(petname, id)| Ok((petname.parse()?, id.parse()?)));
        parsed
            .collect::<Result<_, NameError>>()
            .map_err(|source| TrustError::Entry { path: self.path.clone(), source })
    }

    /// Returns `text` with a line more; where the user's way of writing it leaves no place for one, written anew.
    fn with(&self, text: &str, petname: &Petname, publisher: PublisherId, wanted: &Petnames) -> String {
        let mut longer = if text.is_empty() { FIRST_LINES.to_owned() } else { text.to_owned() };
        if !longer.ends_with('\n') {
            longer.push('\n');
        }
        longer.push_str(&format!("\"{petname}\" = \"{publisher}\"\n"));
        if self.parse(&longer).is_ok_and(|found| found == *wanted) {
            return longer;
        }
        let text_of = |(petname, id): (&Petname, &PublisherId)| (petname.to_string(), id.to_string());
        let raw = RawTrust { petnames: wanted.iter().map(text_of).collect() };
        toml::to_string(&raw).expect("a table of texts is TOML")
    }

    fn unwritten(&self, source: io::Error) -> TrustError {
        TrustError::Write { path: self.path.clone(), source }
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
        assert!(after.starts_with(&text));
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

    proptest! {
        #[test]
        fn a_damaged_file_is_an_error_at_most(text in "(\\[petnames\\]\n|[a-z\"=.\n#\\[\\]{} ]|\\PC){0,60}") {
            let trust = TrustFile::open(PathBuf::from("trust.toml"));
            if let Ok(before) = trust.parse(&text) {
                let name = petname("added-by-test");
                let mut wanted = before.clone();
                wanted.insert(name.clone(), id(1));
                let after = trust.with(&text, &name, id(1), &wanted);
                prop_assert_eq!(trust.parse(&after).unwrap(), wanted);
            }
        }
    }
}
