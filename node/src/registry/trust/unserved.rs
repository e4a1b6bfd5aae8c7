//! Applies the denylists that the user follows: what they warn of, and which blobs this node therefore does not serve.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use reg_api::clock;
use reg_proto::denylist::{DENYLIST_FILE, Denied, Denylist};
use reg_proto::digest::Digest;
use reg_proto::limits::DENYLIST_BYTES_MAX;
use reg_proto::name::{ModelName, PublisherId, Tag};
use tracing::warn;

use super::{DENYLISTS_MAX, Subscription, Trust, TrustEntries};
use crate::registry::model::record::{self, ModelRecord};
use crate::registry::policy::{Denial, Denials};
use crate::registry::publishers::tags;

/// The digests that are not served, and the lists that were parsed to know them.
#[derive(Debug, Default)]
pub(super) struct Unserved {
    digests: Mutex<Arc<BTreeSet<Digest>>>,
    /// What the lists said when the digests were computed.
    said: Mutex<Denials>,
    /// The parsed lists by the digest of their file, so that each is parsed once.
    read: Mutex<BTreeMap<Digest, Arc<Denylist>>>,
}

impl Trust {
    /// Returns what the subscribed lists warn of. A list that is not in the store warns of nothing, and the result
    /// notes that.
    pub fn denials(&self, trust: &TrustEntries) -> Denials {
        let mut denials = Denials { allowed: trust.allowed.clone(), ..Denials::default() };
        for subscription in &trust.denylists {
            let name = &subscription.name;
            let Some((_, list)) = self.read_list(subscription) else {
                denials.notes.push(format!("{name} is not in the store, so its warnings are not known"));
                continue;
            };
            denials.lists += 1;
            if let Some(late) = clock::now().checked_sub(list.expires) {
                denials.notes.push(format!(
                    "{name} has not been updated for {} h: it still counts; or the clock of this machine is wrong, which says {} \
                     (`timedatectl` shows it)",
                    late / 3600,
                    clock::date(clock::now())
                ));
            }
            for entry in list.entries.iter() {
                let denial = Denial { reason: entry.reason.to_string(), list: name.clone() };
                denials.denied.entry(entry.deny).or_insert(denial);
            }
        }
        denials
    }

    /// Returns the newest version of a list and the digest of its manifest; `None` where the store lacks it or it
    /// cannot be parsed.
    pub fn read_list(&self, list: &Subscription) -> Option<(Digest, Arc<Denylist>)> {
        let tag = tags::record(&self.store, list.publisher, &list.model, &Tag::latest()).ok()??;
        let manifest = tag.record().manifest.digest;
        let file = record::manifest(&self.store, &manifest).ok()?;
        let file = file.files().iter().find(|it| it.path.as_str() == DENYLIST_FILE)?.digest;
        if let Some(known) = self.unserved.read.lock().expect("no holder of this lock panics").get(&file) {
            return Some((manifest, known.clone()));
        }
        let bytes = self.store.read_blob(&file, DENYLIST_BYTES_MAX as u64).ok()?;
        match Denylist::from_bytes(&bytes) {
            Ok(denylist) => {
                let denylist = Arc::new(denylist);
                let mut read = self.unserved.read.lock().expect("no holder of this lock panics");
                if read.len() >= 2 * DENYLISTS_MAX {
                    read.clear();
                }
                read.insert(file, denylist.clone());
                Some((manifest, denylist))
            }
            Err(error) => {
                warn!(list = %list.name, %error, "a denylist cannot be parsed");
                None
            }
        }
    }

    /// Tells whether a blob must not be served, because a list that the user follows warns of it.
    pub fn is_unserved(&self, digest: &Digest) -> bool {
        self.unserved.digests.lock().expect("no holder of this lock panics").contains(digest)
    }

    /// Tells whether a list that the user follows warns of a model or of its publisher, as far as its name tells. It is as fresh as
    /// [`Self::is_unserved`].
    pub fn denies(&self, publisher: PublisherId, manifest: &Digest) -> bool {
        let said = self.unserved.said.lock().expect("no holder of this lock panics");
        said.of_model(publisher, manifest, []).is_some()
    }

    /// Computes which manifests, referrers and blobs are not served: all of a denied model, without what another model
    /// needs too. Returns whether the lists or the user's exceptions say something else than the last time.
    pub fn reload_denials(&self) -> bool {
        let Ok(trust) = self.file.load() else { return false };
        let denials = self.denials(&trust);
        let mut denied = BTreeSet::new();
        if !denials.denied.is_empty() {
            let records = ModelRecord::all(&self.store).unwrap_or_default();
            let (bad, good): (Vec<_>, Vec<_>) = records
                .iter()
                .partition(|(digest, it)| denials.of_model(it.publisher, digest, &it.blobs).is_some());
            denied.extend(bad.iter().flat_map(|(digest, it)| it.blobs.iter().chain([digest])).copied());
            for blob in good.iter().flat_map(|(digest, it)| it.blobs.iter().chain([digest])) {
                denied.remove(blob);
            }
            let listed = denials.denied.keys().filter_map(|it| match it {
                Denied::Digest(digest) => denials.of_blob(digest).map(|_| *digest),
                Denied::Publisher(_) => None,
            });
            denied.extend(listed);
        }
        *self.unserved.digests.lock().expect("no holder of this lock panics") = Arc::new(denied);
        let mut said = self.unserved.said.lock().expect("no holder of this lock panics");
        let is_new = (&said.denied, &said.allowed) != (&denials.denied, &denials.allowed);
        *said = denials;
        is_new
    }

    /// Serves these digests no longer, and all others again.
    #[cfg(test)]
    pub fn deny_for_test(&self, digests: impl IntoIterator<Item = Digest>) {
        let mut denied = self.unserved.digests.lock().expect("no holder of this lock panics");
        *denied = Arc::new(digests.into_iter().collect());
    }

    /// Tells whether the user follows this model as a denylist.
    pub fn is_list(&self, publisher: PublisherId, model: &ModelName) -> bool {
        let is_it = |it: &Subscription| it.publisher == publisher && it.model.folded() == model.folded();
        self.file.load().is_ok_and(|trust| trust.denylists.iter().any(is_it))
    }
}
