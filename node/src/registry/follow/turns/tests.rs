//! Tests that publishers take turns, and that a pull ends where it is not wanted or others wait.

use std::time::Duration;

use reg_api::follow::FollowSettings;

use super::*;
use crate::registry::follow::plan::tests::{START, version};

const NOW: u64 = START + 700;

/// Returns a follow of publisher `n` with models that are due.
fn follow(n: u8, models: &[&str]) -> Follow {
    let settings = FollowSettings { delay: 0, ..FollowSettings::default() };
    let mut follow = Follow::new(PublisherId::from_bytes([n; 32]), "*".parse().unwrap(), settings, START);
    for model in models {
        let heard = version(model, 1, START);
        follow.hear(heard, NOW);
    }
    follow
}

fn publishers(step: &Step<'_>) -> Vec<u8> {
    step.begin.iter().map(|(place, ..)| place.publisher.as_bytes()[0]).collect()
}

fn stopped(step: &Step<'_>) -> Vec<u8> {
    step.stop.iter().map(|place| place.publisher.as_bytes()[0]).collect()
}

#[test]
fn a_publisher_has_one_pull_at_a_time_and_all_have_their_turns() {
    let models = ["a", "b", "c"];
    let follows: Vec<Follow> = (1..=4).map(|n| follow(n, &models)).collect();
    let (mut turns, mut at, mut begun) = (Turns::default(), Instant::now(), Vec::new());
    let mut running: Vec<Place> = Vec::new();
    for _ in 0..6 {
        let step = turns.next(&follows, NOW, at);
        assert!(step.stop.is_empty());
        begun.extend(publishers(&step));
        running.extend(step.begin.into_iter().map(|(place, ..)| place));
        assert_eq!(running.len(), FOLLOW_PULLS_MAX);
        at += Duration::from_secs(1);
        turns.ended(running.remove(0), true, at);
    }
    assert_eq!(begun, [1, 2, 3, 4, 1, 2, 3]);
}

#[test]
fn slow_pulls_give_up_their_slots_where_others_wait_and_come_again() {
    let slow: Vec<Follow> = (1..=2).map(|n| follow(n, &["slow"])).collect();
    let (mut turns, start) = (Turns::default(), Instant::now());
    assert_eq!(publishers(&turns.next(&slow, NOW, start)), [1, 2]);
    let late = start + 10 * FOLLOW_TURN;
    assert!(turns.next(&slow, NOW, late).stop.is_empty(), "no other waits");
    let all: Vec<Follow> = (1..=3).map(|n| follow(n, &["slow"])).collect();
    assert!(turns.next(&all, NOW, start + FOLLOW_TURN / 2).stop.is_empty(), "its time is not over");
    let step = turns.next(&all, NOW, start + FOLLOW_TURN);
    assert_eq!((stopped(&step), publishers(&step)), (vec![1], vec![]));
    let place = step.stop.into_iter().next().unwrap();
    turns.ended(place, true, start + FOLLOW_TURN);
    let step = turns.next(&all, NOW, start + FOLLOW_TURN);
    assert_eq!(publishers(&step), [3]);
    let step = turns.next(&all, NOW, start + FOLLOW_TURN);
    assert_eq!(stopped(&step), [2], "now the first one waits");
    turns.ended(step.stop.into_iter().next().unwrap(), true, start + FOLLOW_TURN);
    assert_eq!(publishers(&turns.next(&all, NOW, start + FOLLOW_TURN)), [1]);
}

#[test]
fn a_slow_model_lets_the_others_of_its_publisher_pass() {
    let follows = [follow(1, &["a", "b"])];
    let (mut turns, start) = (Turns::default(), Instant::now());
    let begun = turns.next(&follows, NOW, start).begin;
    let first = begun[0].0.clone();
    let step = turns.next(&follows, NOW, start + FOLLOW_TURN);
    assert_eq!(step.stop, BTreeSet::from([first.clone()]));
    turns.ended(first.clone(), true, start + FOLLOW_TURN);
    let begun = turns.next(&follows, NOW, start + FOLLOW_TURN).begin;
    assert_eq!(begun.len(), 1);
    assert_ne!(begun[0].0, first);
}

#[test]
fn a_pull_ends_with_its_follow_and_while_it_is_paused() {
    let mut follows = vec![follow(1, &["a"]), follow(2, &["a"])];
    let (mut turns, at) = (Turns::default(), Instant::now());
    assert_eq!(publishers(&turns.next(&follows, NOW, at)), [1, 2]);
    follows[0].paused = true;
    assert_eq!(stopped(&turns.next(&follows, NOW, at)), [1]);
    follows.remove(1);
    assert_eq!(stopped(&turns.next(&follows, NOW, at)), [1, 2]);
}

#[test]
fn a_result_that_is_not_noted_is_no_reason_to_pull_again_at_once() {
    let follows = [follow(1, &["a"])];
    let (mut turns, at) = (Turns::default(), Instant::now());
    let place = turns.next(&follows, NOW, at).begin.remove(0).0;
    turns.ended(place, false, at);
    assert!(turns.next(&follows, NOW, at + FOLLOW_RETRY - Duration::from_secs(1)).begin.is_empty());
    assert_eq!(turns.next(&follows, NOW, at + FOLLOW_RETRY).begin.len(), 1);
}

#[test]
fn two_follows_of_one_tag_pull_it_once() {
    let one = follow(1, &["a"]);
    let mut other = one.clone();
    other.models = "a*".parse().unwrap();
    let mut turns = Turns::default();
    assert_eq!(turns.next(&[one, other], NOW, Instant::now()).begin.len(), 1);
}
