//! What is held in memory of the committed entries: one row for each, found by its slot or by its name.
//!
//! A slot is the number of a row. It is stored with the document too, so that a search gets from a document to its row
//! without reading the document. A row and its document carry the same version number. A document with another number is
//! no longer the current one.

use std::cmp::Ordering;
use std::collections::HashMap;

use reg_proto::name::PublisherId;

use crate::bounds::SLOTS_MAX;
use crate::entry::{EntryHead, EntryName, compare};

/// A committed entry.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) head: EntryHead,
    pub(crate) number: u64,
}

/// The committed entries.
#[derive(Default)]
pub(crate) struct Table {
    /// Slot 0 is empty: the documents of publishers have it.
    rows: Vec<Option<Row>>,
    free: Vec<u32>,
    /// The slots of each publisher, in the order of their names.
    publishers: HashMap<PublisherId, Vec<u32>>,
    number: u64,
}

impl Table {
    /// Returns an empty table.
    pub(crate) fn new() -> Self {
        Self { rows: vec![None], ..Self::default() }
    }

    /// Returns the row in `slot`, if its version has this number.
    pub(crate) fn row(&self, slot: u32, number: u64) -> Option<&Row> {
        self.rows.get(slot as usize)?.as_ref().filter(|row| row.number == number)
    }

    /// Returns the row in `slot`.
    pub(crate) fn head(&self, slot: u32) -> Option<&EntryHead> {
        self.rows.get(slot as usize)?.as_ref().map(|row| &row.head)
    }

    /// Returns the head of every entry, in no order.
    pub(crate) fn heads(&self) -> impl Iterator<Item = &EntryHead> {
        self.rows.iter().flatten().map(|row| &row.head)
    }

    /// Returns the number of slots, used or not.
    pub(crate) fn slots(&self) -> u32 {
        u32::try_from(self.rows.len()).expect("as many rows as the bounds of entries allow")
    }

    /// Returns the slot of an entry.
    pub(crate) fn slot(&self, name: &EntryName) -> Option<u32> {
        let slots = self.publishers.get(&name.publisher)?;
        self.place(slots, name).ok().map(|place| slots[place])
    }

    /// Returns the entries of a publisher in the order of their names.
    pub(crate) fn of_publisher(&self, publisher: &PublisherId) -> impl Iterator<Item = &EntryHead> {
        self.publishers.get(publisher).into_iter().flatten().filter_map(|slot| self.head(*slot))
    }

    /// Returns the publishers with their number of entries.
    pub(crate) fn publishers(&self) -> impl Iterator<Item = (PublisherId, usize)> {
        self.publishers.iter().map(|(id, slots)| (*id, slots.len()))
    }

    /// Returns an unused slot, which is the caller's until it sets a row there or gives it back.
    pub(crate) fn take_slot(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.rows.push(None);
            self.slots() - 1
        })
    }

    /// Takes back a slot without a row.
    pub(crate) fn give_back(&mut self, slot: u32) {
        self.free.push(slot);
    }

    /// Returns a version number that was never given before.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Puts a committed entry into its slot, in place of its former version.
    pub(crate) fn set(&mut self, slot: u32, row: Row) {
        let name = row.head.name();
        let place = match self.publishers.get(&name.publisher) {
            Some(slots) => self.place(slots, &name),
            None => Err(0),
        };
        self.rows[slot as usize] = Some(row);
        if let Err(place) = place {
            self.publishers.entry(name.publisher).or_default().insert(place, slot);
        }
    }

    /// Removes an entry, and frees its slot.
    pub(crate) fn remove(&mut self, name: &EntryName) {
        let Some(slots) = self.publishers.get(&name.publisher) else { return };
        let Ok(place) = self.place(slots, name) else { return };
        let slots = self.publishers.get_mut(&name.publisher).expect("found above");
        let slot = slots.remove(place);
        if slots.is_empty() {
            self.publishers.remove(&name.publisher);
        }
        self.rows[slot as usize] = None;
        self.free.push(slot);
    }

    /// Says of all entries of a publisher whether it is kept.
    pub(crate) fn set_kept(&mut self, publisher: &PublisherId, is_kept: bool) {
        for slot in self.publishers.get(publisher).into_iter().flatten() {
            if let Some(row) = &mut self.rows[*slot as usize] {
                row.head.is_kept = is_kept;
            }
        }
    }

    /// Puts a stored entry into its slot. Returns nothing if another one has that slot, or if none can.
    ///
    /// The entries are found by name after [`Self::sort`] only.
    pub(crate) fn fill(&mut self, slot: u32, row: Row) -> Option<()> {
        if slot == 0 || slot >= SLOTS_MAX {
            return None;
        }
        if slot >= self.slots() {
            self.rows.resize_with(slot as usize + 1, || None);
        }
        self.number = self.number.max(row.number);
        self.publishers.entry(row.head.publisher).or_default().push(slot);
        self.rows[slot as usize].replace(row).is_none().then_some(())
    }

    /// Sorts the entries that were filled in. Returns nothing if two have one name.
    pub(crate) fn sort(&mut self) -> Option<()> {
        let head = |slot: &u32| self.rows[*slot as usize].as_ref().map(|row| &row.head);
        for slots in self.publishers.values_mut() {
            slots.sort_unstable_by(|left, right| compare_heads(head(left), head(right)));
            slots.shrink_to_fit();
            if slots.windows(2).any(|pair| compare_heads(head(&pair[0]), head(&pair[1])).is_eq()) {
                return None;
            }
        }
        self.free = (1..self.slots()).filter(|slot| self.head(*slot).is_none()).collect();
        Some(())
    }

    /// Returns the place of `name` in the slots of its publisher, or where it would be.
    fn place(&self, slots: &[u32], name: &EntryName) -> Result<usize, usize> {
        slots.binary_search_by(|slot| {
            let head = self.head(*slot).expect("the slots of a publisher have rows");
            compare(head.model.as_str(), head.tag.as_str(), name.model.as_str(), name.tag.as_str())
        })
    }
}

fn compare_heads(left: Option<&EntryHead>, right: Option<&EntryHead>) -> Ordering {
    match (left, right) {
        (Some(left), Some(right)) => {
            compare(left.model.as_str(), left.tag.as_str(), right.model.as_str(), right.tag.as_str())
        }
        _ => left.is_some().cmp(&right.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use reg_proto::digest::Digest;

    use super::*;

    fn row(publisher: u8, model: &str, number: u64) -> Row {
        let head = EntryHead {
            publisher: PublisherId::from_bytes([publisher; 32]),
            model: model.parse().unwrap(),
            tag: "latest".parse().unwrap(),
            manifest: Digest::of(b"manifest"),
            content: Digest::of(b"content"),
            seq: 1,
            issued: 1,
            heard: 1,
            bytes: None,
            is_kept: true,
            is_tombstone: false,
        };
        Row { head, number }
    }

    /// With 64 bytes for the two texts and 4 for its place in the order, 100,000 rows take 26 MiB.
    #[test]
    fn a_row_is_small() {
        assert_eq!(size_of::<Option<Row>>(), 200);
    }

    #[test]
    fn stored_entries_that_contradict_each_other_are_refused() {
        let mut table = Table::new();
        assert!(table.fill(0, row(1, "a", 1)).is_none());
        assert!(table.fill(SLOTS_MAX, row(1, "a", 1)).is_none());
        assert!(table.fill(3, row(1, "b", 7)).is_some());
        assert!(table.fill(3, row(1, "c", 1)).is_none());
        let mut table = Table::new();
        table.fill(3, row(1, "b", 7)).unwrap();
        table.fill(5, row(1, "A", 2)).unwrap();
        table.fill(1, row(2, "a", 2)).unwrap();
        assert!(table.sort().is_some());
        let name = EntryName { model: "a".parse().unwrap(), ..row(1, "b", 0).head.name() };
        assert_eq!(table.slot(&name), Some(5));
        assert_eq!((table.take_slot(), table.take_slot(), table.take_slot()), (4, 2, 6));
        assert_eq!(table.next_number(), 8);
        table.fill(6, row(1, "B", 2)).unwrap();
        assert!(table.sort().is_none());
    }
}
