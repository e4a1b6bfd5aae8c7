//! The results of the last search, by number: `reg pull 3` takes the third one, whatever the catalogue has become since.

use std::fs::File;
use std::io;

use reg_api::search::FoundModel;
use reg_keys::durable;
use reg_proto::json;
use reg_proto::name::{Publisher, Reference, Tag};
use serde::{Deserialize, Serialize};

use crate::args::Global;
use crate::client::home;
use crate::error::CliError;

/// Bytes of the file: some pages of results, each with a reference of at most 400 bytes.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Results that are kept, by number.
#[derive(Debug, Default, Serialize, Deserialize)]
struct LastSearch {
    version: u32,
    results: Vec<Numbered>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Numbered {
    number: usize,
    /// The model by its digest, so that the number means what was shown.
    reference: Reference,
    /// The tag under which it was shown. An earlier version has kept none.
    #[serde(default)]
    tag: Option<Tag>,
}

/// Keeps the results of a search. A folder that cannot be written only costs the numbers, which the user is told.
pub fn keep(global: &Global, results: &[FoundModel]) -> Result<(), CliError> {
    let numbered = results.iter().map(|it| Numbered {
        number: it.number,
        reference: reference(it),
        tag: Some(it.tag.clone()),
    });
    let last = LastSearch { version: 1, results: numbered.collect() };
    let path = home(global)?.last_search();
    durable::replace(&path, &json::to_vec(&last)).map_err(|error| CliError::of_file(&path, &error))
}

/// Returns the model that the last search has shown under a number.
///
/// # Errors
/// There was no search, or it had fewer results.
pub fn numbered(global: &Global, number: usize) -> Result<Reference, CliError> {
    Ok(find(global, number)?.reference)
}

/// Returns the model that the last search has shown under a number, by its tag.
///
/// # Errors
/// There was no search, or it had fewer results.
pub fn numbered_tag(global: &Global, number: usize) -> Result<Reference, CliError> {
    let Numbered { reference, tag, .. } = find(global, number)?;
    let digest = reference.digest.filter(|_| tag.is_none());
    Ok(Reference { tag, digest, ..reference })
}

fn find(global: &Global, number: usize) -> Result<Numbered, CliError> {
    let path = home(global)?.last_search();
    let read = File::open(&path).and_then(|file| durable::read(&file, FILE_BYTES_MAX));
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let error = CliError::new(
                "not_found",
                format_args!("{number} is the number of no result: there was no search"),
            );
            return Err(error.hint(
                "`reg search WORDS` numbers its results, and `reg pull NUMBER` takes one; a model is named PUBLISHER/MODEL",
            ));
        }
        Err(error) => {
            return Err(CliError::new("other", format_args!("{} cannot be read: {error}", path.display())));
        }
    };
    let last: LastSearch = json::from_slice(&bytes, FILE_BYTES_MAX).unwrap_or_default();
    let count = last.results.len();
    let found = last.results.into_iter().find(|it| it.number == number && last.version == 1);
    found.ok_or_else(|| {
        let shown = match count {
            0 => "it found nothing".to_owned(),
            1 => "it found one".to_owned(),
            count => format!("it showed {count}"),
        };
        CliError::new("not_found", format_args!("the last search has no result with the number {number}: {shown}")).hint(
            "`reg search WORDS` numbers its results, and `reg pull NUMBER` takes one of the last search; a model is named \
             PUBLISHER/MODEL",
        )
    })
}

/// Returns the reference of a result, by its digest.
pub fn reference(found: &FoundModel) -> Reference {
    Reference {
        publisher: Publisher::Id(found.publisher),
        model: found.model.clone(),
        tag: None,
        digest: Some(found.manifest),
    }
}
