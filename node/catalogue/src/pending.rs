//! Changes that are not yet committed. The newest change of a name is the only one that counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use reg_proto::name::PublisherId;

use crate::entry::{Entry, EntryName};
use crate::schema::StoredPublisher;

/// What becomes of an entry or a publisher with the next commit.
#[derive(Debug)]
pub(crate) enum Change<T> {
    Put(Arc<T>),
    Removed,
}

/// The changes since a commit.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) entries: BTreeMap<EntryName, Change<Entry>>,
    pub(crate) publishers: BTreeMap<PublisherId, Change<StoredPublisher>>,
    /// Bytes of texts that were put, those of replaced changes included.
    pub(crate) bytes: usize,
}

impl<T> Clone for Change<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Put(value) => Self::Put(Arc::clone(value)),
            Self::Removed => Self::Removed,
        }
    }
}

impl Pending {
    /// Returns whether nothing has changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.publishers.is_empty()
    }

    /// Takes the changes of `older`, of which the commit failed, where nothing newer is known.
    pub(crate) fn add_older(&mut self, older: &Self) {
        for (name, change) in &older.entries {
            self.entries.entry(name.clone()).or_insert_with(|| change.clone());
        }
        for (publisher, change) in &older.publishers {
            self.publishers.entry(*publisher).or_insert_with(|| change.clone());
        }
        self.bytes += older.bytes;
    }

    /// Returns the entries of `publisher` that are changed.
    pub(crate) fn of_publisher(
        &self,
        publisher: &PublisherId,
    ) -> impl Iterator<Item = (&EntryName, &Change<Entry>)> {
        let publisher = *publisher;
        self.entries.range(least_name(publisher)..).take_while(move |(name, _)| name.publisher == publisher)
    }
}

/// Returns the first name that a publisher can give.
fn least_name(publisher: PublisherId) -> EntryName {
    let model = "0".parse().expect("the smallest character of a model name");
    let tag = "0".parse().expect("the smallest character at the start of a tag");
    EntryName { publisher, model, tag }
}
