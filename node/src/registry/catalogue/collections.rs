//! The collections that the user follows: which version of each is used, and what they say of a model or a publisher.
//!
//! They are read from the store, so the last version that was fetched counts. What a collection names is found and kept; no
//! signature and no rule depends on it. A collection that names another one does not lead there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use reg_api::collection::{CollectedIn, CollectionReport, CollectionState};
use reg_proto::catalogue::{COLLECTION_FILE, Collected, Collection, CollectionError};
use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::limits::COLLECTION_BYTES_MAX;
use reg_proto::name::{ModelName, Petname, PublisherId, Tag};
use reg_proto::revocation::Revoked;
use thiserror::Error;

use super::Cataloguing;
use crate::registry::limits::COLLECTED_PUBLISHERS_MAX;
use crate::registry::model::record::{self, ModelError};
use crate::registry::publishers::{keys, usable};
use crate::registry::trust::{COLLECTIONS_MAX, Subscription, TrustError};
use crate::store::ReadError;

/// Why a model is no collection.
#[derive(Debug, Error)]
pub enum NotACollection {
    #[error("it has {files} files, and a collection has one: {COLLECTION_FILE}")]
    Files { files: usize },
    #[error(
        "it has a file of {bytes} bytes, and a collection has one of {COLLECTION_BYTES_MAX} at most: {COLLECTION_FILE}"
    )]
    Large { bytes: u64 },
    #[error("its file is {path}, and that of a collection is {COLLECTION_FILE}")]
    OtherFile { path: String },
    #[error("its manifest is not in the store")]
    Manifest(#[from] ModelError),
    #[error("its file is not in the store")]
    File(#[from] ReadError),
    #[error("its {COLLECTION_FILE} is refused")]
    Parse(#[from] CollectionError),
    #[error("its {COLLECTION_FILE} says that it is the collection {name}")]
    Name { name: ModelName },
}

impl NotACollection {
    /// Tells whether the model has other files than a collection, so that it is a model of another kind.
    pub const fn is_another_kind(&self) -> bool {
        matches!(self, Self::Files { .. } | Self::Large { .. } | Self::OtherFile { .. })
    }
}

/// Checks that files, each with its path and size, are those of a collection.
///
/// # Errors
/// There are more files, or other ones, or the file is too large.
pub fn are_of_collection<'a>(
    files: impl ExactSizeIterator<Item = (&'a str, u64)>,
) -> Result<(), NotACollection> {
    let count = files.len();
    match files.last() {
        Some((COLLECTION_FILE, bytes)) if count == 1 && bytes <= COLLECTION_BYTES_MAX as u64 => Ok(()),
        Some((COLLECTION_FILE, bytes)) if count == 1 => Err(NotACollection::Large { bytes }),
        Some((path, _)) if count == 1 => Err(NotACollection::OtherFile { path: path.to_owned() }),
        _ => Err(NotACollection::Files { files: count }),
    }
}

/// The version of a followed collection that is used, or why none is.
#[derive(Debug, Clone)]
enum Standing {
    Used { manifest: Digest, seq: u64, is_behind: bool, list: Arc<Collection> },
    Withdrawn { reason: String },
    Denied,
    Absent,
}

/// What was read of the followed collections.
#[derive(Debug, Default)]
pub(super) struct Collections {
    /// The parsed collections by the digest of their manifest, so that each is parsed once.
    parsed: Mutex<BTreeMap<Digest, Arc<Collection>>>,
    /// What they say together, for the versions that are used.
    index: Mutex<Arc<Index>>,
    /// The publishers that are kept for no other reason than a collection.
    only_collected: Mutex<BTreeSet<PublisherId>>,
}

/// What the followed collections say, by publisher and model.
#[derive(Debug, Default)]
pub(super) struct Index {
    lists: Vec<UsedList>,
    /// The publishers that are named or have a named model, within the bound.
    pub(super) publishers: BTreeSet<PublisherId>,
    /// The publishers of each list that are beyond the bound.
    left_out: Vec<usize>,
    /// Places of a list and of an entry in it, by publisher and folded model; an empty model stands for the whole publisher.
    entries: BTreeMap<(PublisherId, String), Vec<(usize, usize)>>,
}

#[derive(Debug)]
struct UsedList {
    name: String,
    manifest: Digest,
    list: Arc<Collection>,
}

impl Index {
    fn new(lists: Vec<UsedList>, publishers_max: usize) -> Self {
        let mut index = Self::default();
        for (at, used) in lists.iter().enumerate() {
            let mut left_out = BTreeSet::new();
            for (place, entry) in used.list.entries.iter().enumerate() {
                let publisher = entry.collect.publisher();
                if index.publishers.len() < publishers_max || index.publishers.contains(&publisher) {
                    index.publishers.insert(publisher);
                } else {
                    left_out.insert(publisher);
                }
                let model = match &entry.collect {
                    Collected::Publisher(_) => String::new(),
                    Collected::Model(_, model)
                    | Collected::Tag(_, model, _)
                    | Collected::Manifest(_, model, _) => model.folded(),
                };
                index.entries.entry((publisher, model)).or_default().push((at, place));
            }
            index.left_out.push(left_out.len());
        }
        Self { lists, ..index }
    }

    fn is_of(&self, used: &[UsedList]) -> bool {
        let same =
            |(one, other): (&UsedList, &UsedList)| (&one.name, one.manifest) == (&other.name, other.manifest);
        self.lists.len() == used.len() && self.lists.iter().zip(used).all(same)
    }

    /// Returns what each list says of a version of a model: by the entry that names it most closely.
    pub(super) fn of(
        &self,
        publisher: PublisherId,
        model: &ModelName,
        tags: &[Tag],
        manifest: &Digest,
    ) -> Vec<CollectedIn> {
        let mut best: BTreeMap<usize, (u8, usize)> = BTreeMap::new();
        for key in [(publisher, model.folded()), (publisher, String::new())] {
            for (list, entry) in self.entries.get(&key).into_iter().flatten() {
                let Some(said) = self.lists[*list].list.entries.get(*entry) else { continue };
                let closeness = closeness(&said.collect, tags, manifest);
                let known = best.entry(*list).or_insert((0, 0));
                if closeness > known.0 {
                    *known = (closeness, *entry);
                }
            }
        }
        let said = |(list, (closeness, entry)): (usize, (u8, usize))| {
            let UsedList { name, list, .. } = self.lists.get(list).filter(|_| closeness > 0)?;
            let entry = list.entries.get(entry)?;
            let (collection, words) = (name.clone(), entry.words.clone());
            Some(CollectedIn { collection, entry: entry.collect.clone(), words })
        };
        best.into_iter().filter_map(said).collect()
    }
}

/// Returns how closely an entry of the same publisher and model names a version: 0 where it means another one.
fn closeness(entry: &Collected, tags: &[Tag], manifest: &Digest) -> u8 {
    match entry {
        Collected::Publisher(_) => 1,
        Collected::Model(..) => 2,
        Collected::Tag(_, _, tag) => 3 * u8::from(tags.contains(tag)),
        Collected::Manifest(_, _, digest) => 4 * u8::from(digest == manifest),
    }
}

impl Cataloguing {
    /// Returns the collections that have a version of a model, each with what it says of it. Blocks.
    pub fn collected_in(
        &self,
        publisher: PublisherId,
        model: &ModelName,
        tags: &[Tag],
        manifest: &Digest,
    ) -> Vec<CollectedIn> {
        self.collected().of(publisher, model, tags, manifest)
    }

    /// Reports on the followed collections, in the order of the trust file. Blocks.
    ///
    /// # Errors
    /// The trust file cannot be read.
    pub fn collections(&self) -> Result<Vec<CollectionReport>, TrustError> {
        let petnames = self.trust.petnames();
        let followed = self.trust.file.load()?.collections;
        let index = self.collected();
        let report = |it: Subscription| {
            let standing = self.standing(&it);
            let left_out = index.lists.iter().position(|list| list.name == it.name);
            let left_out = left_out.and_then(|at| index.left_out.get(at).copied()).unwrap_or(0);
            let petname = petnames.get(&it.publisher).cloned();
            report(it, standing, petname, left_out)
        };
        Ok(followed.into_iter().map(report).collect())
    }

    /// Returns the collection that a manifest in the store is, as a publisher's `model`. Blocks.
    ///
    /// # Errors
    /// It is no collection, or not in the store.
    pub fn collection(&self, digest: &Digest, model: &ModelName) -> Result<Arc<Collection>, NotACollection> {
        let parsed = || self.collections.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        let known = parsed().get(digest).filter(|_| self.store.contains(digest)).cloned();
        let list = match known {
            Some(known) => known,
            None => {
                let manifest = record::manifest(&self.store, digest)?;
                let files = manifest.files();
                are_of_collection(files.iter().map(|it| (it.path.as_str(), it.layout.size())))?;
                let Some(file) = files.first() else { return Err(NotACollection::Files { files: 0 }) };
                let bytes = self.store.read_blob(&file.digest, COLLECTION_BYTES_MAX as u64)?;
                let list = Arc::new(Collection::from_bytes(&bytes)?);
                let mut parsed = parsed();
                if parsed.len() >= 2 * COLLECTIONS_MAX {
                    parsed.clear();
                }
                parsed.insert(*digest, list.clone());
                list
            }
        };
        match list.name.folded() == model.folded() {
            true => Ok(list),
            false => Err(NotACollection::Name { name: list.name.clone() }),
        }
    }

    /// Returns what the followed collections say now. Blocks.
    pub(super) fn collected(&self) -> Arc<Index> {
        let followed = self.trust.file.load().map(|it| it.collections).unwrap_or_default();
        let used = |it: Subscription| match self.standing(&it) {
            Standing::Used { manifest, list, .. } => Some(UsedList { name: it.name, manifest, list }),
            _ => None,
        };
        let used: Vec<UsedList> = followed.into_iter().filter_map(used).collect();
        let mut index = self.collections.index.lock().unwrap_or_else(PoisonError::into_inner);
        if !index.is_of(&used) {
            *index = Arc::new(Index::new(used, COLLECTED_PUBLISHERS_MAX));
        }
        index.clone()
    }

    /// Remembers the publishers that are kept for no other reason than a collection.
    pub(super) fn set_only_collected(&self, publishers: BTreeSet<PublisherId>) {
        *self.collections.only_collected.lock().unwrap_or_else(PoisonError::into_inner) = publishers;
    }

    /// Tells whether a publisher is kept for no other reason than a collection.
    pub(super) fn is_only_collected(&self, publisher: &PublisherId) -> bool {
        self.collections.only_collected.lock().unwrap_or_else(PoisonError::into_inner).contains(publisher)
    }

    /// Finds the version of a collection that is used: the newest one in the store that its publisher has not withdrawn. Nothing
    /// takes the place of a newest one that is withdrawn.
    fn standing(&self, of: &Subscription) -> Standing {
        let Ok(Some(keys)) = keys::keys(&self.store, of.publisher) else { return Standing::Absent };
        let versions = usable::usable(&self.store, &keys, &of.model, &Tag::latest()).unwrap_or_default();
        for (place, tag) in versions.iter().enumerate() {
            let manifest = tag.record().manifest.digest;
            if let Some(reason) = withdrawn(&keys, &manifest) {
                return Standing::Withdrawn { reason };
            }
            match self.collection(&manifest, &of.model) {
                Ok(_) if self.trust.is_unserved(&manifest) => return Standing::Denied,
                Ok(list) => {
                    return Standing::Used { manifest, seq: tag.record().seq, is_behind: place > 0, list };
                }
                Err(error) => tracing::debug!(list = %of.name, %manifest, %error, "a version is not used"),
            }
        }
        Standing::Absent
    }
}

fn withdrawn(keys: &KeyHistory, manifest: &Digest) -> Option<String> {
    keys.revocation(&Revoked::Manifest(*manifest)).map(|it| it.reason.as_str().to_owned())
}

fn report(
    of: Subscription,
    standing: Standing,
    petname: Option<Petname>,
    left_out: usize,
) -> CollectionReport {
    let empty = CollectionReport {
        collection: of.name,
        publisher: of.publisher,
        petname,
        model: of.model,
        state: CollectionState::Absent,
        manifest: None,
        seq: None,
        title: None,
        words: None,
        entries: 0,
        publishers: 0,
        left_out: 0,
    };
    match standing {
        Standing::Absent => empty,
        Standing::Denied => CollectionReport { state: CollectionState::Denied, ..empty },
        Standing::Withdrawn { reason } => {
            CollectionReport { state: CollectionState::Withdrawn { reason }, ..empty }
        }
        Standing::Used { manifest, seq, is_behind, list } => {
            let publishers: BTreeSet<PublisherId> =
                list.entries.iter().map(|it| it.collect.publisher()).collect();
            CollectionReport {
                state: if is_behind { CollectionState::Behind } else { CollectionState::Current },
                manifest: Some(manifest),
                seq: Some(seq),
                title: Some(list.title.clone()),
                words: list.words.clone(),
                entries: list.entries.len(),
                publishers: publishers.len(),
                left_out,
                ..empty
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use reg_proto::bounded::Bounded;
    use reg_proto::catalogue::CollectionEntry;

    use super::*;

    fn id(byte: u8) -> PublisherId {
        PublisherId::from_bytes([byte; 32])
    }

    fn used(name: &str, entries: &[(String, &str)]) -> UsedList {
        let entry = |(collect, words): &(String, &str)| CollectionEntry {
            collect: collect.parse().unwrap(),
            words: Some(words.parse().unwrap()),
        };
        let list = Collection {
            version: 1,
            name: name.parse().unwrap(),
            title: "A list".parse().unwrap(),
            words: None,
            entries: Bounded::first_of(entries.iter().map(entry)),
        };
        let manifest = Digest::of(&list.to_bytes());
        UsedList { name: format!("acme/{name}"), manifest, list: Arc::new(list) }
    }

    #[test]
    fn each_list_speaks_by_the_entry_that_names_a_version_most_closely() {
        let (tiny, digest) = (format!("{}/Tiny", id(1)), Digest::of(b"m"));
        let one = used(
            "one",
            &[
                (id(1).to_string(), "publisher"),
                (tiny.clone(), "model"),
                (format!("{tiny}:v1"), "tag"),
                (format!("{tiny}@{digest}"), "version"),
            ],
        );
        let two = used("two", &[(format!("{tiny}:v1"), "tag")]);
        let index = Index::new(vec![one, two], 10);
        let (v1, v2): (Tag, Tag) = ("v1".parse().unwrap(), "v2".parse().unwrap());
        let other = Digest::of(b"other");
        for (publisher, model, tag, manifest, expected) in [
            (1, "tiny", &v1, &digest, vec!["acme/one: version", "acme/two: tag"]),
            (1, "TINY", &v1, &other, vec!["acme/one: tag", "acme/two: tag"]),
            (1, "tiny", &v2, &other, vec!["acme/one: model"]),
            (1, "large", &v1, &other, vec!["acme/one (its publisher): publisher"]),
            (2, "tiny", &v1, &digest, vec![]),
        ] {
            let said = index.of(id(publisher), &model.parse().unwrap(), std::slice::from_ref(tag), manifest);
            assert_eq!(said.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{model}:{tag}");
        }
    }

    #[test]
    fn publishers_beyond_the_bound_are_left_out_and_counted() {
        let of = |range: std::ops::Range<u8>| range.map(|it| (id(it).to_string(), "x")).collect::<Vec<_>>();
        let index = Index::new(vec![used("one", &of(0..3)), used("two", &of(2..9))], 5);
        assert_eq!(index.publishers, (0..5).map(id).collect());
        assert_eq!(index.left_out, [0, 4]);
        assert!(
            !index.of(id(8), &"m".parse().unwrap(), &[], &Digest::of(b"")).is_empty(),
            "words still count"
        );
    }

    #[test]
    fn only_a_model_with_one_small_file_of_that_name_is_a_collection() {
        let max = COLLECTION_BYTES_MAX as u64;
        for (files, is_one) in [
            (vec![(COLLECTION_FILE, max)], true),
            (vec![(COLLECTION_FILE, max + 1)], false),
            (vec![("lists/collection.json", 1)], false),
            (vec![("model.gguf", 1)], false),
            (vec![(COLLECTION_FILE, 1), ("README.md", 1)], false),
            (vec![("README.md", 1), (COLLECTION_FILE, 1)], false),
            (vec![], false),
        ] {
            assert_eq!(are_of_collection(files.clone().into_iter()).is_ok(), is_one, "{files:?}");
        }
    }
}
