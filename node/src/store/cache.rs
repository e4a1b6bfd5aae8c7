//! Bounds the size of the store: reserves room, and evicts the models that were used longest ago.
//!
//! Eviction removes whole models, and blobs that belong to no model. It never removes a model that is pinned or was
//! published here, or a blob that a live [`Lease`] protects. A pure function plans it.
//!
//! A blob that is a hard link to a file of the user counts for the size of the store, and frees no disk when it goes. So the two
//! are counted apart. A reflink cannot be told from a copy: it counts as one.

mod donated;
mod shares;
mod size;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use reg_proto::digest::Digest;
use reg_proto::states::PieceStates;
use serde::Deserialize;

use super::disk;
use super::documents::DocumentKind;
use super::error::{PartialError, ReadError, ReserveError, WriteError};
use super::front::Store;

pub use self::shares::Shares;
pub use self::size::{CacheSize, SHARE_OF_DISK};

/// The bounds of the store's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheLimits {
    pub max_size: CacheSize,
    /// Bytes that stay free on the disk.
    pub min_free: u64,
}

/// The models and blobs that a collection has removed, or would remove.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GcReport {
    pub models: Vec<Digest>,
    pub blobs: usize,
    pub bytes: u64,
}

/// Keeps room reserved, and protects blobs from eviction, until it is dropped.
#[derive(Debug)]
pub struct Lease {
    id: u64,
    leases: Arc<Leases>,
}

/// The live leases.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<LeaseTable>);

#[derive(Debug, Default)]
struct LeaseTable {
    next: u64,
    live: BTreeMap<u64, Reserved>,
}

#[derive(Debug)]
struct Reserved {
    bytes: u64,
    protect: BTreeSet<Digest>,
    /// The partial blobs that its bytes are for, by blob and states. What they have on the disk is part of its room.
    fills: BTreeSet<(Digest, Digest)>,
    since: SystemTime,
    /// Whether its owner waits for callers that may come back. It ends where another caller needs the room.
    is_idle: bool,
    /// Whether it is for a model that is kept for others.
    is_donation: bool,
}

impl Lease {
    /// Says whether the lease is idle: then it ends where another caller needs its room. Returns false if it has ended so.
    pub fn set_idle(&self, is_idle: bool) -> bool {
        let mut table = self.leases.lock();
        match table.live.get_mut(&self.id) {
            Some(reserved) => {
                reserved.is_idle = is_idle;
                true
            }
            None => false,
        }
    }

    /// Makes the lease idle.
    pub fn let_go(&self) {
        let _lives = self.set_idle(true);
    }

    /// Tells whether it has ended because another caller needed its room.
    pub fn has_ended(&self) -> bool {
        !self.leases.lock().live.contains_key(&self.id)
    }

    /// Says which partial blobs the room is for.
    fn fill(&self, partials: BTreeSet<(Digest, Digest)>) {
        let mut table = self.leases.lock();
        if let Some(reserved) = table.live.get_mut(&self.id) {
            reserved.fills = partials;
        }
    }

    /// Gives back `bytes` bytes of the room, and keeps protecting the same blobs.
    pub fn give_back(&self, bytes: u64) {
        let mut table = self.leases.lock();
        if let Some(reserved) = table.live.get_mut(&self.id) {
            reserved.bytes = reserved.bytes.saturating_sub(bytes);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leases.lock().live.remove(&self.id);
    }
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, LeaseTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What eviction knows of a model.
#[derive(Debug, Clone)]
struct Model {
    manifest: Digest,
    blobs: BTreeSet<Digest>,
    pinned: bool,
    last_used: u64,
}

/// Bytes that are lacking, or that a plan makes room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Room {
    /// Of the size of the store.
    store: u64,
    /// Of the disk.
    disk: u64,
}

impl Room {
    fn is_none(self) -> bool {
        self == Self::default()
    }

    fn covers(self, wanted: Self) -> bool {
        self.store >= wanted.store && self.disk >= wanted.disk
    }
}

/// What leases reserve, in sum.
#[derive(Debug, Default, PartialEq, Eq)]
struct Leased {
    /// Of the size of the store.
    store: u64,
    /// Of the disk: what the partial blobs have not taken yet.
    disk: u64,
    fills: BTreeSet<(Digest, Digest)>,
}

/// What eviction is decided by.
#[derive(Debug, Default)]
struct Snapshot {
    /// The models, by the key of their document.
    models: BTreeMap<String, Model>,
    /// The size of each whole blob, in bytes.
    blobs: BTreeMap<Digest, u64>,
    /// Blobs that have a name outside the store too, so that the disk keeps their bytes.
    linked: BTreeSet<Digest>,
    /// The digests that live leases protect: of blobs, and of models' manifests.
    protected: BTreeSet<Digest>,
    /// Blobs that were stored while a lease was live, and when: the model that they belong to may not be recorded yet.
    young: BTreeMap<Digest, SystemTime>,
}

/// The models and blobs to remove, in order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    models: Vec<(String, Digest)>,
    blobs: Vec<Digest>,
    room: Room,
}

impl Plan {
    fn take(&mut self, snapshot: &Snapshot, blob: Digest, size: u64) {
        self.blobs.push(blob);
        self.room.store += size;
        self.room.disk += if snapshot.linked.contains(&blob) { 0 } else { size };
    }
}

/// Plans what to remove: first all blobs that belong to no model, then the models that were used longest ago, until there is
/// as much room as is wanted. Where the disk alone lacks room, models with linked blobs come last, because they free little.
fn plan(snapshot: &Snapshot, wanted: Room) -> Plan {
    let mut users: BTreeMap<Digest, usize> = BTreeMap::new();
    for blob in snapshot.models.values().flat_map(|model| &model.blobs) {
        *users.entry(*blob).or_default() += 1;
    }
    let free = |blob: &Digest| !snapshot.protected.contains(blob);
    let mut plan = Plan::default();
    let orphans = snapshot
        .blobs
        .iter()
        .filter(|(blob, _)| !users.contains_key(blob) && free(blob) && !snapshot.young.contains_key(blob));
    for (blob, size) in orphans {
        plan.take(snapshot, *blob, *size);
    }
    let mut models: Vec<(&String, &Model)> = snapshot.models.iter().collect();
    models.retain(|(_, model)| !model.pinned && !snapshot.protected.contains(&model.manifest));
    models.sort_by_key(|(key, model)| (model.last_used, key.as_str()));
    let is_linked = |model: &Model| model.blobs.iter().any(|blob| snapshot.linked.contains(blob));
    for with_linked in [false, true] {
        models.retain(|(key, model)| {
            let is_passed = !with_linked && plan.room.store >= wanted.store && is_linked(model);
            if is_passed || plan.room.covers(wanted) {
                return true;
            }
            plan.models.push(((*key).clone(), model.manifest));
            for blob in &model.blobs {
                let left = users.entry(*blob).or_default();
                *left = left.saturating_sub(1);
                if *left == 0
                    && free(blob)
                    && let Some(size) = snapshot.blobs.get(blob)
                {
                    plan.take(snapshot, *blob, *size);
                }
            }
            false
        });
    }
    plan
}

/// The one field of a model's document that the store reads.
#[derive(Deserialize)]
struct ModelBlobs {
    #[serde(default)]
    blobs: BTreeSet<Digest>,
}

impl Store {
    /// Reserves room for `bytes` more, evicting the models that were used longest ago. Where that makes too little room,
    /// idle leases end. While the lease lives, eviction removes neither what `protect` names nor any blob that is stored meanwhile.
    ///
    /// # Errors
    /// Fails where the store or the disk has no room, even after evicting all that may be evicted.
    pub fn reserve(&self, bytes: u64, protect: &BTreeSet<Digest>) -> Result<Lease, ReserveError> {
        self.reserve_filling(bytes, protect, BTreeSet::new())
    }

    /// Reserves room for blobs that are to be fetched, as [`Self::reserve`] does, and protects them. What a partial blob has on
    /// the disk, verified or not, needs no more room there.
    ///
    /// # Errors
    /// As for [`Self::reserve`].
    pub fn reserve_blobs(&self, blobs: &[(Digest, PieceStates)]) -> Result<Lease, ReserveError> {
        let bytes = blobs.iter().map(|(_, states)| states.layout().size()).sum();
        let protect = blobs.iter().map(|(blob, _)| *blob).collect();
        let fills: BTreeSet<_> = blobs.iter().map(|(blob, states)| (*blob, states.digest())).collect();
        let there: u64 =
            self.taken_by_partials().iter().filter(|it| fills.contains(it.0)).map(|it| it.1).sum();
        self.reserve_filling(bytes, &protect, fills).map_err(|error| match error {
            ReserveError::DiskFull { bytes, free, min_free } => {
                ReserveError::DiskFull { bytes: bytes.saturating_sub(there), free, min_free }
            }
            error => error,
        })
    }

    fn reserve_filling(
        &self,
        bytes: u64,
        protect: &BTreeSet<Digest>,
        fills: BTreeSet<(Digest, Digest)>,
    ) -> Result<Lease, ReserveError> {
        let _one = self.cache_lock();
        let donations = self.donations()?;
        if donations.has(protect) {
            return self.reserve_donation(bytes, protect, fills);
        }
        let max_size = self.max_size();
        if let Some(max_size) = max_size.filter(|max_size| bytes > *max_size) {
            return Err(ReserveError::TooLarge { bytes, max_size });
        }
        // The lease comes first: what it protects must not be evicted to make room for it.
        let lease = self.lease(bytes, protect);
        lease.fill(fills);
        if bytes == 0 {
            // What is here can be used, also where the disk is full.
            return Ok(lease);
        }
        let excess = |reserved: Leased| Room {
            store: max_size.map_or(0, |max_size| {
                (self.used() + reserved.store).saturating_sub(max_size.saturating_add(donations.bytes()))
            }),
            disk: self.lacking(&reserved),
        };
        let idle = self.idle_leases();
        self.make_donations_give_way(&donations, &idle, excess)?;
        let (mut snapshot, mut orphans) = (None, None);
        // As few idle leases end as make room, the oldest first, and none where they make too little.
        for count in 0..=idle.len() {
            let ended: BTreeSet<u64> = idle[..count].iter().copied().collect();
            let wanted = excess(self.reserved(&ended));
            let mut planned = Plan::default();
            if !wanted.is_none() {
                // The store is read once, however many leases there are.
                let here = match snapshot.take() {
                    None => self.snapshot(&ended)?,
                    Some(mut here) => {
                        self.without(&mut here, &ended);
                        here
                    }
                };
                planned = plan(&here, wanted);
                orphans.get_or_insert_with(|| plan(&here, Room::default()));
                snapshot = Some(here);
            }
            if planned.room.covers(wanted) {
                self.end_leases(&ended);
                self.remove_planned(&planned)?;
                orphans = None;
                break;
            }
        }
        // Where evicting everything makes too little room, every model stays.
        if let Some(orphans) = orphans {
            self.remove_planned(&orphans)?;
        }
        self.check_room(bytes)?;
        Ok(lease)
    }

    /// Reserves room for `bytes` more as [`Self::reserve`] does, but removes nothing and ends no lease for it. Returns `None` where
    /// the store or the disk has no such room.
    pub fn reserve_free(&self, bytes: u64, protect: &BTreeSet<Digest>) -> Option<Lease> {
        let _one = self.cache_lock();
        let lease = self.lease(bytes, protect);
        self.check_room(bytes).is_ok().then_some(lease)
    }

    /// Checks that there is room for all that is reserved, of which the last reservation has `bytes`.
    fn check_room(&self, bytes: u64) -> Result<(), ReserveError> {
        let (max_size, min_free) = (self.max_size(), self.limits().min_free);
        let donated = self.donations().map_or(0, |it| it.bytes());
        let (used, reserved) = (self.used().saturating_sub(donated), self.reserved(&BTreeSet::new()));
        if let Some(max_size) = max_size.filter(|max_size| used + reserved.store > *max_size) {
            return Err(ReserveError::CacheFull { bytes, used, max_size });
        }
        if self.lacking(&reserved) > 0 {
            return Err(ReserveError::DiskFull { bytes, free: self.free_for(&reserved), min_free });
        }
        Ok(())
    }

    /// Returns the most bytes of whole blobs; `None` for as many as the disk holds.
    pub fn max_size(&self) -> Option<u64> {
        if let Some(size) = self.held_limits().size {
            return size;
        }
        let used = self.used().saturating_sub(self.donations().map_or(0, |it| it.bytes()));
        let disk = disk::size(self.root());
        let mut held = self.held_limits();
        // Another caller may have been first, and then what it has found counts.
        let size = held.size.unwrap_or_else(|| held.cache.max_size.bytes(used, disk));
        held.size = Some(size);
        size
    }

    /// Removes blobs and partial blobs that belong to no model, and models beyond the store's size; with `dry_run`,
    /// only reports them.
    ///
    /// # Errors
    /// Fails where a file or the index cannot be read or written.
    pub fn gc(&self, dry_run: bool) -> Result<GcReport, ReadError> {
        let _one = self.cache_lock();
        let none = BTreeSet::new();
        let (snapshot, reserved) = (self.snapshot(&none)?, self.reserved(&none).store);
        let donated = self.donations()?.bytes();
        let used = self.used().saturating_sub(donated);
        let excess = self.max_size().map_or(0, |max_size| (used + reserved).saturating_sub(max_size));
        let planned = plan(&snapshot, Room { store: excess, disk: 0 });
        let mut report = GcReport {
            models: planned.models.iter().map(|(_, manifest)| *manifest).collect(),
            blobs: planned.blobs.len(),
            bytes: planned.room.store,
        };
        let waited_for: BTreeSet<&Digest> = snapshot.models.values().flat_map(|model| &model.blobs).collect();
        let stale = self
            .all_partials()
            .into_iter()
            .filter(|it| !waited_for.contains(&it.digest()) && !snapshot.protected.contains(&it.digest()));
        for partial in stale {
            report.blobs += 1;
            report.bytes += partial.verified_bytes();
            if !dry_run {
                partial.discard().map_err(|error| match error {
                    PartialError::Io { path, source } => ReadError::Io { path, source },
                    PartialError::Write(error) => ReadError::SetAside(Box::new(error)),
                    _ => ReadError::Damaged { digest: partial.digest() },
                })?;
            }
        }
        if !dry_run {
            self.clear_imports();
            self.remove_planned(&planned).map_err(|error| ReadError::SetAside(Box::new(error)))?;
            if report.bytes > 0 {
                self.index().note_room();
            }
            self.index().commit()?;
        }
        Ok(report)
    }

    /// Records that a model was used now.
    pub fn touch(&self, manifest: &Digest) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // The time is shown in seconds since 1970. Counting up keeps the order of uses within one second.
        let last = self.next_use(now.as_secs());
        if let Err(error) = self.index().touch(manifest, last) {
            tracing::warn!(%manifest, %error, "the use of a model cannot be recorded");
        }
    }

    /// Returns when a model was last used, in seconds since 1970; `None` where the index does not know.
    pub fn last_used(&self, manifest: &Digest) -> Option<u64> {
        self.index().last_used(manifest)
    }

    fn remove_planned(&self, plan: &Plan) -> Result<(), WriteError> {
        for (key, manifest) in &plan.models {
            tracing::info!(model = key, "a model is evicted");
            self.remove_document(DocumentKind::Model, key)?;
            self.index().forget_used(manifest)?;
        }
        for blob in &plan.blobs {
            self.remove_unused_blob(blob)?;
        }
        Ok(())
    }

    /// Returns what eviction is decided by, as if these leases had ended.
    fn snapshot(&self, ended: &BTreeSet<u64>) -> Result<Snapshot, ReadError> {
        let mut pins: BTreeSet<String> =
            self.list_documents(DocumentKind::Pin, "")?.into_iter().map(|(key, _)| key).collect();
        // What is kept for others is no part of the cache: see `donated`.
        pins.extend(self.donated()?.into_keys());
        let mut snapshot = Snapshot { protected: self.protected(ended), ..Snapshot::default() };
        for (key, bytes) in self.list_documents(DocumentKind::Model, "")? {
            let Some(manifest) = key.split(' ').next().and_then(|it| it.parse().ok()) else { continue };
            let Ok(ModelBlobs { blobs }) = serde_json::from_slice(&bytes) else { continue };
            let last_used = self.last_used(&manifest).unwrap_or(0);
            let pinned = pins.contains(&key);
            snapshot.models.insert(key, Model { manifest, blobs, pinned, last_used });
        }
        let since = self.oldest_lease(ended);
        for (digest, record) in self.index().blobs()? {
            snapshot.blobs.insert(digest, record.size);
            let Some(since) = since else { continue };
            let Ok(metadata) = fs::metadata(self.paths().blob(&digest)) else { continue };
            if let Some(stored) = metadata.modified().ok().filter(|stored| *stored >= since) {
                snapshot.young.insert(digest, stored);
            }
            if disk::is_linked(&metadata) {
                snapshot.linked.insert(digest);
            }
        }
        Ok(snapshot)
    }

    /// Changes a snapshot to one as if these leases had ended, too.
    fn without(&self, snapshot: &mut Snapshot, ended: &BTreeSet<u64>) {
        snapshot.protected = self.protected(ended);
        let since = self.oldest_lease(ended);
        snapshot.young.retain(|_, stored| since.is_some_and(|since| *stored >= since));
    }

    fn lease(&self, bytes: u64, protect: &BTreeSet<Digest>) -> Lease {
        /// How far the times of files may lag behind the clock.
        const SLACK: std::time::Duration = std::time::Duration::from_secs(2);
        let since = SystemTime::now().checked_sub(SLACK).unwrap_or(SystemTime::UNIX_EPOCH);
        let leases = self.leases();
        let mut table = leases.lock();
        table.next += 1;
        let id = table.next;
        let protect = protect.clone();
        let reserved =
            Reserved { bytes, protect, fills: BTreeSet::new(), since, is_idle: false, is_donation: false };
        table.live.insert(id, reserved);
        drop(table);
        Lease { id, leases: leases.clone() }
    }

    /// Releases the room of a blob that was stored under a lease: its bytes count as used now.
    pub fn settle_leases(&self, digest: &Digest, size: u64) {
        let mut table = self.leases().lock();
        for reserved in table.live.values_mut().filter(|it| it.protect.contains(digest)) {
            reserved.bytes = reserved.bytes.saturating_sub(size);
            reserved.fills.retain(|(blob, _)| blob != digest);
        }
    }

    /// Returns the idle leases, the oldest first.
    fn idle_leases(&self) -> Vec<u64> {
        let table = self.leases().lock();
        table.live.iter().filter(|(_, it)| it.is_idle).map(|(id, _)| *id).collect()
    }

    /// Ends those of these leases that are still idle.
    fn end_leases(&self, ids: &BTreeSet<u64>) {
        let mut table = self.leases().lock();
        table.live.retain(|id, it| !(it.is_idle && ids.contains(id)));
    }

    /// Returns what live leases reserve.
    fn reserved(&self, ended: &BTreeSet<u64>) -> Leased {
        let taken = self.taken_by_partials();
        self.live(ended, |live| {
            let mut sum = Leased::default();
            for it in live {
                let there: u64 = it.fills.iter().filter_map(|partial| taken.get(partial)).sum();
                sum.store += if it.is_donation { 0 } else { it.bytes };
                sum.disk += it.bytes.saturating_sub(there);
                sum.fills.extend(it.fills.iter().copied());
            }
            sum
        })
    }

    /// Returns how much disk space each partial blob takes, allocated or written, up to its size.
    fn taken_by_partials(&self) -> BTreeMap<(Digest, Digest), u64> {
        self.all_partials().into_iter().map(|it| (it.key(), it.taken_bytes())).collect()
    }

    /// Returns how many bytes the disk lacks for what is reserved. What takes no more of it is not refused on a full disk.
    fn lacking(&self, reserved: &Leased) -> u64 {
        match reserved.disk {
            0 => 0,
            bytes => bytes.saturating_add(self.limits().min_free).saturating_sub(self.free_for(reserved)),
        }
    }

    /// Returns how many bytes the disk can take beside the partial blobs that leases fill.
    fn free_for(&self, reserved: &Leased) -> u64 {
        self.free_beside(&reserved.fills).unwrap_or(u64::MAX)
    }

    fn protected(&self, ended: &BTreeSet<u64>) -> BTreeSet<Digest> {
        self.live(ended, |live| live.flat_map(|it| it.protect.iter().copied()).collect())
    }

    fn oldest_lease(&self, ended: &BTreeSet<u64>) -> Option<SystemTime> {
        self.live(ended, |live| live.map(|it| it.since).min())
    }

    /// Returns what `of` computes of the live leases, without these.
    fn live<T>(
        &self,
        without: &BTreeSet<u64>,
        of: impl FnOnce(&mut dyn Iterator<Item = &Reserved>) -> T,
    ) -> T {
        let table = self.leases().lock();
        of(&mut table.live.iter().filter(|(id, _)| !without.contains(*id)).map(|(_, it)| it))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Half of a blob is here, and a third was written without a record: only the rest needs room on the disk.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_partial_blob_has_on_the_disk_needs_no_more_room_there() {
        const SIZE: u64 = 6 << 20;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), CacheLimits::default()).unwrap();
        let content: Vec<u8> = (0..SIZE as u32).map(|at| (at >> 10) as u8 ^ at as u8).collect();
        let mut hasher = reg_proto::states::StateHasher::new();
        hasher.update(&content);
        let hashed = hasher.finish().unwrap();
        let (blob, states) = (hashed.digest, hashed.states);
        let partial = store.partial(blob, SIZE, states.clone()).unwrap();
        let piece = |index: usize| &content[index << 20..(index + 1) << 20];
        let layout = states.layout();
        for index in 0..3 {
            partial.write_piece(layout.piece(index).unwrap(), piece(index as usize)).unwrap();
        }
        let data = store.paths().partial(&blob, &states.digest()).join("data");
        let file = fs::File::options().write(true).open(data).unwrap();
        disk::write_at(&file, &content[3 << 20..5 << 20], 3 << 20).unwrap();
        file.sync_all().unwrap();
        let (none, other) = (BTreeSet::new(), Digest::of(b"other"));
        let lease = store.reserve_blobs(&[(blob, states.clone())]).unwrap();
        let reserved = store.reserved(&none);
        assert_eq!(reserved.store, SIZE);
        assert!(reserved.disk.abs_diff(1 << 20) <= 64 << 10, "{reserved:?}");
        // As a download does: what is allocated is the lease's own, and no other one may have it.
        partial.set_aside().unwrap();
        let reserved = store.reserved(&none);
        // Some file systems allocate nothing.
        let left = SIZE - partial.taken_bytes();
        assert!(left == 0 && store.lacking(&reserved) == 0 || partial.unused_bytes() < 3 << 20);
        assert_eq!((reserved.store, reserved.disk), (SIZE, left));
        assert_eq!(reserved.fills, [partial.key()].into());
        let more = store.reserve(1, &[other].into()).unwrap();
        assert_eq!(store.reserved(&none).disk, left + 1);
        drop(more);
        for index in 3..6 {
            partial.write_piece(layout.piece(index).unwrap(), piece(index as usize)).unwrap();
        }
        partial.finish().unwrap();
        assert_eq!(store.reserved(&none), Leased::default(), "it is used now");
        drop(lease);
    }

    #[test]
    fn a_share_of_the_disk_takes_nothing_that_is_there() {
        let (share, gib) = (CacheSize::Share, 1 << 30);
        assert_eq!(share.bytes(0, Some(100 * gib)), Some(80 * gib));
        assert_eq!(share.bytes(60 * gib, Some(100 * gib)), Some(80 * gib));
        assert_eq!(share.bytes(90 * gib, Some(100 * gib)), Some(90 * gib));
        assert_eq!(share.bytes(1, None), None);
        assert_eq!(CacheSize::Bytes(5).bytes(7, Some(gib)), Some(5));
        assert_eq!(CacheSize::Unlimited.bytes(7, Some(gib)), None);
    }

    #[test]
    fn the_size_stays_the_same_when_other_programs_fill_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let limits = CacheLimits { max_size: CacheSize::Share, min_free: 0 };
        let size = || Store::open(&dir.path().join("store"), limits).unwrap().max_size();
        let before = size();
        fs::write(dir.path().join("other"), vec![1; 8 << 20]).unwrap();
        assert!(before.is_some() && size() == before);
    }

    fn digest(n: u8) -> Digest {
        Digest::from_bytes([n; 32])
    }

    /// As much of the store as of the disk.
    fn room(bytes: u64) -> Room {
        Room { store: bytes, disk: bytes }
    }

    fn named(n: u8) -> (String, Digest) {
        (n.to_string(), digest(n))
    }

    fn snapshot(models: &[(u8, &[u8], bool, u64)], blobs: &[(u8, u64)]) -> Snapshot {
        let models = models.iter().map(|(name, blobs, pinned, last_used)| {
            let blobs = blobs.iter().map(|blob| digest(*blob)).collect();
            let manifest = digest(*name);
            (name.to_string(), Model { manifest, blobs, pinned: *pinned, last_used: *last_used })
        });
        Snapshot {
            models: models.collect(),
            blobs: blobs.iter().map(|(blob, size)| (digest(*blob), *size)).collect(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn evicts_what_was_used_longest_ago_and_keeps_what_is_shared() {
        let here = snapshot(
            &[(1, &[10, 11], false, 5), (2, &[11, 12], false, 9)],
            &[(10, 100), (11, 100), (12, 100)],
        );
        let planned = plan(&here, room(50));
        assert_eq!((planned.models, planned.blobs), (vec![named(1)], vec![digest(10)]));
        assert_eq!(planned.room, room(100));
        assert_eq!(plan(&here, room(150)).models, [named(1), named(2)]);
        assert_eq!(plan(&here, Room::default()), Plan::default());
    }

    #[test]
    fn what_comes_while_a_lease_lives_is_no_orphan() {
        let mut here = snapshot(&[], &[(10, 100), (11, 100)]);
        here.young.insert(digest(10), SystemTime::UNIX_EPOCH);
        let planned = plan(&here, room(200));
        assert_eq!((planned.blobs, planned.room), (vec![digest(11)], room(100)));
    }

    #[test]
    fn a_linked_blob_frees_no_disk_when_it_goes() {
        let mut here =
            snapshot(&[(1, &[10, 11], false, 5), (2, &[12], false, 9)], &[(10, 100), (11, 1), (12, 100)]);
        here.linked.insert(digest(10));
        let disk = |disk: u64| plan(&here, Room { store: 0, disk });
        let planned = disk(50);
        assert_eq!((planned.models, planned.room), (vec![named(2)], room(100)), "the first would free 1");
        let planned = disk(101);
        assert_eq!(planned.models, [named(2), named(1)]);
        assert_eq!(planned.room, Room { store: 201, disk: 101 });
        assert!(!disk(102).room.covers(room(102)), "so nothing is evicted in vain");
        let planned = plan(&here, Room { store: 50, disk: 0 });
        assert_eq!(planned.models, [named(1)], "the size of the store counts it");
    }

    #[cfg(unix)]
    #[test]
    fn a_hard_link_outside_the_store_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), CacheLimits::default()).unwrap();
        let [linked, _alone] = [&b"linked"[..], b"alone"].map(|bytes| store.put_blob(bytes).unwrap());
        fs::hard_link(store.paths().blob(&linked), dir.path().join("of the user")).unwrap();
        let _lease = store.reserve(1, &BTreeSet::new()).unwrap();
        assert_eq!(store.snapshot(&BTreeSet::new()).unwrap().linked, [linked].into());
    }

    #[test]
    fn a_snapshot_is_changed_to_one_without_more_leases() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), CacheLimits::default()).unwrap();
        let [old, new] = [&b"old"[..], b"new"].map(|bytes| store.put_blob(bytes).unwrap());
        let stored = SystemTime::now() - std::time::Duration::from_secs(60);
        fs::File::open(store.paths().blob(&old)).unwrap().set_modified(stored).unwrap();
        let [first, second] = [old, new].map(|blob| store.reserve(1, &[blob].into()).unwrap());
        let since = SystemTime::now() - std::time::Duration::from_secs(90);
        store.leases().0.lock().unwrap().live.get_mut(&first.id).unwrap().since = since;
        let said = |it: &Snapshot| {
            let young: BTreeSet<Digest> = it.young.keys().copied().collect();
            (young, it.protected.clone())
        };
        let none = BTreeSet::new();
        let mut snapshot = store.snapshot(&none).unwrap();
        assert_eq!(said(&snapshot), ([old, new].into(), [old, new].into()));
        for ended in [[first.id].into(), [first.id, second.id].into()] {
            store.without(&mut snapshot, &ended);
            assert_eq!(said(&snapshot), said(&store.snapshot(&ended).unwrap()));
        }
        assert!(snapshot.young.is_empty() && snapshot.protected.is_empty());
    }

    proptest! {
        #[test]
        fn never_removes_what_is_pinned_or_leased(
            models in prop::collection::vec((prop::collection::btree_set(0u8..20, 0..6), any::<bool>(), 0u64..50), 0..8),
            protected in prop::collection::btree_set(0u8..20, 0..4),
            excess in 0u64..3000,
        ) {
            let mut here = Snapshot {
                blobs: (0..20).map(|n| (digest(n), 100)).collect(),
                protected: protected.iter().map(|n| digest(*n)).collect(),
                ..Snapshot::default()
            };
            for (name, (blobs, pinned, last_used)) in (100u8..).zip(models) {
                let blobs = blobs.into_iter().map(digest).collect();
                here.models.insert(name.to_string(), Model { manifest: digest(name), blobs, pinned, last_used });
            }
            let planned = plan(&here, room(excess));
            let gone: BTreeSet<&String> = planned.models.iter().map(|(name, _)| name).collect();
            let kept: BTreeSet<&Digest> = here.models.iter()
                .filter(|(name, _)| !gone.contains(name))
                .flat_map(|(_, model)| &model.blobs).collect();
            for blob in &planned.blobs {
                prop_assert!(!kept.contains(blob) && !here.protected.contains(blob));
            }
            prop_assert!(gone.iter().all(|name| !here.models[*name].pinned));
            prop_assert_eq!(planned.room, room(planned.blobs.len() as u64 * 100));
            let distinct: BTreeSet<&Digest> = planned.blobs.iter().collect();
            prop_assert_eq!(distinct.len(), planned.blobs.len());
        }
    }
}
