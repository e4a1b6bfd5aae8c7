//! [`Rules`]: the naming rules as the model calls them. A mutation replaces one of them.

use std::collections::BTreeSet;

use reg_proto::digest::Digest;
use reg_proto::envelope::PublicKey;
use reg_proto::key::{KeyDocument, KeyError};
use reg_proto::naming::chain::{self, Chain, Refusal, Standing, Step};
use reg_proto::naming::{
    FinishError, Heard, Next, NextError, Promise, RecordFacts, Signing, TagBook, Usable,
};

/// Judges a record: by the publisher's keys, or by its withdrawals.
pub(crate) type Judge<'a> = &'a dyn Fn(&RecordFacts) -> bool;

/// The rules of `reg_proto::naming`, one function each. [`Rules::unchanged`] calls them and adds nothing.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// Returns a key document as the rules read it.
    pub(crate) read: fn(KeyDocument) -> KeyDocument,
    pub(crate) extend: fn(&mut Chain, KeyDocument, Digest, &BTreeSet<PublicKey>) -> Result<(), KeyError>,
    pub(crate) follow: fn(Option<&Chain>, &Chain, bool) -> Result<Step, Refusal>,
    /// The second chain is the one that the node followed before.
    pub(crate) standing: fn(&Chain, Option<&Chain>, u64, &Digest) -> Standing,
    pub(crate) hear: fn(&mut TagBook, &RecordFacts) -> Heard,
    pub(crate) rejudge: fn(&mut TagBook, Judge<'_>),
    pub(crate) usable: fn(&TagBook, Judge<'_>) -> Usable,
    pub(crate) next: fn(&TagBook, Signing, bool) -> Result<Next, NextError>,
    pub(crate) begin: fn(&mut TagBook, RecordFacts) -> bool,
    pub(crate) finish: fn(&mut TagBook, &RecordFacts) -> Result<(), FinishError>,
    pub(crate) abandon: fn(&mut TagBook) -> Option<Promise>,
    /// Whether a book is durable before a payload is signed: the order of steps that the node keeps.
    pub(crate) writes_before_it_signs: bool,
    /// Whether nodes remember the chain that they followed before. No rule needs it; one mutation does.
    pub(crate) remembers: bool,
}

impl Rules {
    /// Returns the rules as the node runs them.
    pub(crate) fn unchanged() -> Self {
        Self {
            read: |document| document,
            extend: Chain::extend,
            follow: |followed, offered, is_dead| chain::follow(followed, offered, is_dead, None),
            standing: |chain, _, version, payload| chain.standing(version, payload),
            hear: TagBook::hear,
            rejudge: |book, stands| book.rejudge(stands),
            usable: |book, is_withdrawn| book.usable(is_withdrawn),
            next: |book, signing, settle| book.next(signing, None, settle),
            begin: |book, record| book.begin(record, false).is_ok(),
            finish: TagBook::finish,
            abandon: TagBook::abandon,
            writes_before_it_signs: true,
            remembers: false,
        }
    }
}
