//! The laws of [`TagBook`]: any order of hearing ends at one head, nothing goes back, and one machine never contradicts itself.

use proptest::prelude::*;
use reg_proto::digest::Digest;
use reg_proto::limits::{SEQ_JUMP_MAX, TAG_ANCESTORS_MAX};
use reg_proto::naming::{
    Contradiction, FinishError, Heard, Next, NextError, RecordFacts, Signing, State, TagBook,
};

const SIGNING: Signing = Signing { key_document: 1, floor: 1 };

fn record(name: &str, seq: u64, prev: Option<&RecordFacts>, settles: &[&RecordFacts]) -> RecordFacts {
    RecordFacts {
        payload: Digest::of(name.as_bytes()),
        key_document: 1,
        seq,
        prev: prev.map(|it| it.payload),
        manifest: Digest::of(format!("manifest of {name}").as_bytes()),
        settles: settles.iter().map(|it| it.payload).collect(),
        min_usable: None,
    }
}

/// Records 1 to `count`, each of which follows the one before.
fn chain(count: u64) -> Vec<RecordFacts> {
    let mut records: Vec<RecordFacts> = Vec::new();
    for seq in 1..=count {
        let next = record(&format!("record {seq}"), seq, records.last(), &[]);
        records.push(next);
    }
    records
}

/// A chain that forks at number `at` and is settled by the next record, which follows one side, and `more` records after it.
/// The last record is the abandoned side of the fork.
fn settled_fork(at: u64, more: u64) -> Vec<RecordFacts> {
    let mut records = chain(at);
    let other = record("other", at, records.iter().rev().nth(1), &[]);
    for seq in at + 1..=at + 1 + more {
        let fork = records.iter().find(|it| it.seq == at).expect("the chain has it").clone();
        let next = record(&format!("record {seq}"), seq, records.last(), &[&fork, &other]);
        records.push(next);
    }
    records.push(other);
    records
}

fn none(_: &RecordFacts) -> bool {
    false
}

fn usable_of(book: &TagBook) -> Vec<RecordFacts> {
    book.usable(&none).records().cloned().collect()
}

/// Hears all records in this order, again and again, until nothing changes: peers repeat what they know.
fn hear_all(records: &[RecordFacts]) -> TagBook {
    let mut book = TagBook::default();
    for _round in 0..=2 * records.len() {
        let before = book.clone();
        let mut order = None;
        for record in records {
            book.hear(record);
            let head = book.head.as_ref().map(RecordFacts::order);
            assert!(head >= order, "the head went back");
            order = head;
        }
        if book == before {
            return book;
        }
    }
    panic!("hearing does not come to an end");
}

fn shuffled(records: Vec<RecordFacts>) -> impl Strategy<Value = Vec<RecordFacts>> {
    Just(records).prop_shuffle()
}

/// What one machine does with a tag.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Begins a publication. With `crash`, the machine stops before the book is durable, so no payload leaves it.
    Begin { held: bool, crash: bool },
    /// Finishes the begun publication.
    Finish,
    /// Gives up the begun publication, as a user does.
    Abandon,
    /// Someone publishes a payload that this machine has begun at some time, signed.
    Leak { which: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), any::<bool>()).prop_map(|(held, crash)| Step::Begin { held, crash }),
        3 => Just(Step::Finish),
        1 => Just(Step::Abandon),
        2 => (0..8_usize).prop_map(|which| Step::Leak { which }),
    ]
}

/// The next record as a node makes it: gives up what nobody holds, numbers the record, and makes it durable.
fn begin(book: &mut TagBook, content: usize, held: bool) -> Option<RecordFacts> {
    if book.pending.as_ref().is_some_and(|it| !it.held) {
        book.abandon();
    }
    let Next { seq, prev, settles, min_usable } = match book.next(SIGNING, None, false) {
        Ok(next) => next,
        Err(NextError::Pending(pending)) => {
            assert!(pending.held);
            return None;
        }
        Err(error) => panic!("{error:?}"),
    };
    let payload = Digest::of(format!("{seq} {content}").as_bytes());
    let manifest = Digest::of(&content.to_be_bytes());
    let record = RecordFacts { payload, key_document: 1, seq, prev, manifest, settles, min_usable };
    book.begin(record.clone(), held).expect("nothing is pending");
    Some(record)
}

proptest! {
    #[test]
    fn any_order_of_an_honest_chain_gives_one_book(records in (1..=12_u64).prop_flat_map(|it| shuffled(chain(it)))) {
        let book = hear_all(&records);
        let expected = chain(records.len() as u64);
        prop_assert_eq!(book.head.as_ref(), expected.last());
        prop_assert!(book.proofs.is_empty());
        let usable: Vec<RecordFacts> = expected.into_iter().rev().collect();
        prop_assert_eq!(usable_of(&book), usable);
    }

    #[test]
    fn any_order_of_a_settled_fork_gives_one_head(
        (at, more, records) in (2..=5_u64, 0..=3_u64)
            .prop_flat_map(|(at, more)| (Just(at), Just(more), shuffled(settled_fork(at, more)))),
    ) {
        let book = hear_all(&records);
        prop_assert_eq!(book.head.as_ref().map(|it| it.seq), Some(at + 1 + more));
        prop_assert!(book.freezing().is_none());
        let usable: Vec<u64> = book.usable(&none).records().map(|it| it.seq).collect();
        let expected: Vec<u64> = (1..=at + 1 + more).rev().collect();
        prop_assert_eq!(usable, expected, "the side that was settled away is not used");
    }

    #[test]
    fn a_fork_freezes_the_tag_at_its_common_ancestors(at in 2..=6_u64, side in any::<bool>()) {
        let records = settled_fork(at, 0);
        let (one, other) = (&records[at as usize - 1], records.last().expect("it has records"));
        let mut book = TagBook::default();
        records[..at as usize - 1].iter().for_each(|it| assert_eq!(book.hear(it), Heard::New));
        let (first, second) = if side { (one, other) } else { (other, one) };
        prop_assert_eq!(book.hear(first), Heard::New);
        prop_assert_eq!(book.hear(second), Heard::Frozen);
        let usable = book.usable(&none);
        prop_assert_eq!(usable.state, State::Frozen);
        let expected: Vec<u64> = (1..at).rev().collect();
        prop_assert_eq!(usable.records().map(|it| it.seq).collect::<Vec<_>>(), expected);
        let unsettled = record("more", at + 1, Some(first), &[]);
        prop_assert_eq!(book.hear(&unsettled), Heard::Frozen);
        prop_assert_eq!(book.hear(&records[at as usize]), Heard::New);
        prop_assert!(book.freezing().is_none());
    }

    #[test]
    fn one_machine_never_contradicts_itself(steps in prop::collection::vec(step(), 1..40)) {
        let mut book = TagBook::default();
        let mut begun: Vec<RecordFacts> = Vec::new();
        let mut order = None;
        for (content, step) in steps.into_iter().enumerate() {
            let durable = book.clone();
            match step {
                Step::Begin { held, crash } => match begin(&mut book, content, held) {
                    _ if crash => book = durable,
                    record => begun.extend(record),
                },
                Step::Finish => {
                    if let Some(pending) = book.pending.clone() {
                        match book.finish(&pending.record) {
                            Ok(()) | Err(FinishError::Refused(Heard::Rollback { .. } | Heard::Ancestor)) => {}
                            error => panic!("{error:?}"),
                        }
                    }
                }
                Step::Abandon => {
                    book.abandon();
                }
                Step::Leak { which } => {
                    if let Some(leaked) = begun.iter().rev().nth(which) {
                        book.hear(leaked);
                    }
                }
            }
            for (index, one) in begun.iter().enumerate() {
                let contradicting = begun[index + 1..].iter().find_map(|two| Contradiction::of(one, two));
                prop_assert!(contradicting.is_none(), "{contradicting:?}");
            }
            prop_assert!(book.freezing().is_none());
            let head = book.head.as_ref().map(RecordFacts::order);
            prop_assert!(head >= order);
            order = head;
        }
        // A follower that hears everything that was ever begun is not frozen either.
        let mut follower = TagBook::default();
        begun.iter().chain(begun.iter().rev()).for_each(|it| { follower.hear(it); });
        prop_assert!(follower.freezing().is_none());
    }

    #[test]
    fn what_is_void_is_never_used(count in 1..=8_u64, void in any::<u8>(), records in Just(()).prop_flat_map(|()| shuffled(chain(8)))) {
        let stands = |it: &RecordFacts| void & (1 << (it.seq - 1)) == 0;
        let heard: Vec<RecordFacts> = records.into_iter().filter(|it| it.seq <= count).collect();
        let mut book = hear_all(&heard);
        book.rejudge(&stands);
        let expected: Vec<u64> = chain(count).iter().filter(|it| stands(it)).map(|it| it.seq).rev().collect();
        prop_assert_eq!(book.head.as_ref().map(|it| it.seq), expected.first().copied());
        prop_assert_eq!(book.usable(&none).records().map(|it| it.seq).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn nothing_below_the_lowest_usable_number_and_nothing_withdrawn_is_used(
        count in 1..=10_u64,
        lowest in 0..=12_u64,
        withdrawn in any::<u16>(),
    ) {
        let mut records = chain(count);
        records.last_mut().expect("it has records").min_usable = Some(lowest);
        let book = hear_all(&records);
        let is_withdrawn = |it: &RecordFacts| withdrawn & (1 << it.seq) != 0;
        let usable = book.usable(&is_withdrawn);
        if withdrawn & (1 << count) != 0 {
            prop_assert_eq!(usable.state, State::Withdrawn);
            prop_assert!(usable.records().next().is_none(), "nothing is used in the place of a withdrawn head");
        } else {
            prop_assert_eq!(usable.records().next().map(|it| it.seq), Some(count));
            prop_assert!(usable.records().skip(1).all(|it| it.seq >= lowest && !is_withdrawn(it)));
        }
    }
}

#[test]
fn numbers_do_not_jump_and_old_records_do_not_come_back() {
    let mut book = TagBook::default();
    let records = chain(3);
    assert_eq!(book.hear(&records[2]), Heard::New);
    assert_eq!(
        book.hear(&records[0]),
        Heard::Rollback { seen: 3 },
        "record 2 is not known, so the chain ends"
    );
    assert_eq!(book.hear(&records[1]), Heard::Ancestor);
    assert_eq!(book.hear(&records[0]), Heard::Ancestor);
    let far = record("far", 4 + SEQ_JUMP_MAX, None, &[]);
    assert_eq!(book.hear(&far), Heard::Jump { seen: 3 });
    let rotated = RecordFacts { key_document: 2, ..far };
    assert_eq!(book.hear(&rotated), Heard::New, "newer keys outrank every number of older ones");
    assert_eq!(book.hear(&records[2]), Heard::Ancestor);
}

#[test]
fn a_book_is_bounded() {
    let mut book = TagBook::default();
    chain(40).iter().for_each(|it| assert_eq!(book.hear(it), Heard::New));
    assert_eq!(book.ancestors.len(), TAG_ANCESTORS_MAX);
    assert_eq!(book.ancestors[0].seq, 39);
    for _ in 0..40 {
        begin(&mut book, 0, false).expect("nothing is held");
    }
    assert!(book.abandoned.len() <= 16);
}

#[test]
fn a_held_payload_waits_for_its_publisher_and_an_abandoned_one_is_refused() {
    let mut book = TagBook::default();
    let held = begin(&mut book, 1, true).expect("nothing is held");
    assert_eq!(begin(&mut book, 2, false), None);
    let mut finished = book.clone();
    finished.finish(&held).expect("it is pending");
    assert_eq!(finished.head.as_ref(), Some(&held));
    assert_eq!(finished.pending, None);
    book.abandon().expect("it is pending");
    assert_eq!(book.finish(&held), Err(FinishError::Abandoned));
    let next = begin(&mut book, 2, false).expect("nothing is held");
    assert_eq!((next.seq, next.settles.as_slice()), (2, &[held.payload][..]));
}

#[test]
fn settling_takes_a_number_above_both_records_and_names_them() {
    let records = settled_fork(3, 0);
    let mut book = TagBook::default();
    records[..3].iter().for_each(|it| {
        book.hear(it);
    });
    book.hear(records.last().expect("it has records"));
    assert!(matches!(book.next(SIGNING, None, false), Err(NextError::Frozen(_))));
    let next = book.next(SIGNING, None, true).expect("it is settled");
    assert_eq!(next.seq, 4);
    assert_eq!(next.settles.len(), 2);
    let settling = record("settling", 4, Some(&records[2]), &[&records[2], &records[4]]);
    assert_eq!(
        next.settles.iter().collect::<std::collections::BTreeSet<_>>(),
        settling.settles.iter().collect()
    );
    assert_eq!(book.finish(&settling), Ok(()));
    assert_eq!(
        book.next(SIGNING, None, false).expect("it moves").settles.len(),
        2,
        "later records name them too"
    );
}

#[test]
fn what_a_void_record_has_settled_away_is_used_again() {
    let honest = chain(2);
    let thief = record("thief", 3, Some(&honest[1]), &[&honest[0], &honest[1]]);
    let thief = RecordFacts { prev: None, ..thief };
    let mut book = hear_all(&[honest.clone(), vec![thief.clone()]].concat());
    assert_eq!(usable_of(&book), std::slice::from_ref(&thief));
    book.rejudge(&|it| *it != thief);
    assert_eq!(book.head.as_ref(), honest.last());
    assert_eq!(usable_of(&book), [honest[1].clone(), honest[0].clone()]);
}

#[test]
fn the_newest_record_that_stands_again_is_the_head() {
    let records = chain(2);
    let mut book = hear_all(&records[..1]);
    book.ancestors.push(records[1].clone());
    book.rejudge(&|_| true);
    assert_eq!(book.head.as_ref(), records.last());
    assert_eq!(book.ancestors, records[..1]);
}
