//! Reports the copies of the swarm, as this node judged them last.

use std::sync::Arc;

use reg_api::swarm::{DrainReport, MemberReport, SpreadModel, SwarmReport, SwarmSummary, Waiting};
use reg_commons::Moment;
use reg_commons::swarm::{FetchReason, KeepReason, Policy, Verdict, may_leave};
use reg_proto::peer::PeerId;

use super::decide::{Decision, Decisions};
use super::state::State;
use super::{SpreadError, Spreading};

/// What this node judged last.
#[derive(Debug, Default)]
pub(super) struct Outlook {
    pub(super) decisions: Decisions,
    pub(super) settled: bool,
    /// Whether the node was drained then.
    pub(super) draining: bool,
    pub(super) now: Moment,
}

impl Spreading {
    /// Returns the policy of this node.
    ///
    /// # Errors
    /// It keeps no copies for a swarm, or is no daemon.
    pub(super) fn require(&self) -> Result<Policy, SpreadError> {
        match (self.settings.policy, self.settings.acts) {
            (None, _) => Err(SpreadError::Off),
            (Some(_), false) => Err(SpreadError::NoDaemon),
            (Some(policy), true) => Ok(policy),
        }
    }

    /// Reports the members of the swarm, and the copies of each model.
    ///
    /// # Errors
    /// This node keeps no copies for a swarm, or is no daemon.
    pub async fn report(self: &Arc<Self>) -> Result<SwarmReport, SpreadError> {
        let policy = self.require()?;
        let drain = self.drain_report().await?;
        let (outlook, own, reasons) = (self.outlook(), self.own(), self.reasons());
        let state = self.state();
        let members = state.members.iter().map(|(peer, it)| MemberReport {
            peer: *peer,
            zone: it.zone.to_string(),
            takes_part: it.takes_part,
            replicas: it.replicas,
            away_since: (!it.is_here).then(|| state.away_since(it).seconds()),
            draining: it.draining,
            room: it.room,
            copies: it.models.values().filter(|it| it.standing.is_copy()).count(),
        });
        let model = |decision: &Decision| {
            let is_here = own.as_ref().is_some_and(|it| it.has(&decision.key));
            let model = row(decision, &state, &self.puller.network.peer_id(), is_here, outlook.now);
            SpreadModel { refused: reasons.get(&decision.key).cloned(), ..model }
        };
        Ok(SwarmReport {
            replicas: policy.copies,
            repair_after: policy.repair_after.as_secs(),
            shrink_after: policy.shrink_after.as_secs(),
            zone: own.as_ref().map(|it| it.zone.to_string()).unwrap_or_default(),
            settled: outlook.settled,
            drain: drain.draining.then_some(drain),
            members: members.collect(),
            models: outlook.decisions.models.iter().map(model).collect(),
        })
    }

    /// Reports how far this node is with handing over.
    ///
    /// # Errors
    /// This node keeps no copies for a swarm, or the store cannot be read.
    pub async fn drain_report(self: &Arc<Self>) -> Result<DrainReport, SpreadError> {
        self.require()?;
        let since = self.on_blocking_thread(|spreading| spreading.drained_since()).await?;
        let outlook = self.outlook();
        let own = self.puller.network.peer_id();
        let here: Vec<&Decision> =
            outlook.decisions.models.iter().filter(|it| it.case.spread.holders.contains_key(&own)).collect();
        // What was judged before the node was drained says nothing.
        let is_judged = outlook.settled && outlook.draining;
        let is_left = may_leave(here.iter().map(|it| it.verdict));
        let waiting = here.iter().filter_map(|it| waiting(it)).collect();
        let handed_over = here.iter().filter(|it| matches!(it.verdict, Verdict::HandedOver { .. })).count();
        Ok(match since {
            None => DrainReport::default(),
            Some(_) if !is_judged => DrainReport { draining: true, since, ..DrainReport::default() },
            Some(_) => DrainReport { draining: true, since, done: is_left, handed_over, waiting },
        })
    }

    /// Returns the swarm in a few figures; `None` where this node keeps no copies for one.
    pub fn summary(&self) -> Option<SwarmSummary> {
        let policy = self.settings.acting()?;
        let outlook = self.outlook();
        let state = self.state();
        let away = state.members.values().filter(|it| !it.is_here).count();
        let members = state.members.values().filter(|it| it.is_here && it.takes_part).count();
        let is_short = |it: &&Decision| it.counted.copies < it.counted.wanted;
        Some(SwarmSummary {
            replicas: policy.copies,
            members,
            away,
            models: outlook.decisions.models.len(),
            short: outlook.decisions.models.iter().filter(is_short).count(),
            draining: outlook.draining,
        })
    }
}

fn row(decision: &Decision, state: &State, own: &PeerId, is_here: bool, now: Moment) -> SpreadModel {
    let Decision { case, counted, verdict, .. } = decision;
    let model = &case.model;
    let proven = case.spread.holders.keys().filter(|it| state.is_proven(it, &model.manifest, now));
    SpreadModel {
        publisher: model.publisher,
        model: model.model.clone(),
        tag: model.tag.clone(),
        manifest: model.manifest,
        bytes: model.bytes,
        copies: counted.copies,
        zones: counted.zones,
        wanted: counted.wanted,
        here: is_here,
        holders: case.spread.holders.keys().copied().collect(),
        proven: proven.filter(|it| *it != own).copied().collect(),
        refuted: case.refuted.iter().copied().collect(),
        fetching: case.spread.fetching.iter().copied().collect(),
        verdict: said(verdict),
        refused: None,
    }
}

fn waiting(decision: &Decision) -> Option<Waiting> {
    let (others, wanted) = match decision.verdict {
        Verdict::Keep(KeepReason::HandingOver { others, wanted }) => (others, wanted),
        Verdict::HandedOver { .. } | Verdict::Leave => return None,
        _ => (0, decision.counted.wanted),
    };
    let model = &decision.case.model;
    Some(Waiting {
        publisher: model.publisher,
        model: model.model.clone(),
        manifest: model.manifest,
        bytes: model.bytes,
        others,
        wanted,
        refused_by: decision.case.refused_by,
    })
}

/// Returns a verdict as a sentence.
fn said(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Fetch(FetchReason::TooFew { copies, wanted }) => {
            format!("fetched here: it has {copies} of {wanted} copies")
        }
        Verdict::Fetch(FetchReason::OtherZone { zones, wanted }) => {
            format!("fetched here: its copies are in {zones} of {wanted} zones")
        }
        Verdict::Keep(KeepReason::Needed { .. }) => "kept: it is needed".to_owned(),
        Verdict::Keep(KeepReason::AboveLately) => "kept: it has too many copies, but not for long".to_owned(),
        Verdict::Keep(KeepReason::RanksHigher) => "kept: another node gives it up first".to_owned(),
        Verdict::Keep(KeepReason::OthersNotProven { proven, wanted }) => {
            format!("kept: only {proven} of {wanted} other copies are proven")
        }
        Verdict::Keep(KeepReason::HandingOver { others, wanted }) => {
            format!("handed over: {others} of {wanted} other copies are proven")
        }
        Verdict::GiveUp { others } => format!("given up: {others} other copies are proven"),
        Verdict::Leave => "left to other nodes".to_owned(),
        Verdict::HandedOver { others } => format!("handed over: {others} other copies are proven"),
    }
}
