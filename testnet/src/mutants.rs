//! Faults that tests must see: the list, where each is put in, and which tests are to fail then.
//!
//! The list names tests by their functions and faults by a snippet of the code, so that neither minds where a file lies.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

/// Where the list lies in the workspace.
pub const LIST: &str = "testnet/mutants/list.toml";

/// A serious fault, as a change of one snippet.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub name: String,
    /// What is no longer so with the fault in.
    pub breaks: String,
    /// A source file, or a folder in whose sources the snippet stands once.
    pub file: String,
    pub find: String,
    pub replace: String,
    /// Functions of the tests that are to fail.
    pub tests: Vec<String>,
}

/// What cargo runs for one test: a target of a package, and the test's name in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TestRun {
    pub package: String,
    /// A file or folder of `tests`; `None` for the unit tests of the library.
    pub target: Option<String>,
    pub name: String,
}

/// Why a fault of the list cannot be put in, or not be seen.
#[derive(Debug, Error)]
pub enum MutantError {
    #[error("{path} cannot be read")]
    Io { path: PathBuf, source: io::Error },
    #[error("{LIST} is not understood")]
    List(#[from] toml::de::Error),
    #[error("{name} is listed twice")]
    Twice { name: String },
    #[error("{name} changes nothing, or names no test")]
    Empty { name: String },
    #[error("{name}: its snippet occurs {count} times in {file}, not once")]
    Snippet { name: String, file: String, count: usize },
    #[error("{name}: no source has a test {test}")]
    NoTest { name: String, test: String },
    #[error("{path} belongs to no package, or to neither its sources nor its tests")]
    NoPackage { path: PathBuf },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    fault: Vec<Fault>,
}

/// Reads the list of the workspace at `root`.
///
/// # Errors
/// It cannot be read, or names a fault twice.
pub fn list(root: &Path) -> Result<Vec<Fault>, MutantError> {
    let faults = toml::from_str::<List>(&read(&root.join(LIST))?)?.fault;
    for (index, fault) in faults.iter().enumerate() {
        if faults[..index].iter().any(|it| it.name == fault.name) {
            return Err(MutantError::Twice { name: fault.name.clone() });
        }
    }
    Ok(faults)
}

impl Fault {
    /// Returns the file that the fault is put into, in the workspace at `root`, with its text with the fault in.
    ///
    /// # Errors
    /// The snippet is not there exactly once, or the fault is none.
    pub fn put_in(&self, root: &Path) -> Result<(PathBuf, String), MutantError> {
        let (name, file) = (self.name.clone(), self.file.clone());
        if self.find == self.replace || self.find.is_empty() || self.tests.is_empty() {
            return Err(MutantError::Empty { name });
        }
        let path = root.join(&self.file);
        let sources = if path.is_dir() { sources(&path)? } else { vec![(path.clone(), read(&path)?)] };
        let count = sources.iter().map(|(_, text)| text.matches(&self.find).count()).sum();
        let found = sources.into_iter().find(|(_, text)| text.contains(&self.find));
        match found.filter(|_| count == 1) {
            Some((path, text)) => Ok((path, text.replace(&self.find, &self.replace))),
            None => Err(MutantError::Snippet { name, file, count }),
        }
    }

    /// Returns how the tests that should see it are run, in the workspace at `root`.
    ///
    /// # Errors
    /// One of them is nowhere.
    pub fn runs(&self, root: &Path) -> Result<Vec<TestRun>, MutantError> {
        let sources = sources(root)?;
        let mut runs = Vec::new();
        for test in &self.tests {
            let function = format!("fn {test}(");
            let before = runs.len();
            for (path, _) in sources.iter().filter(|(_, text)| text.contains(&function)) {
                runs.push(TestRun::of(path, test)?);
            }
            if runs.len() == before {
                return Err(MutantError::NoTest { name: self.name.clone(), test: test.clone() });
            }
        }
        Ok(runs)
    }
}

impl TestRun {
    /// The run of a test that stands in this source.
    fn of(path: &Path, test: &str) -> Result<Self, MutantError> {
        let strange = || MutantError::NoPackage { path: path.to_owned() };
        let mut packages = path.ancestors().skip(1).filter(|dir| dir.join("Cargo.toml").is_file());
        let package = packages.next().ok_or_else(strange)?;
        let manifest: toml::Table = toml::from_str(&read(&package.join("Cargo.toml"))?)?;
        let name = manifest.get("package").and_then(|it| it.get("name")).and_then(toml::Value::as_str);
        let inside = path.strip_prefix(package).map_err(|_| strange())?;
        let parts: Vec<&str> = inside.iter().filter_map(|part| part.to_str()).collect();
        let target = match parts[..] {
            ["src", ..] => None,
            ["tests", target, ..] => Some(target.trim_end_matches(".rs").to_owned()),
            _ => return Err(strange()),
        };
        Ok(Self { package: name.ok_or_else(strange)?.to_owned(), target, name: test.to_owned() })
    }

    /// Returns what cargo is told of the target, and the test.
    pub fn arguments(&self) -> Vec<&str> {
        let target = match &self.target {
            Some(target) => vec!["--test", target],
            None => vec!["--lib"],
        };
        [vec!["--package", &self.package], target].concat()
    }
}

fn read(path: &Path) -> Result<String, MutantError> {
    fs::read_to_string(path).map_err(|source| MutantError::Io { path: path.to_owned(), source })
}

/// Every source below a folder, but for what is built or hidden.
fn sources(dir: &Path) -> Result<Vec<(PathBuf, String)>, MutantError> {
    let io = |source| MutantError::Io { path: dir.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = read(&path)?;
            found.push((path, text));
        }
    }
    Ok(found)
}
