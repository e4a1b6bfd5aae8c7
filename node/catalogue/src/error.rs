//! What can go wrong, one enum for each operation.

use std::io;
use std::path::PathBuf;

use reg_proto::name::PublisherId;
use tantivy::TantivyError;
use thiserror::Error;

/// Why a catalogue could not be opened. Damage is no reason: what is damaged is made anew.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("another process uses the catalogue at {path:?}: stop it, or give this one another directory")]
    InUse { path: PathBuf },
    #[error("the catalogue at {path:?} cannot be written: check free space and permissions")]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("no index can be made at {path:?}: check free space and permissions")]
    Index { path: PathBuf, source: TantivyError },
}

/// Why a catalogue was made anew when it was opened.
#[derive(Debug, Error)]
pub enum Reason {
    #[error("it was written by another version")]
    OtherVersion,
    #[error("it has no list of segments, or one that cannot be read")]
    Unreadable { source: TantivyError },
    #[error("{count} of its files are damaged or missing")]
    DamagedFiles { count: usize },
    #[error("one of its documents cannot be read")]
    DamagedDocument,
    #[error("two of its documents contradict each other")]
    Contradiction,
    #[error("the search library gave up on it")]
    Panicked,
}

/// Why the catalogue did not take an entry or the texts of a publisher. Each says which bound is reached.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("{part}: {size}, and at most {max} are kept")]
    TooLarge { part: &'static str, size: usize, max: usize },
    #[error("the catalogue holds {max} entries of kept publishers, and no more are kept")]
    KeptFull { max: usize },
    #[error("the catalogue holds {max} entries of publisher {publisher}, and no more are kept")]
    PublisherFull { publisher: PublisherId, max: usize },
    #[error("{max} publishers are kept whole, and no more can be")]
    PublishersFull { max: usize },
    #[error("no entry of a stranger is kept at all")]
    NoStrangers,
    #[error("the catalogue uses {bytes} bytes on disk, and at most {max} are allowed")]
    DiskFull { bytes: u64, max: u64 },
    #[error("publisher {publisher} is not kept and has no entry")]
    NoEntry { publisher: PublisherId },
}

/// Why changes are not on disk. They stay in memory, and the next commit tries again.
#[derive(Debug, Error)]
pub enum CommitError {
    #[error("the index could not be written: check free space; the next commit tries again")]
    Index(#[source] TantivyError),
}

/// Why the texts of a publisher were not taken.
#[derive(Debug, Error)]
pub enum PublisherError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("what is kept of the publisher could not be read")]
    Read(#[from] ReadError),
}

/// Why something that is kept could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error("the index could not be read")]
    Index(#[from] TantivyError),
    #[error("a document of the index is damaged")]
    Damaged,
}

/// Why a search has no answer.
#[derive(Debug, Error)]
pub enum SearchError {
    #[error("{count} publishers are asked for, and at most {max} can be")]
    TooManyPublishers { count: usize, max: usize },
    #[error("{lists} lists of at most {facts} facts are asked for, and {lists_max} of {facts_max} can be")]
    TooManyFacts { lists: usize, facts: usize, lists_max: usize, facts_max: usize },
    #[error("results from {offset} on are asked for, and a search goes to {max}: add a word or a filter")]
    TooDeep { offset: usize, max: usize },
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<TantivyError> for SearchError {
    fn from(error: TantivyError) -> Self {
        Self::Read(ReadError::Index(error))
    }
}
