//! The properties. Each holds in every state; those about what becomes of the followers in the end hold in every state in
//! which no message changes a follower any more.

use reg_proto::digest::Digest;
use reg_proto::limits::SEQ_JUMP_MAX;
use reg_proto::naming::{RecordFacts, State};
use stateright::Property;

use crate::model::Naming;
use crate::spec;
use crate::world::{Node, World, id_of};

pub(crate) const REACHABLE: &str = "a held version stays reachable by name";
pub(crate) const ONE_MACHINE: &str = "one machine never contradicts itself";
pub(crate) const CONVERGE: &str = "followers converge on the publisher's newest keys and record";
pub(crate) const FORWARD: &str = "nothing goes back";
pub(crate) const RETIRED: &str = "a retired or revoked key grants nothing";
pub(crate) const LOCKED_OUT: &str = "nothing that the newest keys inherit is locked out";
pub(crate) const SELF_FREEZE: &str = "one honest machine never freezes its own tag";
pub(crate) const FREEZES: &str = "a contradiction freezes until both records are settled";
pub(crate) const FORBIDDEN: &str = "what the publisher forbids is never used";

pub(crate) fn all() -> Vec<Property<Naming>> {
    vec![
        Property::always(REACHABLE, |naming: &Naming, world: &World| {
            world.followers.iter().all(|it| reaches(naming, world, it))
        }),
        Property::always(ONE_MACHINE, |_, world: &World| one_machine(world)),
        Property::always(CONVERGE, converge),
        Property::always(FORWARD, |_, world: &World| !world.faults.went_back),
        Property::always(RETIRED, |naming: &Naming, world: &World| {
            !world.faults.followed_revoked_keys && world.nodes().all(|it| grants_retired_nothing(naming, it))
        }),
        Property::always(LOCKED_OUT, |naming: &Naming, world: &World| {
            world.followers.iter().all(|it| inherits(naming, world, it) || !naming.is_quiet(world, it))
        }),
        Property::always(SELF_FREEZE, |naming: &Naming, world: &World| {
            !naming.config.is_one_honest_machine()
                || world.nodes().all(|it| it.book.rules.freezing().is_none())
        }),
        Property::always(FREEZES, |naming: &Naming, world: &World| {
            !world.faults.forgot_contradiction && world.followers.iter().all(|it| freezes(naming, it))
        }),
        Property::always(FORBIDDEN, |naming: &Naming, world: &World| {
            world.followers.iter().all(|it| obeys(naming, world, it))
        }),
    ]
}

/// Every version that the node may hold and that stands is offered by the tag, but for one that the publisher withdrew,
/// settled away or forbids, and for one that is not before both records of a contradiction.
fn reaches(naming: &Naming, world: &World, node: &Node) -> bool {
    if node.held == 0 {
        return true;
    }
    let usable = naming.usable(node);
    if usable.state == State::Withdrawn {
        return true;
    }
    let judged = naming.judge_known(node);
    let held = world.records.iter().filter(|(id, _)| node.held >> **id & 1 == 1).map(|(_, it)| &it.facts);
    let mut due = held
        .filter(|it| judged.withdrawn >> id_of(&it.payload) & 1 == 0 && naming.stands(node, &judged, it))
        .filter(|it| is_allowed(node, it) && is_undisputed(world, node, it));
    due.all(|it| usable.records().any(|record| record == it))
}

/// Returns whether no record that the node knows forbids or replaces this one.
fn is_allowed(node: &Node, record: &RecordFacts) -> bool {
    let contradicting = node.book.rules.proofs.iter().flat_map(|it| [&it.one, &it.two]);
    node.book.rules.known().chain(contradicting).all(|it| {
        it.min_usable.is_none_or(|lowest| record.seq >= lowest) && !it.settles.contains(&record.payload)
    })
}

/// Returns whether the record is before both records of each contradiction that freezes the node's tag.
fn is_undisputed(world: &World, node: &Node, record: &RecordFacts) -> bool {
    let freezing = node.book.rules.proofs.iter().filter(|it| it.settled.is_none());
    freezing
        .flat_map(|it| [&it.one, &it.two])
        .all(|it| spec::line(world, it).contains(&id_of(&record.payload)))
}

fn one_machine(world: &World) -> bool {
    let records: Vec<_> = world.records.values().filter(|it| it.machine.is_some()).collect();
    records.iter().enumerate().all(|(place, one)| {
        let others = records[..place].iter().filter(|it| it.machine == one.machine);
        others.into_iter().all(|two| !spec::contradict(&one.facts, &two.facts))
    })
}

/// In the end each follower follows the newest key document, unless the thief could make a valid one; and the head of a
/// tag that moves is the newest record that counts.
fn converge(naming: &Naming, world: &World) -> bool {
    let thief_has_keys = !naming.config.is_committed && naming.config.forks;
    world.followers.iter().all(|node| {
        let is_there =
            (thief_has_keys || node.chain.as_ref() == Some(&world.owner)) && has_newest(naming, world, node);
        is_there || !naming.is_quiet(world, node)
    })
}

fn has_newest(naming: &Naming, world: &World, node: &Node) -> bool {
    if node.book.rules.freezing().is_some() {
        return true;
    }
    let judged = naming.judge_known(node);
    let counting = world.records.values().map(|it| &it.facts).filter(|it| naming.stands(node, &judged, it));
    let newest = counting.filter(|it| it.seq <= SEQ_JUMP_MAX).map(RecordFacts::order).max();
    newest <= node.book.rules.head.as_ref().map(RecordFacts::order)
}

/// Whatever a node takes from keys before the newest document is on the list of that document.
fn grants_retired_nothing(naming: &Naming, node: &Node) -> bool {
    let Some(chain) = node.chain.as_ref().filter(|it| it.newest().inherits.is_some()) else { return true };
    let is_listed = |payload: &Digest| chain.inheritance().is_some_and(|list| list.contains(payload));
    let records =
        node.book.rules.known().all(|it| it.key_document == chain.version() || is_listed(&it.payload));
    let statements = naming.config.statements.iter().enumerate().all(|(place, (_, statement))| {
        let payload = crate::world::statement_payload(place);
        let is_own_key = matches!(statement, crate::config::Statement::RevokeKey { of, by } if of == by);
        node.statements >> place & 1 == 0
            || is_own_key
            || statement.by() == chain.version()
            || is_listed(&payload)
    });
    records && statements
}

/// In the end a follower of the publisher's newest keys takes each record that they inherit.
fn inherits(naming: &Naming, world: &World, node: &Node) -> bool {
    let Some(chain) = node.chain.as_ref().filter(|it| **it == world.owner) else {
        return !naming.config.is_committed;
    };
    let Some(list) = chain.inheritance() else { return true };
    let judged = naming.judge_known(node);
    let mut inherited = world.records.values().map(|it| &it.facts).filter(|it| list.contains(&it.payload));
    inherited.all(|it| {
        let is_void = chain.check_seq(it.key_document, it.seq).is_err();
        is_void || naming.stands(node, &judged, it) && is_known_or_disputed(node, it)
    })
}

/// Returns whether the book has the record, or one that came after it and that the node has not used it before.
fn is_known_or_disputed(node: &Node, record: &RecordFacts) -> bool {
    let is_later = |it: &RecordFacts| it.order() >= record.order();
    let is_held = node.held >> id_of(&record.payload) & 1 == 1;
    node.book.rules.known().any(|it| it == record || !is_held && is_later(it))
        || node.book.rules.proofs.iter().any(|it| is_later(&it.two))
}

/// The tag offers no record of a contradiction that no record settles, nor a later one.
fn freezes(naming: &Naming, node: &Node) -> bool {
    let is_open = |it: &&reg_proto::naming::Contradiction| {
        let mut settling = node.book.rules.known().chain(&it.settled);
        !settling.any(|record| spec::settles(record, &it.one, &it.two))
    };
    let mut open = node.book.rules.proofs.iter().filter(is_open).peekable();
    if open.peek().is_none() {
        return true;
    }
    let usable = naming.usable(node);
    open.all(|proof| usable.records().all(|it| it.order() < proof.one.order()))
}

/// The tag offers only records that stand, that are not withdrawn, that the newest record allows, and in the place of which
/// the head does not hold.
fn obeys(naming: &Naming, world: &World, node: &Node) -> bool {
    let usable = naming.usable(node);
    if usable.records().next().is_none() {
        return true;
    }
    let judged = naming.judge_known(node);
    let is_withdrawn = |it: &RecordFacts| judged.withdrawn >> id_of(&it.payload) & 1 == 1;
    let head = node.book.rules.head.as_ref();
    let lowest = head.and_then(|it| it.min_usable).unwrap_or(0);
    let is_replaced = |it: &RecordFacts| {
        let mut settling = head.iter().filter(|head| head.settles.contains(&it.payload));
        settling.any(|head| !spec::line(world, head).contains(&id_of(&it.payload)))
    };
    let is_over = usable.state != State::Frozen && head.is_some_and(is_withdrawn);
    !is_over
        && usable.records().all(|it| {
            it.seq >= lowest && !is_withdrawn(it) && !is_replaced(it) && naming.stands(node, &judged, it)
        })
}
