//! Models that are kept for others, beside the owner's cache.
//!
//! They take nothing from the size of the cache, and they go first, the most replicated one before the others, where the owner
//! needs the disk. A reservation for such a model evicts nothing and gets only what is free. A download of one that gives way ends:
//! its room is free at once.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use reg_proto::digest::Digest;

use super::super::documents::DocumentKind;
use super::super::error::{ReadError, ReserveError, WriteError};
use super::super::front::Store;
use super::super::partial::Partial;
use super::{Lease, Leased, ModelBlobs, Room, plan};

/// A model that is kept for others.
#[derive(Debug)]
struct Donation {
    manifest: Digest,
    /// Replicas that it has elsewhere, when they were last counted.
    elsewhere: u32,
    /// Its blobs, without those that a model of the owner needs too.
    blobs: BTreeSet<Digest>,
}

/// The models that are kept for others.
#[derive(Debug, Default)]
pub(super) struct Donations {
    models: BTreeMap<String, Donation>,
    /// The size of each of their whole blobs that no model of the owner needs.
    whole: BTreeMap<Digest, u64>,
}

impl Donations {
    /// Returns the bytes of whole blobs that are kept for others alone.
    pub(super) fn bytes(&self) -> u64 {
        self.whole.values().sum()
    }

    /// Tells whether a reservation that protects these digests is for a model that is kept for others.
    pub(super) fn has(&self, protect: &BTreeSet<Digest>) -> bool {
        let is_blob = |it: &Digest| self.models.values().any(|model| model.blobs.contains(it));
        !self.models.is_empty()
            && !protect.is_empty()
            && (self.models.values().any(|it| protect.contains(&it.manifest)) || protect.iter().all(is_blob))
    }

    /// Returns the models in the order in which they go: the most replicated first, of equals the largest.
    fn order(&self) -> Vec<&String> {
        let bytes = |it: &Donation| -> u64 { it.blobs.iter().filter_map(|blob| self.whole.get(blob)).sum() };
        let mut order: Vec<_> = self.models.iter().collect();
        order.sort_by_key(|(key, it)| (Reverse(it.elsewhere), Reverse(bytes(it)), key.as_str()));
        order.into_iter().map(|(key, _)| key).collect()
    }
}

impl Store {
    /// Keeps a model for others from now on, or notes how many replicas it has elsewhere.
    ///
    /// # Errors
    /// The document cannot be written.
    pub fn keep_donated(&self, key: &str, elsewhere: u32) -> Result<(), WriteError> {
        self.put_document(DocumentKind::Donation, key, elsewhere.to_string().as_bytes())
    }

    /// Keeps a model for others no longer: it is one of the owner's, and may be evicted.
    ///
    /// # Errors
    /// The document cannot be removed.
    pub fn end_donation(&self, key: &str) -> Result<(), WriteError> {
        self.remove_document(DocumentKind::Donation, key)
    }

    /// Tells whether a model is kept for others alone.
    pub fn is_donated(&self, key: &str) -> bool {
        let has = |kind| self.get_document(kind, key).is_ok_and(|it| it.is_some());
        has(DocumentKind::Donation) && !has(DocumentKind::Pin)
    }

    /// Returns the keys of the models that are kept for others alone, each with the replicas that it was counted to have elsewhere.
    ///
    /// # Errors
    /// The documents cannot be read.
    pub fn donated(&self) -> Result<BTreeMap<String, u32>, ReadError> {
        let documents = self.list_documents(DocumentKind::Donation, "")?;
        let mut donated: BTreeMap<String, u32> = documents
            .into_iter()
            .filter(|(key, _)| key.contains(' '))
            .map(|(key, text)| (key, String::from_utf8_lossy(&text).parse().unwrap_or(u32::MAX)))
            .collect();
        if !donated.is_empty() {
            // What its owner keeps for a reason of his own is no donation any more.
            for (key, _) in self.list_documents(DocumentKind::Pin, "")? {
                donated.remove(&key);
            }
        }
        Ok(donated)
    }

    /// Returns the bytes that each model takes which is kept for others alone: whole blobs, and what partial ones have.
    ///
    /// # Errors
    /// The documents cannot be read.
    pub fn donated_bytes(&self) -> Result<BTreeMap<String, u64>, ReadError> {
        let donations = self.donations()?;
        let partial = |blob: &Digest| self.open_partial(blob).iter().map(Partial::verified_bytes).sum();
        let bytes = |blob: &Digest| donations.whole.get(blob).copied().unwrap_or_else(|| partial(blob));
        let of = |it: &Donation| it.blobs.iter().map(bytes).sum();
        Ok(donations.models.iter().map(|(key, it)| (key.clone(), of(it))).collect())
    }

    /// Removes a model that is kept for others alone, with what is under way of it.
    ///
    /// # Errors
    /// A file or a document cannot be removed.
    pub fn give_back(&self, key: &str) -> Result<(), WriteError> {
        let _one = self.cache_lock();
        match self.donations()? {
            donations if donations.models.contains_key(key) => self.release(&donations, &[key].into()),
            _ => Ok(()),
        }
    }

    /// Removes models that are kept for others until as much of the disk is free as the user wants to stay free. Returns their keys.
    ///
    /// # Errors
    /// As for [`Self::give_back`].
    pub fn give_way(&self) -> Result<Vec<String>, WriteError> {
        let _one = self.cache_lock();
        if self.short_of() == 0 {
            return Ok(Vec::new());
        }
        let donations = self.donations()?;
        self.release_until(&donations, &|| self.short_of() == 0)
    }

    /// Returns how many bytes the disk lacks for what is reserved and for what is to stay free.
    fn short_of(&self) -> u64 {
        let reserved = self.reserved(&BTreeSet::new());
        let wanted = reserved.disk.saturating_add(self.limits().min_free);
        wanted.saturating_sub(self.free_for(&reserved))
    }

    pub(super) fn donations(&self) -> Result<Donations, ReadError> {
        let donated = self.donated()?;
        let mut donations = Donations::default();
        if donated.is_empty() {
            return Ok(donations);
        }
        for (key, elsewhere) in &donated {
            let Some(manifest) = key.split(' ').next().and_then(|it| it.parse().ok()) else { continue };
            let donation = Donation { manifest, elsewhere: *elsewhere, blobs: BTreeSet::new() };
            donations.models.insert(key.clone(), donation);
        }
        let mut of_owner = BTreeSet::new();
        for (key, bytes) in self.list_documents(DocumentKind::Model, "")? {
            let Ok(ModelBlobs { blobs }) = serde_json::from_slice(&bytes) else { continue };
            match donations.models.get_mut(&key) {
                Some(donation) => donation.blobs = blobs,
                None => of_owner.extend(blobs),
            }
        }
        for donation in donations.models.values_mut() {
            donation.blobs.retain(|it| !of_owner.contains(it));
            let whole = donation.blobs.iter().filter_map(|it| Some((*it, self.blob_size(it)?)));
            donations.whole.extend(whole);
        }
        Ok(donations)
    }

    /// Reserves room for a model that is kept for others: what is free on the disk, and nothing of the cache.
    pub(super) fn reserve_donation(
        &self,
        bytes: u64,
        protect: &BTreeSet<Digest>,
        fills: BTreeSet<(Digest, Digest)>,
    ) -> Result<Lease, ReserveError> {
        let lease = self.lease(bytes, protect);
        lease.fill(fills);
        if let Some(reserved) = self.leases().lock().live.get_mut(&lease.id) {
            reserved.is_donation = true;
        }
        let reserved = self.reserved(&BTreeSet::new());
        if bytes > 0 && self.lacking(&reserved) > 0 {
            let min_free = self.limits().min_free;
            return Err(ReserveError::DiskFull { bytes, free: self.free_for(&reserved), min_free });
        }
        Ok(lease)
    }

    /// Removes models that are kept for others, until the owner's reservation lacks no disk. Removes none where even all of them,
    /// and what may be evicted, make too little room.
    pub(super) fn make_donations_give_way(
        &self,
        donations: &Donations,
        idle: &[u64],
        excess: impl Fn(Leased) -> Room,
    ) -> Result<(), ReserveError> {
        let none = BTreeSet::new();
        let lacks = || excess(self.reserved(&none)).disk;
        if donations.models.is_empty() || lacks() == 0 {
            return Ok(());
        }
        let ended: BTreeSet<u64> = idle.iter().copied().collect();
        let wanted = excess(self.reserved(&ended));
        let able = donations.bytes() + self.under_way(donations);
        let rest = Room { disk: wanted.disk.saturating_sub(able), ..wanted };
        if rest.is_none() || plan(&self.snapshot(&ended)?, rest).room.covers(rest) {
            self.release_until(donations, &|| lacks() == 0)?;
        }
        Ok(())
    }

    /// Returns what downloads of donations have reserved, and what their partial blobs have on the disk.
    fn under_way(&self, donations: &Donations) -> u64 {
        let leased: u64 =
            self.leases().lock().live.values().filter(|it| it.is_donation).map(|it| it.bytes).sum();
        let blobs = donations.models.values().flat_map(|it| &it.blobs).collect::<BTreeSet<_>>();
        let partial: u64 =
            blobs.into_iter().flat_map(|it| self.open_partial(it)).map(|it| it.taken_bytes()).sum();
        leased.saturating_add(partial)
    }

    fn release_until(
        &self,
        donations: &Donations,
        is_enough: &dyn Fn() -> bool,
    ) -> Result<Vec<String>, WriteError> {
        let mut gone = BTreeSet::new();
        for key in donations.order() {
            if is_enough() {
                break;
            }
            tracing::info!(model = key, "a model that was kept for others makes room for the owner");
            gone.insert(key.as_str());
            self.release(donations, &gone)?;
        }
        Ok(gone.into_iter().map(str::to_owned).collect())
    }

    /// Removes the models of `gone`, with the blobs that none of the others needs.
    fn release(&self, donations: &Donations, gone: &BTreeSet<&str>) -> Result<(), WriteError> {
        let (mut kept, mut freed) = (BTreeSet::new(), BTreeSet::new());
        for (key, it) in &donations.models {
            let blobs = if gone.contains(key.as_str()) { &mut freed } else { &mut kept };
            blobs.extend(it.blobs.iter().copied());
        }
        freed.retain(|it| !kept.contains(it));
        let ended: BTreeSet<Digest> =
            gone.iter().filter_map(|it| donations.models.get(*it)).map(|it| it.manifest).collect();
        let still_used = {
            let mut table = self.leases().lock();
            let is_ended = |it: &Digest| ended.contains(it) || freed.contains(it);
            table.live.retain(|_, it| !(it.is_donation && it.protect.iter().any(is_ended)));
            table.live.values().flat_map(|it| it.protect.iter().copied()).collect::<BTreeSet<Digest>>()
        };
        for key in gone {
            let Some(Donation { manifest, .. }) = donations.models.get(*key) else { continue };
            self.remove_document(DocumentKind::Model, key)?;
            self.end_donation(key)?;
            self.index().forget_used(manifest)?;
        }
        for blob in freed.iter().filter(|it| !still_used.contains(it)) {
            for partial in self.open_partial(blob) {
                if let Err(error) = partial.release() {
                    tracing::warn!(%blob, %error, "a partial blob cannot be removed");
                }
            }
            if self.contains(blob) {
                self.remove_unused_blob(blob)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
