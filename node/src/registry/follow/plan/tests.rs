//! Tests the rules of follows: delays, failures, and that nothing comes before its time.

use proptest::prelude::*;
use reg_api::follow::DELAY;

use super::*;

pub(in crate::registry::follow) const DAY: u64 = 24 * 3600;
/// A moment long after 1970.
pub(in crate::registry::follow) const START: u64 = 1_700_000_000;

impl Follow {
    /// Takes one head.
    pub(in crate::registry::follow) fn hear(&mut self, heard: HeardOf, now: u64) -> bool {
        self.hear_all(vec![heard], now)
    }
}

pub(in crate::registry::follow) fn follow(keep: u32, delay: u64) -> Follow {
    let settings = FollowSettings { keep, delay, ..FollowSettings::default() };
    Follow::new(PublisherId::from_bytes([7; 32]), "llama-*".parse().unwrap(), settings, START)
}

/// Returns version `seq` of a model, under the tag `latest`.
pub(in crate::registry::follow) fn version(model: &str, seq: u64, issued: u64) -> HeardOf {
    HeardOf {
        model: model.parse().unwrap(),
        tag: Tag::latest(),
        key_document: 1,
        seq,
        payload: Digest::of(format!("{model} record {seq}").as_bytes()),
        manifest: Digest::of(format!("{model} manifest {seq}").as_bytes()),
        issued,
    }
}

/// Returns the only version of a tag other than `latest`.
pub(in crate::registry::follow) fn tagged(model: &str, tag: &str, issued: u64) -> HeardOf {
    let payload = Digest::of(format!("{model} record of {tag}").as_bytes());
    let manifest = Digest::of(format!("{model} manifest of {tag}").as_bytes());
    HeardOf { tag: tag.parse().unwrap(), payload, manifest, ..version(model, 1, issued) }
}

/// Returns the tags that are due, in the order in which they are pulled.
pub(in crate::registry::follow) fn due_tags(follow: &Follow, now: u64) -> Vec<String> {
    follow.due(now).into_iter().map(|it| it.tag.to_string()).collect()
}

/// Pulls what is due at `now`, and returns the numbers of the versions that came.
pub(in crate::registry::follow) fn pull(follow: &mut Follow, now: u64) -> Vec<u64> {
    let mut came = Vec::new();
    for due in follow.due(now) {
        let version = follow.versions.iter().find(|it| it.payload == due.payload).unwrap();
        let (seq, manifest) = (version.seq, version.manifest);
        follow.pulled(&due, Ok(manifest), now);
        came.push(seq);
    }
    came
}

#[test]
fn a_version_waits_for_its_delay_from_the_moment_it_is_heard_of() {
    let mut follow = follow(2, DELAY);
    let later = START + DAY;
    // A thief can choose the date.
    assert!(follow.hear(version("llama-8b", 1, 0), later));
    assert!(!follow.hear(version("llama-8b", 1, 0), later + 5), "it is known");
    assert!(!follow.hear(version("qwen", 1, 0), later), "the pattern does not cover it");
    assert_eq!(follow.due(later + DELAY - 1), []);
    assert_eq!(pull(&mut follow, later + DELAY), [1]);
    assert_eq!(follow.due(later + 10 * DELAY), []);
}

#[test]
fn what_was_there_when_the_user_began_comes_at_once_if_it_is_old() {
    let mut follow = follow(2, DELAY);
    follow.hear(version("llama-8b", 1, START - DAY), START + 60);
    follow.hear(version("llama-70b", 1, START - DAY + 100), START + 60);
    assert_eq!(pull(&mut follow, START + 60), [1]);
    assert_eq!(follow.versions[1].state, VersionState::Waiting { until: START + 60 + DELAY });
}

#[test]
fn of_several_versions_the_newest_that_has_waited_is_pulled() {
    let mut follow = follow(2, DELAY);
    for (seq, at) in [(1, 0), (2, 10), (3, DAY / 2)] {
        follow.hear(version("llama-8b", seq, START), START + 700 + at);
    }
    let now = START + 710 + DELAY;
    let due = follow.due(now);
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].payload, follow.versions[1].payload);
    assert!(!due[0].only.contains(&follow.versions[2].payload), "the third is too young to stand in");
    assert_eq!(pull(&mut follow, now), [2]);
    assert_eq!(follow.versions[0].state, VersionState::Passed);
    assert_eq!(pull(&mut follow, now + DAY / 2), [3]);
}

#[test]
fn a_pull_that_fails_is_repeated_less_and_less_often_and_says_why() {
    let mut follow = follow(2, 0);
    follow.hear(version("llama-8b", 1, START), START + 700);
    let mut now = START + 700;
    let mut waits = Vec::new();
    for _ in 0..9 {
        let due = follow.due(now).remove(0);
        follow.pulled(&due, Err("denied by a rule".to_owned()), now);
        let VersionState::Failed { next, why, .. } = &follow.versions[0].state else { panic!() };
        assert_eq!(why, "denied by a rule");
        assert_eq!(follow.due(*next - 1), []);
        waits.push(next - now);
        now = *next;
    }
    assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
    assert_eq!(pull(&mut follow, now), [1]);
}

#[test]
fn an_older_version_that_stands_in_is_no_success_of_the_newer() {
    let mut follow = follow(2, 0);
    follow.hear(version("llama-8b", 1, START), START + 700);
    pull(&mut follow, START + 700);
    follow.hear(version("llama-8b", 2, START), START + 800);
    let due = follow.due(START + 800).remove(0);
    let first = follow.versions[0].manifest;
    follow.pulled(&due, Ok(first), START + 800);
    assert!(matches!(follow.versions[1].state, VersionState::Failed { .. }));
    assert_eq!(follow.versions[0].state, VersionState::Here { since: START + 700 });
}

#[test]
fn what_its_publisher_has_withdrawn_is_passed_over_and_not_retried() {
    let mut follow = follow(2, 0);
    for seq in 1..=3 {
        follow.hear(version("llama-8b", seq, START), START + 700);
    }
    let due = follow.due(START + 700).remove(0);
    follow.pulled(&due, Err("it was withdrawn".to_owned()), START + 700);
    let third = follow.versions[2].manifest;
    assert!(follow.withdraw(|it| *it == third));
    assert!(!follow.withdraw(|it| *it == third), "it is known");
    assert_eq!(follow.versions[2].state, VersionState::Passed);
    assert_eq!(pull(&mut follow, START + 701), [2], "an older one comes in its place");
    assert_eq!(follow.due(START + 365 * DAY), []);
    follow.withdraw(|_| true);
    assert_eq!(follow.versions[1].state, VersionState::Here { since: START + 701 }, "what is here stays");
}

#[test]
fn a_pull_that_ends_after_its_version_was_withdrawn_makes_no_failure_of_it() {
    let mut follow = follow(2, 0);
    follow.hear(version("llama-8b", 1, START), START + 700);
    let due = follow.due(START + 700).remove(0);
    follow.withdraw(|_| true);
    follow.pulled(&due, Err("it was withdrawn".to_owned()), START + 700);
    assert_eq!(follow.versions[0].state, VersionState::Passed);
}

#[test]
fn a_paused_follow_pulls_nothing_and_goes_on_where_it_was() {
    let mut follow = follow(2, 0);
    follow.hear(version("llama-8b", 1, START), START + 700);
    follow.paused = true;
    assert_eq!(follow.due(START + 800), []);
    follow.paused = false;
    assert_eq!(pull(&mut follow, START + 900), [1]);
}

#[test]
fn another_delay_counts_from_the_same_moment() {
    let mut follow = follow(2, DELAY);
    follow.hear(version("llama-8b", 1, START), START + 700);
    follow.change(FollowSettings { delay: 60, ..follow.settings.clone() });
    assert_eq!(follow.due(START + 759), []);
    assert_eq!(pull(&mut follow, START + 760), [1]);
}

#[test]
fn the_same_files_under_another_tag_need_no_pull() {
    let mut follow = follow(2, DELAY);
    follow.hear(version("llama-8b", 1, START - DAY), START);
    pull(&mut follow, START);
    let tagged = HeardOf { tag: "v1".parse().unwrap(), ..version("llama-8b", 1, START) };
    let tagged = HeardOf { payload: Digest::of(b"another record"), ..tagged };
    follow.hear(tagged, START + DAY);
    assert_eq!(follow.versions[1].state, VersionState::Here { since: START });
}

proptest! {
    /// Whatever is heard of, pulled and refused at whatever times: no record is used before its delay has passed, something is
    /// kept of each model that is here, and the document can be read again.
    #[test]
    fn nothing_comes_before_its_time(
        steps in prop::collection::vec((1..40u64, 0..3 * DAY, any::<bool>(), 1..4u64), 1..60),
        keep in 1..4u32,
    ) {
        let mut follow = follow(keep, DELAY);
        let mut now = START + 700;
        for (seq, wait, fails, model) in steps {
            now += wait;
            follow.hear(version(&format!("llama-{model}"), seq, 0), now);
            for due in follow.due(now) {
                for payload in &due.only {
                    let used = follow.versions.iter().find(|it| it.payload == *payload).unwrap();
                    prop_assert!(used.heard + DELAY <= now);
                }
                prop_assert!(due.only.contains(&due.payload));
                let manifest = follow.versions.iter().find(|it| it.payload == due.payload).unwrap().manifest;
                follow.pulled(&due, if fails { Err("no".to_owned()) } else { Ok(manifest) }, now);
            }
            let kept = follow.kept(now);
            for version in follow.versions.iter().filter(|it| it.here_since().is_some()) {
                prop_assert!(kept.iter().any(|(model, _)| *model == version.model.folded()));
            }
            let text = json::to_vec(&follow);
            let read: Follow = json::from_slice(&text, usize::MAX).unwrap();
            prop_assert_eq!(read, follow.clone());
        }
    }
}
