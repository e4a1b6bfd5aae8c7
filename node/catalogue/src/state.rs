//! The catalogue as its callers see it: the committed entries with the changes that wait, and what counts against
//! which bound.
//!
//! Every change is decided here, in memory. Writing it is another matter.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use reg_proto::name::PublisherId;
use tantivy::Searcher;

use crate::bounds::{Bounds, entry_bytes};
use crate::entry::{Entry, EntryHead, EntryName};
use crate::error::Refusal;
use crate::pending::{Change, Pending};
use crate::schema::StoredPublisher;
use crate::table::Table;

/// Tries to find a stranger in a random slot before looking through the slots in order.
const RANDOM_SLOTS_MAX: usize = 64;

/// A source of random numbers.
pub type Chance<'a> = &'a mut dyn FnMut() -> u64;

/// What is known of a publisher, with the changes that wait.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known {
    pub(crate) is_kept: bool,
    pub(crate) has_texts: bool,
    pub(crate) entries: usize,
}

/// Committed entries and waiting changes.
pub(crate) struct State {
    pub(crate) table: Table,
    /// The documents that belong to `table`.
    pub(crate) searcher: Searcher,
    pub(crate) pending: Pending,
    /// Changes that are being committed.
    pub(crate) committing: Arc<Pending>,
    pub(crate) publishers: HashMap<PublisherId, Known>,
    pub(crate) kept: usize,
    pub(crate) strangers: usize,
    pub(crate) kept_publishers: usize,
    /// Bytes on disk after the last commit.
    pub(crate) disk_bytes: u64,
}

/// Where the newest version of an entry is.
pub(crate) enum Place {
    Waiting(Arc<Entry>),
    Committed,
    Nowhere,
}

impl State {
    /// Returns where the newest version of an entry is.
    pub(crate) fn place(&self, name: &EntryName) -> Place {
        let waiting = self.pending.entries.get(name).or_else(|| self.committing.entries.get(name));
        match waiting {
            Some(Change::Put(entry)) => Place::Waiting(Arc::clone(entry)),
            Some(Change::Removed) => Place::Nowhere,
            None => match self.table.slot(name) {
                Some(_) => Place::Committed,
                None => Place::Nowhere,
            },
        }
    }

    /// Returns the waiting change of a publisher's texts.
    pub(crate) fn waiting_publisher(&self, publisher: &PublisherId) -> Option<&Change<StoredPublisher>> {
        self.pending.publishers.get(publisher).or_else(|| self.committing.publishers.get(publisher))
    }

    /// Returns what is known of a publisher.
    pub(crate) fn standing(&self, publisher: &PublisherId) -> Known {
        self.publishers.get(publisher).copied().unwrap_or_default()
    }

    /// Takes an entry, and returns the strangers that made room for it.
    pub(crate) fn put(
        &mut self,
        entry: Entry,
        bounds: &Bounds,
        chance: Chance<'_>,
    ) -> Result<Vec<EntryName>, Refusal> {
        let bytes = entry_bytes(&entry)?;
        let name = entry.name();
        let mut evicted = Vec::new();
        if matches!(self.place(&name), Place::Nowhere) {
            self.make_room(&name.publisher, bounds, chance, &mut evicted)?;
            self.count(&name.publisher, 1);
        }
        self.pending.bytes += bytes;
        self.pending.entries.insert(name, Change::Put(Arc::new(entry)));
        Ok(evicted)
    }

    /// Makes room for one more entry of `publisher`, or says which bound forbids it.
    fn make_room(
        &mut self,
        publisher: &PublisherId,
        bounds: &Bounds,
        chance: Chance<'_>,
        evicted: &mut Vec<EntryName>,
    ) -> Result<(), Refusal> {
        let standing = self.standing(publisher);
        let is_disk_full = self.disk_bytes + self.pending.bytes as u64 > bounds.disk_bytes;
        let disk_full = Refusal::DiskFull { bytes: self.disk_bytes, max: bounds.disk_bytes };
        if standing.is_kept {
            if self.kept >= bounds.kept {
                return Err(Refusal::KeptFull { max: bounds.kept });
            }
            if standing.entries >= bounds.kept_of_publisher {
                return Err(Refusal::PublisherFull { publisher: *publisher, max: bounds.kept_of_publisher });
            }
            if is_disk_full {
                evicted.push(self.evict_stranger(chance).ok_or(disk_full)?);
            }
            return Ok(());
        }
        if is_disk_full {
            return Err(disk_full);
        }
        if bounds.strangers == 0 || bounds.strangers_of_publisher == 0 {
            return Err(Refusal::NoStrangers);
        }
        while self.standing(publisher).entries >= bounds.strangers_of_publisher {
            let Some(name) = self.evict_of(publisher, chance) else { break };
            evicted.push(name);
        }
        while self.strangers >= bounds.strangers {
            let Some(name) = self.evict_stranger(chance) else { break };
            evicted.push(name);
        }
        Ok(())
    }

    /// Removes an entry, and returns whether it was there.
    pub(crate) fn remove(&mut self, name: &EntryName) -> bool {
        if matches!(self.place(name), Place::Nowhere) {
            return false;
        }
        self.pending.entries.insert(name.clone(), Change::Removed);
        self.uncount(&name.publisher);
        true
    }

    /// Says whether a publisher is kept, and returns the entries that went because it no longer is.
    pub(crate) fn set_kept(
        &mut self,
        publisher: &PublisherId,
        is_kept: bool,
        bounds: &Bounds,
        chance: Chance<'_>,
    ) -> Result<Vec<EntryName>, Refusal> {
        let standing = self.standing(publisher);
        if standing.is_kept == is_kept {
            return Ok(Vec::new());
        }
        if is_kept {
            if self.kept_publishers >= bounds.kept_publishers {
                return Err(Refusal::PublishersFull { max: bounds.kept_publishers });
            }
            if self.kept + standing.entries > bounds.kept {
                return Err(Refusal::KeptFull { max: bounds.kept });
            }
        }
        self.publishers.entry(*publisher).or_default().is_kept = is_kept;
        self.table.set_kept(publisher, is_kept);
        let (from, to) = match is_kept {
            true => (&mut self.strangers, &mut self.kept),
            false => (&mut self.kept, &mut self.strangers),
        };
        *from -= standing.entries;
        *to += standing.entries;
        let mut evicted = Vec::new();
        if is_kept {
            self.kept_publishers += 1;
            return Ok(evicted);
        }
        self.kept_publishers -= 1;
        while self.standing(publisher).entries > bounds.strangers_of_publisher {
            let Some(name) = self.evict_of(publisher, chance) else { break };
            evicted.push(name);
        }
        while self.strangers > bounds.strangers {
            let Some(name) = self.evict_stranger(chance) else { break };
            evicted.push(name);
        }
        self.forget_if_gone(publisher);
        Ok(evicted)
    }

    /// Takes the document of a publisher.
    pub(crate) fn put_publisher(&mut self, stored: StoredPublisher) {
        let publisher = stored.texts.publisher;
        self.publishers.entry(publisher).or_default().has_texts = true;
        self.pending.bytes += stored
            .texts
            .key_documents
            .iter()
            .chain(&stored.texts.revocations)
            .map(String::len)
            .sum::<usize>();
        self.pending.publishers.insert(publisher, Change::Put(Arc::new(stored)));
    }

    /// Returns the names of a publisher's entries in order.
    pub(crate) fn names_of(&self, publisher: &PublisherId) -> BTreeSet<EntryName> {
        let mut names: BTreeSet<EntryName> =
            self.table.of_publisher(publisher).map(EntryHead::name).collect();
        for changes in [&*self.committing, &self.pending] {
            for (name, change) in changes.of_publisher(publisher) {
                match change {
                    Change::Put(_) => names.insert(name.clone()),
                    Change::Removed => names.remove(name),
                };
            }
        }
        names
    }

    /// Removes one entry of `publisher` by chance.
    fn evict_of(&mut self, publisher: &PublisherId, chance: Chance<'_>) -> Option<EntryName> {
        let names = self.names_of(publisher);
        let name = names.iter().nth(below(chance, names.len())?)?.clone();
        self.remove(&name);
        Some(name)
    }

    /// Removes one entry of a stranger by chance.
    fn evict_stranger(&mut self, chance: Chance<'_>) -> Option<EntryName> {
        let name = self.committed_stranger(chance).or_else(|| self.waiting_stranger(chance))?;
        self.remove(&name);
        Some(name)
    }

    /// Returns a committed stranger by chance.
    fn committed_stranger(&self, chance: Chance<'_>) -> Option<EntryName> {
        let slots = self.table.slots() as usize;
        let stranger = |slot: usize| {
            let name = self.table.head(u32::try_from(slot).ok()?)?.name();
            let is_there = matches!(self.place(&name), Place::Committed);
            (is_there && !self.standing(&name.publisher).is_kept).then_some(name)
        };
        let random = (0..RANDOM_SLOTS_MAX).find_map(|_| stranger(below(chance, slots)?));
        random.or_else(|| {
            let start = below(chance, slots)?;
            (start..slots).chain(0..start).find_map(stranger)
        })
    }

    /// Returns a stranger by chance among those that wait for a commit.
    fn waiting_stranger(&self, chance: Chance<'_>) -> Option<EntryName> {
        let waiting: BTreeSet<&EntryName> =
            self.pending.entries.keys().chain(self.committing.entries.keys()).collect();
        let strangers: Vec<&EntryName> = waiting
            .into_iter()
            .filter(|name| !self.standing(&name.publisher).is_kept)
            .filter(|name| matches!(self.place(name), Place::Waiting(_)))
            .collect();
        strangers.get(below(chance, strangers.len())?).map(|name| (*name).clone())
    }

    /// Counts `entries` more of a publisher.
    pub(crate) fn count(&mut self, publisher: &PublisherId, entries: usize) {
        let standing = self.publishers.entry(*publisher).or_default();
        standing.entries += entries;
        match standing.is_kept {
            true => self.kept += entries,
            false => self.strangers += entries,
        }
    }

    /// Counts one entry less of a publisher.
    fn uncount(&mut self, publisher: &PublisherId) {
        let standing = self.publishers.entry(*publisher).or_default();
        standing.entries -= 1;
        match standing.is_kept {
            true => self.kept -= 1,
            false => self.strangers -= 1,
        }
        self.forget_if_gone(publisher);
    }

    /// Drops what is kept of a stranger without entries.
    fn forget_if_gone(&mut self, publisher: &PublisherId) {
        let standing = self.standing(publisher);
        if standing.is_kept || standing.entries > 0 {
            return;
        }
        self.publishers.remove(publisher);
        if standing.has_texts {
            self.pending.publishers.insert(*publisher, Change::Removed);
        }
    }
}

/// Returns a random number below `max`.
fn below(chance: Chance<'_>, max: usize) -> Option<usize> {
    let random = chance().checked_rem(max as u64)?;
    usize::try_from(random).ok()
}
