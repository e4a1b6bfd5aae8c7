//! [`World`]: one state of the model. Everything that was signed once stays deliverable for ever, to every node, in every
//! order; a peer that withholds a message is a path on which it is not delivered.

use std::collections::{BTreeMap, BTreeSet};

use reg_proto::digest::Digest;
use reg_proto::naming::chain::Chain;
use reg_proto::naming::{RecordFacts, TagBook};

use crate::kept::Kept;

/// Ids of records from this one on are the thief's.
pub(crate) const FIRST_FORGED: u8 = 8;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) machines: Vec<Machine>,
    pub(crate) followers: Vec<Node>,
    /// The chain with the publisher's newest key document.
    pub(crate) owner: Kept<Chain>,
    /// The records with a signature, by id.
    pub(crate) records: Kept<BTreeMap<u8, Signed>>,
    /// The payloads that were given up and may still be signed, by id.
    pub(crate) loose: Kept<BTreeMap<u8, Signed>>,
    /// The key documents that peers send.
    pub(crate) chains: Kept<Vec<Kept<Chain>>>,
    /// The statements that exist, by their place in the configuration.
    pub(crate) made: u16,
    pub(crate) begun: u8,
    pub(crate) forged: u8,
    pub(crate) crashed: u8,
    pub(crate) given_up: u8,
    pub(crate) faults: Faults,
}

/// What was seen to go wrong at a step. Such a property is one of steps, not of states.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    pub(crate) went_back: bool,
    pub(crate) followed_revoked_keys: bool,
    pub(crate) forgot_contradiction: bool,
}

/// A machine with the publisher's keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Machine {
    /// Its node; the book is the one in memory.
    pub(crate) node: Node,
    /// The book as it is after a crash.
    pub(crate) disk: Kept<Document>,
}

impl Machine {
    pub(crate) fn is_durable(&self) -> bool {
        self.disk == self.node.book
    }
}

/// What a node keeps of the tag, as its one document for each tag does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Document {
    pub(crate) rules: TagBook,
    /// Records that the rules do without, such as those that stand no longer. They may stand again under newer keys.
    pub(crate) others: BTreeSet<RecordFacts>,
}

impl Document {
    /// Judges everything anew that is kept, by a rule that removes from the book what does not stand.
    pub(crate) fn rejudge(&mut self, rule: impl FnOnce(&mut TagBook)) {
        self.rules.ancestors.extend(std::mem::take(&mut self.others));
        let before: Vec<RecordFacts> = self.rules.known().cloned().collect();
        rule(&mut self.rules);
        let known: BTreeSet<&RecordFacts> = self.rules.known().collect();
        self.others = before.into_iter().filter(|it| !known.contains(it)).collect();
    }
}

/// What a node knows of the publisher and of the tag.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) chain: Option<Kept<Chain>>,
    /// The chain that was followed before, where a mutation remembers it.
    pub(crate) before: Option<Kept<Chain>>,
    /// The statements that count.
    pub(crate) statements: u16,
    pub(crate) book: Kept<Document>,
    /// Ids of the records that were usable at some time: the node may hold the model of each of them.
    pub(crate) held: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Signed {
    pub(crate) facts: RecordFacts,
    /// The machine that made the payload; `None` for the thief.
    pub(crate) machine: Option<u8>,
}

pub(crate) const fn payload_of(id: u8) -> Digest {
    Digest::from_bytes([id; 32])
}

pub(crate) const fn id_of(payload: &Digest) -> u8 {
    payload.as_bytes()[0]
}

/// Returns the digest that names the manifest of a record.
pub(crate) const fn manifest_of(id: u8) -> Digest {
    Digest::from_bytes([0x40 | id; 32])
}

/// Returns the digest of the payload of a statement at this place of the configuration.
pub(crate) fn statement_payload(place: usize) -> Digest {
    Digest::from_bytes([0x80 | u8::try_from(place).expect("few statements"); 32])
}

impl World {
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.machines.iter().map(|it| &it.node).chain(&self.followers)
    }

    /// Returns the `index`-th node, machines first.
    pub(crate) fn node(&self, index: usize) -> &Node {
        match index.checked_sub(self.machines.len()) {
            None => &self.machines[index].node,
            Some(index) => &self.followers[index],
        }
    }

    pub(crate) fn node_mut(&mut self, index: usize) -> &mut Node {
        match index.checked_sub(self.machines.len()) {
            None => &mut self.machines[index].node,
            Some(index) => &mut self.followers[index],
        }
    }

    /// Adds a signed record.
    pub(crate) fn sign(&mut self, id: u8, signed: Signed) {
        let mut records = (*self.records).clone();
        records.insert(id, signed);
        self.records = Kept::of(records);
    }

    /// Adds a chain to those that peers send. Returns whether it is new.
    pub(crate) fn publish(&mut self, chain: Kept<Chain>) -> bool {
        if self.chains.contains(&chain) {
            return false;
        }
        let mut chains = (*self.chains).clone();
        chains.push(chain);
        self.chains = Kept::of(chains);
        true
    }

    /// Puts the followers in an order that does not depend on their names, so that states that differ by names are one.
    pub(crate) fn sort(&mut self) {
        let rank = |node: &Node| {
            let chain = node.chain.as_ref().map(Kept::fingerprint);
            (
                chain,
                node.book.fingerprint(),
                node.statements,
                node.held,
                node.before.as_ref().map(Kept::fingerprint),
            )
        };
        self.followers.sort_by_key(rank);
    }
}
