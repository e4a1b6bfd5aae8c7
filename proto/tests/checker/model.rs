//! [`Naming`]: the model. Its actions are those of machines, of a thief, and of the network.

use std::collections::BTreeMap;

use reg_proto::naming::{NextError, RecordFacts, Signing, TagBook};
use stateright::{Model, Property};

use crate::config::{Author, Config, Forgery, Statement};
use crate::kept::Kept;
use crate::keyring::{Fork, Keyring};
use crate::properties;
use crate::rules::Rules;
use crate::world::{Document, Faults, Machine, Node, Signed, World, id_of, manifest_of, payload_of};

pub(crate) struct Naming {
    pub(crate) config: Config,
    pub(crate) rules: Rules,
    pub(crate) keyring: Keyring,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The machine takes the next number for a record, in memory.
    Begin {
        machine: usize,
        settle: bool,
    },
    /// The machine gives up its pending record, in memory.
    Abandon {
        machine: usize,
    },
    /// The machine makes its pending record the head, in memory.
    Finish {
        machine: usize,
    },
    /// The machine's book in memory becomes durable. Without it, the write has not happened.
    Write {
        machine: usize,
    },
    /// The machine starts again from its disk.
    Crash {
        machine: usize,
    },
    /// The pending record of the machine is signed. From now on every peer may have it.
    Sign {
        machine: usize,
    },
    /// A payload that was given up is signed after all.
    SignLoose {
        id: u8,
    },
    /// The publisher makes the next key document on the first machine.
    Rotate {
        drop: bool,
    },
    /// The author of the statement at this place signs it.
    State {
        place: usize,
    },
    Forge(Forgery),
    Fork(u64, Fork),
    HearRecord {
        node: usize,
        id: u8,
    },
    HearChain {
        node: usize,
        place: usize,
    },
    HearStatement {
        node: usize,
        place: usize,
    },
}

impl Naming {
    pub(crate) fn new(config: Config, rules: Rules) -> Self {
        Self { config, rules, keyring: Keyring::new() }
    }

    fn machine_actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (machine, it) in world.machines.iter().enumerate() {
            let is_durable = it.is_durable();
            let pending = it.node.book.rules.pending.as_ref();
            if pending.is_some() && (is_durable || !self.rules.writes_before_it_signs) {
                actions.push(Action::Sign { machine });
            }
            if !is_durable {
                actions.push(Action::Write { machine });
                if world.crashed < self.config.crashes {
                    actions.push(Action::Crash { machine });
                }
                // A book in doubt is written before anything else is done with it.
                continue;
            }
            if pending.is_some() {
                actions.push(Action::Finish { machine });
                if world.given_up < self.config.abandons {
                    actions.push(Action::Abandon { machine });
                }
            }
            if world.begun < self.config.records {
                actions.push(Action::Begin { machine, settle: self.config.settles });
            }
        }
    }

    fn publisher_and_thief_actions(&self, world: &World, actions: &mut Vec<Action>) {
        actions.extend(world.loose.keys().map(|&id| Action::SignLoose { id }));
        if world.owner.version() < self.config.documents {
            actions.push(Action::Rotate { drop: false });
            if self.config.may_drop {
                actions.push(Action::Rotate { drop: true });
            }
        }
        for (place, (author, statement)) in self.config.statements.iter().enumerate() {
            let is_due = world.made >> place & 1 == 0
                && match statement {
                    Statement::Withdraw { record, .. } => world.records.contains_key(record),
                    Statement::RevokeKey { .. } | Statement::Delegate { .. } => true,
                };
            let may_sign = *author == Author::Thief || world.owner.version() == statement.by();
            if is_due && may_sign {
                actions.push(Action::State { place });
            }
        }
        if world.forged < self.config.acts {
            actions.extend(self.config.forgeries.iter().map(|it| Action::Forge(*it)));
        }
        if self.config.forks {
            for base in 1..=world.owner.version() {
                actions.extend([Action::Fork(base, Fork::Alone), Action::Fork(base, Fork::BesideNext)]);
            }
        }
    }

    fn network_actions(&self, world: &World, actions: &mut Vec<Action>) {
        for node in 0..world.machines.len() + world.followers.len() {
            let machine = world.machines.get(node);
            if machine.is_some_and(|it| !it.is_durable()) {
                continue;
            }
            actions.extend(world.records.keys().map(|&id| Action::HearRecord { node, id }));
            actions.extend((0..world.chains.len()).map(|place| Action::HearChain { node, place }));
            let made = (0..self.config.statements.len()).filter(|place| world.made >> place & 1 == 1);
            actions.extend(made.map(|place| Action::HearStatement { node, place }));
        }
    }

    fn begin(&self, world: &mut World, machine: usize, settle: bool) -> Option<()> {
        let node = &world.machines[machine].node;
        let chain = node.chain.as_ref()?;
        // Revoked keys sign nothing: the publisher takes its next keys first.
        if self.is_dead(chain, &self.judge_known(node)) {
            return None;
        }
        let version = chain.version();
        let signing = Signing { key_document: version, floor: chain.newest().floor.unwrap_or(1) };
        let next = match (self.rules.next)(&node.book.rules, signing, settle) {
            Ok(next) => next,
            Err(NextError::Pending(_) | NextError::Frozen(_) | NextError::UsedUp) => return None,
        };
        let id = world.begun;
        let own_lowest = self.config.forbidding.filter(|it| *it == id).map(|_| next.seq);
        let record = RecordFacts {
            payload: payload_of(id),
            key_document: version,
            seq: next.seq,
            prev: next.prev,
            manifest: manifest_of(id),
            settles: next.settles,
            min_usable: own_lowest.or(next.min_usable),
        };
        self.change(world, machine, |book| (self.rules.begin)(book, record))?;
        world.begun += 1;
        Some(())
    }

    /// Changes the book of a machine in memory. Returns `None` if the rule says no.
    fn change(
        &self,
        world: &mut World,
        machine: usize,
        rule: impl FnOnce(&mut TagBook) -> bool,
    ) -> Option<()> {
        let mut book = (*world.machines[machine].node.book).clone();
        if !rule(&mut book.rules) {
            return None;
        }
        world.machines[machine].node.book = Kept::of(book);
        Some(())
    }

    fn pending(world: &World, machine: usize) -> Option<(u8, Signed)> {
        let pending = world.machines[machine].node.book.rules.pending.as_ref()?;
        let by = u8::try_from(machine).expect("few machines");
        let signed = Signed { facts: pending.record.clone(), machine: Some(by) };
        Some((id_of(&pending.record.payload), signed))
    }

    fn abandon(&self, world: &mut World, machine: usize) -> Option<()> {
        let (id, signed) = Self::pending(world, machine)?;
        self.change(world, machine, |book| (self.rules.abandon)(book).is_some())?;
        world.given_up += 1;
        if !world.records.contains_key(&id) {
            let mut loose = (*world.loose).clone();
            loose.insert(id, signed);
            world.loose = Kept::of(loose);
        }
        Some(())
    }

    /// The machine takes its own signed record as it would take one of a peer: it must count.
    fn finish(&self, world: &mut World, machine: usize) -> Option<()> {
        let (id, _) = Self::pending(world, machine)?;
        let record = world.records.get(&id)?.facts.clone();
        let node = &world.machines[machine].node;
        let judged = self.judge_known(node);
        if !self.stands(node, &judged, &record) {
            return None;
        }
        self.change(world, machine, |book| (self.rules.finish)(book, &record).is_ok())
    }

    /// The machine starts again: it reads its book and judges it by the keys that it follows.
    fn crash(&self, world: &mut World, machine: usize) {
        let mut faults = world.faults;
        let mut node = world.machines[machine].node.clone();
        node.book = world.machines[machine].disk.clone();
        let read = node.clone();
        self.rejudge(&read, &mut node, &mut faults);
        world.machines[machine].node = Node { held: 0, ..node };
        world.faults = faults;
        world.crashed += 1;
    }

    fn sign(&self, world: &mut World, machine: usize) -> Option<()> {
        let (id, signed) = Self::pending(world, machine)?;
        if world.records.contains_key(&id) {
            return None;
        }
        world.sign(id, signed);
        Some(())
    }

    fn hear(
        &self,
        world: &mut World,
        index: usize,
        hear: impl FnOnce(&World, &Node, &mut Faults) -> Option<Node>,
    ) -> Option<()> {
        let mut faults = world.faults;
        let after = hear(world, world.node(index), &mut faults);
        let is_faulty = faults != world.faults;
        world.faults = faults;
        let is_machine = index < world.machines.len();
        if let Some(after) = after {
            // What a machine may hold is no question of the model.
            let held = if is_machine { 0 } else { after.held };
            *world.node_mut(index) = Node { held, ..after };
        } else if !is_faulty {
            return None;
        }
        Some(())
    }

    fn act(&self, world: &mut World, action: Action) -> Option<()> {
        match action {
            Action::Begin { machine, settle } => self.begin(world, machine, settle),
            Action::Abandon { machine } => self.abandon(world, machine),
            Action::Finish { machine } => self.finish(world, machine),
            Action::Write { machine } => {
                world.machines[machine].disk = world.machines[machine].node.book.clone();
                Some(())
            }
            Action::Crash { machine } => {
                self.crash(world, machine);
                Some(())
            }
            Action::Sign { machine } => self.sign(world, machine),
            Action::SignLoose { id } => {
                let mut loose = (*world.loose).clone();
                let signed = loose.remove(&id)?;
                world.loose = Kept::of(loose);
                world.sign(id, signed);
                Some(())
            }
            Action::Rotate { drop } => self.rotate(world, drop),
            Action::State { place } => {
                world.made |= 1 << place;
                Some(())
            }
            Action::Forge(forgery) => self.forge(world, forgery),
            Action::Fork(base, form) => self.fork(world, base, form),
            Action::HearRecord { node, id } => self.hear(world, node, |world, node, faults| {
                self.hear_record(node, &world.records.get(&id)?.facts, faults)
            }),
            Action::HearChain { node, place } => self
                .hear(world, node, |world, node, faults| self.hear_chain(node, &world.chains[place], faults)),
            Action::HearStatement { node, place } => {
                self.hear(world, node, |_, node, faults| self.hear_statement(node, place, faults))
            }
        }
    }
}

impl Model for Naming {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let first = Kept::of(self.keyring.first(&self.config, &self.rules));
        let empty = Kept::of(Document::default());
        let node =
            Node { chain: Some(first.clone()), before: None, statements: 0, book: empty.clone(), held: 0 };
        let machine = Machine { node: node.clone(), disk: empty };
        let mut followers = vec![node; self.config.followers];
        if let Some(last) = followers.last_mut().filter(|_| self.config.has_newcomer) {
            last.chain = None;
        }
        vec![World {
            machines: vec![machine; self.config.machines],
            followers,
            owner: first.clone(),
            records: Kept::of(BTreeMap::new()),
            loose: Kept::of(BTreeMap::new()),
            chains: Kept::of(vec![first]),
            made: 0,
            begun: 0,
            forged: 0,
            crashed: 0,
            given_up: 0,
            faults: Faults::default(),
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.machine_actions(world, actions);
        self.publisher_and_thief_actions(world, actions);
        self.network_actions(world, actions);
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        self.act(&mut world, action)?;
        world.sort();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
