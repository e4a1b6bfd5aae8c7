//! What a node does with a message: judges it by the keys that it follows, and lets the rules decide.

use reg_proto::digest::Digest;
use reg_proto::naming::chain::{Chain, Standing, Step};
use reg_proto::naming::{RecordFacts, Usable};

use crate::config::{Author, Statement};
use crate::kept::Kept;
use crate::model::Naming;
use crate::spec;
use crate::world::{Faults, Node, World, id_of, statement_payload};

/// What the publisher's statements say to a node that follows its chain.
pub(crate) struct Judged {
    /// A bit for each key document with a revoked key.
    revoked: u8,
    /// A bit for each record with a withdrawn manifest.
    pub(crate) withdrawn: u16,
    pub(crate) is_delegated: bool,
    /// The statements that count.
    counted: u16,
}

impl Naming {
    fn standing(&self, node: &Node, version: u64, payload: &Digest) -> Standing {
        let Some(chain) = &node.chain else { return Standing::NoDocument };
        (self.rules.standing)(chain, node.before.as_deref(), version, payload)
    }

    /// Returns whether a statement counts that the key of document `by` has signed, with the keys in `revoked` revoked.
    fn counts(&self, node: &Node, revoked: u8, by: u64, payload: &Digest) -> bool {
        match self.standing(node, by, payload) {
            Standing::Inherited => true,
            Standing::BySignature => {
                let document = node.chain.as_ref().and_then(|it| it.document(by));
                document.is_some_and(|it| it.keys.contains(&self.keyring.of(by))) && revoked >> by & 1 == 0
            }
            Standing::Retired | Standing::ListMissing | Standing::NoDocument => false,
        }
    }

    /// Decides which of the statements in `heard` count, in the order of `reg_proto::revocation`: newer key documents first,
    /// because they may revoke keys of older ones; a key's revocation of itself always counts.
    pub(crate) fn judge(&self, node: &Node, heard: u16) -> Judged {
        let mut judged = Judged { revoked: 0, withdrawn: 0, is_delegated: false, counted: 0 };
        let Some(chain) = node.chain.as_ref().filter(|_| heard != 0) else { return judged };
        let heard = || {
            let all = self.config.statements.iter().enumerate();
            all.filter(move |(place, _)| heard >> place & 1 == 1).map(|(place, (_, it))| (place, *it))
        };
        for version in (1..=chain.version()).rev() {
            let mut now = 0;
            for (place, statement) in heard().filter(|(_, it)| it.by() == version) {
                let Statement::RevokeKey { of, by } = statement else { continue };
                if of <= by && (of == by || self.counts(node, judged.revoked, by, &statement_payload(place)))
                {
                    now |= 1 << of;
                    judged.counted |= 1 << place;
                }
            }
            judged.revoked |= now;
        }
        for (place, statement) in heard() {
            let counts = || self.counts(node, judged.revoked, statement.by(), &statement_payload(place));
            match statement {
                Statement::Withdraw { record, .. } if counts() => judged.withdrawn |= 1 << record,
                Statement::Delegate { .. } if counts() => judged.is_delegated = true,
                _ => continue,
            }
            judged.counted |= 1 << place;
        }
        judged
    }

    pub(crate) fn judge_known(&self, node: &Node) -> Judged {
        self.judge(node, node.statements)
    }

    /// Returns whether the record counts for the node.
    pub(crate) fn stands(&self, node: &Node, judged: &Judged, record: &RecordFacts) -> bool {
        self.counts(node, judged.revoked, record.key_document, &record.payload)
            && node.chain.as_ref().is_some_and(|it| it.check_seq(record.key_document, record.seq).is_ok())
    }

    /// Returns whether the record would count if no key were revoked: the publisher may inherit it.
    pub(crate) fn may_inherit(&self, node: &Node, record: &RecordFacts) -> bool {
        self.counts(node, 0, record.key_document, &record.payload)
    }

    pub(crate) fn is_dead(&self, chain: &Chain, judged: &Judged) -> bool {
        let newest = chain.newest();
        let revoked = (1..=chain.version()).filter(|it| judged.revoked >> it & 1 == 1);
        let revoked = revoked.map(|it| self.keyring.of(it)).filter(|it| newest.keys.contains(it)).count();
        newest.keys.len() - revoked < newest.threshold
    }

    pub(crate) fn usable(&self, node: &Node) -> Usable {
        let judged = self.judge_known(node);
        (self.rules.usable)(&node.book.rules, &|it| judged.withdrawn >> id_of(&it.payload) & 1 == 1)
    }

    /// Returns the node after it has heard a record; `None` if nothing changes.
    pub(crate) fn hear_record(&self, node: &Node, record: &RecordFacts, faults: &mut Faults) -> Option<Node> {
        let judged = self.judge_known(node);
        if !self.stands(node, &judged, record) {
            return None;
        }
        let mut book = (*node.book).clone();
        (self.rules.hear)(&mut book.rules, record);
        faults.forgot_contradiction |= spec::forgets(&node.book.rules, record, &book.rules);
        faults.went_back |= match (&node.book.rules.head, &book.rules.head) {
            (Some(before), Some(after)) => after.order() < before.order(),
            (Some(_), None) => true,
            (None, _) => false,
        };
        if book == *node.book {
            return None;
        }
        let mut after = node.clone();
        after.book = Kept::of(book);
        self.note_usable(&mut after);
        Some(after)
    }

    /// Returns the node after it was offered a chain; `None` if it does not follow it or follows it already.
    pub(crate) fn hear_chain(&self, node: &Node, offered: &Kept<Chain>, faults: &mut Faults) -> Option<Node> {
        let judged = self.judge_known(node);
        let is_dead = node.chain.as_ref().is_some_and(|it| self.is_dead(it, &judged));
        match (self.rules.follow)(node.chain.as_deref(), offered, is_dead) {
            Ok(Step::First | Step::Newer | Step::Accepted) => {}
            Ok(Step::Same) | Err(_) => return None,
        }
        if let Some(followed) = &node.chain {
            faults.went_back |= !followed.is_prefix_of(offered);
            faults.followed_revoked_keys |= is_dead && followed.newest().next.keys().is_none();
        }
        let mut after = node.clone();
        after.before = node.chain.clone().filter(|_| self.rules.remembers);
        after.chain = Some(offered.clone());
        self.rejudge(node, &mut after, faults);
        Some(after)
    }

    /// Returns the node after it has heard the statement at this place; `None` if nothing changes.
    pub(crate) fn hear_statement(&self, node: &Node, place: usize, faults: &mut Faults) -> Option<Node> {
        let heard = node.statements | 1 << place;
        let counted = self.judge(node, heard).counted;
        if counted == node.statements {
            return None;
        }
        let mut after = node.clone();
        after.statements = counted;
        self.rejudge(node, &mut after, faults);
        Some(after)
    }

    /// Judges statements and records anew, by the keys that `after` follows.
    pub(crate) fn rejudge(&self, before: &Node, after: &mut Node, faults: &mut Faults) {
        after.statements = self.judge_known(after).counted;
        let judged = self.judge_known(after);
        let mut book = (*after.book).clone();
        book.rejudge(|book| (self.rules.rejudge)(book, &|record| self.stands(after, &judged, record)));
        if let Some(head) = before.book.rules.head.as_ref().filter(|it| self.stands(after, &judged, it)) {
            faults.went_back |= book.rules.head.as_ref().is_none_or(|it| it.order() < head.order());
        }
        if book != *after.book {
            after.book = Kept::of(book);
        }
        self.note_usable(after);
    }

    fn note_usable(&self, node: &mut Node) {
        for record in self.usable(node).records() {
            node.held |= 1 << id_of(&record.payload);
        }
    }

    /// Returns whether no message that exists changes the follower.
    pub(crate) fn is_quiet(&self, world: &World, follower: &Node) -> bool {
        let mut faults = Faults::default();
        world.chains.iter().all(|it| self.hear_chain(follower, it, &mut faults).is_none())
            && (0..self.config.statements.len())
                .filter(|place| world.made >> place & 1 == 1)
                .all(|place| self.hear_statement(follower, place, &mut faults).is_none())
            && world.records.values().all(|it| self.hear_record(follower, &it.facts, &mut faults).is_none())
    }

    pub(crate) fn author(&self, place: usize) -> Author {
        self.config.statements[place].0
    }
}
