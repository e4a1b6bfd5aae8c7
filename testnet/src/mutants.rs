//! Faults that tests must see: the list, where each is put in, and which tests are to fail then.
//!
//! All of them are put in at once, each behind a switch that an environment variable turns: so one build is enough. The list
//! names tests by their functions and faults by a snippet of the code, and neither minds in which file they stand.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

/// Where the list lies in the workspace.
pub const LIST: &str = "testnet/mutants/list.toml";
/// Names the fault that is on, in the environment of a test and of the nodes that it starts.
pub const SWITCH: &str = "REG_MUTANT";
/// What stands in the list for "this fault is on".
const IS_ON: &str = "FAULT";

/// A serious fault, as a change of one snippet.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub name: String,
    /// What is so, and is not with the fault on.
    pub breaks: String,
    /// A source file, or a folder: the snippet occurs once in its source files.
    file: String,
    find: String,
    replace: String,
    /// Functions of the tests that are to fail.
    tests: Vec<String>,
}

/// What cargo runs for one test.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TestRun {
    /// A file or folder of some package's `tests`; `None` for the unit tests of the libraries.
    pub target: Option<String>,
    pub name: String,
}

/// Why faults of the list cannot be put in, or not be seen.
#[derive(Debug, Error)]
pub enum MutantError {
    #[error("{path} cannot be read")]
    Io { path: PathBuf, source: io::Error },
    #[error("{LIST} is not understood")]
    List(#[from] toml::de::Error),
    #[error("{name} is listed twice")]
    Twice { name: String },
    #[error("{name} never says {IS_ON}, or names no test")]
    Empty { name: String },
    #[error("{name}: its snippet occurs {count} times in {file}, not once")]
    Snippet { name: String, file: String, count: usize },
    #[error("{name}: its snippet overlaps that of another fault")]
    Overlap { name: String },
    #[error("{name}: no source has a test {test}")]
    NoTest { name: String, test: String },
    #[error("{path} is neither below src nor below tests of a package")]
    NoTarget { path: PathBuf },
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

/// Returns the files of the workspace at `root` that change, each with its text with all faults in it.
///
/// # Errors
/// A snippet is not there exactly once, or a fault is none.
pub fn put_in(root: &Path, faults: &[Fault]) -> Result<BTreeMap<PathBuf, String>, MutantError> {
    let mut changed: BTreeMap<PathBuf, String> = BTreeMap::new();
    for fault in faults {
        let (path, text) = fault.place(root)?;
        let text = changed.entry(path).or_insert(text);
        if text.matches(&fault.find).count() != 1 {
            return Err(MutantError::Overlap { name: fault.name.clone() });
        }
        let is_on = format!("std::env::var_os({SWITCH:?}).is_some_and(|it| it == {:?})", fault.name);
        *text = text.replace(&fault.find, &fault.replace.replace(IS_ON, &is_on));
    }
    Ok(changed)
}

impl Fault {
    /// The file in which the snippet stands, with its text.
    fn place(&self, root: &Path) -> Result<(PathBuf, String), MutantError> {
        let (name, file) = (self.name.clone(), self.file.clone());
        if self.find.is_empty() || !self.replace.contains(IS_ON) || self.tests.is_empty() {
            return Err(MutantError::Empty { name });
        }
        let path = root.join(&self.file);
        let sources = if path.is_dir() { sources(&path)? } else { vec![(path.clone(), read(&path)?)] };
        let count = sources.iter().map(|(_, text)| text.matches(&self.find).count()).sum();
        let found = sources.into_iter().find(|(_, text)| text.contains(&self.find));
        found.filter(|_| count == 1).ok_or(MutantError::Snippet { name, file, count })
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
                let target = target_of(path.strip_prefix(root).unwrap_or(path))?;
                runs.push(TestRun { target, name: test.clone() });
            }
            if runs.len() == before {
                return Err(MutantError::NoTest { name: self.name.clone(), test: test.clone() });
            }
        }
        Ok(runs)
    }
}

impl TestRun {
    /// Returns what cargo is told of the target.
    pub fn target(&self) -> Vec<&str> {
        match &self.target {
            Some(target) => vec!["--test", target],
            None => vec!["--lib"],
        }
    }
}

/// The target that a source of the workspace belongs to: `tests/NAME.rs`, `tests/NAME/…`, or a library.
fn target_of(path: &Path) -> Result<Option<String>, MutantError> {
    let mut parts =
        path.iter().filter_map(|part| part.to_str()).skip_while(|it| !["src", "tests"].contains(it));
    match (parts.next(), parts.next()) {
        (Some("src"), _) => Ok(None),
        (Some("tests"), Some(target)) => Ok(Some(target.trim_end_matches(".rs").to_owned())),
        _ => Err(MutantError::NoTarget { path: path.to_owned() }),
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
