//! Tests what a donor decides, as tables and by laws.

use proptest::prelude::*;

use super::*;
use crate::time::HOUR;

const NOW: Moment = Moment::from_seconds(1_800_000_000);
const GB: u64 = 1_000_000_000;

fn digest(n: u32) -> Digest {
    Digest::of(&n.to_be_bytes())
}

fn ago(time: Duration) -> Moment {
    Moment::from_seconds(NOW.seconds() - time.as_secs())
}

fn zones(zones: u32) -> Replicas {
    Replicas { zones, copies: zones, ..Replicas::default() }
}

/// A model of 1 GB that is counted for long and offered.
fn model(n: u32, elsewhere: u32) -> Model {
    Model {
        model: digest(n),
        bytes: GB,
        standing: Standing::Followed,
        refused: None,
        elsewhere: zones(elsewhere),
        counted_since: ago(DAY * 20),
        is_offered: true,
        held: None,
    }
}

fn held(n: u32, elsewhere: u32) -> Model {
    Model { held: Some(Held { since: ago(DAY * 60), rose: None }), ..model(n, elsewhere) }
}

/// A donor alone, which has not decided for four days: it leaves nothing to chance.
fn donor() -> Donor {
    Donor { committed: 10 * GB, takes_strangers: false, donors: 1, target: 4, round: DAY * 4 }
}

fn decided(donor: &Donor, models: &[Model]) -> Vec<(Action, Reason)> {
    let verdicts = decide(donor, models, NOW, &mut Chance::new(1));
    assert!(verdicts.iter().map(|it| it.model).eq(models.iter().map(|it| it.model)));
    verdicts.into_iter().map(|it| (it.action, it.reason)).collect()
}

#[test]
fn each_model_has_a_reason() {
    use Action::{GiveBack, Keep, Leave, Take};
    let rose = |time| Model { held: Some(Held { since: ago(DAY), rose: Some(ago(time)) }), ..model(1, 6) };
    let until = ago(DAY * 29) + RISE_PAUSE;
    for (it, expected) in [
        (model(1, 1), (Take, Reason::Scarce { elsewhere: 1, missing: 3 })),
        (model(1, 4), (Leave, Reason::Enough { elsewhere: 4, target: 4 })),
        (
            Model { refused: Some(Refusal::Denylist), ..model(1, 0) },
            (Leave, Reason::Refused(Refusal::Denylist)),
        ),
        (Model { refused: Some(Refusal::Rule), ..held(1, 0) }, (GiveBack, Reason::Refused(Refusal::Rule))),
        (Model { standing: Standing::Stranger, ..model(1, 0) }, (Leave, Reason::OutOfScope)),
        (Model { bytes: 11 * GB, ..model(1, 0) }, (Leave, Reason::LargerThanCommitted)),
        (Model { counted_since: ago(HOUR * 23), ..model(1, 0) }, (Leave, Reason::NotCountedYet)),
        (Model { is_offered: false, ..model(1, 0) }, (Leave, Reason::NotOffered)),
        (held(1, 0), (Keep, Reason::LastKnown)),
        (held(1, 2), (Keep, Reason::Scarce { elsewhere: 2, missing: 1 })),
        (held(1, 9), (Keep, Reason::NothingScarcer)),
        (rose(DAY * 29), (Keep, Reason::RoseLately { until })),
        (rose(DAY * 30), (Keep, Reason::NothingScarcer)),
    ] {
        assert_eq!(decided(&donor(), std::slice::from_ref(&it)), [expected], "{it:?}");
    }
    let strangers = Donor { takes_strangers: true, ..donor() };
    let stranger = Model { standing: Standing::Stranger, ..model(1, 0) };
    assert_eq!(decided(&strangers, &[stranger])[0].0, Take);
}

#[test]
fn the_scarcest_goes_first_and_a_round_takes_few() {
    let mut models: Vec<Model> = (0..12).map(|n| model(n, n % 4)).collect();
    models.push(Model { standing: Standing::Named, ..model(20, 0) });
    let verdicts = decided(&donor(), &models);
    for (it, (action, reason)) in models.iter().zip(&verdicts) {
        let is_taken = it.elsewhere.zones == 0;
        assert_eq!(*action == Action::Take, is_taken, "{it:?}: {reason:?}");
        assert!(is_taken || *reason == Reason::NextRound);
    }
    // Of equals, what is followed: three of these and one of the named, or four of these.
    models.truncate(12);
    models.extend([21, 22].map(|n| Model { standing: Standing::Collected, ..model(n, 0) }));
    let verdicts = decided(&donor(), &models);
    assert!(verdicts[..12].iter().filter(|it| it.0 == Action::Take).count() == 3);
}

#[test]
fn many_donors_leave_most_to_each_other() {
    let crowd = Donor { donors: 100, round: HOUR, ..donor() };
    let takes = |elsewhere| {
        (0..100_000u32)
            .filter(|seed| {
                let models = [model(1, elsewhere)];
                decide(&crowd, &models, NOW, &mut Chance::new(u64::from(*seed)))[0].action == Action::Take
            })
            .count()
    };
    // Two of 100 act in four days, of 96 rounds; where there is at most one replica, as many as are missing.
    let (few, more) = (takes(2), takes(0));
    assert!((10..32).contains(&few), "2 / 100 / 96 of 100,000 are 21: {few}");
    assert!((33..60).contains(&more), "4 / 100 / 96 of 100,000 are 42: {more}");
}

#[test]
fn what_is_left_is_kept_for_the_scarcest_and_for_small_ones() {
    // Eight of ten GB are held: a fifth of the rest is 400 MB, a tenth 200 MB.
    let full: Vec<Model> = (0..8).map(|n| held(n, 1)).collect();
    for (elsewhere, mb, is_taken) in [
        (0, 2000, true),
        (1, 2000, true),
        (1, 2001, false),
        (2, 400, true),
        (2, 401, false),
        (3, 200, true),
        (3, 201, false),
    ] {
        let mut models = full.clone();
        models.push(Model { bytes: mb * 1_000_000, ..model(9, elsewhere) });
        let (action, reason) = decided(&donor(), &models)[8];
        assert_eq!(action == Action::Take, is_taken, "{elsewhere}, {mb} MB: {reason:?}");
        assert!(is_taken || reason == Reason::NoRoom { free: 2 * GB });
    }
}

#[test]
fn what_goes_is_the_largest_of_those_that_chance_chooses() {
    // Three of ten GB are needed, and none is free: the largest one is enough.
    let sizes = [1, 3, 1, 4, 1];
    let mut models: Vec<Model> =
        (0..).zip(sizes).map(|(n, gb)| Model { bytes: gb * GB, ..held(n, 5) }).collect();
    models.push(Model { bytes: 3 * GB, ..model(9, 0) });
    let mut gone_alone = [0; 5];
    for seed in 0..300 {
        let verdicts = decide(&donor(), &models, NOW, &mut Chance::new(seed));
        let gone: Vec<usize> = (0..5).filter(|it| verdicts[*it].action == Action::GiveBack).collect();
        assert!(gone.len() <= 1 || gone == [0, 2, 4], "{gone:?}");
        if let [one] = gone[..] {
            gone_alone[one] += 1;
        }
    }
    // Each goes with a chance of 4 of 6: the largest nearly always, the second where the largest stays.
    assert!(gone_alone[3] > gone_alone[1] && gone_alone[1] > 0, "{gone_alone:?}");
    assert_eq!((gone_alone[0], gone_alone[2], gone_alone[4]), (0, 0, 0));
}

#[test]
fn something_is_given_back_only_for_something_scarcer_by_a_margin() {
    for (elsewhere_of_held, elsewhere_of_new, rose, may_go) in [
        (3, 0, None, true),
        (3, 1, None, true),
        (2, 0, None, false),
        (1, 0, None, false),
        (0, 0, None, false),
        (9, 2, None, false),
        (9, 3, None, false),
        (9, 4, None, false),
        (9, 0, Some(DAY * 29), false),
        (9, 0, Some(DAY * 31), true),
    ] {
        let held = Held { since: ago(DAY * 60), rose: rose.map(ago) };
        let models = [
            Model { held: Some(held), bytes: 10 * GB, ..model(1, elsewhere_of_held) },
            model(2, elsewhere_of_new),
        ];
        let of = |seed| decide(&donor(), &models, NOW, &mut Chance::new(seed));
        let gone: Vec<Vec<Verdict>> =
            (0..100).map(of).filter(|it| it[0].action == Action::GiveBack).collect();
        assert_eq!(!gone.is_empty(), may_go, "{models:?}");
        // At random: if all holders think the same, some stay.
        assert!(gone.len() < 100);
        for verdicts in gone {
            assert_eq!(verdicts[0].reason, Reason::ForScarcer { other: digest(2) });
            assert_eq!(verdicts[1].action, Action::Take);
        }
    }
}

#[test]
fn the_owner_comes_first_and_the_last_replica_goes_last() {
    let models = [held(1, 0), held(2, 7), held(3, 3), held(4, 7), model(5, 0)];
    let given = |committed| -> Vec<u32> {
        let verdicts = decided(&Donor { committed, ..donor() }, &models);
        let gone = (1..).zip(&verdicts).filter(|(_, it)| **it == (Action::GiveBack, Reason::OwnerNeedsDisk));
        gone.map(|(n, _)| n).collect()
    };
    assert!(given(10 * GB).is_empty() && given(4 * GB).is_empty());
    let first = given(4 * GB - 1);
    assert!(first == [2] || first == [4], "{first:?}");
    assert_eq!(given(2 * GB), [2, 4], "the user has committed less than before, or the disk is nearly full");
    assert_eq!(given(2 * GB - 1), [2, 3, 4]);
    assert_eq!(given(0), [1, 2, 3, 4]);
}

fn models() -> impl Strategy<Value = Vec<Model>> {
    let one = (0u32..9, 0u64..4 * GB, 0u8..8, 0u8..6, 0u64..60);
    prop::collection::vec(one, 0..40).prop_map(|facts| {
        let build = |(n, (zones, bytes, kind, refused, days)): (u32, (u32, u64, u8, u8, u64))| {
            let rose = (days % 2 == 0).then(|| ago(DAY * days as u32));
            Model {
                bytes,
                refused: (refused == 0).then_some(Refusal::Consent),
                is_offered: kind != 7,
                held: (kind < 4).then_some(Held { since: ago(DAY * 70), rose }),
                ..model(n, zones)
            }
        };
        (0..).zip(facts).map(build).collect()
    })
}

proptest! {
    /// Whatever the facts: the committed bytes are kept to, nothing refused stays or comes, nothing goes for another
    /// unless that is scarcer by the margin, and the last known replica goes for the owner only.
    #[test]
    fn a_round_keeps_to_the_rules(models in models(), seed: u64, committed in 0u64..20 * GB, donors in 1u32..9) {
        let donor = Donor { donors, committed, ..donor() };
        let verdicts = decide(&donor, &models, NOW, &mut Chance::new(seed));
        let (mut after, mut stays) = (0, 0);
        for (model, verdict) in models.iter().zip(&verdicts) {
            let is_held = model.held.is_some();
            let fits = match verdict.action {
                Action::Take | Action::Leave => !is_held,
                Action::Keep | Action::GiveBack => is_held,
            };
            prop_assert!(fits, "{:?}", verdict);
            if matches!(verdict.action, Action::Take | Action::Keep) {
                prop_assert_eq!(model.refused, None);
                after += model.bytes;
                stays += model.bytes * u64::from(verdict.action == Action::Keep);
            }
            if let Reason::ForScarcer { other } = verdict.reason {
                let taken = models.iter().position(|it| it.model == other).unwrap();
                prop_assert_eq!(verdicts[taken].action, Action::Take);
                prop_assert!(models[taken].elsewhere.zones <= PUSHES_MAX);
                prop_assert!(model.elsewhere.zones >= models[taken].elsewhere.zones + MARGIN);
                let rose = model.held.and_then(|it| it.rose);
                prop_assert!(rose.is_none_or(|rose| NOW.since(rose) >= RISE_PAUSE));
            }
            if verdict.action == Action::GiveBack && model.elsewhere.zones == 0 {
                prop_assert!(matches!(verdict.reason, Reason::OwnerNeedsDisk | Reason::Refused(_)));
            }
        }
        prop_assert!(after <= donor.committed || verdicts.iter().all(|it| it.action != Action::Take));
        prop_assert!(stays <= donor.committed);
        let taken = verdicts.iter().filter(|it| it.action == Action::Take).count();
        prop_assert!(taken <= TAKES_PER_ROUND_MAX);
    }
}
