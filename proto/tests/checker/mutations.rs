//! Wrong variants of the rules. The explorer must catch each of them by a named property.

use std::collections::BTreeSet;

use reg_proto::digest::Digest;
use reg_proto::envelope::PublicKey;
use reg_proto::key::{KeyDocument, KeyError, Next};
use reg_proto::naming::chain::{self, Chain, Refusal, Standing, Step};
use reg_proto::naming::{
    Barred, Candidate, Heard, Next as Number, NextError, Pending, RecordFacts, Signing, State, TagBook,
    Usable,
};

use crate::config::{Author, Config, Forgery, Statement};
use crate::properties::{
    CONVERGE, FORBIDDEN, FORWARD, FREEZES, LOCKED_OUT, ONE_MACHINE, REACHABLE, RETIRED, SELF_FREEZE,
};
use crate::rules::{Judge, Rules};

pub(crate) struct Mutation {
    pub(crate) name: &'static str,
    pub(crate) rules: Rules,
    /// A small configuration in which the fault shows.
    pub(crate) config: Config,
    pub(crate) caught_by: &'static str,
}

const STOLEN: Config = Config {
    records: 1,
    documents: 2,
    stolen: Some(1),
    forgeries: &[Forgery::After],
    acts: 1,
    ..Config::SMALL
};
const FORKED: Config = Config { records: 0, documents: 2, stolen: Some(1), forks: true, ..Config::SMALL };
const OPEN: Config = Config {
    is_committed: false,
    statements: &[(Author::Owner, Statement::RevokeKey { of: 1, by: 1 })],
    ..FORKED
};
const TWO_MACHINES: Config = Config { machines: 2, ..Config::SMALL };

pub(crate) fn all() -> Vec<Mutation> {
    let right = Rules::unchanged();
    let wrong = |name, rules, config, caught_by| Mutation { name, rules, config, caught_by };
    keys(right, wrong).into_iter().chain(tags(right, wrong)).collect()
}

type Make = fn(&'static str, Rules, Config, &'static str) -> Mutation;

/// Mutations of what `naming::chain` decides.
fn keys(right: Rules, wrong: Make) -> Vec<Mutation> {
    let three = Config { records: 1, documents: 3, may_drop: true, ..Config::SMALL };
    vec![
        wrong("a fork that came later is followed", Rules { follow: follow_forks, ..right }, OPEN, FORWARD),
        wrong("a retired key counts", Rules { standing: count_retired, ..right }, STOLEN, RETIRED),
        wrong("signatures of old keys suffice", Rules { read: open, ..right }, FORKED, CONVERGE),
        wrong(
            "the committed key need not sign",
            Rules { extend: extend_unsigned, ..right },
            FORKED,
            CONVERGE,
        ),
        wrong(
            "an inherited record does not count",
            Rules { standing: refuse_inherited, ..right },
            STOLEN,
            LOCKED_OUT,
        ),
        wrong(
            "the list of an older document is kept",
            Rules { standing: count_older_lists, remembers: true, ..right },
            three,
            RETIRED,
        ),
        wrong(
            "revoked keys without a commitment go on",
            Rules { follow: |followed, offered, _| chain::follow(followed, offered, false, None), ..right },
            OPEN,
            RETIRED,
        ),
    ]
}

/// Mutations of what `naming::TagBook` decides.
fn tags(right: Rules, wrong: Make) -> Vec<Mutation> {
    let half = Config { documents: 1, acts: 2, forgeries: &[Forgery::Same, Forgery::HalfSettling], ..STOLEN };
    let settling = Config { records: 2, forgeries: &[Forgery::Settling], ..STOLEN };
    let withdrawn =
        Config { statements: &[(Author::Owner, Statement::Withdraw { record: 1, by: 1 })], ..Config::SMALL };
    let replaced = Config { machines: 2, records: 3, settles: true, ..Config::SMALL };
    let without_writing = Rules { writes_before_it_signs: false, ..right };
    vec![
        wrong(
            "an older record becomes the head",
            Rules { hear: hear_older, ..right },
            Config::SMALL,
            FORWARD,
        ),
        wrong(
            "a pending record is overlooked",
            Rules { next: next_beside_pending, begin: begin_over_pending, ..right },
            Config::SMALL,
            ONE_MACHINE,
        ),
        wrong(
            "a payload is signed before the book is durable",
            without_writing,
            Config { crashes: 1, ..Config::SMALL },
            ONE_MACHINE,
        ),
        wrong(
            "an abandoned payload is forgotten",
            Rules { abandon: |book| book.abandon().inspect(|_| book.abandoned.clear()), ..right },
            Config { abandons: 1, ..Config::SMALL },
            ONE_MACHINE,
        ),
        wrong(
            "the next record does not name the abandoned one",
            Rules { next: next_without_naming, ..right },
            Config { abandons: 1, ..Config::SMALL },
            SELF_FREEZE,
        ),
        wrong("a contradiction is not kept", Rules { hear: hear_unproven, ..right }, TWO_MACHINES, FREEZES),
        wrong(
            "the lowest usable number is ignored",
            Rules { usable: use_forbidden, ..right },
            Config { forbidding: Some(1), ..Config::SMALL },
            FORBIDDEN,
        ),
        wrong("a void head is still used", Rules { rejudge: |_, _| {}, ..right }, STOLEN, RETIRED),
        wrong(
            "a record settles by naming one of two",
            Rules { hear: hear_half_settled, ..right },
            half,
            FREEZES,
        ),
        wrong(
            "a frozen tag offers every record",
            Rules { usable: use_frozen, ..right },
            TWO_MACHINES,
            FREEZES,
        ),
        wrong("a withdrawn head gives way", Rules { usable: use_withdrawn, ..right }, withdrawn, FORBIDDEN),
        wrong(
            "what is settled away is forgotten",
            Rules { hear: hear_forgetful, ..right },
            settling,
            REACHABLE,
        ),
        wrong("what is settled away is used", Rules { usable: use_settled, ..right }, replaced, FORBIDDEN),
    ]
}

fn follow_forks(followed: Option<&Chain>, offered: &Chain, is_dead: bool) -> Result<Step, Refusal> {
    match chain::follow(followed, offered, is_dead, None) {
        Err(Refusal::Forked { .. }) => Ok(Step::Newer),
        decided => decided,
    }
}

fn count_retired(chain: &Chain, _: Option<&Chain>, version: u64, payload: &Digest) -> Standing {
    match chain.standing(version, payload) {
        Standing::Retired => Standing::BySignature,
        standing => standing,
    }
}

fn refuse_inherited(chain: &Chain, _: Option<&Chain>, version: u64, payload: &Digest) -> Standing {
    match chain.standing(version, payload) {
        Standing::Inherited => Standing::Retired,
        standing => standing,
    }
}

fn count_older_lists(chain: &Chain, before: Option<&Chain>, version: u64, payload: &Digest) -> Standing {
    let lists = before.and_then(Chain::inheritance).is_some_and(|list| list.contains(payload));
    match chain.standing(version, payload) {
        Standing::Retired if lists => Standing::Inherited,
        standing => standing,
    }
}

fn open(document: KeyDocument) -> KeyDocument {
    KeyDocument { next: Next::Open, ..document }
}

fn extend_unsigned(
    chain: &mut Chain,
    document: KeyDocument,
    digest: Digest,
    signers: &BTreeSet<PublicKey>,
) -> Result<(), KeyError> {
    let next = chain.newest().next.keys().cloned();
    let named = document.keys.iter().filter(|key| next.as_ref().is_some_and(|next| next.names(key)));
    let signers = signers.iter().chain(named).copied().collect();
    chain.extend(document, digest, &signers)
}

fn hear_older(book: &mut TagBook, record: &RecordFacts) -> Heard {
    let heard = book.hear(record);
    if matches!(heard, Heard::Rollback { .. } | Heard::Ancestor) {
        book.ancestors.retain(|it| it != record);
        book.ancestors.extend(book.head.replace(record.clone()));
    }
    heard
}

fn hear_unproven(book: &mut TagBook, record: &RecordFacts) -> Heard {
    let heard = book.hear(record);
    book.proofs.clear();
    heard
}

fn hear_half_settled(book: &mut TagBook, record: &RecordFacts) -> Heard {
    for proof in book.proofs.iter_mut().filter(|it| it.settled.is_none() && it.two.seq < record.seq) {
        if proof.heads().iter().any(|head| record.settles.contains(head)) {
            proof.settled = Some(record.clone());
        }
    }
    book.hear(record)
}

fn hear_forgetful(book: &mut TagBook, record: &RecordFacts) -> Heard {
    let heard = book.hear(record);
    let settled: Vec<Digest> = book.known().flat_map(|it| it.settles.iter().copied()).collect();
    book.ancestors.retain(|it| !settled.contains(&it.payload));
    heard
}

fn next_without_naming(book: &TagBook, signing: Signing, settle: bool) -> Result<Number, NextError> {
    book.next(signing, None, settle).map(|next| Number { settles: Vec::new(), ..next })
}

fn next_beside_pending(book: &TagBook, signing: Signing, settle: bool) -> Result<Number, NextError> {
    TagBook { pending: None, ..book.clone() }.next(signing, None, settle)
}

fn begin_over_pending(book: &mut TagBook, record: RecordFacts) -> bool {
    book.pending = Some(Pending { record, held: false });
    true
}

fn use_forbidden(book: &TagBook, is_withdrawn: Judge<'_>) -> Usable {
    let mut usable = book.usable(is_withdrawn);
    if usable.state == State::Moves {
        usable.candidates = candidates(book.known(), is_withdrawn);
    }
    usable
}

fn use_frozen(book: &TagBook, is_withdrawn: Judge<'_>) -> Usable {
    TagBook { proofs: Vec::new(), ..book.clone() }.usable(is_withdrawn)
}

fn use_withdrawn(book: &TagBook, is_withdrawn: Judge<'_>) -> Usable {
    match book.usable(is_withdrawn) {
        Usable { state: State::Withdrawn, .. } => {
            Usable { candidates: candidates(book.ancestors.iter(), is_withdrawn), state: State::Moves }
        }
        usable => usable,
    }
}

fn use_settled(book: &TagBook, is_withdrawn: Judge<'_>) -> Usable {
    let mut usable = book.usable(is_withdrawn);
    for it in usable.candidates.iter_mut().filter(|it| it.barred == Some(Barred::SettledAway)) {
        it.barred = None;
    }
    usable
}

fn candidates<'a>(records: impl Iterator<Item = &'a RecordFacts>, is_withdrawn: Judge<'_>) -> Vec<Candidate> {
    let allowed = records.filter(|it| !is_withdrawn(it));
    allowed.map(|it| Candidate { record: it.clone(), barred: None }).collect()
}
