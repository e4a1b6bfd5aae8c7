//! The documents of follows in the store, one for each.

use reg_api::follow::FollowSettings;
use reg_proto::glob::ModelGlob;
use reg_proto::json;
use reg_proto::name::PublisherId;

use super::FollowError;
use super::plan::{Follow, Unread};
use crate::store::{DocumentKind, Store};

/// The key of a document, and the follow in it where it can be read.
pub(super) type ReadFollow = (String, Result<Follow, FollowError>);

pub(super) fn key_of(publisher: PublisherId, models: &ModelGlob) -> String {
    format!("{publisher}/{}", models.to_string().to_ascii_lowercase())
}

/// Returns the publisher of the follow that a key names.
pub(super) fn publisher_of(key: &str) -> Option<PublisherId> {
    key.split_once('/')?.0.parse().ok()
}

/// Returns the follow that a key names, without its settings.
pub(super) fn of_key(key: &str) -> Option<Follow> {
    let (publisher, models) = key.split_once('/')?;
    Some(Follow::new(publisher.parse().ok()?, models.parse().ok()?, FollowSettings::default(), 0))
}

/// Returns the documents of all follows by their keys, each as it was read.
pub(super) fn read_all(store: &Store) -> Result<Vec<ReadFollow>, FollowError> {
    let documents = store.list_documents(DocumentKind::Follow, "")?;
    let parse = |(key, bytes): (String, Vec<u8>)| {
        let read = Follow::read(&bytes).map_err(|unread| match unread {
            Unread::Later { version } => FollowError::Version { key: key.clone(), version },
            Unread::Damaged(source) => FollowError::Parse { key: key.clone(), source },
        });
        (key, read)
    };
    Ok(documents.into_iter().map(parse).collect())
}

/// Returns the follow that the user wants to change; `None` where there is none of that key.
///
/// # Errors
/// It is in the store and cannot be read: what is written over it would be lost.
pub(super) fn find(all: Vec<ReadFollow>, key: &str) -> Result<Option<Follow>, FollowError> {
    all.into_iter().find(|(it, _)| it == key).map(|(_, read)| read).transpose()
}

pub(super) fn write(store: &Store, follow: &Follow) -> Result<(), FollowError> {
    let key = key_of(follow.publisher, &follow.models);
    Ok(store.put_document(DocumentKind::Follow, &key, &json::to_vec(follow))?)
}

#[cfg(test)]
mod tests {
    use reg_api::follow::VersionState;

    use super::*;
    use crate::store::CacheLimits;

    /// What the version before has written.
    const VERSION_1: &str = include_str!("stored/version_1.json");

    fn with(documents: &[(&str, &str)]) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), CacheLimits::default()).unwrap();
        for (key, text) in documents {
            store.put_document(DocumentKind::Follow, key, text.as_bytes()).unwrap();
        }
        (dir, store)
    }

    #[test]
    fn what_the_version_before_wrote_is_read_and_written_anew() {
        let mut follow = Follow::read(VERSION_1.trim().as_bytes()).unwrap();
        let key = key_of(follow.publisher, &follow.models);
        assert_eq!(follow.settings.keep, 3);
        assert_eq!(follow.versions.len(), 4);
        assert_eq!(follow.versions[0].state, VersionState::Here { since: 1_700_000_010 });
        assert!(follow.versions.iter().all(|it| it.issued.is_none()));
        let (_dir, store) = with(&[(&key, VERSION_1.trim())]);
        follow.paused = true;
        write(&store, &follow).unwrap();
        let read = find(read_all(&store).unwrap(), &key).unwrap();
        assert_eq!(read, Some(follow));
        let text = store.get_document(DocumentKind::Follow, &key).unwrap().unwrap();
        assert!(text.starts_with(b"{\"version\":2,"), "an older program refuses it by its format");
    }

    /// A follow that exists and cannot be read is none that could be made anew: the document would be lost.
    #[test]
    fn a_follow_that_cannot_be_read_is_found_and_refused() {
        let publisher = Follow::read(VERSION_1.trim().as_bytes()).unwrap().publisher;
        let key = key_of(publisher, &"llama-*".parse().unwrap());
        let later = VERSION_1.trim().replace("\"version\":1,", "\"version\":9,\"more\":true,");
        for (text, is_later) in
            [(later.as_str(), true), ("{\"version\":2,\"more\":true}", false), ("", false)]
        {
            let (_dir, store) = with(&[(&key, text)]);
            let all = read_all(&store).unwrap();
            assert_eq!(all.len(), 1);
            match find(all, &key) {
                Err(FollowError::Version { version: 9, key: found }) if is_later => assert_eq!(found, key),
                Err(FollowError::Parse { key: found, .. }) if !is_later => assert_eq!(found, key),
                other => panic!("{other:?}"),
            }
            assert!(find(read_all(&store).unwrap(), "another/*").unwrap().is_none());
        }
        assert_eq!(publisher_of(&key), Some(publisher));
    }
}
