//! Takes changes, and commits them.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError, RwLockWriteGuard};

use reg_proto::name::{ModelName, PublisherId, Tag};
use tantivy::indexer::{IndexWriterOptions, LogMergePolicy};
use tantivy::schema::Term;
use tantivy::{IndexWriter, TantivyDocument};

use crate::bounds::{PENDING_BYTES_MAX, WRITER_BYTES, check_texts};
use crate::entry::{Entry, EntryName, PublisherTexts};
use crate::error::{CommitError, PublisherError, Refusal};
use crate::open::Catalogue;
use crate::pending::{Change, Pending};
use crate::schema::{StoredPublisher, entry_id, publisher_id};
use crate::state::{Chance, State};
use crate::table::Row;

/// Small segments that are merged into one: so many files are open at most for each size of segments.
const SEGMENTS_MERGED: usize = 8;
/// Documents below which a segment counts as small.
const SMALL_SEGMENT: u32 = 10_000;
/// Share of replaced documents at which a segment is written anew.
const DELETED_SHARE_MAX: f32 = 0.3;

/// What became of the entries of a put.
#[derive(Debug, Default)]
pub struct Taken {
    /// Number of entries that were taken.
    pub taken: usize,
    /// Entries that were not taken, and why.
    pub refused: Vec<(EntryName, Refusal)>,
    /// Entries of strangers that made room.
    pub evicted: Vec<EntryName>,
}

/// The slots and numbers of a batch of changes.
struct Plan {
    batch: Arc<Pending>,
    /// Slot and number of each entry that is put.
    places: BTreeMap<EntryName, (u32, u64)>,
    /// Slots that were not in use before.
    new_slots: Vec<u32>,
}

impl Catalogue {
    /// Takes entries in place of those with the same names. They are found once they are committed.
    ///
    /// Entries of a publisher count as kept after [`Catalogue::set_kept`], else as a sample of a stranger.
    ///
    /// # Errors
    /// If so many changes wait that they were committed, and that failed. What was taken stays in memory.
    pub fn put(&self, entries: Vec<Entry>, chance: Chance<'_>) -> Result<Taken, CommitError> {
        let mut taken = Taken::default();
        for entry in entries {
            if self.write_state().pending.bytes > PENDING_BYTES_MAX {
                self.commit()?;
            }
            let name = entry.name();
            match self.write_state().put(entry, &self.bounds, chance) {
                Ok(evicted) => {
                    taken.taken += 1;
                    taken.evicted.extend(evicted);
                }
                Err(refusal) => taken.refused.push((name, refusal)),
            }
        }
        Ok(taken)
    }

    /// Removes an entry, and returns whether there was one.
    pub fn remove(&self, publisher: PublisherId, model: &ModelName, tag: &Tag) -> bool {
        self.write_state().remove(&EntryName { publisher, model: model.clone(), tag: tag.clone() })
    }

    /// Takes the texts of a publisher that is kept or has an entry, in place of earlier ones.
    ///
    /// They are removed with the last entry of a stranger.
    ///
    /// # Errors
    /// If the texts are too large, or if the publisher is not kept and has no entry.
    pub fn put_publisher(&self, texts: PublisherTexts) -> Result<(), Refusal> {
        check_texts(&texts)?;
        let mut state = self.write_state();
        let known = state.standing(&texts.publisher);
        if !known.is_kept && known.entries == 0 {
            return Err(Refusal::NoEntry { publisher: texts.publisher });
        }
        state.put_publisher(StoredPublisher { is_kept: known.is_kept, texts });
        Ok(())
    }

    /// Says whether a publisher is kept whole, and returns the entries that went because it no longer is.
    ///
    /// # Errors
    /// If too many publishers or entries are kept, or if what is kept of the publisher cannot be read.
    pub fn set_kept(
        &self,
        publisher: &PublisherId,
        is_kept: bool,
        chance: Chance<'_>,
    ) -> Result<Vec<EntryName>, PublisherError> {
        let mut state = self.write_state();
        if state.standing(publisher).is_kept == is_kept {
            return Ok(Vec::new());
        }
        let texts = self.stored_publisher(&state, publisher)?.map(|it| it.texts.clone());
        let evicted = state.set_kept(publisher, is_kept, &self.bounds, chance)?;
        let known = state.standing(publisher);
        if known.is_kept || known.entries > 0 {
            let none =
                PublisherTexts { publisher: *publisher, key_documents: Vec::new(), revocations: Vec::new() };
            state.put_publisher(StoredPublisher { is_kept, texts: texts.unwrap_or(none) });
        }
        Ok(evicted)
    }

    /// Writes every change to disk, at once or not at all.
    ///
    /// # Errors
    /// If something cannot be written. The changes stay in memory, and the next commit tries again.
    pub fn commit(&self) -> Result<(), CommitError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = self.write_state().plan();
        if let Some(plan) = plan {
            if let Err(error) = self.write(&mut writer, &plan).and_then(|()| self.reader.reload()) {
                // A writer is of no use after an error. The next commit makes another.
                *writer = None;
                self.write_state().restore(plan);
                return Err(CommitError::Index(error));
            }
            let disk_bytes = self.measure_disk();
            let mut state = self.write_state();
            state.searcher = self.reader.searcher();
            state.disk_bytes = disk_bytes;
            state.apply(plan);
        }
        Ok(())
    }

    /// Waits for merges, and frees the memory of the writer until the next commit.
    ///
    /// # Errors
    /// If a merge failed. Nothing is lost by that.
    pub fn rest(&self) -> Result<(), CommitError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(idle) = writer.take() else { return Ok(()) };
        idle.wait_merging_threads().and_then(|()| self.reader.reload()).map_err(CommitError::Index)?;
        let disk_bytes = self.measure_disk();
        let mut state = self.write_state();
        state.searcher = self.reader.searcher();
        state.disk_bytes = disk_bytes;
        Ok(())
    }

    /// Gives the changes to the writer, and commits them.
    fn write(&self, writer: &mut MutexGuard<'_, Option<IndexWriter>>, plan: &Plan) -> tantivy::Result<()> {
        let writer = match &mut **writer {
            Some(writer) => writer,
            none => none.insert(self.new_writer()?),
        };
        for (name, change) in &plan.batch.entries {
            writer.delete_term(Term::from_field_text(self.fields.id, &entry_id(name)));
            if let Change::Put(entry) = change {
                let (slot, number) = plan.places[name];
                writer.add_document(self.fields.entry_document(entry, slot, number))?;
            }
        }
        for (publisher, change) in &plan.batch.publishers {
            writer.delete_term(Term::from_field_text(self.fields.id, &publisher_id(publisher)));
            if let Change::Put(stored) = change {
                writer.add_document(self.fields.publisher_document(stored))?;
            }
        }
        writer.commit()?;
        Ok(())
    }

    fn new_writer(&self) -> tantivy::Result<IndexWriter> {
        let options = IndexWriterOptions::builder()
            .memory_budget_per_thread(WRITER_BYTES)
            .num_worker_threads(1)
            .num_merge_threads(1)
            .build();
        let writer: IndexWriter<TantivyDocument> = self.index.writer_with_options(options)?;
        let mut merges = LogMergePolicy::default();
        merges.set_min_num_segments(SEGMENTS_MERGED);
        merges.set_min_layer_size(SMALL_SEGMENT);
        merges.set_del_docs_ratio_before_merge(DELETED_SHARE_MAX);
        writer.set_merge_policy(Box::new(merges));
        Ok(writer)
    }

    pub(crate) fn write_state(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes the changes that wait, and gives each entry its slot and number.
    fn plan(&mut self) -> Option<Plan> {
        if self.pending.is_empty() {
            return None;
        }
        let batch = Arc::new(std::mem::take(&mut self.pending));
        let (mut places, mut new_slots) = (BTreeMap::new(), Vec::new());
        for (name, change) in &batch.entries {
            if matches!(change, Change::Put(_)) {
                let slot = self.table.slot(name).unwrap_or_else(|| {
                    let slot = self.table.take_slot();
                    new_slots.push(slot);
                    slot
                });
                places.insert(name.clone(), (slot, self.table.next_number()));
            }
        }
        self.committing = Arc::clone(&batch);
        Some(Plan { batch, places, new_slots })
    }

    /// Takes the changes of a failed commit back.
    fn restore(&mut self, plan: Plan) {
        self.committing = Arc::default();
        self.pending.add_older(&plan.batch);
        for slot in plan.new_slots {
            self.table.give_back(slot);
        }
    }

    /// Takes committed changes into the table.
    fn apply(&mut self, plan: Plan) {
        self.committing = Arc::default();
        for (name, change) in &plan.batch.entries {
            match change {
                Change::Removed => self.table.remove(name),
                Change::Put(entry) => {
                    let (slot, number) = plan.places[name];
                    let is_kept = self.standing(&name.publisher).is_kept;
                    self.table.set(slot, Row { head: entry.head(is_kept), number });
                }
            }
        }
    }
}
