//! The records that may stand for a tag: its head, which is what the publisher says now, and the ancestors of the head.
//!
//! An ancestor is used where the head's model is not available. It never becomes the head again.
//! [`TagBook::usable`] decides which records they are, and which of them are barred.

use std::collections::{BTreeMap, BTreeSet};

use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::name::{ModelName, Tag};
use reg_proto::naming::{Heard, RecordFacts, State, TagBook};
use reg_proto::tag::SignedTag;

use super::book::{Book, is_withdrawn, with_kept};
use super::documents::{key_of, tag_key};
use super::error::TagsError;
use super::{proofs, tags};
use crate::store::Store;

pub use reg_proto::naming::Barred;

/// A record that may stand for a tag, unless it is barred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub tag: SignedTag,
    /// Why it is never used; `None` where it may be used.
    pub barred: Option<Barred>,
}

/// Returns the records of a tag that may be used, in the order in which a node tries them: the head, then older ones, the
/// newest first. None is below the lowest number that the publisher allows, void, withdrawn or settled away; but a withdrawn
/// head is returned alone, because nothing is used in its place.
///
/// Of a frozen tag, they are the common ancestors of the records that contradict each other, so the head is not among them.
pub fn usable(
    store: &Store,
    keys: &KeyHistory,
    model: &ModelName,
    tag: &Tag,
) -> Result<Vec<SignedTag>, TagsError> {
    let book = Book::judged(store, keys, tag_key(&keys.publisher(), model, tag))?;
    let usable = book.usable(keys);
    let is_given = |barred: Option<Barred>| barred.is_none() || usable.state == State::Withdrawn;
    let given = usable.candidates.iter().filter(|it| is_given(it.barred));
    Ok(given.filter_map(|it| book.signed(keys, &it.record.payload)).collect())
}

/// Remembers a verified record beside the head, because its model is used in the head's place.
pub fn remember(store: &Store, keys: &KeyHistory, tag: &SignedTag) -> Result<(), TagsError> {
    let key = key_of(tag.record());
    let _lock = store.lock_document(&key);
    let mut book = Book::judged(store, keys, key)?;
    let facts = tag.facts();
    if !book.rules.known().any(|it| it.payload == facts.payload) {
        book.remember(tag);
        book.keep_beside(facts);
    }
    book.save()
}

/// Keeps the current record of a tag of which `used` is the version in use: the head, even where an older version stands in
/// for it. A frozen tag keeps the record that it has.
pub fn keep(store: &Store, keys: &KeyHistory, used: &SignedTag) -> Result<(), TagsError> {
    let record = used.record();
    let (publisher, model, tag) = (record.publisher, &record.model, &record.tag);
    let is_frozen = proofs::freezing(store, keys, model, tag, &[])?.is_some();
    if is_frozen && tags::record(store, publisher, model, tag)?.is_some() {
        return Ok(());
    }
    let line = usable(store, keys, model, tag)?;
    tags::keep(store, line.first().filter(|_| !is_frozen).unwrap_or(used))
}

/// Returns the ancestors of a head among the `known` records and those of the store, the newest first; of two heads that
/// contradict each other, their common ancestors. [`TagBook::usable`] decides, as it does for the stored document of a tag.
///
/// At most [`reg_proto::limits::TAG_ANCESTORS_MAX`] are returned, and beside them those of models that the store has.
pub fn line(
    store: &Store,
    keys: &KeyHistory,
    heads: &[&SignedTag],
    known: &[SignedTag],
) -> Result<Vec<Candidate>, TagsError> {
    let Some(last) = heads.iter().max_by_key(|it| it.record().order()) else { return Ok(Vec::new()) };
    let (record, order) = (last.record(), last.record().order());
    let stored = usable(store, keys, &record.model, &record.tag)?;
    let all = stored.iter().chain(known).chain(heads.iter().copied());
    let by_payload: BTreeMap<Digest, &SignedTag> = all.map(|it| (it.payload_digest(), it)).collect();
    let mut records: Vec<&SignedTag> =
        by_payload.values().copied().filter(|it| it.record().order() <= order).collect();
    records.sort_by_key(|it| (it.record().order(), it.payload_digest()));
    let (mut book, mut followed) = (TagBook::default(), BTreeSet::new());
    // Once more from the newest on: a record between a contradiction and the one that settles it is known as an ancestor
    // only after that one.
    for facts in records.iter().chain(records.iter().rev()).map(|it| it.facts()) {
        if matches!(book.hear(&facts), Heard::New | Heard::Ancestor) {
            followed.insert(facts);
        }
    }
    if book.freezing().is_none() && book.head.as_ref().is_some_and(|it| it.payload != last.payload_digest()) {
        // The head was followed before, so it is the head of these records, however far its number is above theirs.
        book.ancestors.extend(book.head.replace(last.facts()));
    }
    let usable = with_kept(store, &book, followed).usable(&|it| is_withdrawn(keys, it));
    let is_head = |it: &RecordFacts| heads.iter().any(|head| head.payload_digest() == it.payload);
    let older = usable.candidates.into_iter().filter(|it| !is_head(&it.record));
    let signed = |it: &RecordFacts| by_payload.get(&it.payload).map(|tag| (*tag).clone());
    Ok(older.filter_map(|it| Some(Candidate { tag: signed(&it.record)?, barred: it.barred })).collect())
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use reg_proto::bounded::Bounded;
    use reg_proto::envelope::{Envelope, PublicKey};
    use reg_proto::key::{KeyDocument, publisher_id};
    use reg_proto::limits::SEQ_JUMP_MAX;
    use reg_proto::revocation::{REVOCATION_TYPE, Revocation, Revoked};
    use reg_proto::tag::{ManifestPointer, TAG_RECORD_TYPE, TagRecord};

    use super::*;
    use crate::registry::model::record::ModelRecord;
    use crate::store::CacheLimits;

    struct Publisher {
        key: SigningKey,
        keys: KeyHistory,
    }

    impl Publisher {
        fn new() -> Self {
            let key = SigningKey::from_bytes(&[7; 32]);
            let first = KeyDocument::first(PublicKey::of(&key));
            let id = publisher_id(&first.to_payload());
            let keys = KeyHistory::verify(id, &[first.sign(&key).to_json()]).unwrap();
            Self { key, keys }
        }

        fn tag(
            &self,
            seq: u64,
            prev: Option<&SignedTag>,
            content: &str,
            min_usable: Option<u64>,
        ) -> SignedTag {
            let record = TagRecord {
                publisher: self.keys.publisher(),
                model: "tiny".parse().unwrap(),
                tag: Tag::latest(),
                seq,
                prev: prev.map(SignedTag::payload_digest),
                manifest: ManifestPointer { digest: Digest::of(content.as_bytes()), size: 1 },
                key_document: 1,
                issued: 1_700_000_000,
                fresh_until: None,
                expires: None,
                settles: Bounded::empty(),
                min_usable,
            };
            let envelope = Envelope::sign(TAG_RECORD_TYPE, record.to_payload(), &[&self.key]).to_json();
            SignedTag::verify(&envelope, &self.keys).unwrap()
        }

        /// A record that settles two others.
        fn settling(&self, seq: u64, prev: &SignedTag, settled: &[&SignedTag]) -> SignedTag {
            let record = TagRecord {
                settles: Bounded::first_of(settled.iter().map(|it| it.payload_digest())),
                ..self.tag(seq, Some(prev), "settled", None).record().clone()
            };
            let envelope = Envelope::sign(TAG_RECORD_TYPE, record.to_payload(), &[&self.key]).to_json();
            SignedTag::verify(&envelope, &self.keys).unwrap()
        }

        /// Records 1 to `count`, each naming the one before.
        fn chain(&self, count: u64) -> Vec<SignedTag> {
            let mut chain: Vec<SignedTag> = Vec::new();
            for seq in 1..=count {
                chain.push(self.tag(seq, chain.last(), &format!("v{seq}"), None));
            }
            chain
        }

        fn withdraw(&mut self, content: &str) {
            let revocation = Revocation {
                publisher: self.keys.publisher(),
                subject: Revoked::Manifest(Digest::of(content.as_bytes())),
                key_document: 1,
                issued: 1_700_000_000,
                reason: "bad".parse().unwrap(),
            };
            let text = Envelope::sign(REVOCATION_TYPE, revocation.to_payload(), &[&self.key]).to_json();
            self.keys.take_revocations([text.as_str()]);
        }
    }

    /// Returns the line of heads in an empty store.
    fn line_of(publisher: &Publisher, heads: &[&SignedTag], known: &[SignedTag]) -> Vec<Candidate> {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), CacheLimits::default()).unwrap();
        line(&store, &publisher.keys, heads, known).unwrap()
    }

    fn numbers_of(publisher: &Publisher, heads: &[&SignedTag], known: &[SignedTag]) -> Vec<u64> {
        line_of(publisher, heads, known).iter().map(|it| it.tag.record().seq).collect()
    }

    fn reasons(line: &[Candidate]) -> Vec<Option<Barred>> {
        line.iter().map(|it| it.barred).collect()
    }

    fn numbers(line: &[SignedTag]) -> Vec<u64> {
        line.iter().map(|it| it.record().seq).collect()
    }

    #[test]
    fn an_ancestor_is_reached_by_links_or_lies_below_a_gap() {
        let publisher = Publisher::new();
        let chain = publisher.chain(6);
        let head = &chain[5];
        let known = |of: &[usize]| of.iter().map(|seq| chain[seq - 1].clone()).collect::<Vec<_>>();
        let table: [(&[usize], &[u64]); 6] = [
            (&[], &[]),
            (&[6], &[]),
            (&[1, 2, 3, 4, 5], &[5, 4, 3, 2, 1]),
            (&[3, 1, 5], &[5, 3, 1]),
            (&[2], &[2]),
            (&[1, 2, 3, 4, 5, 6], &[5, 4, 3, 2, 1]),
        ];
        for (of, expected) in table {
            assert_eq!(numbers_of(&publisher, &[head], &known(of)), expected, "{of:?}");
        }
        assert_eq!(
            numbers_of(&publisher, &[&chain[2]], &known(&[1, 2, 4, 5, 6])),
            [2, 1],
            "never a newer one"
        );
    }

    #[test]
    fn a_contradicted_record_is_no_ancestor_by_its_number_alone() {
        let publisher = Publisher::new();
        let chain = publisher.chain(4);
        let other = publisher.tag(3, Some(&chain[1]), "other", None);
        let head = publisher.tag(5, Some(&chain[3]), "head", None);
        // Record 4 is not known, so neither of the two records 3 is known to be before the head.
        let known = [chain[0].clone(), chain[1].clone(), chain[2].clone(), other.clone()];
        assert_eq!(numbers_of(&publisher, &[&head], &known), [2, 1]);
        // Once a later record has settled the two, its own line counts again.
        let settled = publisher.settling(6, &head, &[&chain[2], &other]);
        let known = [&known[..], &[chain[3].clone(), head]].concat();
        assert_eq!(numbers_of(&publisher, &[&settled], &known), [5, 4, 3, 2, 1]);
    }

    #[test]
    fn what_the_head_has_settled_away_is_barred() {
        let publisher = Publisher::new();
        let chain = publisher.chain(5);
        let other = publisher.tag(5, Some(&chain[3]), "other", None);
        let head = publisher.settling(6, &chain[4], &[&chain[4], &other]);
        let line = line_of(&publisher, &[&head], &[chain[3].clone(), other]);
        let found: Vec<_> = line.iter().map(|it| (it.tag.record().seq, it.barred)).collect();
        assert_eq!(found, [(5, Some(Barred::SettledAway)), (4, None)]);
    }

    #[test]
    fn two_heads_have_common_ancestors() {
        let publisher = Publisher::new();
        let chain = publisher.chain(3);
        let one = publisher.tag(4, Some(&chain[2]), "one", None);
        let two = publisher.tag(4, Some(&chain[2]), "two", None);
        assert_eq!(numbers_of(&publisher, &[&one, &two], &chain), [3, 2, 1]);
        // The second follows another record 4, which is not an ancestor of the first.
        let later = publisher.tag(5, Some(&two), "three", None);
        let known = [chain.clone(), vec![one.clone(), two.clone()]].concat();
        assert_eq!(numbers_of(&publisher, &[&one, &later], &known), [3, 2, 1]);
        let early = publisher.tag(2, Some(&chain[0]), "early", None);
        assert_eq!(numbers_of(&publisher, &[&early, &chain[1]], &chain), [1]);
    }

    #[test]
    fn what_is_withdrawn_or_below_the_stated_number_is_barred() {
        let mut publisher = Publisher::new();
        let mut chain = publisher.chain(3);
        publisher.withdraw("v2");
        let table = [
            (None, vec![None, Some(Barred::Withdrawn), None]),
            (Some(3), vec![None, Some(Barred::Withdrawn), Some(Barred::Below { min: 3, by: 4 })]),
            (Some(1), vec![None, Some(Barred::Withdrawn), None]),
            (
                Some(9),
                vec![
                    Some(Barred::Below { min: 9, by: 4 }),
                    Some(Barred::Withdrawn),
                    Some(Barred::Below { min: 9, by: 4 }),
                ],
            ),
        ];
        for (min, expected) in table {
            let head = publisher.tag(4, Some(&chain[2]), "head", min);
            assert_eq!(reasons(&line_of(&publisher, &[&head], &chain)), expected, "{min:?}");
        }
        // An older record's statement holds for those before it, until a newer one states another number.
        chain[2] = publisher.tag(3, Some(&chain[1]), "v3", Some(3));
        for (min, expected) in [(None, Some(Barred::Below { min: 3, by: 3 })), (Some(1), None)] {
            let head = publisher.tag(4, Some(&chain[2]), "head", min);
            assert_eq!(reasons(&line_of(&publisher, &[&head], &chain))[2], expected, "{min:?}");
        }
    }

    #[test]
    fn a_version_in_the_store_is_found_behind_any_number_of_newer_ones() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), CacheLimits::default()).unwrap();
        let publisher = Publisher::new();
        let (keys, chain) = (&publisher.keys, publisher.chain(40));
        let manifest = chain[1].record().manifest.digest;
        let record = ModelRecord {
            publisher: keys.publisher(),
            model: "tiny".parse().unwrap(),
            blobs: BTreeSet::new(),
            referrers: Vec::new(),
            bytes: 0,
            files: 0,
            complete: true,
            chosen: None,
            pulling: None,
            metadata: Default::default(),
            kinds: BTreeMap::new(),
        };
        record.save(&store, &manifest).unwrap();
        // Peers name all of them at once.
        let found = line(&store, keys, &[&chain[39]], &chain).unwrap();
        let found: Vec<u64> = found.iter().map(|it| it.tag.record().seq).collect();
        assert_eq!(found, [(24..=39).rev().collect(), vec![2]].concat());
        // The node sees one after the other.
        let (model, tag) = ("tiny".parse().unwrap(), Tag::latest());
        for (index, it) in chain.iter().enumerate() {
            tags::see(&store, keys, it).unwrap();
            let found = numbers(&usable(&store, keys, &model, &tag).unwrap());
            assert!(index == 0 || found.contains(&2), "after {}: {found:?}", index + 1);
        }
        let found = line(&store, keys, &[&chain[39]], &[]).unwrap();
        assert!(found.iter().any(|it| it.tag.record().seq == 2 && it.barred.is_none()), "{found:?}");
    }

    /// A head with a number far above those of its ancestors still says which of them may be used.
    #[test]
    fn a_head_far_above_its_ancestors_bars_them() {
        let publisher = Publisher::new();
        let chain = publisher.chain(2);
        let head = publisher.tag(5 + SEQ_JUMP_MAX, Some(&chain[1]), "head", Some(2));
        let by = 5 + SEQ_JUMP_MAX;
        let found = reasons(&line_of(&publisher, &[&head], &chain));
        assert_eq!(found, [None, Some(Barred::Below { min: 2, by })]);
    }

    #[test]
    fn the_store_gives_the_head_first_and_common_ancestors_of_a_frozen_tag() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), CacheLimits::default()).unwrap();
        let publisher = Publisher::new();
        let (keys, chain) = (&publisher.keys, publisher.chain(4));
        let (model, tag) = ("tiny".parse().unwrap(), Tag::latest());
        let of = |store: &Store| numbers(&usable(store, keys, &model, &tag).unwrap());
        assert!(of(&store).is_empty());
        tags::see(&store, keys, &chain[3]).unwrap();
        assert_eq!(of(&store), [4]);
        remember(&store, keys, &chain[1]).unwrap();
        assert_eq!(of(&store), [4, 2], "a version that was used before is kept");
        assert!(tags::see(&store, keys, &chain[1]).is_err(), "and is not the head again");
        let other = publisher.tag(4, Some(&chain[2]), "other", None);
        assert!(tags::see(&store, keys, &other).is_err());
        assert_eq!(of(&store), [2]);
    }
}
