//! Takes the heads of tags into a [`Follow`], and makes room for new ones.
//!
//! Pure: the time is an argument.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use reg_api::follow::VersionState;
use reg_proto::digest::Digest;

use super::plan::{Follow, HeardOf, Version};
use crate::registry::limits::{FOLLOW_FIRST, FOLLOW_VERSIONS_MAX};

impl Follow {
    /// Takes the heads of tags that this node knows at `now`, and tells whether the document has changed.
    ///
    /// Where there is no room for all of them, the newest by date come first, and what is left out is counted.
    pub(super) fn hear_all(&mut self, mut heads: Vec<HeardOf>, now: u64) -> bool {
        heads.retain(|it| self.models.covers(&it.model));
        heads.sort_by_key(|it| Reverse(it.issued));
        let dates: BTreeMap<Digest, u64> = heads.iter().map(|it| (it.payload, it.issued)).collect();
        let mut is_changed = self.date(&dates);
        let known: BTreeSet<Digest> = self.versions.iter().map(|it| it.payload).collect();
        let mut is_full = false;
        for heard in heads.into_iter().filter(|it| !known.contains(&it.payload)) {
            if is_full || self.forgotten.is_some_and(|it| heard.issued <= it) {
                continue;
            }
            if self.versions.len() >= FOLLOW_VERSIONS_MAX && !self.make_room(&dates, heard.issued, now) {
                is_full = true;
                continue;
            }
            self.take(heard, now);
            is_changed = true;
        }
        let there: BTreeSet<Digest> = self.versions.iter().map(|it| it.payload).collect();
        let left_out = dates.keys().filter(|it| !there.contains(*it)).count();
        is_changed |= left_out != self.left_out;
        self.left_out = left_out;
        is_changed
    }

    /// Notes the dates of heads that a document of version 1 lacks; tells whether there were such.
    fn date(&mut self, dates: &BTreeMap<Digest, u64>) -> bool {
        let mut is_changed = false;
        for version in self.versions.iter_mut().filter(|it| it.issued.is_none()) {
            version.issued = dates.get(&version.payload).copied();
            is_changed |= version.issued.is_some();
        }
        is_changed
    }

    /// Takes a record that was heard of at `now`.
    ///
    /// Its delay begins now, whatever date it bears, because a thief can choose the date. What is there when the user begins to
    /// follow counts by its date: the user could as well pull it.
    fn take(&mut self, heard: HeardOf, now: u64) {
        let HeardOf { model, tag, key_document, seq, payload, manifest, issued } = heard;
        let is_old = issued.saturating_add(self.settings.delay) <= now;
        let is_first = now.saturating_sub(self.since) <= FOLLOW_FIRST.as_secs();
        let until = if is_old && is_first { now } else { now.saturating_add(self.settings.delay) };
        // The same files under another tag are here already.
        let same = self.versions.iter().find(|it| {
            it.manifest == manifest && it.model.folded() == model.folded() && it.here_since().is_some()
        });
        let state = same.map_or(VersionState::Waiting { until }, |it| it.state.clone());
        let issued = Some(issued);
        self.versions.push(Version {
            model,
            tag,
            key_document,
            seq,
            payload,
            manifest,
            issued,
            heard: now,
            state,
        });
    }

    /// Forgets a version of no use to make room for one of the date `issued`; tells whether there was one.
    ///
    /// The oldest that is no head goes first. A head would be heard of again at once, with a new delay. So one goes only where it
    /// bears an earlier date than the new one, and [`Follow::forgotten`] keeps it from being taken up again.
    fn make_room(&mut self, heads: &BTreeMap<Digest, u64>, issued: u64, now: u64) -> bool {
        let kept = self.kept(now);
        let is_kept = |it: &Version| kept.contains(&(it.model.folded(), it.manifest));
        let is_useless = |it: &Version| match it.state {
            VersionState::Passed | VersionState::Failed { .. } => true,
            VersionState::Here { .. } => !is_kept(it),
            VersionState::Waiting { .. } => false,
        };
        let no_head = |it: &Version| !heads.contains_key(&it.payload) && is_useless(it);
        if let Some(place) = self.versions.iter().position(no_head) {
            self.versions.remove(place);
            return true;
        }
        let surplus = self.surplus(now);
        let is_spare = |it: &Version| match it.state {
            VersionState::Passed => true,
            VersionState::Here { .. } => !is_kept(it),
            VersionState::Failed { .. } | VersionState::Waiting { .. } => surplus.contains(&it.payload),
        };
        // A date in the future would keep out what comes until then.
        let dated = |(place, it): (usize, &Version)| Some((it.issued.filter(|at| *at <= it.heard)?, place));
        let spare = self.versions.iter().enumerate().filter(|(_, it)| is_spare(it)).filter_map(dated).min();
        let Some((date, place)) = spare.filter(|(date, _)| *date < issued) else { return false };
        self.versions.remove(place);
        self.forgotten = self.forgotten.max(Some(date));
        true
    }
}

#[cfg(test)]
mod tests;
