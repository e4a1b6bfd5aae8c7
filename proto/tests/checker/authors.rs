//! What the publisher and the thief sign beside the publisher's own records: key documents and forged records.

use reg_proto::limits::SEQ_MAX;
use reg_proto::naming::RecordFacts;

use crate::config::{Author, Forgery};
use crate::kept::Kept;
use crate::keyring::Fork;
use crate::model::Naming;
use crate::world::{FIRST_FORGED, Node, Signed, World, id_of, manifest_of, payload_of, statement_payload};

impl Naming {
    /// The publisher inherits what stands of its own records and statements, as the first machine knows them.
    pub(crate) fn rotate(&self, world: &mut World, drop: bool) -> Option<()> {
        let machine = &world.machines[0];
        let node = &machine.node;
        if !machine.is_durable() || node.chain.as_ref() != Some(&world.owner) {
            return None;
        }
        let is_own = |it: &&RecordFacts| id_of(&it.payload) < FIRST_FORGED;
        let all = node.book.rules.known().chain(&node.book.others).filter(is_own);
        let mut own: Vec<_> = all.filter(|it| self.may_inherit(node, it)).collect();
        own.sort_by_key(|it| std::cmp::Reverse(it.order()));
        let kept = own.len().saturating_sub(usize::from(drop));
        if drop && kept == own.len() {
            return None;
        }
        let records = own[..kept].iter().map(|it| it.payload);
        let made = (0..self.config.statements.len()).filter(|place| world.made >> place & 1 == 1);
        let statements = made.filter(|place| self.author(*place) == Author::Owner).map(statement_payload);
        let inherited = records.chain(statements).collect();
        let [whole, bare] = self.keyring.rotated(&self.config, &self.rules, &world.owner, inherited);
        let whole = Kept::of(whole);
        if self.config.strips_lists {
            world.publish(Kept::of(bare));
        }
        world.publish(whole.clone());
        world.owner = whole.clone();
        let mut faults = world.faults;
        let after = self.hear_chain(&world.machines[0].node, &whole, &mut faults)?;
        world.machines[0].node = Node { held: 0, ..after };
        // The keys and what they void are written together with the book.
        world.machines[0].disk = world.machines[0].node.book.clone();
        Some(())
    }

    pub(crate) fn forge(&self, world: &mut World, forgery: Forgery) -> Option<()> {
        let by = self.config.stolen?;
        let known: Vec<&RecordFacts> =
            world.records.values().map(|it| &it.facts).filter(|it| it.key_document == by).collect();
        let top = known.iter().max_by_key(|it| (it.seq, it.payload)).copied();
        let seq = top.map_or(0, |it| it.seq);
        let id = FIRST_FORGED + world.forged;
        let after = RecordFacts {
            payload: payload_of(id),
            key_document: by,
            seq: seq + 1,
            prev: top.map(|it| it.payload),
            manifest: manifest_of(id),
            settles: Vec::new(),
            min_usable: None,
        };
        let facts = match forgery {
            Forgery::Same => RecordFacts { seq, prev: top?.prev, ..after },
            Forgery::After => after,
            Forgery::Gap => RecordFacts { seq: seq + 2, ..after },
            Forgery::Settling => {
                RecordFacts { settles: known.iter().map(|it| it.payload).take(16).collect(), ..after }
            }
            Forgery::HalfSettling => RecordFacts { seq: seq + 2, settles: vec![top?.payload], ..after },
            Forgery::Forbidding => RecordFacts { min_usable: Some(seq + 1), ..after },
            Forgery::First => RecordFacts { seq: 1, prev: None, ..after },
        };
        if facts.seq > SEQ_MAX || known.iter().any(|it| it.payload == facts.payload) {
            return None;
        }
        world.forged += 1;
        world.sign(id, Signed { facts, machine: None });
        Some(())
    }

    pub(crate) fn fork(&self, world: &mut World, base: u64, form: Fork) -> Option<()> {
        let stolen = self.config.stolen?;
        let chain = self.keyring.forked(&self.rules, &self.config, &world.owner, (base, stolen), form)?;
        world.publish(Kept::of(chain)).then_some(())
    }
}
