//! The records that may stand for a tag: its head, which is what the publisher says now, and the ancestors of the head.
//!
//! An ancestor is used where the head's model cannot be had. It never becomes the head again: what was seen stays.

use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::name::{ModelName, Tag};
use reg_proto::revocation::Revoked;
use reg_proto::tag::SignedTag;

use super::error::TagsError;
use super::{history, proofs, tags};
use crate::registry::limits::ANCESTORS_MAX;
use crate::store::Store;

/// Why a version is never used in place of the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barred {
    /// The record with the number `by` forbids every version below `min`.
    Below { min: u64, by: u64 },
    /// The publisher has withdrawn its manifest.
    Withdrawn,
}

/// Returns the records that may stand for a tag: the head first, then the ancestors that may be used, the newest first.
/// Of a frozen tag it returns the common ancestors of both heads.
///
/// Each of the records stands by the publisher's keys. No ancestor is withdrawn, or below the head's `min_usable`.
pub fn usable(
    store: &Store,
    keys: &KeyHistory,
    model: &ModelName,
    tag: &Tag,
) -> Result<Vec<SignedTag>, TagsError> {
    let known = history::records(store, keys, model, tag)?;
    let frozen = proofs::freezing(store, keys, model, tag, &[])?;
    let head = known.iter().max_by_key(|it| (it.record().order(), it.payload_digest()));
    let (heads, mut found) = match (&frozen, head) {
        (Some(proof), _) => (proof.records().to_vec(), Vec::new()),
        (None, Some(head)) => (vec![head], vec![head.clone()]),
        (None, None) => return Ok(Vec::new()),
    };
    let line = line(&heads, &known);
    let is_usable = |index: &usize| barred(keys, &heads, &line, *index).is_none();
    found.extend((0..line.len()).filter(is_usable).map(|index| line[index].clone()));
    Ok(found)
}

/// Remembers a record that was chosen in place of the head, so that a later call of [`usable`] returns it.
pub fn remember(store: &Store, keys: &KeyHistory, tag: &SignedTag) -> Result<(), TagsError> {
    let record = tag.record();
    let known = history::records(store, keys, &record.model, &record.tag)?;
    let is_known = known.iter().any(|it| it.payload_digest() == tag.payload_digest());
    if is_known { Ok(()) } else { history::add(store, tag) }
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

/// Returns the newest common ancestors of all `heads` among the `known` records, the newest first.
///
/// An ancestor is reached from a head by `prev`. Where the record that `prev` names is not known, the next one is the newest
/// known record with a lower number that no other known record contradicts: see
/// [`Records::ancestors`](reg_proto::wire::Records) for what that proves.
pub fn line(heads: &[&SignedTag], known: &[SignedTag]) -> Vec<SignedTag> {
    let mut lines = heads.iter().map(|head| ancestors(head, known));
    let Some(mut common) = lines.next() else { return Vec::new() };
    for line in lines {
        common.retain(|one| line.iter().any(|it| it.payload_digest() == one.payload_digest()));
    }
    common
}

/// Tells why the ancestor `line[index]` of `heads` is never used; `None` where it may be used. The newest record that states
/// `min_usable` decides. Of a frozen tag, the head that states more does.
pub fn barred(keys: &KeyHistory, heads: &[&SignedTag], line: &[SignedTag], index: usize) -> Option<Barred> {
    let record = line.get(index)?.record();
    if keys.revocation(&Revoked::Manifest(record.manifest.digest)).is_some() {
        return Some(Barred::Withdrawn);
    }
    let states = |tag: &SignedTag| tag.record().min_usable.map(|min| (min, tag.record().seq));
    let of_heads = heads.iter().filter_map(|head| states(head)).max();
    let (min, by) = of_heads.or_else(|| line[..index].iter().find_map(states))?;
    (record.seq < min).then_some(Barred::Below { min, by })
}

fn ancestors(head: &SignedTag, known: &[SignedTag]) -> Vec<SignedTag> {
    let mut found: Vec<SignedTag> = Vec::new();
    let mut at = head;
    while let Some(prev) = at.record().prev.filter(|_| found.len() < ANCESTORS_MAX) {
        let Some(next) = before(at, prev, head, known) else { break };
        found.push(next.clone());
        at = next;
    }
    found
}

fn before<'a>(
    at: &SignedTag,
    prev: Digest,
    head: &SignedTag,
    known: &'a [SignedTag],
) -> Option<&'a SignedTag> {
    let older = || known.iter().filter(|it| it.record().order() < at.record().order());
    let contradicted = |it: &SignedTag| {
        let others = known.iter().chain([head]);
        others.into_iter().any(|other| other.contradicts(it) || it.contradicts(other))
    };
    older().find(|it| it.payload_digest() == prev).or_else(|| {
        older().filter(|it| !contradicted(it)).max_by_key(|it| (it.record().order(), it.payload_digest()))
    })
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use reg_proto::bounded::Bounded;
    use reg_proto::envelope::{Envelope, PublicKey};
    use reg_proto::key::{KeyDocument, publisher_id};
    use reg_proto::revocation::{REVOCATION_TYPE, Revocation};
    use reg_proto::tag::{ManifestPointer, TAG_RECORD_TYPE, TagRecord};

    use super::*;
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
            assert_eq!(numbers(&line(&[head], &known(of))), expected, "{of:?}");
        }
        assert_eq!(numbers(&line(&[&chain[2]], &known(&[1, 2, 4, 5, 6]))), [2, 1], "never a newer one");
        let first = publisher.tag(6, None, "alone", None);
        assert!(line(&[&first], &known(&[1, 2])).is_empty(), "a record that names none has no ancestor");
    }

    #[test]
    fn a_contradicted_record_is_no_ancestor_by_its_number_alone() {
        let publisher = Publisher::new();
        let chain = publisher.chain(4);
        let other = publisher.tag(3, Some(&chain[1]), "other", None);
        let head = publisher.tag(5, Some(&chain[3]), "head", None);
        // Record 4 is not known, so neither of the two records 3 is known to be before the head.
        let known = [chain[0].clone(), chain[1].clone(), chain[2].clone(), other.clone()];
        assert_eq!(numbers(&line(&[&head], &known)), [2, 1]);
        // A link says which of the two it is.
        let linked = [chain[1].clone(), chain[2].clone(), other, chain[3].clone()];
        let found = line(&[&head], &linked);
        assert_eq!(numbers(&found), [4, 3, 2]);
        assert_eq!(found[1], chain[2]);
    }

    #[test]
    fn two_heads_have_common_ancestors() {
        let publisher = Publisher::new();
        let chain = publisher.chain(3);
        let one = publisher.tag(4, Some(&chain[2]), "one", None);
        let two = publisher.tag(4, Some(&chain[2]), "two", None);
        assert_eq!(numbers(&line(&[&one, &two], &chain)), [3, 2, 1]);
        // The second follows another record 4, which is not an ancestor of the first.
        let later = publisher.tag(5, Some(&two), "three", None);
        let known = [chain.clone(), vec![one.clone(), two.clone()]].concat();
        assert_eq!(numbers(&line(&[&one, &later], &known)), [3, 2, 1]);
        let early = publisher.tag(2, Some(&chain[0]), "early", None);
        assert_eq!(numbers(&line(&[&early, &chain[1]], &chain)), [1]);
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
            let line = line(&[&head], &chain);
            let found: Vec<_> = (0..3).map(|it| barred(&publisher.keys, &[&head], &line, it)).collect();
            assert_eq!(found, expected, "{min:?}");
        }
        // An older record's statement holds for those before it, until a newer one states another number.
        chain[2] = publisher.tag(3, Some(&chain[1]), "v3", Some(3));
        for (min, expected) in [(None, Some(Barred::Below { min: 3, by: 3 })), (Some(1), None)] {
            let head = publisher.tag(4, Some(&chain[2]), "head", min);
            let line = line(&[&head], &chain);
            assert_eq!(barred(&publisher.keys, &[&head], &line, 2), expected, "{min:?}");
        }
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
