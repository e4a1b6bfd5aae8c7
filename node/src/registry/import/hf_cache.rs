//! Finds repositories in the cache of Hugging Face's clients (huggingface_hub, "Understand caching"). Placing a model in that
//! cache is part of a pull.
//!
//! ```text
//! models--org--name/
//!   blobs/<name>                git's SHA-1 of a plain file, the SHA-256 of one in LFS
//!   refs/<revision>             the commit that the revision names
//!   snapshots/<commit>/<path>   links into blobs
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use data_encoding::HEXLOWER;
use reg_api::adopt::{Adoptable, Found, FoundModels};
use reg_api::ingest::Ingest;
use reg_api::repository_name::RepositoryName;
use reg_api::request::HubCache;
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Tag};

use super::adopt::{AdoptError, Adoption};
use super::partial_cache::lacking;
use crate::registry::model::git_blob;
use crate::registry::model::tree::{self, Authors, Listing};
use crate::registry::pull::{COMMIT_DIGITS, repository_dir};
use crate::store::{Cancel, ImportError, ReadError, Store};

/// How the folder of a repository begins.
const FOLDER: &str = "models--";
/// The branch that is taken where a whole cache is imported.
const MAIN: &str = "main";

/// Finds the files of a revision. `incomplete` takes what is there, although files of the repository are missing.
pub(super) fn find(
    from: &HubCache,
    ingest: &Ingest,
    incomplete: bool,
    cancel: &Cancel,
) -> Result<Adoption, AdoptError> {
    let root = repository_dir(from);
    let not_there = || AdoptError::NotThere {
        repository: from.repository.clone(),
        revision: from.revision.clone(),
        dir: from.dir.clone(),
    };
    let commit = match fs::read_to_string(root.join("refs").join(&from.revision)) {
        Ok(text) => text.trim().to_owned(),
        Err(_) => from.revision.clone(),
    };
    let is_commit = commit.len() == COMMIT_DIGITS && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    let snapshot = root.join("snapshots").join(&commit);
    if !is_commit || !snapshot.is_dir() {
        return Err(not_there());
    }
    let snapshot =
        snapshot.canonicalize().map_err(|source| AdoptError::Read { path: snapshot.clone(), source })?;
    let listing = tree::list(&snapshot, ingest, Authors::Others, cancel)?;
    let missing = lacking(&root, &snapshot, &listing, ingest);
    if let (Some(first), false) = (missing.first(), incomplete) {
        let (first, more) = (first.clone(), missing.len() - 1);
        return Err(AdoptError::Partial { repository: from.repository.clone(), first, more });
    }
    let Listing { files, left_out } = listing;
    Ok(Adoption { commit, files, left_out })
}

/// Lists the repositories of a cache. Where several have one name, their owner stands before it.
pub(super) fn list(dir: &Path) -> Result<FoundModels, AdoptError> {
    let read = |source| AdoptError::Read { path: dir.to_owned(), source };
    let (mut repositories, mut found) = (Vec::new(), FoundModels::default());
    for entry in fs::read_dir(dir).map_err(read)? {
        let name = entry.map_err(read)?.file_name().to_string_lossy().into_owned();
        let Some(name) = name.strip_prefix(FOLDER) else { continue };
        match (
            name.replacen("--", "/", 1).parse::<RepositoryName>(),
            revision(&dir.join(format!("{FOLDER}{name}"))),
        ) {
            (Ok(repository), Some(revision)) => repositories.push((repository, revision)),
            _ => found.skipped.push(name.to_owned()),
        }
    }
    repositories.sort();
    let mut same: BTreeMap<String, usize> = BTreeMap::new();
    for (repository, _) in &repositories {
        *same.entry(repository.name().to_ascii_lowercase()).or_default() += 1;
    }
    for (repository, revision) in repositories {
        let is_alone = same.get(&repository.name().to_ascii_lowercase()) == Some(&1);
        let name =
            if is_alone { repository.name().to_owned() } else { repository.as_str().replace('/', "-") };
        match name.parse::<ModelName>() {
            Ok(model) => {
                let source = Adoptable::HubCache(HubCache { dir: dir.to_owned(), repository, revision });
                found.models.push(Found { source, model, tag: Tag::latest() });
            }
            Err(_) => found.skipped.push(repository.to_string()),
        }
    }
    Ok(found)
}

/// Returns the revision of a repository to import: its main branch, else the first one that there is.
fn revision(repository: &Path) -> Option<String> {
    let refs = repository.join("refs");
    if refs.join(MAIN).is_file() {
        return Some(MAIN.to_owned());
    }
    let names = |dir: &Path| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let named = names(&refs).into_iter().find(|it| refs.join(it).is_file());
    named.or_else(|| names(&repository.join("snapshots")).into_iter().next())
}

/// Returns the name that a blob should have in the cache: one as long as `name`.
pub(super) fn name_of(store: &Store, path: &Path, name: &str, digest: &Digest) -> Result<String, AdoptError> {
    if name.len() != COMMIT_DIGITS {
        return Ok(digest.hex());
    }
    let path = || path.to_owned();
    let bytes = store.read_blob(digest, u64::MAX).map_err(|_: ReadError| AdoptError::Import {
        path: path(),
        source: ImportError::Changed { path: path() },
    })?;
    Ok(HEXLOWER.encode(&git_blob(&bytes)))
}
