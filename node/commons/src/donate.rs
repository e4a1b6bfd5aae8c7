//! Decides what a donor takes next, what it keeps and what it gives back, each with the reason.
//!
//! A donor lends disk space for models that it does not need itself. It takes the scarcest first, and gives back only
//! for something scarcer. What rules, denylists or consent refuse is never taken. The owner's own need comes first, at
//! once.

use std::cmp::Reverse;
use std::time::Duration;

use reg_proto::digest::Digest;
use serde::{Deserialize, Serialize};

use super::chance::Chance;
use super::replica::Replicas;
use super::scarcity::{give_back_probability, missing, take_probability};
use super::time::{DAY, Moment};

/// A model is taken only once its replicas are counted for so long: a first proof takes 21 h.
pub const COUNTED_FOR: Duration = DAY;
/// A model of which the count has risen is not given back for so long: a rise may be of pullers that only look at it.
pub const RISE_PAUSE: Duration = Duration::from_secs(30 * DAY.as_secs());
/// A model is given back only for one with so many replicas fewer. With two, the one that is given back is still ahead
/// of the one that is taken, so that they are not exchanged to and fro.
pub const MARGIN: u32 = 2;
/// A model with two replicas elsewhere may take one part of so many of the free bytes, and one with more a part of
/// [`SHARE_WITH_MORE`]. So small models get more replicas than large ones. What has one replica or none may take all.
const SHARE_WITH_TWO: u64 = 5;
const SHARE_WITH_MORE: u64 = 10;
/// Models are given back only for one with at most so many replicas elsewhere. With two, donors fetch an eighth more in the
/// simulated year, and keep no more models.
const PUSHES_MAX: u32 = 1;
/// Models that are taken in one round: the line is a bound too, and the next round knows more.
pub const TAKES_PER_ROUND_MAX: usize = 4;

/// What a model is to the donor. Of equally scarce ones, the first of these goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Its publisher is followed.
    Followed,
    /// Its publisher has a petname.
    Named,
    /// A collection that the user takes names it.
    Collected,
    /// None of these: it is taken only with the scope of everything.
    Stranger,
}

/// What refuses a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    Rule,
    Denylist,
    /// It has files to which the user has not consented.
    Consent,
}

/// A model that may be donated to, or is.
#[derive(Debug, Clone)]
pub struct Model {
    pub model: Digest,
    /// Bytes that it takes beyond what the store has for other reasons.
    pub bytes: u64,
    pub standing: Standing,
    pub refused: Option<Refusal>,
    /// Replicas elsewhere, by this node's own audits.
    pub elsewhere: Replicas,
    /// Since when they are counted without a gap: when the first piece was asked for after the node came, or after it was
    /// away so long that all it knew of the model had lapsed.
    pub counted_since: Moment,
    /// Whether a peer that is reached offers it.
    pub is_offered: bool,
    /// Set where this node holds it, or fetches it, as a donation.
    pub held: Option<Held>,
}

/// A donation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub since: Moment,
    /// When the count elsewhere has last risen.
    pub rose: Option<Moment>,
}

/// What a decision depends on beside the models.
#[derive(Debug, Clone, Copy)]
pub struct Donor {
    /// Bytes that the user has committed, as far as the owner does not need them.
    pub committed: u64,
    /// Whether the user has asked for models of strangers too.
    pub takes_strangers: bool,
    /// Donors with a like scope, about, this one included.
    pub donors: u32,
    /// Replicas that a model is to have.
    pub target: u32,
    /// Time since the last decision.
    pub round: Duration,
}

/// What is to be done with one model, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub model: Digest,
    pub action: Action,
    pub reason: Reason,
}

/// What is to be done with a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Fetch it.
    Take,
    /// Hold it further.
    Keep,
    /// Remove it.
    GiveBack,
    /// Do nothing with it.
    Leave,
}

/// Why. `reg donate why REF` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The user's rules, a denylist or missing consent refuses it.
    Refused(Refusal),
    /// It is outside the scope of what this donor takes.
    OutOfScope,
    /// Its replicas are not counted for long enough.
    NotCountedYet,
    /// No peer that is reached offers it.
    NotOffered,
    /// It has enough replicas elsewhere.
    Enough { elsewhere: u32, target: u32 },
    /// It is larger than all that the user has committed.
    LargerThanCommitted,
    /// There is no room, or what is free is kept for scarcer ones, and nothing that is held may go for it.
    NoRoom { free: u64 },
    /// It is scarce, and chance leaves it to other donors in this round.
    LeftToOthers,
    /// It is scarce, and enough others are taken in this round.
    NextRound,
    /// It has too few replicas elsewhere.
    Scarce { elsewhere: u32, missing: u32 },
    /// This is the last replica that is known.
    LastKnown,
    /// Its count has risen lately: it is kept until then at least.
    RoseLately { until: Moment },
    /// Nothing is so much scarcer that it must make room.
    NothingScarcer,
    /// It makes room for a model with fewer replicas.
    ForScarcer { other: Digest },
    /// The owner needs the disk.
    OwnerNeedsDisk,
}

/// Decides on all models. What comes out has the order of what went in.
///
/// Bytes of models that are given back count as free in the same round: remove before you fetch.
pub fn decide(donor: &Donor, models: &[Model], now: Moment, chance: &mut Chance) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = models.iter().map(|it| before_room(donor, it, now)).collect();
    let held = |verdict: &Verdict| verdict.action == Action::Keep;
    let used = models.iter().zip(&verdicts).filter(|(_, it)| held(it)).map(|(model, _)| model.bytes).sum();
    let used = give_way(donor, models, &mut verdicts, used);
    let mut room = Room { models, now, free: donor.committed.saturating_sub(used) };
    let mut wanted: Vec<(u32, Standing, u64, usize)> = verdicts
        .iter()
        .zip(models)
        .enumerate()
        .filter(|(_, (verdict, _))| verdict.action == Action::Take)
        .map(|(place, (_, model))| (model.elsewhere.zones, model.standing, chance.next(), place))
        .collect();
    wanted.sort_unstable();
    let mut taken = 0;
    for (.., place) in wanted {
        let verdict = &mut verdicts[place];
        (verdict.action, verdict.reason) = (Action::Leave, Reason::NextRound);
        if taken >= TAKES_PER_ROUND_MAX {
            continue;
        }
        let probability = take_probability(&models[place].elsewhere, donor.target, donor.donors, donor.round);
        if !chance.is_true_with(probability) {
            verdict.reason = Reason::LeftToOthers;
            continue;
        }
        match room.make(place, &mut verdicts, chance) {
            true => {
                taken += 1;
                verdicts[place].action = Action::Take;
                verdicts[place].reason = scarce(donor, &models[place]);
            }
            false => verdicts[place].reason = Reason::NoRoom { free: room.free },
        }
    }
    verdicts
}

/// Judges a model without regard to room: [`Action::Take`] means that it is worth taking.
fn before_room(donor: &Donor, model: &Model, now: Moment) -> Verdict {
    let elsewhere = model.elsewhere.zones;
    let is_last = elsewhere == 0;
    let rose = model.held.and_then(|it| it.rose).map(|rose| rose + RISE_PAUSE).filter(|until| *until > now);
    let (action, reason) = match (model.refused, model.held) {
        (Some(refusal), Some(_)) => (Action::GiveBack, Reason::Refused(refusal)),
        (Some(refusal), None) => (Action::Leave, Reason::Refused(refusal)),
        (None, Some(_)) if is_last => (Action::Keep, Reason::LastKnown),
        (None, Some(_)) if missing(&model.elsewhere, true, donor.target) > 0 => {
            (Action::Keep, scarce(donor, model))
        }
        (None, Some(_)) => match rose {
            Some(until) => (Action::Keep, Reason::RoseLately { until }),
            None => (Action::Keep, Reason::NothingScarcer),
        },
        (None, None) if model.standing == Standing::Stranger && !donor.takes_strangers => {
            (Action::Leave, Reason::OutOfScope)
        }
        (None, None) if missing(&model.elsewhere, false, donor.target) == 0 => {
            (Action::Leave, Reason::Enough { elsewhere, target: donor.target })
        }
        (None, None) if model.bytes > donor.committed => (Action::Leave, Reason::LargerThanCommitted),
        (None, None) if now.since(model.counted_since) < COUNTED_FOR => {
            (Action::Leave, Reason::NotCountedYet)
        }
        (None, None) if !model.is_offered => (Action::Leave, Reason::NotOffered),
        (None, None) => (Action::Take, scarce(donor, model)),
    };
    Verdict { model: model.model, action, reason }
}

const fn scarce(donor: &Donor, model: &Model) -> Reason {
    let missing = missing(&model.elsewhere, model.held.is_some(), donor.target);
    Reason::Scarce { elsewhere: model.elsewhere.zones, missing }
}

/// Gives back what is above the committed bytes: the most replicated first, so that the last
/// known replica goes last; of equals the largest, so that few are lost. Returns the bytes that are still used.
fn give_way(donor: &Donor, models: &[Model], verdicts: &mut [Verdict], mut used: u64) -> u64 {
    let mut held: Vec<usize> =
        (0..models.len()).filter(|place| verdicts[*place].action == Action::Keep).collect();
    held.sort_by_key(|place| {
        let model = &models[*place];
        (Reverse(model.elsewhere.zones), Reverse(model.bytes), model.model)
    });
    for place in held {
        if used <= donor.committed {
            break;
        }
        used = used.saturating_sub(models[place].bytes);
        verdicts[place].action = Action::GiveBack;
        verdicts[place].reason = Reason::OwnerNeedsDisk;
    }
    used
}

/// The room for donations while a round is decided.
struct Room<'a> {
    models: &'a [Model],
    now: Moment,
    free: u64,
}

impl Room<'_> {
    /// Makes room for a model, and takes it. Tells whether there is room; if not, nothing has changed.
    fn make(&mut self, place: usize, verdicts: &mut [Verdict], chance: &mut Chance) -> bool {
        let (needed, elsewhere) = (self.models[place].bytes, self.models[place].elsewhere.zones);
        let open = match elsewhere {
            0 | 1 => self.free,
            2 => self.free / SHARE_WITH_TWO,
            _ => self.free / SHARE_WITH_MORE,
        };
        let may_push = open < needed && elsewhere <= PUSHES_MAX;
        let going = if may_push { self.going(place, verdicts, chance) } else { Vec::new() };
        let freed: u64 = going.iter().map(|it| self.models[*it].bytes).sum();
        if open + freed < needed {
            return false;
        }
        self.free = self.free + freed - needed;
        let other = self.models[place].model;
        for it in going {
            verdicts[it].action = Action::GiveBack;
            verdicts[it].reason = Reason::ForScarcer { other };
        }
        true
    }

    /// Returns which donations go for a model: of those that chance chooses the largest first, and no more than are needed,
    /// so that few models lose a replica.
    fn going(&self, place: usize, verdicts: &[Verdict], chance: &mut Chance) -> Vec<usize> {
        let wanted = &self.models[place];
        // A peer offers what is wanted, so that has a replica, proven or not. What is given back has three elsewhere at
        // least: some of them may be gone, and not found out yet.
        let enough = wanted.elsewhere.zones.max(1).saturating_add(MARGIN);
        let mut able: Vec<(Reverse<u64>, usize)> = Vec::new();
        for (it, (model, verdict)) in self.models.iter().zip(verdicts).enumerate() {
            let rose = model.held.and_then(|held| held.rose);
            let is_able = verdict.action == Action::Keep
                && model.elsewhere.zones >= enough
                && rose.is_none_or(|rose| self.now.since(rose) >= RISE_PAUSE);
            if is_able && chance.is_true_with(give_back_probability(&model.elsewhere, enough)) {
                able.push((Reverse(model.bytes), it));
            }
        }
        able.sort_unstable();
        let mut freed = self.free;
        let needed = able.into_iter().take_while(|(_, it)| {
            let is_needed = freed < wanted.bytes;
            freed += self.models[*it].bytes;
            is_needed
        });
        needed.map(|(_, it)| it).collect()
    }
}

#[cfg(test)]
mod tests;
