//! Says what the removal of a model does not free, and what may bring the model back.

use std::collections::{BTreeMap, BTreeSet};

use reg_api::report::{BroughtBackBy, Unfreed};
use reg_proto::digest::Digest;

use super::{CatalogueError, Local, shown};
use crate::registry::model::checked_out::CheckedOut;
use crate::registry::model::folder::Folder;
use crate::registry::model::kept::Kept;
use crate::registry::model::record::ModelRecord;

/// Models and directories that a report names.
const NAMED_MAX: usize = 5;

impl Local {
    /// Returns what stays on the disk once a model is removed: what other models need, and what is linked into directories.
    pub(super) fn unfreed(
        &self,
        manifest: &Digest,
        record: &ModelRecord,
        kept: Option<Kept>,
    ) -> Result<Option<Unfreed>, CatalogueError> {
        let own = ModelRecord::key(manifest, record.publisher, &record.model);
        let petnames = self.trust.petnames();
        let (mut shared, mut unfreed) = (BTreeSet::new(), Unfreed::default());
        for (digest, other) in ModelRecord::all(&self.store)? {
            if ModelRecord::key(&digest, other.publisher, &other.model) == own {
                continue;
            }
            let both: Vec<Digest> = other.blobs.intersection(&record.blobs).copied().collect();
            // Small documents, such as a configuration, are equal in many models.
            let bytes: u64 = both.iter().filter_map(|it| self.store.blob_size(it)).sum();
            if bytes > 0 && unfreed.shared_with.len() < NAMED_MAX {
                let publisher = shown(other.publisher, petnames.get(&other.publisher));
                unfreed.shared_with.push(format!("{publisher}/{}@{digest}", other.model));
            }
            shared.extend(both);
        }
        unfreed.shared_bytes = shared.iter().filter_map(|it| self.store.blob_size(it)).sum();
        let mut linked = BTreeMap::new();
        for (dir, held) in CheckedOut::with_any(&self.store, &record.blobs)? {
            let folder = Folder { dir, held };
            let links = folder.links_to(&self.store, &record.blobs);
            if !links.is_empty() && unfreed.linked_in.len() < NAMED_MAX {
                unfreed.linked_in.push(folder.dir);
            }
            linked
                .extend(links.into_iter().map(|(_, blob)| (blob, self.store.blob_size(&blob).unwrap_or(0))));
        }
        linked.retain(|blob, _| !shared.contains(blob));
        unfreed.linked_bytes = linked.values().sum();
        unfreed.returns = match kept {
            Some(Kept::Followed) => Some(BroughtBackBy::Follow),
            Some(Kept::Donated) => Some(BroughtBackBy::Donation),
            Some(Kept::Spread) => Some(BroughtBackBy::Swarm),
            Some(Kept::Pinned | Kept::Published) | None => None,
        };
        Ok((unfreed != Unfreed::default()).then_some(unfreed))
    }
}
