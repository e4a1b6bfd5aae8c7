//! [`Draft`]: a collection that the user keeps in a folder until it is published: one file, which commands read and change.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use reg_proto::bounded::Bounded;
use reg_proto::catalogue::{COLLECTION_FILE, Collected, Collection, CollectionEntry};
use reg_proto::content::label::Label;
use reg_proto::limits::{COLLECTION_BYTES_MAX, COLLECTION_ENTRIES_MAX};
use reg_proto::name::ModelName;

use crate::error::CliError;

/// The folder of a collection and the list in it.
#[derive(Debug)]
pub struct Draft {
    dir: PathBuf,
    pub list: Collection,
}

impl Draft {
    /// Makes a folder with an empty list. The folder may be there, without a list.
    ///
    /// # Errors
    /// The name of the folder is no name of a model, there is a list already, or the disk refuses.
    pub fn create(path: &Path, title: Label, words: Option<Label>) -> Result<Self, CliError> {
        let dir = dir_of(path);
        let name = name_of(&dir)?;
        if dir.join(COLLECTION_FILE).exists() {
            let shown = dir.join(COLLECTION_FILE);
            return Err(CliError::new("denied", format_args!("{} exists already", shown.display()))
                .hint("edit it to change the title; `reg collection add` adds to it"));
        }
        fs::create_dir_all(&dir).map_err(|error| CliError::of_file(&dir, &error))?;
        let list = Collection { version: 1, name, title, words, entries: Bounded::empty() };
        let draft = Self { dir, list };
        draft.save()?;
        Ok(draft)
    }

    /// Tells whether there is a list at a path: of a folder, or of the file itself.
    pub fn is_at(path: &Path) -> bool {
        dir_of(path).join(COLLECTION_FILE).is_file()
    }

    /// Reads the list in a folder.
    ///
    /// # Errors
    /// There is none, or it is no collection.
    pub fn open(path: &Path) -> Result<Self, CliError> {
        let dir = dir_of(path);
        let file = dir.join(COLLECTION_FILE);
        let refused = |error: &dyn std::error::Error| {
            let it = CliError::from_error("invalid", error);
            it.hint(format_args!(
                "{} is to be mended or removed; `reg collection new` makes one",
                file.display()
            ))
        };
        if !file.is_file() {
            let name = path.display();
            return Err(CliError::new("not_found", format_args!("{} is not there", file.display()))
                .hint(format_args!("reg collection new {name} --title TITLE")));
        }
        let bytes = read(&file).map_err(|error| {
            CliError::new("other", format_args!("{} cannot be read: {error}", file.display()))
        })?;
        let list = Collection::from_bytes(&bytes).map_err(|error| refused(&error))?;
        Ok(Self { dir, list })
    }

    /// Adds an entry, or changes the words of one that is there. Returns whether it is new.
    ///
    /// # Errors
    /// The list is full.
    pub fn add(&mut self, collect: Collected, words: Option<Label>) -> Result<bool, CliError> {
        let mut entries = self.entries();
        let known = entries.iter().position(|it| is_same(&it.collect, &collect));
        let is_new = match known {
            Some(at) => {
                entries[at].words = words;
                false
            }
            None if entries.len() >= COLLECTION_ENTRIES_MAX => {
                let full =
                    format_args!("the list has {COLLECTION_ENTRIES_MAX} entries, and no room for more");
                return Err(CliError::new("invalid", full).hint("begin a second collection"));
            }
            None => {
                entries.push(CollectionEntry { collect, words });
                true
            }
        };
        self.list.entries = Bounded::first_of(entries);
        Ok(is_new)
    }

    /// Removes an entry.
    ///
    /// # Errors
    /// It is not in the list.
    pub fn remove(&mut self, collect: &Collected) -> Result<(), CliError> {
        let mut entries = self.entries();
        let before = entries.len();
        entries.retain(|it| !is_same(&it.collect, collect));
        if entries.len() == before {
            return Err(CliError::new("not_found", format_args!("{collect} is not in the list"))
                .hint(format_args!("`reg collection show {}` shows what is", self.dir.display())));
        }
        self.list.entries = Bounded::first_of(entries);
        Ok(())
    }

    /// Returns the entry with this number, from 1 on.
    ///
    /// # Errors
    /// The list is shorter.
    pub fn numbered(&self, number: usize) -> Result<Collected, CliError> {
        let entry = number.checked_sub(1).and_then(|at| self.list.entries.get(at));
        entry.map(|it| it.collect.clone()).ok_or_else(|| {
            let count = self.list.entries.len();
            CliError::new("not_found", format_args!("{number} is the number of no entry: there are {count}"))
        })
    }

    /// Writes the list. The file is then the old one or the new one.
    ///
    /// # Errors
    /// The list has become too large, or the disk refuses.
    pub fn save(&self) -> Result<(), CliError> {
        let file = self.dir.join(COLLECTION_FILE);
        let mut bytes =
            serde_json::to_vec_pretty(&self.list).map_err(|error| CliError::new("other", error))?;
        bytes.push(b'\n');
        // A long list is still one as compact JSON.
        let bytes = if bytes.len() > COLLECTION_BYTES_MAX { self.list.to_bytes() } else { bytes };
        Collection::from_bytes(&bytes).map_err(|error| CliError::from_error("invalid", &error))?;
        write(&self.dir, &file, &bytes).map_err(|error| CliError::of_file(&file, &error))
    }

    /// Returns the names of other files in the folder, which a collection must not have.
    pub fn other_files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let names = entries.map(|it| it.file_name().to_string_lossy().into_owned());
        // Hidden files are left out of what is published.
        let mut others: Vec<String> =
            names.filter(|it| it != COLLECTION_FILE && !it.starts_with('.')).collect();
        others.sort();
        others
    }

    /// Returns the folder, as it is typed to publish it.
    pub fn shown(&self) -> String {
        let dir = self.dir.display().to_string();
        if dir.starts_with(['.', '/']) { dir } else { format!("./{dir}") }
    }

    fn entries(&mut self) -> Vec<CollectionEntry> {
        std::mem::replace(&mut self.list.entries, Bounded::empty()).into_vec()
    }
}

/// Tells whether two entries name the same: models are the same in any case of letters.
fn is_same(one: &Collected, other: &Collected) -> bool {
    match (one, other) {
        (Collected::Publisher(one), Collected::Publisher(other)) => one == other,
        (Collected::Model(one, a), Collected::Model(other, b)) => one == other && a.folded() == b.folded(),
        (Collected::Tag(one, a, tag), Collected::Tag(other, b, of)) => {
            one == other && a.folded() == b.folded() && tag == of
        }
        (Collected::Manifest(one, a, digest), Collected::Manifest(other, b, of)) => {
            one == other && a.folded() == b.folded() && digest == of
        }
        _ => false,
    }
}

/// Returns the folder that a path means: the path of the list itself means its folder.
fn dir_of(path: &Path) -> PathBuf {
    match path.file_name() {
        Some(name) if name == COLLECTION_FILE => match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        },
        _ => path.to_owned(),
    }
}

fn name_of(dir: &Path) -> Result<ModelName, CliError> {
    let whole = std::path::absolute(dir).map_err(|error| CliError::of_file(dir, &error))?;
    let name = whole.file_name().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
    name.parse().map_err(|error: reg_proto::name::NameError| {
        CliError::from_error("invalid", &error)
            .hint("the folder is named as the model that the collection is published as, as in small-ocr")
    })
}

/// Reads a file of at most as many bytes as a collection may have.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(COLLECTION_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file beside its name, and then gives it the name.
fn write(dir: &Path, file: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = dir.join(format!(".{COLLECTION_FILE}.{}", std::process::id()));
    let written = || {
        let mut out = File::create(&beside)?;
        io::Write::write_all(&mut out, bytes)?;
        out.sync_all()?;
        fs::rename(&beside, file)
    };
    let done = written();
    if done.is_err() {
        drop(fs::remove_file(&beside));
    }
    done
}
