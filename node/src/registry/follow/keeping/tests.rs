//! Tests which versions are kept, and which ones are too old to be pulled.

use reg_api::follow::{DELAY, FollowSettings, VersionState};

use super::*;
use crate::registry::follow::plan::tests::{DAY, START, due_tags, follow, pull, tagged, version};

/// Makes a follow of models with many tags, each a day newer than the one before; the first ones were there before it began.
fn with_ten_tags(keep: u32) -> Follow {
    let mut follow = follow(keep, DELAY);
    // In no order, as peers send them.
    for n in [3, 10, 1, 7, 9, 2, 8, 4, 6, 5] {
        follow.hear(tagged("llama-8b", &format!("v{n}"), START - 20 * DAY + n * DAY), START + n);
    }
    let newest = tagged("llama-8b", "v10", START - 10 * DAY);
    let latest = tagged("llama-8b", "latest", START - 10 * DAY);
    follow.hear(crate::registry::follow::plan::HeardOf { manifest: newest.manifest, ..latest }, START + 20);
    follow
}

/// Returns the tags of what is kept.
fn kept_tags(follow: &Follow, now: u64) -> Vec<String> {
    let kept = follow.kept(now);
    let kept = follow.versions.iter().filter(|it| kept.contains(&(it.model.folded(), it.manifest)));
    let mut tags: Vec<String> = kept.map(|it| it.tag.to_string()).collect();
    tags.sort();
    tags
}

#[test]
fn of_what_was_there_at_the_start_only_the_newest_come_and_are_kept() {
    let mut follow = with_ten_tags(2);
    let now = START + 60;
    assert_eq!(due_tags(&follow, now), ["latest", "v10", "v9"]);
    pull(&mut follow, now);
    assert_eq!(due_tags(&follow, now + 365 * DAY), Vec::<String>::new());
    assert_eq!(kept_tags(&follow, now), ["latest", "v10", "v9"]);
    assert_eq!(follow.surplus(now).len(), 8);
}

#[test]
fn pulls_in_another_order_change_nothing_of_what_is_kept() {
    let mut follow = with_ten_tags(2);
    let now = START + 60;
    let mut due = follow.due(now);
    due.reverse();
    for (n, due) in (0..).zip(due) {
        let manifest = follow.versions.iter().find(|it| it.payload == due.payload).unwrap().manifest;
        follow.pulled(&due, Ok(manifest), now + n);
    }
    follow.hear(tagged("llama-8b", "v11", now + DAY), now + DAY);
    assert_eq!(pull(&mut follow, now + DAY + DELAY), [1]);
    assert_eq!(kept_tags(&follow, now + DAY + DELAY), ["latest", "v10", "v11"]);
}

#[test]
fn more_of_them_come_when_more_are_kept_or_newer_ones_are_withdrawn() {
    let mut follow = with_ten_tags(2);
    let now = START + 60;
    follow.change(FollowSettings { keep: 3, delay: 0, ..follow.settings.clone() });
    assert_eq!(due_tags(&follow, now), ["latest", "v10", "v9", "v8"]);
    let newest = tagged("llama-8b", "v10", 0).manifest;
    follow.withdraw(|it| *it == newest);
    assert_eq!(due_tags(&follow, now), ["v9", "v8", "v7"]);
}

#[test]
fn every_version_that_comes_later_is_pulled() {
    let mut follow = follow(1, 0);
    for n in 1..=3 {
        follow.hear(tagged("llama-8b", &format!("v{n}"), START + DAY), START + DAY);
    }
    assert_eq!(due_tags(&follow, START + DAY).len(), 3);
}

/// A node that is started long after the user began to follow hears late of what was there then.
#[test]
fn what_was_there_is_known_by_its_date_too() {
    let mut follow = follow(1, DELAY);
    for n in 1..=3 {
        follow.hear(tagged("llama-8b", &format!("v{n}"), START - 10 * DAY + n), START + 5 * DAY + 10 - n);
    }
    assert_eq!(due_tags(&follow, START + 7 * DAY), ["v3"]);
    assert!(matches!(follow.versions[0].state, VersionState::Waiting { .. }));
}

#[test]
fn the_last_versions_are_kept_and_the_last_one_older_than_a_week() {
    let mut follow = follow(2, 0);
    let mut kept_at = |day: u64, seq: u64| {
        let now = START + 700 + day * DAY;
        follow.hear(version("llama-8b", seq, START), now);
        pull(&mut follow, now);
        let kept = follow.kept(now);
        let kept = follow.versions.iter().filter(|it| kept.contains(&(it.model.folded(), it.manifest)));
        kept.map(|it| it.seq).collect::<Vec<_>>()
    };
    assert_eq!(kept_at(0, 1), [1]);
    assert_eq!(kept_at(1, 2), [1, 2]);
    assert_eq!(kept_at(2, 3), [2, 3]);
    assert_eq!(kept_at(8, 4), [2, 3, 4], "the second is older than seven days");
    assert_eq!(kept_at(9, 5), [3, 4, 5]);
    assert_eq!(kept_at(10, 6), [3, 5, 6], "many new ones in one week do not push it out");
    assert_eq!(kept_at(10, 7), [3, 6, 7]);
}
