//! [`Created`]: the repositories and branches that clients have created, and that have no version yet.
//!
//! Only a commit signs something. Until then a client asks for what it has created, and must find it. This is in memory
//! only: after a restart the client creates it again.

use std::collections::VecDeque;
use std::sync::Mutex;

use reg_proto::name::{ModelName, PublisherId, Tag};

/// Repositories and branches that are remembered, of about 200 bytes each.
const CREATED_MAX: usize = 1024;

/// What was created: a repository, or a branch of one.
type Key = (PublisherId, String, Option<Tag>);

/// The repositories and branches without a version.
#[derive(Debug, Default)]
pub(super) struct Created(Mutex<VecDeque<Key>>);

impl Created {
    /// Remembers a repository, in the place of the oldest one if the table is full.
    pub(super) fn repository(&self, publisher: PublisherId, model: &ModelName) {
        self.keep((publisher, model.folded(), None));
    }

    /// Remembers an empty branch.
    pub(super) fn branch(&self, publisher: PublisherId, model: &ModelName, tag: &Tag) {
        self.keep((publisher, model.folded(), Some(tag.clone())));
    }

    /// Tells whether a client has created this repository.
    pub(super) fn has_repository(&self, publisher: PublisherId, model: &ModelName) -> bool {
        self.has(&(publisher, model.folded(), None))
    }

    /// Tells whether a client has created this branch.
    pub(super) fn has_branch(&self, publisher: PublisherId, model: &ModelName, tag: &Tag) -> bool {
        self.has(&(publisher, model.folded(), Some(tag.clone())))
    }

    /// Forgets what has a version now: a branch, and with `main` the repository, which is found by its versions from then on.
    pub(super) fn forget_begun(&self, publisher: PublisherId, model: &ModelName, tag: &Tag) {
        let (model, main) = (model.folded(), Tag::latest());
        self.lock().retain(|(of, name, branch)| {
            (*of, name) != (publisher, &model) || branch.as_ref().unwrap_or(&main) != tag
        });
    }

    /// Forgets a branch that is deleted. Returns whether it was known.
    pub(super) fn forget_branch(&self, publisher: PublisherId, model: &ModelName, tag: &Tag) -> bool {
        let key = (publisher, model.folded(), Some(tag.clone()));
        let mut created = self.lock();
        let before = created.len();
        created.retain(|it| *it != key);
        created.len() < before
    }

    fn keep(&self, key: Key) {
        let mut created = self.lock();
        created.retain(|it| *it != key);
        if created.len() >= CREATED_MAX {
            created.pop_front();
        }
        created.push_back(key);
    }

    fn has(&self, key: &Key) -> bool {
        self.lock().contains(key)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Key>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_forgotten_once_its_main_branch_has_a_version() {
        let (created, me) = (Created::default(), PublisherId::from_bytes([1; 32]));
        let [model, other] = ["Model", "other"].map(|it| it.parse::<ModelName>().expect("a name"));
        let dev: Tag = "dev".parse().expect("a tag");
        created.repository(me, &model);
        created.repository(me, &other);
        created.branch(me, &model, &dev);
        created.forget_begun(me, &model, &dev);
        assert!(!created.has_branch(me, &model, &dev));
        assert!(created.has_repository(me, &model), "its main branch is still empty");
        created.forget_begun(me, &model, &Tag::latest());
        assert!(!created.has_repository(me, &model) && created.has_repository(me, &other));
    }
}
