//! Decides the order of results.

use std::cmp::Ordering;

use crate::entry::{EntryHead, compare};
use crate::query::{Query, Sort};

/// Share of a score that health and freshness can take away together.
const MOVED_BY_MAX: f32 = 0.1;
/// Part of that share that health has. The rest is that of freshness.
const HEALTH: f32 = 0.6;
/// Replicas beyond which a model is as healthy as can be.
const REPLICAS_ENOUGH: u32 = 8;
/// Health of a model with an unknown number of replicas.
const HEALTH_UNKNOWN: f32 = 0.5;
/// Age in seconds at which an entry is no longer fresh at all: two years.
const STALE_AFTER: u64 = 2 * 365 * 24 * 60 * 60;

/// What the caller knows of an entry beside what the catalogue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Whether the user named, follows or collected the publisher, or it is vouched for.
    pub known: bool,
    /// Replicas that were counted.
    pub replicas: Option<u32>,
    /// Whether the entry must not be shown: it is denied, or its publisher took it back.
    pub hidden: bool,
}

/// An entry that a search found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) head: &'a EntryHead,
    pub(crate) standing: Standing,
    /// Whether the entry has every word that any entry has.
    pub(crate) has_all_words: bool,
    /// The score, moved by health and freshness.
    pub(crate) score: f32,
    /// Place of the segment of its document.
    pub(crate) segment: u32,
    pub(crate) document: u32,
    /// When the record was signed, as far as that can be true.
    pub(crate) issued: u64,
    /// The first bytes of the digest of the content.
    pub(crate) content_begins: u16,
}

/// Returns the factor from 0.9 to 1.0 by which health and freshness move a score.
pub(crate) fn factor(head: &EntryHead, replicas: Option<u32>, now: u64) -> f32 {
    let enough = REPLICAS_ENOUGH as f32;
    let health = replicas.map_or(HEALTH_UNKNOWN, |it| it.min(REPLICAS_ENOUGH) as f32 / enough);
    let age = now.saturating_sub(issued(head)).min(STALE_AFTER);
    let freshness = 1.0 - age as f32 / STALE_AFTER as f32;
    1.0 - MOVED_BY_MAX * (1.0 - HEALTH * health - (1.0 - HEALTH) * freshness)
}

/// Returns when the record was signed, as far as that can be true.
pub(crate) fn issued(head: &EntryHead) -> u64 {
    head.issued.min(head.heard)
}

/// Returns which of two results comes first. No two entries are equal.
pub(crate) fn order(left: &Candidate<'_>, right: &Candidate<'_>, sort: Sort) -> Ordering {
    let known = right.standing.known.cmp(&left.standing.known);
    known
        .then_with(|| sorted(left, right, sort))
        .then_with(|| sorted(left, right, Sort::Newest))
        .then_with(|| by_name(left.head, right.head))
        .then_with(|| left.head.publisher.cmp(&right.head.publisher))
}

/// Returns which of two entries of a list comes first. Known publishers come first only where the caller wants no other order.
pub(crate) fn list_order(left: &Candidate<'_>, right: &Candidate<'_>, query: &Query) -> Ordering {
    if query.sort == Sort::Relevance {
        return order(left, right, query.sort);
    }
    let sorted = sorted(left, right, query.sort);
    let sorted = if query.is_reversed { sorted.reverse() } else { sorted };
    sorted
        .then_with(|| by_name(left.head, right.head))
        .then_with(|| left.head.publisher.cmp(&right.head.publisher))
}

fn sorted(left: &Candidate<'_>, right: &Candidate<'_>, sort: Sort) -> Ordering {
    match sort {
        Sort::Relevance => {
            right.has_all_words.cmp(&left.has_all_words).then_with(|| right.score.total_cmp(&left.score))
        }
        Sort::Newest => right.issued.cmp(&left.issued),
        Sort::Size => unknown_last(left.head.bytes).cmp(&unknown_last(right.head.bytes)),
        Sort::Name => by_name(left.head, right.head),
        Sort::Replicas => right.standing.replicas.cmp(&left.standing.replicas),
    }
}

fn unknown_last(bytes: Option<u64>) -> (bool, Option<u64>) {
    (bytes.is_none(), bytes)
}

fn by_name(left: &EntryHead, right: &EntryHead) -> Ordering {
    compare(left.model.as_str(), left.tag.as_str(), right.model.as_str(), right.tag.as_str())
}

#[cfg(test)]
mod tests {
    use reg_proto::digest::Digest;
    use reg_proto::name::PublisherId;

    use super::*;

    fn head(model: &str, issued: u64, bytes: Option<u64>) -> EntryHead {
        EntryHead {
            publisher: PublisherId::from_bytes([1; 32]),
            model: model.parse().unwrap(),
            tag: "latest".parse().unwrap(),
            manifest: Digest::of(model.as_bytes()),
            content: Digest::of(model.as_bytes()),
            seq: 1,
            issued,
            heard: STALE_AFTER,
            bytes,
            is_kept: true,
            is_tombstone: false,
        }
    }

    #[test]
    fn health_and_freshness_move_a_score_by_at_most_a_tenth() {
        let table = [
            (None, 0, 0.93),
            (Some(0), 0, 0.9),
            (Some(8), 0, 0.96),
            (Some(u32::MAX), u64::MAX, 1.0),
            (Some(0), STALE_AFTER, 0.94),
            (Some(4), STALE_AFTER / 2, 0.95),
        ];
        for (replicas, issued, expected) in table {
            let factor = factor(&head("a", issued, None), replicas, STALE_AFTER);
            assert!((factor - expected).abs() < 1e-5, "{replicas:?} {issued}: {factor}");
        }
    }

    #[test]
    fn known_publishers_come_first_in_every_order() {
        let (old, new) = (head("b", 1, Some(1)), head("a", 2, None));
        let standing = |known, replicas| Standing { known, replicas, hidden: false };
        let candidate = |head, standing, has_all_words, score| Candidate {
            head,
            standing,
            has_all_words,
            score,
            segment: 0,
            document: 0,
            issued: issued(head),
            content_begins: 0,
        };
        let stranger = candidate(&old, standing(false, Some(9)), true, 9.0);
        let known = candidate(&new, standing(true, None), false, 1.0);
        let rival = candidate(&old, standing(true, Some(1)), true, 0.5);
        let table = [
            (Sort::Relevance, Ordering::Greater),
            (Sort::Newest, Ordering::Less),
            (Sort::Size, Ordering::Greater),
            (Sort::Name, Ordering::Less),
            (Sort::Replicas, Ordering::Greater),
        ];
        for (sort, expected) in table {
            assert_eq!(order(&known, &stranger, sort), Ordering::Less, "{sort:?}");
            assert_eq!(order(&known, &rival, sort), expected, "{sort:?}");
        }
    }
}
