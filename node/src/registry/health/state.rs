//! [`State`]: what audits have found, and which models and peers they concern.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::path::Path;
use std::sync::PoisonError;
use std::time::Duration;

use reg_commons::{Ask, Auditor, Audits, Chance, Class, DAY, HOUR, Health as Observations, Moment, Replicas};
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, PublisherId};
use reg_proto::peer::PeerId;
use tracing::warn;

use super::Health;
use super::pace::Pace;
use super::piece::ASK_MAX;
use super::settings::HealthSettings;
use super::written::Written;
use crate::state_file;

/// A node that was off for longer judges models anew, as it does after its first start: many proofs may have lapsed meanwhile.
const AWAY: Duration = DAY;
/// How long a peer that was not reached is left alone; each further time in a row doubles it.
const UNREACHED_PAUSE: Duration = Duration::from_secs(15 * 60);
/// Most doublings of [`UNREACHED_PAUSE`]: 16 hours. A peer that connects by itself is asked at once.
const DOUBLINGS_MAX: u32 = 6;
/// Peers of which is remembered that they were not reached. Beyond that number, a peer that is not reached is asked again at once.
const UNREACHED_MAX: usize = 4096;

/// A model that is audited.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) class: Class,
    /// Whether the user is told when it falls below its target.
    pub(super) is_told: bool,
    pub(super) names: Vec<(PublisherId, ModelName)>,
    /// The peers that were said to hold it, at the last search.
    pub(super) claimed: BTreeSet<PeerId>,
    pub(super) searched: Option<Moment>,
}

#[derive(Debug, Clone, Copy)]
struct Unreached {
    until: Moment,
    times: u32,
}

/// What audits have found.
#[derive(Debug)]
pub(super) struct State {
    pub(super) auditor: Auditor,
    pub(super) observations: Observations,
    pub(super) models: BTreeMap<Digest, Watched>,
    unreached: BTreeMap<PeerId, Unreached>,
    /// Whether the file is older than this.
    pub(super) has_changed: bool,
    has_failed: bool,
}

impl State {
    /// Reads what the file of an earlier node says. A file that is missing or damaged says nothing. Blocks.
    pub(super) fn read(settings: &HealthSettings, pace: Pace) -> Self {
        let (now, mut audits, mut observations) = (pace.now(), Audits::default(), Observations::default());
        let written = settings.file.as_deref().and_then(|path| read(path, pace)).unwrap_or_default();
        let was_away = now.since(written.saved) > AWAY;
        written.copies.into_iter().for_each(|(model, copies)| audits.restore(model, copies, now));
        for (model, observed) in written.observed {
            if observed.is_endangered || !was_away {
                observations.restore(model, observed);
            }
        }
        let auditor = Auditor::new(audits, pace.share(settings.budget), now)
            .with_patience(pace.passing(ASK_MAX).max(HOUR / 30));
        let (models, unreached) = (BTreeMap::new(), BTreeMap::new());
        Self { auditor, observations, models, unreached, has_changed: false, has_failed: false }
    }

    /// Returns the next piece to ask for: of no peer that is banned, or was not reached a short time ago.
    pub(super) fn next(
        &mut self,
        now: Moment,
        chance: &mut Chance,
        is_banned: impl Fn(&PeerId) -> bool,
    ) -> Option<Ask> {
        let Self { auditor, unreached, .. } = self;
        let is_tried = |peer: &PeerId| unreached.get(peer).is_none_or(|it| it.until <= now);
        auditor.next(now, chance, |peer| is_tried(peer) && !is_banned(peer))
    }

    /// Returns the models with fewer proven replicas than `target`, at most `max`, those with the fewest first.
    pub(super) fn scarce(&self, target: u32, max: usize, now: Moment) -> Vec<(Digest, Replicas)> {
        let count = |manifest: &Digest| (*manifest, self.auditor.audits().count(manifest, now));
        let mut scarce: Vec<(Digest, Replicas)> = self.models.keys().map(count).collect();
        scarce.retain(|(_, replicas)| replicas.zones < target);
        scarce.sort_by_key(|(manifest, replicas)| (replicas.zones, replicas.newest, *manifest));
        scarce.truncate(max);
        scarce
    }

    /// Notes whether a peer was reached.
    pub(super) fn reached(&mut self, peer: PeerId, was_reached: bool, now: Moment) {
        if was_reached {
            self.unreached.remove(&peer);
            return;
        }
        if self.unreached.len() >= UNREACHED_MAX {
            self.unreached.retain(|_, it| it.until > now);
        }
        if self.unreached.len() < UNREACHED_MAX || self.unreached.contains_key(&peer) {
            let known = self.unreached.entry(peer).or_insert(Unreached { until: now, times: 0 });
            known.until = now + UNREACHED_PAUSE * (1 << known.times.min(DOUBLINGS_MAX));
            known.times = known.times.saturating_add(1);
        }
    }
}

fn read(path: &Path, pace: Pace) -> Option<Written> {
    Written::read(path, pace.get()).unwrap_or_else(|error| {
        let cause = error.source();
        warn!(path = %path.display(), %error, ?cause, "the counts of replicas are not read: they begin anew");
        None
    })
}

impl Health {
    /// Writes the file, if something has changed. Blocks.
    pub(super) fn write(&self) {
        let Some(path) = self.settings.file.as_deref().filter(|_| self.settings.audits) else { return };
        // Nothing was read, so nothing has changed.
        if self.state.get().is_none() {
            return;
        }
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let written = {
            let mut state = self.state();
            if !std::mem::replace(&mut state.has_changed, false) {
                return;
            }
            // After a start, the candidates of donors are found again later: their counts are kept too.
            let models = state.models.keys().chain(state.auditor.audits().models());
            Written::of(state.auditor.audits(), &state.observations, models, self.pace.get(), self.pace.now())
        };
        // No lock is held while the bytes are made and written.
        let written = state_file::write(path, &written.to_bytes());
        let mut state = self.state();
        match written {
            Ok(()) => state.has_failed = false,
            Err(error) => {
                state.has_changed = true;
                if !std::mem::replace(&mut state.has_failed, true) {
                    warn!(%error, "the counts of replicas cannot be written: a restart begins them anew");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use reg_commons::Zone;

    use super::*;

    const PACE: u32 = 60;

    fn peer(n: u8) -> PeerId {
        PeerId::from_public_key([n; 32])
    }

    fn model(n: u8) -> Digest {
        Digest::of(&[n])
    }

    /// Models with so many proven replicas each.
    fn proven(replicas: &[u8], now: Moment) -> Audits {
        let mut audits = Audits::default();
        for (n, zones) in (0..).zip(replicas) {
            for zone in 0..*zones {
                audits.add(model(n), peer(zone), Zone::V4([192, 0, zone]), now);
                (0..8).for_each(|_| audits.passed(&model(n), &peer(zone), 1, now));
            }
        }
        audits
    }

    #[test]
    fn the_scarcest_comes_first() {
        let now = Pace::new(PACE).now();
        let mut state = State::read(&HealthSettings::default(), Pace::new(PACE));
        state.auditor = Auditor::new(proven(&[3, 1, 0, 2, 1], now), 0, now);
        for n in 0..5 {
            let (claimed, searched) = (BTreeSet::new(), None);
            let watched = Watched { class: Class::Other, is_told: false, names: vec![], claimed, searched };
            state.models.insert(model(n), watched);
        }
        let scarce = |target, max| -> Vec<u32> {
            state.scarce(target, max, now).iter().map(|(_, replicas)| replicas.zones).collect()
        };
        assert_eq!(scarce(3, 9), [0, 1, 1, 2]);
        assert_eq!(scarce(2, 2), [0, 1]);
        assert_eq!(state.scarce(1, 9, now)[0].0, model(2));
        assert_eq!(scarce(0, 9), [] as [u32; 0]);
    }

    #[test]
    fn what_an_earlier_node_has_counted_is_read_unless_it_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let (path, pace) = (folder.path().join("health.json"), Pace::new(PACE));
        let settings = HealthSettings { file: Some(path.clone()), ..HealthSettings::default() };
        let count = || {
            let state = State::read(&settings, pace);
            let now = pace.now();
            (state.auditor.audits().count(&model(0), now).zones, state.observations.get(&model(0)).is_some())
        };
        assert_eq!(count(), (0, false), "there is no file");
        let (now, mut observations) = (pace.now(), Observations::default());
        observations.observe(model(0), 2, 3, now);
        let write = |saved| {
            let models = [model(0)];
            let written = Written::of(&proven(&[2], now), &observations, models.iter(), PACE, saved);
            written.to_bytes()
        };
        fs::write(&path, write(now)).unwrap();
        assert_eq!(count(), (2, true));
        let earlier = Moment::from_seconds(now.seconds() - 2 * DAY.as_secs());
        fs::write(&path, write(earlier)).unwrap();
        assert_eq!(count(), (2, false), "a node that was away judges anew");
        fs::write(&path, &write(now)[1..]).unwrap();
        assert_eq!(count(), (0, false), "it is damaged");
    }

    #[test]
    fn a_peer_that_is_not_reached_is_left_alone_for_longer_and_longer() {
        let mut state = State::read(&HealthSettings::default(), Pace::new(PACE));
        let now = Moment::from_seconds(1_700_000_000);
        let pause =
            |state: &State| state.unreached.get(&peer(1)).map(|it| it.until.since(now).as_secs() / 60);
        let pauses: Vec<u64> = (0..9)
            .filter_map(|_| {
                state.reached(peer(1), false, now);
                pause(&state)
            })
            .collect();
        assert_eq!(pauses, [15, 30, 60, 120, 240, 480, 960, 960, 960]);
        state.reached(peer(1), true, now);
        assert_eq!(pause(&state), None);
        (0..UNREACHED_MAX + 5).for_each(|n| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_le_bytes());
            state.reached(PeerId::from_public_key(key), false, now);
        });
        assert_eq!(state.unreached.len(), UNREACHED_MAX);
    }
}
