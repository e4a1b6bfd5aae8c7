//! [`State`]: what this node knows of the members of its swarm and of their copies. No I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reg_commons::swarm::{Node, PROVEN_LATELY, Policy, Presence, Spread};
use reg_commons::{Moment, Zone};
use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::swarm_state::{Standing, SwarmModel};
use serde::{Deserialize, Serialize};

use super::own::Own;
use super::settings::every;
use crate::registry::limits::{
    SPREAD_FORGET, SPREAD_MEMBERS_MAX, SPREAD_MISSES_MAX, SPREAD_PROVE_AGAIN, SPREAD_REFUTED,
    SPREAD_TOLD_MAX, SPREAD_TOLD_SHARE,
};
use crate::registry::model::record::ModelRecord;

/// The key of a model, as that of its record in a store.
pub(super) type Key = String;

/// Returns the key of a model in a list.
pub(super) fn key_of(model: &SwarmModel) -> Key {
    ModelRecord::key(&model.manifest, model.publisher, &model.model)
}

/// Another node of the swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Member {
    pub(super) zone: Zone,
    pub(super) replicas: u32,
    /// Whether it answers for its copies. Others count as nodes without room.
    pub(super) takes_part: bool,
    pub(super) draining: bool,
    pub(super) room: u64,
    /// The digest of the list that it has told, if all of that list is known here.
    pub(super) list: Option<Digest>,
    pub(super) models: BTreeMap<Key, SwarmModel>,
    /// When it last answered, or was connected.
    pub(super) answered: Moment,
    #[serde(skip)]
    pub(super) is_here: bool,
}

impl Member {
    /// Returns a member of which nothing is known but where it is.
    pub(super) const fn met(zone: Zone, now: Moment) -> Self {
        Self {
            zone,
            replicas: 0,
            takes_part: false,
            draining: false,
            room: 0,
            list: None,
            models: BTreeMap::new(),
            answered: now,
            is_here: false,
        }
    }
}

/// What came of asking a member for pieces of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Proof {
    /// When it last sent one.
    pub(super) given: Option<Moment>,
    /// When it last refused one, or sent wrong bytes, and has sent none since.
    pub(super) refuted: Option<Moment>,
    /// How many in a row it has left unanswered.
    pub(super) misses: u32,
}

/// What came of asking a member for one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probed {
    Given,
    /// It does not have it, or sent wrong bytes.
    Refused,
    /// It sent nothing in time.
    Silent,
    /// It was not reached, or is busy: that says nothing.
    Unknown,
}

/// What this node knows of the members and their copies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    pub(super) members: BTreeMap<PeerId, Member>,
    pub(super) proofs: BTreeMap<PeerId, BTreeMap<Digest, Proof>>,
    /// Since when a model has too many copies.
    pub(super) above: BTreeMap<Key, Moment>,
    /// Since when a model has too few.
    pub(super) short: BTreeMap<Key, Moment>,
    /// From when on the absence of a member counts: this node itself was away before.
    pub(super) floor: Moment,
    /// When the last round was.
    pub(super) last: Moment,
}

/// The facts about one model, as they are judged.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) model: SwarmModel,
    pub(super) nodes: Vec<Node>,
    pub(super) spread: Spread,
    pub(super) refuted: BTreeSet<PeerId>,
    pub(super) refused_by: usize,
}

impl State {
    /// Begins a round. Where this node has not looked for a while, members are away since now at the earliest.
    pub(super) fn begin(&mut self, policy: &Policy, now: Moment) {
        let slack = every(policy) * 3 + Duration::from_secs(30);
        if now.since(self.last) > slack.min(policy.repair_after) {
            self.floor = now;
        }
        self.last = now;
        let away: Vec<PeerId> = self
            .members
            .iter()
            .filter(|(_, it)| !it.is_here && self.is_forgotten(policy, it, now))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in away {
            self.members.remove(&peer);
            self.proofs.remove(&peer);
        }
    }

    fn is_forgotten(&self, policy: &Policy, member: &Member, now: Moment) -> bool {
        let away = now.since(self.away_since(member));
        !member.takes_part || (member.draining && away >= policy.repair_after) || away >= SPREAD_FORGET
    }

    /// Returns since when a member is away, if it is.
    pub(super) fn away_since(&self, member: &Member) -> Moment {
        member.answered.max(self.floor)
    }

    /// Adds a member, if there is room. Returns whether it is known then.
    pub(super) fn meet(&mut self, peer: PeerId, zone: Zone, now: Moment) -> bool {
        if !self.members.contains_key(&peer) && self.members.len() >= SPREAD_MEMBERS_MAX {
            return false;
        }
        self.members.entry(peer).or_insert_with(|| Member::met(zone, now));
        true
    }

    /// Tells whether the copies of a member still count: it is here, or away for less than the time to repair.
    pub(super) fn is_live(&self, policy: &Policy, member: &Member, now: Moment) -> bool {
        member.is_here || now.since(self.away_since(member)) < policy.repair_after
    }

    /// Returns the nodes of the swarm, this one first.
    pub(super) fn nodes(&self, own: &Own) -> Vec<Node> {
        let me = Node {
            peer: own.me,
            zone: own.zone.clone(),
            presence: Presence::Here,
            is_draining: own.draining,
            has_room: true,
        };
        let others = self.members.iter().map(|(peer, member)| Node {
            peer: *peer,
            zone: member.zone.clone(),
            presence: match member.is_here {
                true => Presence::Here,
                false => Presence::Away { since: self.away_since(member) },
            },
            is_draining: member.draining,
            has_room: member.takes_part,
        });
        [me].into_iter().chain(others).collect()
    }

    /// Returns what each node says of a model.
    pub(super) fn claims<'a>(
        &'a self,
        own: &'a Own,
        key: &'a str,
    ) -> impl Iterator<Item = (PeerId, u64, &'a SwarmModel)> + 'a {
        let of_own = own.models.get(key).map(|it| (own.me, own.room, it));
        let others = self.members.iter().filter(|(_, it)| it.takes_part);
        let of_others = others.filter_map(move |(peer, it)| Some((*peer, it.room, it.models.get(key)?)));
        of_own.into_iter().chain(of_others)
    }

    /// Gathers the facts about a model. `None` if no node has told of it.
    pub(super) fn case(&self, own: &Own, nodes: &[Node], key: &str, now: Moment) -> Option<Case> {
        let claims: BTreeMap<PeerId, &SwarmModel> =
            self.claims(own, key).map(|(peer, _, model)| (peer, model)).collect();
        let known = own.models.get(key).filter(|it| it.standing != Standing::Refused);
        // A member that names another size is found out when the model is fetched.
        let least = claims.values().min_by_key(|it| (it.bytes, it.tag.is_none())).copied();
        let mut model = known.or(least)?.clone();
        model.tag = model.tag.or_else(|| claims.values().find_map(|it| it.tag.clone()));
        let (mut nodes, mut spread) = (nodes.to_vec(), Spread::default());
        let (mut refuted, mut refused_by) = (BTreeSet::new(), 0);
        for node in &mut nodes {
            let room = match node.peer == own.me {
                true => own.room,
                false => self.members.get(&node.peer).map_or(0, |it| it.room),
            };
            let standing = claims.get(&node.peer).map(|it| it.standing);
            if standing.is_some() && self.is_refuted(&node.peer, &model.manifest, now) {
                refuted.insert(node.peer);
                node.has_room = false;
                continue;
            }
            let proven = self.proof(&node.peer, &model.manifest).and_then(|it| it.given);
            match standing {
                Some(Standing::Kept | Standing::Spread) => {
                    let proven = if node.peer == own.me { Some(now) } else { proven };
                    spread.holders.insert(node.peer, proven);
                    if standing == Some(Standing::Kept) {
                        spread.kept.insert(node.peer);
                    }
                }
                Some(Standing::Cached | Standing::Fetching) => drop(spread.fetching.insert(node.peer)),
                Some(Standing::Refused) => {
                    refused_by += 1;
                    node.has_room = false;
                }
                None => node.has_room &= room >= model.bytes,
            }
        }
        spread.above_since = self.above.get(key).copied();
        Some(Case { model, nodes, spread, refuted, refused_by })
    }

    /// Tells whether a member says it holds a model and counts as one that does not.
    pub(super) fn is_refuted(&self, peer: &PeerId, manifest: &Digest, now: Moment) -> bool {
        let refuted = self.proof(peer, manifest).and_then(|it| it.refuted);
        refuted.is_some_and(|at| now.since(at) < SPREAD_REFUTED)
    }

    /// Tells whether a member has sent a piece of a model lately.
    pub(super) fn is_proven(&self, peer: &PeerId, manifest: &Digest, now: Moment) -> bool {
        let given = self.proof(peer, manifest).and_then(|it| it.given);
        given.is_some_and(|at| at <= now && now.since(at) < PROVEN_LATELY)
    }

    /// Tells whether a member is to be asked for a piece of a model.
    pub(super) fn is_due(&self, peer: &PeerId, manifest: &Digest, now: Moment) -> bool {
        match self.proof(peer, manifest) {
            None => true,
            Some(Proof { refuted: Some(at), .. }) => now.since(*at) >= SPREAD_REFUTED,
            Some(Proof { given, .. }) => {
                given.is_none_or(|at| at > now || now.since(at) >= SPREAD_PROVE_AGAIN)
            }
        }
    }

    fn proof(&self, peer: &PeerId, manifest: &Digest) -> Option<&Proof> {
        self.proofs.get(peer)?.get(manifest)
    }

    /// Notes what came of asking a member for a piece.
    pub(super) fn note(&mut self, peer: PeerId, manifest: Digest, probed: Probed, now: Moment) {
        let proof = self.proofs.entry(peer).or_default().entry(manifest).or_default();
        match probed {
            Probed::Given => *proof = Proof { given: Some(now), ..Proof::default() },
            Probed::Refused => *proof = Proof { refuted: Some(now), ..Proof::default() },
            Probed::Silent => {
                proof.misses += 1;
                if proof.misses >= SPREAD_MISSES_MAX {
                    *proof = Proof { refuted: Some(now), ..Proof::default() };
                }
            }
            Probed::Unknown => {}
        }
    }

    /// Forgets what came of models that a member no longer says it holds. If it says so again, it is asked at once.
    pub(super) fn trim(&mut self, now: Moment) {
        let Self { members, proofs, .. } = self;
        proofs.retain(|peer, of| {
            let Some(member) = members.get(peer) else { return false };
            let claimed: BTreeSet<&Digest> =
                member.models.values().filter(|it| it.standing.is_copy()).map(|it| &it.manifest).collect();
            // A refusal outlives the claim: else a member clears it by taking its claim back for a moment.
            let is_fresh =
                |proof: &Proof| matches!(proof.refuted, Some(at) if now.since(at) < SPREAD_REFUTED);
            of.retain(|manifest, proof| claimed.contains(manifest) || is_fresh(proof));
            !of.is_empty()
        });
    }

    /// Returns the keys of all models that a node has told of.
    pub(super) fn keys(&self, own: &Own) -> BTreeSet<Key> {
        let others = self.members.values().filter(|it| it.takes_part).flat_map(|it| it.models.keys());
        own.models.keys().chain(others).cloned().collect()
    }

    /// Returns the members that are here and answer for their copies.
    pub(super) fn here(&self) -> Vec<PeerId> {
        let here = self.members.iter().filter(|(_, it)| it.is_here && it.takes_part);
        here.map(|(peer, _)| *peer).collect()
    }

    /// Returns how many models a member may tell of, beside those of the others: a share in any case, so that long lists of others
    /// hide no short one.
    pub(super) fn room_beside(&self, peer: &PeerId) -> usize {
        let others = self.members.iter().filter(|(it, _)| *it != peer).map(|(_, it)| it.models.len());
        SPREAD_TOLD_MAX.saturating_sub(others.sum()).max(SPREAD_TOLD_SHARE)
    }

    /// Notes since when a model has too many copies or too few.
    pub(super) fn note_count(&mut self, key: &str, copies: u32, wanted: u32, now: Moment) {
        let note = |map: &mut BTreeMap<Key, Moment>, is_so: bool| match is_so {
            true => drop(map.entry(key.to_owned()).or_insert(now)),
            false => drop(map.remove(key)),
        };
        note(&mut self.above, copies > wanted);
        note(&mut self.short, copies < wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::super::own::tests::{model, own};
    use super::*;

    const START: Moment = Moment::from_seconds(1_700_000_000);

    fn peer(n: u8) -> PeerId {
        PeerId::from_public_key([n; 32])
    }

    fn member(n: u8, standing: Option<Standing>) -> Member {
        let models = standing.map(|standing| SwarmModel { standing, ..model(1) });
        Member {
            takes_part: true,
            room: 1 << 40,
            is_here: true,
            models: models.into_iter().map(|it| (key_of(&it), it)).collect(),
            ..Member::met(Zone::V4([10, 0, n]), START)
        }
    }

    fn state(standings: &[Option<Standing>]) -> State {
        let members = (1..).zip(standings).map(|(n, standing)| (peer(n), member(n, *standing)));
        State { members: members.collect(), ..State::default() }
    }

    #[test]
    fn what_members_say_becomes_the_facts() {
        let say = [Standing::Kept, Standing::Spread, Standing::Cached, Standing::Fetching, Standing::Refused];
        let mut state = state(&say.map(Some));
        state.members.insert(peer(6), Member { takes_part: false, ..member(6, Some(Standing::Kept)) });
        state.members.insert(peer(7), Member { room: model(1).bytes - 1, ..member(7, None) });
        let own = own(&[]);
        let key = key_of(&model(1));
        let case = state.case(&own, &state.nodes(&own), &key, START).expect("it is told of");
        assert_eq!(case.spread.holders.keys().copied().collect::<Vec<_>>(), [peer(1), peer(2)]);
        assert_eq!(case.spread.kept, BTreeSet::from([peer(1)]));
        assert_eq!(case.spread.fetching, BTreeSet::from([peer(3), peer(4)]));
        let without_room: Vec<PeerId> =
            case.nodes.iter().filter(|it| !it.has_room).map(|it| it.peer).collect();
        assert_eq!(without_room, [peer(5), peer(6), peer(7)]);
        assert_eq!(case.refused_by, 1);
    }

    #[test]
    fn a_copy_that_was_refused_does_not_count_until_it_is_proven() {
        let mut state = state(&[Some(Standing::Spread)]);
        let (own, key, manifest) = (own(&[]), key_of(&model(1)), model(1).manifest);
        let holders = |state: &State, now| {
            let case = state.case(&own, &state.nodes(&own), &key, now).expect("it is told of");
            (case.spread.holders.len(), case.nodes.iter().filter(|it| !it.has_room).count())
        };
        assert_eq!(holders(&state, START), (1, 0));
        state.note(peer(1), manifest, Probed::Refused, START);
        assert_eq!(holders(&state, START), (0, 1), "nor is it waited for to fetch it");
        // It takes its claim back and makes it anew.
        let models = std::mem::take(&mut state.members.get_mut(&peer(1)).expect("a member").models);
        state.trim(START);
        state.members.get_mut(&peer(1)).expect("a member").models = models;
        assert_eq!(holders(&state, START).0, 0);
        assert!(!state.is_due(&peer(1), &manifest, START));
        assert!(state.is_due(&peer(1), &manifest, START + SPREAD_REFUTED));
        state.note(peer(1), manifest, Probed::Given, START);
        assert_eq!(holders(&state, START).0, 1);
        // One that is silent has some time.
        for misses in 1..=SPREAD_MISSES_MAX {
            assert_eq!(holders(&state, START).0, 1, "{misses}");
            state.note(peer(1), manifest, Probed::Silent, START);
        }
        assert_eq!(holders(&state, START).0, 0);
    }

    #[test]
    fn members_that_take_no_part_are_not_waited_for() {
        let mut state = state(&[None, None, None]);
        state.members.get_mut(&peer(1)).expect("a member").takes_part = false;
        state.members.get_mut(&peer(2)).expect("a member").is_here = false;
        assert_eq!(state.here(), [peer(3)]);
    }

    #[test]
    fn absence_counts_only_while_this_node_looks() {
        let policy = Policy::new(3);
        let mut state = state(&[Some(Standing::Spread)]);
        state.begin(&policy, START);
        state.members.get_mut(&peer(1)).expect("a member").is_here = false;
        let minutes = |n: u64| START + Duration::from_secs(60 * n);
        for minute in 1..15 {
            state.begin(&policy, minutes(minute));
        }
        let is_live = |state: &State, now| state.is_live(&policy, &state.members[&peer(1)], now);
        assert!(is_live(&state, minutes(14)) && !is_live(&state, minutes(15)));
        // This node sleeps for an hour: all may have been there.
        state.begin(&policy, minutes(75));
        assert!(is_live(&state, minutes(89)) && !is_live(&state, minutes(90)));
    }

    #[test]
    fn members_are_bounded_and_those_that_left_are_forgotten() {
        let policy = Policy::new(3);
        let mut state = State::default();
        state.begin(&policy, START);
        for n in 0..=SPREAD_MEMBERS_MAX {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&(n as u64).to_be_bytes());
            let is_met = state.meet(PeerId::from_public_key(key), Zone::Unplaced, START);
            assert_eq!(is_met, n < SPREAD_MEMBERS_MAX);
        }
        // A command that was connected for a moment takes no part, and is gone.
        state.members.values_mut().for_each(|it| it.is_here = false);
        state.begin(&policy, START);
        assert!(state.members.is_empty());
        state.members.insert(peer(1), Member { is_here: false, ..member(1, None) });
        state.members.insert(peer(2), Member { is_here: false, draining: true, ..member(2, None) });
        for minute in 1..=15 {
            state.begin(&policy, START + Duration::from_secs(60 * minute));
        }
        assert_eq!(state.members.keys().copied().collect::<Vec<_>>(), [peer(1)]);
    }
}
