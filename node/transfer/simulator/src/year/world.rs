//! The world: which node holds which model, hour by hour.

use reg_commons::Chance;

use super::donor::{Donor, Network};
use super::knowledge::Asked;
use super::node::Node;
use super::outcome::{Outcome, Sample};
use super::plan::{AUDITS_EVERY, MODELS_PER_PUBLISHER, Plan, Policy, log_normal};

/// A node holds a model in its cache.
const CACHED: u8 = 1;
/// A node holds a model as a donation.
const DONATED: u8 = 2;
/// The node that has uploaded a model holds it beside its cache.
const UPLOADED: u8 = 4;

/// Which node holds which model, and the sizes of the models. The k-th model is the k-th in popularity.
struct Copies {
    sizes: Vec<u64>,
    /// For each node and model: how it is held.
    held: Vec<u8>,
    /// For each model: the nodes that hold it.
    holders: Vec<Vec<u16>>,
    nodes: Vec<Node>,
}

/// A network on its way through a year.
struct World<'a> {
    plan: &'a Plan,
    chance: Chance,
    copies: Copies,
    /// For each model: the share of pulls that are for it or for a more popular one.
    popularity: Vec<f64>,
    donors: Vec<Donor>,
    /// Which node has uploaded which model.
    uploads: Vec<(u16, u16)>,
    outcome: Outcome,
}

/// Runs a plan to its end.
pub fn run(plan: &Plan) -> Outcome {
    let mut world = World::new(plan);
    let first = plan.warm_up_days * 24;
    for hour in 0..plan.hours() {
        if hour == first {
            world.close_the_hub();
        }
        if hour == first + plan.uploaded_days * 24 {
            world.let_uploads_go();
        }
        if hour >= first && (hour - first).is_multiple_of(24) {
            world.sample();
        }
        world.hour(hour, hour < first);
    }
    world.sample();
    world.outcome
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan) -> Self {
        let mut chance = Chance::new(plan.seed);
        let sizes = (0..plan.models)
            .map(|_| (log_normal(&mut chance, plan.size_median as f64, plan.size_sigma) as u64).max(1))
            .collect();
        let nodes: Vec<Node> = (0..plan.nodes).map(|_| Node::new(plan, &mut chance)).collect();
        let mut sum = 0.0;
        let mut popularity: Vec<f64> = (1..=plan.models)
            .map(|rank| {
                sum += f64::from(rank).powf(-plan.zipf);
                sum
            })
            .collect();
        popularity.iter_mut().for_each(|it| *it /= sum);
        let donors = match plan.policy {
            Policy::None => 0,
            _ => u32::from(plan.nodes) * plan.donors_percent / 100,
        };
        let donors = (0..donors).map(|node| {
            let scope = scope(plan, &mut chance);
            Donor::new(node as u16, scope, &mut chance)
        });
        let donors = donors.collect();
        let held = vec![0; usize::from(plan.nodes) * usize::from(plan.models)];
        let holders = vec![Vec::new(); usize::from(plan.models)];
        let copies = Copies { sizes, held, holders, nodes };
        Self { plan, chance, copies, popularity, donors, uploads: Vec::new(), outcome: Outcome::new(plan) }
    }

    /// Lets a random node upload each model: from here on, what is lost is lost.
    fn close_the_hub(&mut self) {
        for model in 0..self.plan.models {
            let node = self.chance.below(u64::from(self.plan.nodes)) as u16;
            self.uploads.push((node, model));
            self.copies.set(node, model, UPLOADED, true);
        }
    }

    /// From here on, the nodes that have uploaded models hold them as they hold what they have pulled.
    fn let_uploads_go(&mut self) {
        for (node, model) in std::mem::take(&mut self.uploads) {
            let how = self.copies.how(node, model);
            self.copies.set(node, model, UPLOADED, false);
            if how == UPLOADED {
                self.copies.keep(node, model);
            }
        }
    }

    fn hour(&mut self, hour: u32, is_hub_open: bool) {
        let per_hour = self.plan.pulls_per_week / (7.0 * 24.0) / self.plan.online_share();
        for node in 0..self.plan.nodes {
            if self.copies.nodes[usize::from(node)].hour(self.plan, hour, &mut self.chance) {
                self.copies.leaves(node);
            }
            if self.copies.nodes[usize::from(node)].is_online && self.chance.is_true_with(per_hour) {
                self.pull(node, is_hub_open);
            }
        }
        if !is_hub_open {
            self.donate(hour);
        }
    }

    fn pull(&mut self, node: u16, is_hub_open: bool) {
        let share = self.chance.share();
        let model = self.popularity.partition_point(|it| *it <= share).min(self.popularity.len() - 1) as u16;
        let is_counted = u64::from(!is_hub_open);
        self.outcome.pulls += is_counted;
        if self.copies.how(node, model) != 0 {
            self.copies.nodes[usize::from(node)].touch(model);
        } else if is_hub_open || self.copies.is_offered(node, model) {
            self.outcome.pulled += is_counted * self.copies.sizes[usize::from(model)];
            self.copies.keep(node, model);
        } else {
            self.outcome.failed_pulls += is_counted;
        }
    }

    fn donate(&mut self, hour: u32) {
        let is_online = |donor: &&Donor| self.copies.nodes[usize::from(donor.node)].is_online;
        let online = self.donors.iter().filter(is_online).count() as u32;
        // As many as have a like scope: what a donor is told by the donors that it is connected to.
        let alike = (online * self.plan.scope_percent).div_ceil(100);
        for donor in &mut self.donors {
            if !self.copies.nodes[usize::from(donor.node)].is_online {
                continue;
            }
            let (node, scope) = (donor.node, std::mem::take(&mut donor.scope));
            let view = View { copies: &self.copies, scope: &scope, node };
            let audits = self.plan.policy == Policy::ScarcestFirst
                && (hour + u32::from(node)).is_multiple_of(AUDITS_EVERY);
            if audits {
                let pieces = self.plan.audits_per_hour * AUDITS_EVERY;
                self.outcome.audited += donor.knowledge.round(node, hour, pieces, &view, &mut self.chance);
            }
            donor.scope = scope.clone();
            let changes = donor.hour(self.plan, hour, alike, &view, &mut self.chance);
            self.outcome.donated += changes.fetched;
            for model in changes.whole {
                self.copies.set(node, model, DONATED, true);
            }
            for model in changes.gone {
                self.outcome.given_back += self.copies.sizes[usize::from(model)];
                self.copies.set(node, model, DONATED, false);
            }
        }
    }

    fn sample(&mut self) {
        let models = f64::from(self.plan.models);
        let share = |count: usize| count as f64 / models;
        let nodes = &self.copies.nodes;
        let is_online = |holders: &&Vec<u16>| holders.iter().any(|it| nodes[usize::from(*it)].is_online);
        self.outcome.samples.push(Sample {
            alive: share(self.copies.holders.iter().filter(|it| !it.is_empty()).count()),
            online: share(self.copies.holders.iter().filter(is_online).count()),
            scarce: share(self.copies.holders.iter().filter(|it| (1..4).contains(&it.len())).count()),
        });
    }
}

/// Returns the models of the publishers that a donor has in its scope.
fn scope(plan: &Plan, chance: &mut Chance) -> Vec<u16> {
    let publishers = plan.models.div_ceil(MODELS_PER_PUBLISHER).max(1);
    let is_in: Vec<bool> =
        (0..publishers).map(|_| chance.below(100) < u64::from(plan.scope_percent)).collect();
    // A publisher has popular models and others.
    (0..plan.models).filter(|model| is_in[usize::from(model % publishers)]).collect()
}

impl Copies {
    fn place(&self, node: u16, model: u16) -> usize {
        usize::from(node) * self.sizes.len() + usize::from(model)
    }

    fn how(&self, node: u16, model: u16) -> u8 {
        self.held[self.place(node, model)]
    }

    fn set(&mut self, node: u16, model: u16, way: u8, is_held: bool) {
        let place = self.place(node, model);
        let before = self.held[place];
        let after = if is_held { before | way } else { before & !way };
        self.held[place] = after;
        let holders = &mut self.holders[usize::from(model)];
        if before == 0 && after != 0 {
            holders.push(node);
        } else if before != 0 && after == 0 {
            holders.retain(|it| *it != node);
        }
    }

    /// Puts a model into a node's cache.
    fn keep(&mut self, node: u16, model: u16) {
        let (evicted, is_in) = self.nodes[usize::from(node)].keep(model, &self.sizes);
        evicted.into_iter().for_each(|it| self.set(node, it, CACHED, false));
        if is_in {
            self.set(node, model, CACHED, true);
        }
    }

    fn is_offered(&self, to: u16, model: u16) -> bool {
        let holders = &self.holders[usize::from(model)];
        holders.iter().any(|it| *it != to && self.nodes[usize::from(*it)].is_online)
    }

    fn leaves(&mut self, node: u16) {
        for model in 0..self.sizes.len() as u16 {
            self.set(node, model, CACHED | DONATED | UPLOADED, false);
        }
    }
}

/// What one donor can see and find out.
struct View<'a> {
    copies: &'a Copies,
    scope: &'a [u16],
    node: u16,
}

impl Asked for View<'_> {
    fn is_online(&self, node: u16) -> bool {
        self.copies.nodes[usize::from(node)].is_online
    }

    fn holds(&self, node: u16, place: usize) -> bool {
        self.copies.how(node, self.scope[place]) != 0
    }

    fn holders(&self, place: usize) -> &[u16] {
        &self.copies.holders[usize::from(self.scope[place])]
    }

    fn piece(&self, place: usize) -> u64 {
        self.copies.sizes[usize::from(self.scope[place])]
    }
}

impl Network for View<'_> {
    fn size(&self, place: usize) -> u64 {
        self.copies.sizes[usize::from(self.scope[place])]
    }

    fn is_offered(&self, place: usize) -> bool {
        self.copies.is_offered(self.node, self.scope[place])
    }

    fn is_cached(&self, place: usize) -> bool {
        self.copies.how(self.node, self.scope[place]) & (CACHED | UPLOADED) != 0
    }
}
