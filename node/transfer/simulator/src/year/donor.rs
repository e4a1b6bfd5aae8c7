//! [`Donor`]: what one donor has taken, and what it does next.

use std::time::Duration;

use reg_commons::{
    Action, Chance, Donor as Facts, HOUR, Held, Model, Moment, Rise, Standing, TAKES_PER_ROUND_MAX, decide,
};
use reg_proto::digest::Digest;

use super::knowledge::{Knowledge, moment};
use super::plan::{DECIDES_EVERY, FETCHED_PER_HOUR, Plan, Policy, WANTED};

/// Hours without a byte after which a fetch is given up: as long as a pass counts.
const GIVES_UP_AFTER: u32 = 14 * 24;

/// A model that was taken.
#[derive(Debug)]
struct Donation {
    place: usize,
    since: Moment,
    rise: Rise,
    /// Bytes that are still to be fetched.
    left: u64,
    progressed: u32,
}

/// A donor.
#[derive(Debug)]
pub(super) struct Donor {
    pub node: u16,
    /// The models that it may take, by their popularity.
    pub scope: Vec<u16>,
    pub knowledge: Knowledge,
    donations: Vec<Donation>,
    decided: Option<u32>,
}

/// What a donor sees of the network at a moment, and what it cannot know of a model without asking.
pub(super) trait Network {
    fn size(&self, place: usize) -> u64;
    /// Tells whether another node that is online holds a model.
    fn is_offered(&self, place: usize) -> bool;
    /// Tells whether the donor's own cache has it.
    fn is_cached(&self, place: usize) -> bool;
}

/// What changes in an hour.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Models that are whole now.
    pub whole: Vec<u16>,
    /// Models that were given back and had been whole.
    pub gone: Vec<u16>,
    pub fetched: u64,
}

impl Donor {
    pub(super) fn new(node: u16, scope: Vec<u16>, chance: &mut Chance) -> Self {
        let knowledge = Knowledge::new(scope.len(), chance);
        Self { node, scope, knowledge, donations: Vec::new(), decided: None }
    }

    /// Decides, if that is due, and fetches for an hour.
    pub(super) fn hour(
        &mut self,
        plan: &Plan,
        hour: u32,
        donors: u32,
        network: &impl Network,
        chance: &mut Chance,
    ) -> Changes {
        let mut changes = Changes::default();
        self.donations.retain(|it| it.left == 0 || hour - it.progressed < GIVES_UP_AFTER);
        if self.decided.is_none_or(|decided| hour - decided >= DECIDES_EVERY) {
            let round = HOUR * self.decided.map_or(DECIDES_EVERY, |decided| hour - decided);
            self.decided = Some(hour);
            let places = match plan.policy {
                Policy::None => Vec::new(),
                Policy::Random => self.by_chance(plan, network, chance),
                Policy::PopularFirst => self.most_popular(plan, network),
                Policy::ScarcestFirst => {
                    self.scarcest(plan, (hour, round, donors), network, &mut changes, chance)
                }
            };
            for place in places {
                let left = if network.is_cached(place) { 0 } else { network.size(place) };
                let since = moment(hour);
                if left == 0 {
                    changes.whole.push(self.scope[place]);
                }
                let rise = Rise::first(self.knowledge.count(place, since).0.zones, since);
                self.donations.push(Donation { place, since, rise, left, progressed: hour });
            }
        }
        self.fetch(hour, network, &mut changes);
        changes
    }

    fn fetch(&mut self, hour: u32, network: &impl Network, changes: &mut Changes) {
        let mut line = FETCHED_PER_HOUR;
        for donation in self.donations.iter_mut().filter(|it| it.left > 0) {
            if line == 0 || !network.is_offered(donation.place) {
                continue;
            }
            let bytes = line.min(donation.left);
            donation.left -= bytes;
            donation.progressed = hour;
            line -= bytes;
            changes.fetched += bytes;
            if donation.left == 0 {
                changes.whole.push(self.scope[donation.place]);
            }
        }
    }

    fn free(&self, plan: &Plan, network: &impl Network) -> u64 {
        let used: u64 = self.donations.iter().map(|it| network.size(it.place)).sum();
        plan.donation.saturating_sub(used)
    }

    fn holds(&self, place: usize) -> bool {
        self.donations.iter().any(|it| it.place == place)
    }

    fn by_chance(&self, plan: &Plan, network: &impl Network, chance: &mut Chance) -> Vec<usize> {
        // Several tries for each that is taken, because some are here, offline or too large.
        let places = (0..4 * TAKES_PER_ROUND_MAX).map(|_| chance.below(self.scope.len() as u64) as usize);
        self.first_that_fit(places, plan, network)
    }

    fn most_popular(&self, plan: &Plan, network: &impl Network) -> Vec<usize> {
        self.first_that_fit(0..self.scope.len(), plan, network)
    }

    fn first_that_fit(
        &self,
        places: impl Iterator<Item = usize>,
        plan: &Plan,
        network: &impl Network,
    ) -> Vec<usize> {
        let (mut free, mut taken) = (self.free(plan, network), Vec::new());
        for place in places {
            let size = network.size(place);
            if taken.len() < TAKES_PER_ROUND_MAX
                && size <= free
                && !self.holds(place)
                && !taken.contains(&place)
                && network.is_offered(place)
            {
                free -= size;
                taken.push(place);
            }
        }
        taken
    }

    /// Asks `reg-commons`, and gives back what it says. Returns what is to be taken.
    fn scarcest(
        &mut self,
        plan: &Plan,
        (hour, round, donors): (u32, Duration, u32),
        network: &impl Network,
        changes: &mut Changes,
        chance: &mut Chance,
    ) -> Vec<usize> {
        let now = moment(hour);
        for donation in &mut self.donations {
            donation.rise.observe(self.knowledge.count(donation.place, now).0.zones, now);
        }
        let models: Vec<Model> = (0..self.scope.len()).map(|place| self.model(place, now, network)).collect();
        let facts = Facts { committed: plan.donation, takes_strangers: false, donors, target: WANTED, round };
        let mut taken = Vec::new();
        for (place, verdict) in decide(&facts, &models, now, chance).into_iter().enumerate() {
            match verdict.action {
                Action::Take => taken.push(place),
                Action::GiveBack => {
                    if self.donations.iter().any(|it| it.place == place && it.left == 0) {
                        changes.gone.push(self.scope[place]);
                    }
                    self.donations.retain(|it| it.place != place);
                }
                Action::Keep | Action::Leave => (),
            }
        }
        taken
    }

    fn model(&self, place: usize, now: Moment, network: &impl Network) -> Model {
        let (elsewhere, since) = self.knowledge.count(place, now);
        let donation = self.donations.iter().find(|it| it.place == place);
        let held = donation.map(|it| Held { since: it.since, rose: it.rise.at() });
        let mut bytes = [0; Digest::LEN];
        bytes[..2].copy_from_slice(&self.scope[place].to_be_bytes());
        Model {
            model: Digest::from_bytes(bytes),
            bytes: network.size(place),
            standing: Standing::Followed,
            refused: None,
            elsewhere,
            counted_since: since.unwrap_or(now),
            is_offered: held.is_some() || network.is_offered(place),
            held,
        }
    }
}
