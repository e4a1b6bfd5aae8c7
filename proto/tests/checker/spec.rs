//! What the properties mean, said again without the rules: so that a fault of the rules is not a fault of its own check.

use std::collections::BTreeSet;

use reg_proto::naming::{RecordFacts, TagBook};

use crate::world::{World, id_of};

/// Returns whether no publisher can have meant both records.
pub(crate) fn contradict(a: &RecordFacts, b: &RecordFacts) -> bool {
    let (one, two) = if a.seq <= b.seq { (a, b) } else { (b, a) };
    let names = two.prev == Some(one.payload) || two.settles.contains(&one.payload);
    one.payload != two.payload
        && one.key_document == two.key_document
        && (one.seq == two.seq || one.seq + 1 == two.seq && !names)
}

/// Returns whether `record` says that it holds in the place of both, or comes from newer keys.
pub(crate) fn settles(record: &RecordFacts, one: &RecordFacts, two: &RecordFacts) -> bool {
    let named = [one, two].iter().filter(|it| record.settles.contains(&it.payload)).count();
    let needed = if one.seq == two.seq { 2 } else { 1 };
    let (document, seq) = (two.key_document, one.seq.max(two.seq));
    record.key_document > document || record.key_document == document && record.seq > seq && named >= needed
}

/// Returns whether `after` has no trace of a contradiction between `record` and a record that `before` knows.
pub(crate) fn forgets(before: &TagBook, record: &RecordFacts, after: &TagBook) -> bool {
    let mut contradicted = before.known().filter(|it| contradict(it, record));
    contradicted.any(|known| {
        !after.proofs.iter().any(|proof| {
            let heads = proof.heads();
            heads.contains(&known.payload) && heads.contains(&record.payload)
        })
    })
}

/// Returns the ids of the records before `from`, by what every record says of the one before it.
pub(crate) fn line(world: &World, from: &RecordFacts) -> BTreeSet<u8> {
    let mut ids = BTreeSet::new();
    let mut next = from.prev;
    while let Some(id) = next.map(|it| id_of(&it)).filter(|it| ids.insert(*it)) {
        next = world.records.get(&id).and_then(|it| it.facts.prev);
    }
    ids
}
