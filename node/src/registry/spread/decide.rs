//! Decides what this node does with each model of the swarm. No I/O, no clock.
//!
//! The blobs of a model are judged together, by the digest of its manifest: a model of which a part is at one node and a part at
//! another is of no use to either.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reg_commons::Moment;
use reg_commons::swarm::{Counted, Policy, Presence, Verdict, chosen, count_copies, judge};
use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::swarm_state::{Standing, SwarmModel};

use super::own::Own;
use super::settings::every;
use super::state::{Case, Key, State};
use crate::registry::limits::{SPREAD_NEWER_COPIES, SPREAD_PROBES_MAX};
use crate::registry::model::record::ModelRecord;

/// What this node does with a model, and the facts.
#[derive(Debug, Clone)]
pub(super) struct Decision {
    pub(super) key: Key,
    pub(super) case: Case,
    pub(super) counted: Counted,
    pub(super) verdict: Verdict,
}

/// What this node does with the models of the swarm.
#[derive(Debug, Clone, Default)]
pub(super) struct Decisions {
    pub(super) models: Vec<Decision>,
    /// Copies for the swarm that are here and that no member needs: newer versions have taken their places.
    pub(super) superseded: Vec<Key>,
    /// Claims that this node is to check, each with the manifest.
    pub(super) probes: Vec<(PeerId, Digest)>,
}

/// The time, the rules and the facts of one round.
pub(super) struct Round<'a> {
    pub(super) policy: &'a Policy,
    pub(super) own: &'a Own,
    pub(super) now: Moment,
    /// The number of the round: each one begins with other claims.
    pub(super) turn: u64,
    /// Returns the version that the tag of a model means by now, if it is another one.
    pub(super) newer: &'a dyn Fn(&SwarmModel) -> Option<Digest>,
}

/// The claims that one round may check: at most [`SPREAD_PROBES_MAX`] of each member.
#[derive(Debug, Default)]
struct Claims(BTreeMap<PeerId, Vec<Digest>>);

impl Claims {
    fn has_room_for(&self, peer: &PeerId) -> bool {
        self.0.get(peer).is_none_or(|it| it.len() < SPREAD_PROBES_MAX)
    }

    fn add(&mut self, claims: impl IntoIterator<Item = (PeerId, Digest)>) {
        for (peer, manifest) in claims {
            let of_peer = self.0.entry(peer).or_default();
            if of_peer.len() < SPREAD_PROBES_MAX && !of_peer.contains(&manifest) {
                of_peer.push(manifest);
            }
        }
    }

    /// Chooses [`SPREAD_PROBES_MAX`] claims: the first one of each member, beginning with another member in each turn, then the
    /// second ones. So false claims of one member hold up no others.
    fn choose(&self, turn: u64) -> Vec<(PeerId, Digest)> {
        let mut members: Vec<(&PeerId, &Vec<Digest>)> = self.0.iter().collect();
        let first = start(turn, members.len());
        members.rotate_left(first);
        let nth = |n: usize| members.iter().filter_map(move |(peer, of)| Some((**peer, *of.get(n)?)));
        (0..SPREAD_PROBES_MAX).flat_map(nth).take(SPREAD_PROBES_MAX).collect()
    }
}

/// Returns the place with which a turn begins. The places of successive turns are spread over all.
const fn start(turn: u64, places: usize) -> usize {
    /// The golden ratio of 2^64.
    const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
    if places == 0 { 0 } else { (turn.wrapping_mul(STEP) >> 32) as usize % places }
}

impl Round<'_> {
    /// Judges every model.
    pub(super) fn decide(&self, state: &mut State) -> Decisions {
        let nodes = state.nodes(self.own);
        let (mut decisions, mut claims) = (Decisions::default(), Claims::default());
        for key in state.keys(self.own) {
            let Some(case) = state.case(self.own, &nodes, &key, self.now) else { continue };
            let Some(newer) = self.care(state, &case) else {
                let standing = self.own.models.get(&key).map(|it| it.standing);
                decisions.superseded.extend((standing == Some(Standing::Spread)).then_some(key));
                continue;
            };
            claims.add(newer);
            decisions.models.push(self.judge(state, key, case));
        }
        let (before, from) = decisions.models.split_at(start(self.turn, decisions.models.len()));
        for decision in from.iter().chain(before) {
            claims.add(self.probes(state, decision, &claims));
        }
        decisions.probes = claims.choose(self.turn);
        let cared_for: BTreeSet<&Key> = decisions.models.iter().map(|it| &it.key).collect();
        state.above.retain(|key, _| cared_for.contains(key));
        state.short.retain(|key, _| cared_for.contains(key));
        decisions
    }

    /// Tells whether the swarm keeps a model: a user keeps it on a node that is there, or there are copies for the swarm and no
    /// newer version is known to have enough. Else the publisher of a new version could die before others have fetched it, and
    /// the version before would be evicted meanwhile. Returns `None` if not, else the claims about a newer version that are to be
    /// checked next.
    fn care(&self, state: &State, case: &Case) -> Option<Vec<(PeerId, Digest)>> {
        if case.spread.kept.iter().any(|it| self.is_live(state, it)) {
            return Some(Vec::new());
        }
        let live = state.members.iter().filter(|(peer, it)| it.takes_part && self.is_live(state, peer));
        let needed = (1 + live.count()).min(SPREAD_NEWER_COPIES).min(self.policy.copies as usize);
        let (is_me, now) = (|peer: &PeerId| *peer == self.own.me, self.now);
        let newer = self.of_newer(state, case);
        let proven = newer.iter().filter(|(peer, it)| is_me(peer) || state.is_proven(peer, it, now)).count();
        if case.spread.holders.is_empty() || proven >= needed {
            return None;
        }
        let is_here = |peer: &PeerId| state.members.get(peer).is_some_and(|it| it.is_here);
        let mut due = newer;
        due.retain(|(peer, it)| is_here(peer) && state.is_due(peer, it, now));
        let first = start(self.turn, due.len());
        due.rotate_left(first);
        due.truncate(SPREAD_NEWER_COPIES);
        Some(due)
    }

    /// Returns the nodes that are there and say that they keep the version that the tag of a model means by now, if it is another
    /// one.
    fn of_newer(&self, state: &State, case: &Case) -> Vec<(PeerId, Digest)> {
        let model = &case.model;
        let Some(newer) = (self.newer)(model).filter(|it| *it != model.manifest) else { return Vec::new() };
        let key = ModelRecord::key(&newer, model.publisher, &model.model);
        let is_copy = |peer: &PeerId, it: &SwarmModel| {
            it.standing.is_copy() && self.is_live(state, peer) && !state.is_refuted(peer, &newer, self.now)
        };
        let claims = state.claims(self.own, &key).filter(|(peer, _, it)| is_copy(peer, it));
        claims.map(|(peer, ..)| (peer, newer)).collect()
    }

    fn is_live(&self, state: &State, peer: &PeerId) -> bool {
        let member = || state.members.get(peer);
        *peer == self.own.me || member().is_some_and(|it| state.is_live(self.policy, it, self.now))
    }

    /// Judges one model, and notes since when it has too many copies, or too few.
    fn judge(&self, state: &mut State, key: Key, mut case: Case) -> Decision {
        let (policy, now, blob) = (self.policy, self.now, case.model.manifest);
        let counted = count_copies(policy, &case.nodes, &blob, &case.spread, now);
        state.note_count(&key, counted.copies, counted.wanted, now);
        case.spread.above_since = state.above.get(&key).copied();
        self.pass_over(state.short.get(&key).copied(), &mut case);
        let verdict = judge(policy, &self.own.me, &case.nodes, &blob, &case.spread, now);
        // Where no holder is here, there is nothing to fetch from.
        let is_here =
            |peer: &PeerId| case.nodes.iter().any(|it| it.peer == *peer && it.presence == Presence::Here);
        let has_source = case.spread.holders.keys().chain(&case.spread.fetching).any(is_here);
        let verdict = match verdict {
            Verdict::Fetch(_) if !has_source => Verdict::Leave,
            verdict => verdict,
        };
        Decision { key, case, counted, verdict }
    }

    /// Passes over members that are to fetch a model and do not begin: for each time to repair that it has been short, the next
    /// ones have their turn.
    fn pass_over(&self, short_since: Option<Moment>, case: &mut Case) {
        let Some(since) = short_since else { return };
        let patience = self.policy.repair_after.max(every(self.policy) * 4).max(Duration::from_secs(1));
        let turns = self.now.since(since).as_secs() / patience.as_secs();
        let turns = turns.min(case.nodes.len() as u64);
        for _turn in 0..turns {
            let idle = chosen(self.policy, &case.nodes, &case.model.manifest, &case.spread, self.now);
            for node in &mut case.nodes {
                let is_idle = idle.contains(&node.peer) && !case.spread.fetching.contains(&node.peer);
                node.has_room &= node.peer == self.own.me || !is_idle;
            }
        }
    }

    /// Returns the claims about a model that decide what this node does, and that it has not checked lately. Of members with enough
    /// other `claims` there is none.
    fn probes(&self, state: &State, decision: &Decision, claims: &Claims) -> Vec<(PeerId, Digest)> {
        let Case { model, nodes, spread, refuted, .. } = &decision.case;
        let manifest = model.manifest;
        let is_here =
            |peer: &PeerId| nodes.iter().any(|it| it.peer == *peer && it.presence == Presence::Here);
        let all = spread.holders.keys().chain(refuted).filter(|it| **it != self.own.me && is_here(it));
        let due = all.filter(|it| state.is_due(it, &manifest, self.now) && claims.has_room_for(it));
        let due: Vec<(PeerId, Digest)> = due.map(|it| (*it, manifest)).collect();
        if due.is_empty() || self.own.has(&decision.key) {
            return due;
        }
        // If the claims that are not proven are false: is this node to fetch it?
        let is_proven = |peer: &PeerId| state.is_proven(peer, &manifest, self.now);
        let (mut proven, mut nodes) = (spread.clone(), nodes.clone());
        proven.holders.retain(|peer, _| is_proven(peer));
        for node in &mut nodes {
            node.has_room &= !spread.holders.contains_key(&node.peer) || is_proven(&node.peer);
        }
        match judge(self.policy, &self.own.me, &nodes, &manifest, &proven, self.now) {
            Verdict::Fetch(_) => due,
            _ => Vec::new(),
        }
    }

    /// Tells whether this node may still give up a copy if only what was proven in this round counts.
    pub(super) fn gives_up(&self, state: &State, decision: &Decision) -> bool {
        let nodes = state.nodes(self.own);
        let Some(mut case) = state.case(self.own, &nodes, &decision.key, self.now) else { return false };
        for (peer, proven) in &mut case.spread.holders {
            *proven = proven.filter(|at| *at >= self.now || *peer == self.own.me);
        }
        let verdict =
            judge(self.policy, &self.own.me, &case.nodes, &case.model.manifest, &case.spread, self.now);
        matches!(verdict, Verdict::GiveUp { .. })
    }
}

#[cfg(test)]
mod tests {
    use reg_commons::Zone;
    use reg_commons::swarm::FetchReason;

    use super::super::own::tests::{model, own};
    use super::super::state::{Member, Probed, key_of};
    use super::*;

    const START: Moment = Moment::from_seconds(1_700_000_000);

    fn peer(n: u8) -> PeerId {
        PeerId::from_public_key([n; 32])
    }

    fn state(standings: &[Option<Standing>]) -> State {
        let member = |n: u8, standing: &Option<Standing>| {
            let models = standing.map(|standing| SwarmModel { standing, ..model(1) });
            let models: BTreeMap<Key, SwarmModel> = models.into_iter().map(|it| (key_of(&it), it)).collect();
            let met = Member::met(Zone::V4([10, 0, n]), START);
            Member { takes_part: true, is_here: true, room: 1 << 40, models, ..met }
        };
        let members = (1..).zip(standings).map(|(n, it)| (peer(n), member(n, it)));
        State { members: members.collect(), ..State::default() }
    }

    fn decide(state: &mut State, own: &Own, now: Moment, newer: Option<Digest>) -> Decisions {
        decide_in(0, state, own, now, newer)
    }

    fn decide_in(turn: u64, state: &mut State, own: &Own, now: Moment, newer: Option<Digest>) -> Decisions {
        let policy = Policy { shrink_after: Duration::from_secs(3600), ..Policy::new(2) };
        Round { policy: &policy, own, now, turn, newer: &|_| newer }.decide(state)
    }

    #[test]
    fn a_claim_that_decides_is_checked_and_a_refuted_one_is_replaced() {
        // Member 1 has it and member 2 says so: this node is to do nothing, if both tell the truth.
        let mut state = state(&[Some(Standing::Kept), Some(Standing::Spread)]);
        let own = own(&[]);
        let decisions = decide(&mut state, &own, START, None);
        assert_eq!(decisions.models[0].verdict, Verdict::Leave);
        assert_eq!(decisions.probes, [(peer(1), model(1).manifest), (peer(2), model(1).manifest)]);
        state.note(peer(1), model(1).manifest, Probed::Given, START);
        state.note(peer(2), model(1).manifest, Probed::Refused, START);
        let decisions = decide(&mut state, &own, START, None);
        assert_eq!(decisions.models[0].verdict, Verdict::Fetch(FetchReason::TooFew { copies: 1, wanted: 2 }));
        assert!(decisions.probes.is_empty());
    }

    #[test]
    fn what_has_no_source_is_not_fetched_and_what_is_superseded_is_let_go() {
        let mut known = state(&[Some(Standing::Spread), None]);
        known.members.get_mut(&peer(1)).expect("a member").is_here = false;
        let later = START + Duration::from_secs(3600);
        assert_eq!(decide(&mut known, &own(&[]), later, None).models[0].verdict, Verdict::Leave);
        let new = newer(Standing::Spread);
        let mut known = state(&[Some(Standing::Spread)]);
        has_newer(&mut known, 1, Standing::Spread);
        known.note(peer(1), new.manifest, Probed::Given, START);
        let decisions = decide(&mut known, &own(&[model(1), new.clone()]), START, Some(new.manifest));
        assert_eq!((decisions.models.len(), decisions.superseded), (1, vec![key_of(&model(1))]));
        // A user of another node keeps the old version: then it keeps its copies.
        let mut known = state(&[Some(Standing::Kept)]);
        has_newer(&mut known, 1, Standing::Kept);
        known.note(peer(1), new.manifest, Probed::Given, START);
        let decisions = decide(&mut known, &own(&[model(1), new.clone()]), START, Some(new.manifest));
        assert!(decisions.superseded.is_empty());
    }

    /// Returns a later version of the first model.
    fn newer(standing: Standing) -> SwarmModel {
        SwarmModel { manifest: model(2).manifest, standing, ..model(1) }
    }

    /// Has a member say something of the later version.
    fn has_newer(state: &mut State, n: u8, standing: Standing) {
        let told = (key_of(&newer(standing)), newer(standing));
        state.members.get_mut(&peer(n)).expect("a member").models.extend([told]);
    }

    #[test]
    fn a_version_is_let_go_only_once_a_newer_one_has_copies_that_are_proven() {
        let (own, new) = (own(&[model(1)]), newer(Standing::Spread));
        let superseded = |state: &mut State| {
            let decisions = decide(state, &own, START, Some(new.manifest));
            let asked = decisions.probes.iter().filter(|(_, manifest)| *manifest == new.manifest).count();
            (decisions.superseded.len(), asked)
        };
        // Its publisher has announced it and is gone: no member has it.
        let mut known = state(&[Some(Standing::Spread), None, None]);
        assert_eq!(superseded(&mut known), (0, 0));
        for standing in [Standing::Fetching, Standing::Cached, Standing::Refused] {
            [2, 3].iter().for_each(|n| has_newer(&mut known, *n, standing));
            [2, 3].iter().for_each(|n| known.note(peer(*n), new.manifest, Probed::Given, START));
            assert_eq!(superseded(&mut known), (0, 0), "{standing:?} is no copy");
        }
        // Claims are checked first, and one copy is lost with its holder.
        known.proofs.clear();
        has_newer(&mut known, 2, Standing::Kept);
        has_newer(&mut known, 3, Standing::Spread);
        assert_eq!(superseded(&mut known), (0, 2));
        known.note(peer(2), new.manifest, Probed::Given, START);
        assert_eq!(superseded(&mut known), (0, 1));
        known.note(peer(3), new.manifest, Probed::Refused, START);
        assert_eq!(superseded(&mut known), (0, 0));
        known.note(peer(3), new.manifest, Probed::Given, START);
        assert_eq!(superseded(&mut known), (1, 0));
        // It is away for too long.
        known.members.get_mut(&peer(3)).expect("a member").is_here = false;
        let later = START + Duration::from_secs(3600);
        let decisions = decide(&mut known, &own, later, Some(new.manifest));
        assert!(decisions.superseded.is_empty());
    }

    #[test]
    fn false_claims_of_one_member_hold_up_no_claims_of_others() {
        // Two members keep what this node keeps. A third one claims much that no member has.
        let kept = [Some(Standing::Spread), Some(Standing::Spread), None];
        let (mut known, own) = (state(&kept), own(&[model(1)]));
        let falsehood = |n: u32| SwarmModel { manifest: Digest::of(&n.to_be_bytes()), ..model(1) };
        let claimed = (0..500).map(falsehood).map(|it| (key_of(&it), it)).collect();
        known.members.get_mut(&peer(3)).expect("a member").models = claimed;
        // This node would have to fetch all of it.
        [peer(1), peer(2)].iter().for_each(|it| known.members.get_mut(it).expect("a member").room = 0);
        let decisions = decide(&mut known, &own, START, None);
        assert_eq!(decisions.probes.len(), SPREAD_PROBES_MAX);
        for honest in [peer(1), peer(2)] {
            assert!(decisions.probes.contains(&(honest, model(1).manifest)), "{honest}");
        }
        // In other rounds, other claims come first.
        let of = |turn: u64, known: &mut State| -> BTreeSet<Digest> {
            let decisions = decide_in(turn, known, &own, START, None);
            decisions.probes.into_iter().filter(|(it, _)| *it == peer(3)).map(|(_, it)| it).collect()
        };
        let asked: BTreeSet<Digest> = (0..200).flat_map(|turn| of(turn, &mut known)).collect();
        assert_eq!(asked.len(), 500, "each claim has its turn");
    }

    #[test]
    fn each_of_many_members_has_its_turn() {
        let mut claims = Claims::default();
        for n in 0..100 {
            claims.add([(peer(n), model(1).manifest), (peer(n), model(2).manifest)]);
        }
        let asked: BTreeSet<PeerId> = (0..40).flat_map(|turn| claims.choose(turn)).map(|it| it.0).collect();
        assert_eq!((asked.len(), claims.choose(7).len()), (100, SPREAD_PROBES_MAX));
    }

    #[test]
    fn a_member_that_does_not_begin_is_passed_over_after_a_while() {
        let mut idle = 0;
        // Whichever ranks first, this node fetches at once or after the others' turns.
        for n in 1..=40 {
            let model = model(n);
            let mut known = state(&[Some(Standing::Kept), None, None]);
            let models = [(key_of(&model), SwarmModel { standing: Standing::Kept, ..model.clone() })];
            known.members.get_mut(&peer(1)).expect("a member").models = models.into();
            let verdict = |known: &mut State, minutes: u64| {
                let now = START + Duration::from_secs(60 * minutes);
                decide(known, &own(&[]), now, None).models[0].verdict
            };
            let first = verdict(&mut known, 0);
            idle += usize::from(first == Verdict::Leave);
            assert!(matches!(verdict(&mut known, 45), Verdict::Fetch(_)), "{n}");
        }
        assert!((1..40).contains(&idle), "{idle}");
    }

    #[test]
    fn a_copy_is_given_up_only_on_proofs_of_the_same_round() {
        let all = [Standing::Kept, Standing::Kept, Standing::Kept].map(Some);
        let mut known = state(&all);
        let own = own(&[model(1)]);
        (1..=3).for_each(|n| known.note(peer(n), model(1).manifest, Probed::Given, START));
        decide(&mut known, &own, START, None);
        let later = START + Duration::from_secs(3600);
        let decisions = decide(&mut known, &own, later, None);
        assert_eq!(decisions.models[0].verdict, Verdict::GiveUp { others: 3 });
        let policy = Policy { shrink_after: Duration::from_secs(3600), ..Policy::new(2) };
        let round = Round { policy: &policy, own: &own, now: later, turn: 0, newer: &|_| None };
        assert!(!round.gives_up(&known, &decisions.models[0]));
        known.note(peer(1), model(1).manifest, Probed::Given, later);
        assert!(!round.gives_up(&known, &decisions.models[0]));
        known.note(peer(2), model(1).manifest, Probed::Given, later);
        assert!(round.gives_up(&known, &decisions.models[0]));
    }
}
