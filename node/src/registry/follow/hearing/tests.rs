//! Tests that a follow remembers what it can, counts the rest, and comes to rest.

use reg_api::follow::DELAY;

use super::*;
use crate::registry::follow::plan::tests::{DAY, START, due_tags, follow, pull, tagged, version};

/// Returns heads of `count` tags, each a second newer than the one before.
fn heads(count: usize, first: u64) -> Vec<HeardOf> {
    let first = (0..count as u64).map(|n| (n, first + n));
    first.map(|(n, issued)| tagged("llama-8b", &format!("v{n}"), issued)).collect()
}

#[test]
fn of_too_many_heads_the_newest_are_remembered_the_rest_is_counted_and_the_list_comes_to_rest() {
    let mut follow = follow(2, DELAY);
    let mut all = heads(FOLLOW_VERSIONS_MAX + 88, START - 10 * DAY);
    assert!(follow.hear_all(all.clone(), START));
    assert_eq!((follow.versions.len(), follow.left_out), (FOLLOW_VERSIONS_MAX, 88));
    assert!(!follow.hear_all(all.clone(), START + 5), "nothing has changed");
    assert_eq!(due_tags(&follow, START + 5), ["v599", "v598"]);
    pull(&mut follow, START + 5);
    assert!(!follow.hear_all(all.clone(), START + 10), "nothing has changed");
    // A new version takes the place of the oldest, which does not come back.
    all.push(tagged("llama-8b", "new", START + DAY));
    assert!(follow.hear_all(all.clone(), START + DAY));
    assert_eq!((follow.versions.len(), follow.left_out), (FOLLOW_VERSIONS_MAX, 89));
    assert!(!follow.hear_all(all.clone(), START + DAY + 5), "nothing has changed");
    assert_eq!(due_tags(&follow, START + DAY + DELAY), ["new"]);
}

#[test]
fn heads_that_were_fetched_or_have_failed_do_not_push_each_other_out() {
    let mut follow = follow(2, 0);
    let mut all = heads(FOLLOW_VERSIONS_MAX, START + DAY);
    let now = START + 2 * DAY;
    follow.hear_all(all.clone(), now);
    for (n, due) in follow.due(now).into_iter().enumerate() {
        let manifest = follow.versions.iter().find(|it| it.payload == due.payload).unwrap().manifest;
        follow.pulled(&due, if n % 2 == 0 { Ok(manifest) } else { Err("no".to_owned()) }, now);
    }
    let mut evicted = 0;
    for n in 0..20 {
        let now = now + 5 * n;
        // Some come all the time.
        if n % 4 == 0 {
            all.push(tagged("llama-8b", &format!("late-{n}"), now));
            evicted += 1;
        }
        assert_eq!(follow.hear_all(all.clone(), now), n % 4 == 0, "tick {n}");
        assert_eq!(follow.left_out, evicted);
        assert!(follow.versions.iter().any(|it| it.payload == all[all.len() - 1].payload));
    }
}

/// A date in the future must not keep out what comes until then.
#[test]
fn a_date_in_the_future_is_no_bar() {
    let mut follow = follow(2, 0);
    let mut all = heads(FOLLOW_VERSIONS_MAX, START + 1000 * DAY);
    follow.hear_all(all.clone(), START + DAY);
    pull(&mut follow, START + DAY);
    all.push(tagged("llama-8b", "new", START + 2 * DAY));
    follow.hear_all(all.clone(), START + 2 * DAY);
    assert_eq!((follow.forgotten, follow.left_out), (None, 1));
    assert!(!follow.hear_all(all, START + 3 * DAY), "nothing has changed");
}

#[test]
fn dates_that_a_document_of_before_lacks_are_noted() {
    let mut follow = follow(2, DELAY);
    follow.hear(version("llama-8b", 1, START - DAY), START);
    follow.versions[0].issued = None;
    assert!(follow.hear(version("llama-8b", 1, START - DAY), START + 5));
    assert_eq!(follow.versions[0].issued, Some(START - DAY));
    assert!(!follow.hear(version("llama-8b", 1, START - DAY), START + 10));
}

#[test]
fn a_flood_of_versions_stays_within_the_bound_and_pushes_out_none_that_waits_or_is_kept() {
    let mut follow = follow(2, DELAY);
    follow.hear(version("llama-8b", 1, START - DAY), START);
    pull(&mut follow, START);
    for seq in 2..2 * FOLLOW_VERSIONS_MAX as u64 {
        follow.hear(version("llama-8b", seq, START), START + DAY);
    }
    assert_eq!(follow.versions.len(), FOLLOW_VERSIONS_MAX);
    assert_eq!((follow.versions[0].seq, follow.versions[1].seq), (1, 2));
    pull(&mut follow, START + DAY + DELAY);
    assert!(follow.hear(version("llama-8b", 9999, START), START + 3 * DAY), "then there is room again");
}
