//! Asks the members of the swarm for their copies, and learns of further members from them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reg_commons::{Moment, Zone};
use reg_proto::announcement::Holder;
use reg_proto::digest::Digest;
use reg_proto::limits::{SWARM_MODELS_MAX, SWARM_MODELS_PER_PAGE_MAX};
use reg_proto::peer::PeerId;
use reg_proto::swarm_state::{SWARM_STATE_VERSION, SwarmModel, SwarmQuestion, SwarmState};
use reg_proto::wire::{Request, Response};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Spreading;
use super::settings::every;
use super::state::{Member, State, key_of};
use crate::registry::limits::{
    QUESTIONS_AT_ONCE, SPREAD_ASK_TIMEOUT, SPREAD_AWAY_ASK, SPREAD_DIALS_MAX, SPREAD_LIST_TIMEOUT,
};

/// What a member has answered.
#[derive(Debug)]
enum Answer {
    /// Its state, and its models where the asker had others: all of them, or more than there is room for.
    State(Box<SwarmState>, Option<Vec<SwarmModel>>),
    /// It spreads nothing, or is of before.
    TakesNoPart,
    /// It has not answered, which says nothing about its copies.
    None,
}

/// A member that is to be asked.
#[derive(Debug, Clone, Copy)]
struct Due {
    peer: PeerId,
    /// The digest of the list that is known of it.
    list: Option<Digest>,
    /// How many of its models there is room for.
    room: usize,
}

/// A member that was asked.
struct Asked {
    peer: PeerId,
    answer: Answer,
    /// The peers that it named.
    named: Vec<Holder>,
}

/// A dial that is not repeated at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dial {
    /// Of a member, at the addresses that this node knows.
    Known(PeerId),
    /// At addresses that a member has named.
    Named(PeerId),
}

impl Spreading {
    /// Asks those members that are due: all where `is_full`, else those that have just connected. Returns whether any was asked.
    pub(super) async fn ask_members(self: &Arc<Self>, is_full: bool, now: Moment) -> bool {
        let network = &self.puller.network;
        let connected: BTreeSet<PeerId> = network.connected().await.into_iter().collect();
        let zones = self.zones_of_connected().await;
        let due = self.due(&connected, &zones, is_full, now);
        if due.is_empty() {
            return false;
        }
        let (mut due, mut asked) = (due.into_iter(), JoinSet::new());
        let mut named = Vec::new();
        loop {
            while asked.len() < QUESTIONS_AT_ONCE {
                let Some(member) = due.next() else { break };
                let spreading = self.clone();
                asked.spawn(async move { spreading.ask_one(member, is_full).await });
            }
            match asked.join_next().await {
                Some(Ok(asked)) => {
                    named.extend(asked.named);
                    let is_connected = network.connected().await.contains(&asked.peer);
                    self.state().take(asked.peer, asked.answer, is_connected, now);
                }
                Some(Err(_)) => {}
                None => break,
            }
        }
        // The zone of a member follows from where it was reached, if it has no name for it.
        let zones = self.zones_of_connected().await;
        self.state().place(zones, now);
        self.meet_named(named).await;
        true
    }

    /// Returns the members to ask.
    fn due(
        &self,
        connected: &BTreeSet<PeerId>,
        zones: &BTreeMap<PeerId, Zone>,
        is_full: bool,
        now: Moment,
    ) -> Vec<Due> {
        let mut state = self.state();
        for peer in connected {
            state.meet(*peer, zones.get(peer).cloned().unwrap_or(Zone::Unplaced), now);
        }
        let is_due = |peer: &PeerId, member: &Member| match (connected.contains(peer), member.is_here) {
            (true, false) => true,
            (_, true) => is_full,
            (false, false) => is_full && self.is_dialled(peer, now),
        };
        let due = state.members.iter().filter(|(peer, member)| is_due(peer, member));
        due.map(|(peer, member)| Due { peer: *peer, list: member.list, room: state.room_beside(peer) })
            .collect()
    }

    /// Tells whether a member that is away is dialled now, and notes it.
    fn is_dialled(&self, peer: &PeerId, now: Moment) -> bool {
        self.is_turn(Dial::Known(*peer), SPREAD_AWAY_ASK, now)
    }

    /// Tells whether it is time for a dial, and notes it.
    fn is_turn(&self, dial: Dial, pause: Duration, now: Moment) -> bool {
        let mut dialled = self.dialled();
        dialled.retain(|_, at| now.since(*at) < SPREAD_AWAY_ASK);
        let is_due = dialled.get(&dial).is_none_or(|at| now.since(*at) >= pause);
        if is_due {
            dialled.insert(dial, now);
        }
        is_due
    }

    async fn zones_of_connected(&self) -> BTreeMap<PeerId, Zone> {
        let zones = &self.settings.zones;
        let peers = self.puller.network.peers().await.into_iter().filter(|it| !it.outdated);
        peers.map(|it| (it.peer, zones.of_peer(&it.addresses))).collect()
    }

    async fn ask_one(&self, member: Due, asks_peers: bool) -> Asked {
        let peer = member.peer;
        let network = &self.puller.network;
        let ask = |question| async move {
            let asked = network.ask(peer, Request::GetSwarmState(question));
            timeout(SPREAD_ASK_TIMEOUT, asked).await.ok()?.ok()
        };
        let asked = timeout(SPREAD_LIST_TIMEOUT, ask_state(member, ask)).await;
        let answer = asked.unwrap_or(Answer::None);
        let mut named = Vec::new();
        if asks_peers && matches!(answer, Answer::State(..)) {
            let ask = self.puller.network.ask(peer, Request::GetPeers);
            if let Ok(Ok(Response::Peers { peers })) = timeout(SPREAD_ASK_TIMEOUT, ask).await {
                named = peers.into_vec();
            }
        }
        Asked { peer, answer, named }
    }

    /// Connects to peers that members have named and that this node does not know, or that were away.
    async fn meet_named(&self, named: Vec<Holder>) {
        let Some(policy) = self.settings.acting() else { return };
        let own = self.puller.network.peer_id();
        let (mut unknown, now) = (BTreeMap::<PeerId, Holder>::new(), self.now());
        for holder in named {
            let peer = holder.peer;
            let is_here = peer == own || self.state().members.get(&peer).is_some_and(|it| it.is_here);
            let has_turn = || self.is_turn(Dial::Named(peer), every(&policy) * 2, now);
            if !is_here && unknown.len() < SPREAD_DIALS_MAX && has_turn() {
                unknown.insert(peer, holder);
            }
        }
        let mut dials = JoinSet::new();
        for (peer, holder) in unknown {
            let network = self.puller.network.clone();
            dials.spawn(async move { network.dial_hint(peer, holder.addresses.into_vec(), None).await });
        }
        while dials.join_next().await.is_some() {}
    }
}

/// Asks a member for its state, page by page. `ask` returns `None` where no answer comes.
async fn ask_state<F: Future<Output = Option<Response>>>(
    member: Due,
    ask: impl Fn(SwarmQuestion) -> F,
) -> Answer {
    let mut models: Vec<SwarmModel> = Vec::new();
    let mut first: Option<SwarmState> = None;
    loop {
        let from = u32::try_from(models.len()).unwrap_or(u32::MAX);
        let unless = member.list.filter(|_| first.is_none());
        let page = match ask(SwarmQuestion { version: SWARM_STATE_VERSION, from, unless }).await {
            Some(Response::SwarmState(page)) if page.version == SWARM_STATE_VERSION => page,
            Some(Response::Busy { .. }) | None => return Answer::None,
            Some(_) => return Answer::TakesNoPart,
        };
        if unless == Some(page.list) {
            return Answer::State(Box::new(page), None);
        }
        // A list that changes meanwhile is asked for in the next round.
        if first.as_ref().is_some_and(|it| it.list != page.list) {
            return Answer::None;
        }
        let has_more = page.has_more(from);
        // Pages of a few models each would make up a list for hours.
        if has_more && page.models.len() < SWARM_MODELS_PER_PAGE_MAX {
            return Answer::None;
        }
        models.extend(page.models.iter().cloned());
        let state = first.get_or_insert(page);
        if !has_more || models.len() >= SWARM_MODELS_MAX || models.len() > member.room {
            return Answer::State(Box::new(state.clone()), Some(models));
        }
    }
}

impl State {
    /// Notes where members were reached that have no name for their zones.
    fn place(&mut self, zones: BTreeMap<PeerId, Zone>, now: Moment) {
        for (peer, zone) in zones {
            if let Some(member) = self.members.get_mut(&peer)
                && !matches!(member.zone, Zone::Named(_))
            {
                member.zone = zone;
            }
        }
        self.trim(now);
    }

    /// Takes what a member has answered.
    fn take(&mut self, peer: PeerId, answer: Answer, is_connected: bool, now: Moment) {
        let room = self.room_beside(&peer);
        let Some(member) = self.members.get_mut(&peer) else { return };
        member.is_here = is_connected || !matches!(answer, Answer::None);
        if member.is_here {
            member.answered = now;
        }
        match answer {
            Answer::State(state, models) => {
                // Of a list that was cut, the rest is asked for again.
                let is_whole = models.as_ref().is_none_or(|it| {
                    it.len() <= room && it.len() >= SWARM_MODELS_MAX.min(state.total as usize)
                });
                let zone = state.zone.as_ref().and_then(|it| it.as_str().parse().ok()).map(Zone::Named);
                *member = Member {
                    zone: zone.unwrap_or_else(|| match &member.zone {
                        // It had a name before.
                        Zone::Named(_) => Zone::Unplaced,
                        zone => zone.clone(),
                    }),
                    replicas: state.replicas,
                    takes_part: true,
                    draining: state.draining,
                    room: state.room,
                    list: is_whole.then_some(state.list),
                    models: match models {
                        Some(models) => models.into_iter().take(room).map(|it| (key_of(&it), it)).collect(),
                        None => std::mem::take(&mut member.models),
                    },
                    ..*member
                };
            }
            Answer::TakesNoPart => {
                *member = Member { is_here: true, ..Member::met(member.zone.clone(), now) };
            }
            Answer::None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use reg_proto::bounded::Bounded;
    use reg_proto::swarm_state::{ZoneText, list_digest};

    use super::super::own::tests::model;
    use super::*;
    use crate::registry::limits::{SPREAD_TOLD_MAX, SPREAD_TOLD_SHARE};

    const NOW: Moment = Moment::from_seconds(1_700_000_000);

    fn state(zone: Option<&str>) -> Box<SwarmState> {
        Box::new(SwarmState {
            version: SWARM_STATE_VERSION,
            zone: zone.and_then(|it| ZoneText::new(it.to_owned())),
            replicas: 3,
            draining: false,
            room: 7,
            list: list_digest(&[model(1)]),
            total: 1,
            models: Bounded::empty(),
        })
    }

    fn numbered(n: usize) -> SwarmModel {
        SwarmModel { manifest: Digest::of(&n.to_be_bytes()), ..model(1) }
    }

    fn page(total: usize, models: impl IntoIterator<Item = SwarmModel>) -> Response {
        let total = u32::try_from(total).expect("few");
        Response::SwarmState(SwarmState { total, models: Bounded::first_of(models), ..*state(None) })
    }

    #[tokio::test]
    async fn a_list_of_small_pages_is_not_waited_for() {
        let member = Due { peer: PeerId::from_public_key([1; 32]), list: None, room: SPREAD_TOLD_MAX };
        let paged = async |of_page: usize, total: usize| {
            let asked = std::cell::Cell::new(0);
            let answer = ask_state(member, |question: SwarmQuestion| {
                asked.set(asked.get() + 1);
                let from = question.from as usize;
                std::future::ready(Some(page(total, (from..total.min(from + of_page)).map(numbered))))
            });
            let told = match answer.await {
                Answer::State(_, Some(models)) => Some(models.len()),
                _ => None,
            };
            (told, asked.get())
        };
        let full = SWARM_MODELS_PER_PAGE_MAX;
        assert_eq!(paged(full, 2 * full + 1).await, (Some(2 * full + 1), 3));
        assert_eq!(paged(1, 1).await, (Some(1), 1));
        assert_eq!(paged(1, SWARM_MODELS_MAX).await, (None, 1));
        assert_eq!(paged(0, SWARM_MODELS_MAX).await, (Some(0), 1), "nothing more comes");
    }

    #[test]
    fn a_list_that_is_known_in_part_is_asked_for_again() {
        let (peer, other) = (PeerId::from_public_key([1; 32]), PeerId::from_public_key([2; 32]));
        let mut known = State::default();
        assert!(known.meet(peer, Zone::Unplaced, NOW) && known.meet(other, Zone::Unplaced, NOW));
        // The other members have told of as much as fits.
        let crowd = (0..SPREAD_TOLD_MAX).map(|n| (n.to_string(), model(1))).collect();
        known.members.get_mut(&other).expect("a member").models = crowd;
        let told = |count: usize, total: u32| {
            let state = SwarmState { total, ..*state(None) };
            Answer::State(Box::new(state), Some((0..count).map(numbered).collect()))
        };
        for (count, total, kept, is_known) in [
            (5, 5, 5, true),
            (SPREAD_TOLD_SHARE, 781, SPREAD_TOLD_SHARE, true),
            (SPREAD_TOLD_SHARE + 1, 782, SPREAD_TOLD_SHARE, false),
            // It says that there are more, and sends no more.
            (5, 6, 5, false),
            (0, 0, 0, true),
        ] {
            known.take(peer, told(count, total), true, NOW);
            let member = &known.members[&peer];
            assert_eq!((member.models.len(), member.list.is_some()), (kept, is_known), "{count} of {total}");
        }
    }

    #[test]
    fn a_member_is_what_it_answered_last() {
        let peer = PeerId::from_public_key([1; 32]);
        let mut known = State::default();
        known.meet(peer, Zone::V4([10, 0, 0]), NOW);
        let seen = |known: &State| {
            let it = &known.members[&peer];
            (it.zone.to_string(), it.takes_part, it.is_here, it.models.len())
        };
        known.take(peer, Answer::State(state(Some("east")), Some(vec![model(1)])), true, NOW);
        assert_eq!(seen(&known), ("name:east".to_owned(), true, true, 1));
        known.take(peer, Answer::State(state(Some("east")), None), true, NOW);
        assert_eq!(seen(&known).3, 1, "the list is the same");
        known.take(peer, Answer::None, false, NOW);
        assert_eq!(seen(&known), ("name:east".to_owned(), true, false, 1));
        // A zone that is no name is none: the next look at its address says where it is.
        known.take(peer, Answer::State(state(Some("a b")), None), true, NOW);
        assert_eq!(seen(&known).0, "unplaced");
        // Members together tell of a bounded number of models.
        let other = PeerId::from_public_key([2; 32]);
        known.meet(other, Zone::Unplaced, NOW);
        assert_eq!(known.room_beside(&other), SPREAD_TOLD_MAX - 1);
        // A peer that takes no part, or one of before, holds nothing for the swarm and has no room.
        known.take(peer, Answer::TakesNoPart, true, NOW);
        assert_eq!(seen(&known), ("unplaced".to_owned(), false, true, 0));
    }
}
