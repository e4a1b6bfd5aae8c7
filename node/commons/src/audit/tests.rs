//! Tests the auditor in virtual time: how soon counts are right, that they stay so, and what that costs.

use super::*;
use crate::time::DAY;

const START: Moment = Moment::from_seconds(1_700_000_000);

fn digest(n: u32) -> Digest {
    Digest::of(&n.to_be_bytes())
}

fn peer(n: u32) -> PeerId {
    PeerId::from_public_key(*Digest::of(&n.to_le_bytes()).as_bytes())
}

fn layout(size: u64) -> BlobLayout {
    BlobLayout::new(size).unwrap()
}

fn zone(n: u32) -> Zone {
    Zone::V4([10, (n >> 8) as u8, n as u8])
}

/// Returns an auditor of so many models, each of 100 pieces and with a copy at three peers of their own.
fn auditor(models: u32, budget_per_hour: u64, class: impl Fn(u32) -> Class) -> Auditor {
    let mut auditor = Auditor::new(Audits::default(), budget_per_hour, START);
    for n in 0..models {
        auditor.watch(digest(n), class(n), &[(digest(n), layout(100 * PIECE_LEN))]);
        (0..3).for_each(|copy| assert!(auditor.holds(START, digest(n), peer(3 * n + copy), zone(copy))));
    }
    auditor
}

const FINE: Answer = Answer::Passed;

/// Lets an hour pass in steps of a minute. Returns the pieces that were asked for.
fn hour(
    auditor: &mut Auditor,
    chance: &mut Chance,
    from: Moment,
    answer: impl Fn(&Ask) -> Option<Answer>,
) -> Vec<Ask> {
    let mut asks = Vec::new();
    for minute in 0..60 {
        let now = from + Duration::from_secs(60 * minute);
        while let Some(ask) = auditor.next(now, chance, |peer| {
            let piece = layout(1).last();
            answer(&Ask { model: digest(0), peer: *peer, blob: digest(0), piece, bytes: 1 }).is_some()
        }) {
            auditor.answered(now, &ask, answer(&ask).unwrap_or(Answer::Unreachable));
            asks.push(ask);
        }
    }
    asks
}

fn counted(auditor: &Auditor, models: u32, now: Moment) -> u32 {
    (0..models).map(|n| auditor.audits().count(&digest(n), now).zones).sum()
}

/// The computation on this module's page, for a thousand models or, to be quick, for as many as a part of the budget
/// stands for.
#[test]
fn the_budget_keeps_a_thousand_models_of_three_replicas_counted() {
    let models = if std::env::var_os("REG_FULL").is_some() { 1000 } else { 42 };
    let budget = BUDGET_PER_HOUR * u64::from(models) / 1000;
    let (mut auditor, mut chance) = (auditor(models, budget, |_| Class::Other), Chance::new(1));
    let (mut right_after, mut bytes) = (None, 0);
    for hours in 0..45 * 24 {
        let now = START + HOUR * hours;
        let asks = hour(&mut auditor, &mut chance, now, |_| Some(FINE));
        bytes += asks.iter().map(|it| u64::from(it.bytes)).sum::<u64>();
        match (counted(&auditor, models, now + HOUR), right_after) {
            (all, None) if all == 3 * models => right_after = Some(hours),
            (all, Some(since)) => assert_eq!(all, 3 * models, "right after {since} h, not after {hours} h"),
            _ => (),
        }
    }
    let days = f64::from(right_after.unwrap()) / 24.0;
    assert!((5.0..6.5).contains(&days), "right after {days} days");
    assert!(bytes <= 45 * 24 * budget * 100 / 192 + 3 * u64::from(models) * 12 * PIECE_LEN, "{bytes} bytes");
}

#[test]
fn a_single_model_is_counted_within_a_day_and_then_costs_little() {
    let (mut auditor, mut chance) = (auditor(1, BUDGET_PER_HOUR, |_| Class::Other), Chance::new(7));
    let first = hour(&mut auditor, &mut chance, START, |_| Some(FINE));
    assert_eq!(first.len(), 3, "one piece of each copy, at once");
    for hours in 1..24 {
        hour(&mut auditor, &mut chance, START + HOUR * hours, |_| Some(FINE));
    }
    assert_eq!(counted(&auditor, 1, START + DAY), 3);
    let pieces = (24..24 + 15 * 24)
        .map(|hours| hour(&mut auditor, &mut chance, START + HOUR * hours, |_| Some(FINE)).len());
    assert!(
        (33..=48).contains(&pieces.sum::<usize>()),
        "one in 30 h of each copy, and some more when those of the first day are about to lapse"
    );
}

#[test]
fn what_matters_more_is_counted_first_and_the_last_is_not_forgotten() {
    let class = |n: u32| [Class::Followed, Class::Pinned, Class::Donated, Class::Other][(n / 5 % 4) as usize];
    let (mut auditor, mut chance) = (auditor(20, 2 * PIECE_LEN, class), Chance::new(3));
    let mut asks = Vec::new();
    for hours in 0..60 {
        asks.extend(hour(&mut auditor, &mut chance, START + HOUR * hours, |_| Some(FINE)));
    }
    let of = |from: u32| {
        (from..from + 5).map(|n| asks.iter().filter(|it| it.model == digest(n)).count()).sum::<usize>()
    };
    let [followed, pinned, donated, other] = [of(0), of(5), of(10), of(15)];
    assert!(followed > 50 && followed > pinned + donated + other, "{followed} {pinned} {donated} {other}");
    assert!(pinned > 0 && donated > 0 && other > 0, "{followed} {pinned} {donated} {other}");
}

#[test]
fn one_peer_is_asked_for_few_pieces_in_an_hour() {
    let (mut auditor, mut chance) = (Auditor::new(Audits::default(), 1 << 40, START), Chance::new(1));
    for n in 0..200 {
        auditor.watch(digest(n), Class::Other, &[(digest(n), layout(5 * PIECE_LEN))]);
        auditor.holds(START, digest(n), peer(1), zone(1));
    }
    for hours in 0..3 {
        let asks = hour(&mut auditor, &mut chance, START + HOUR * hours, |_| Some(FINE));
        assert_eq!(asks.len(), PIECES_PER_PEER_HOUR as usize, "hour {hours}");
    }
}

#[test]
fn one_peer_is_asked_for_few_pieces_at_once() {
    let (mut auditor, mut chance) = (Auditor::new(Audits::default(), 1 << 40, START), Chance::new(1));
    auditor.left = 1 << 40;
    for n in 0..40 {
        auditor.watch(digest(n), Class::Other, &[(digest(n), layout(5 * PIECE_LEN))]);
        auditor.holds(START, digest(n), peer(n % 2), zone(n % 2));
    }
    let asks: Vec<Ask> = std::iter::from_fn(|| auditor.next(START, &mut chance, |_| true)).collect();
    assert_eq!(asks.len(), 2 * ASKS_PER_PEER_MAX);
    auditor.answered(START, &asks[0], FINE);
    assert_eq!(auditor.next(START, &mut chance, |_| true).map(|it| it.peer), Some(asks[0].peer));
}

#[test]
fn answers_are_a_table() {
    for (answer, failed) in [
        (FINE, None),
        (Answer::Wrong, Some(Failure::Wrong)),
        (Answer::NotGiven, Some(Failure::NotGiven)),
        (Answer::Busy, None),
        (Answer::Unreachable, None),
    ] {
        let mut auditor = auditor(1, BUDGET_PER_HOUR, |_| Class::Other);
        let ask = auditor.next(START, &mut Chance::new(1), |it| *it == peer(0)).unwrap();
        auditor.answered(START, &ask, answer);
        // An answer that comes twice counts once.
        auditor.answered(START, &ask, FINE);
        let copy = auditor.audits().copies(&digest(0)).unwrap().get(&peer(0)).unwrap();
        assert_eq!(copy.failed.as_ref().map(|it| it.why), failed, "{answer:?}");
        assert_eq!(copy.passes.newest().is_some(), answer == FINE);
        let mut is_due = |seconds| {
            let now = START + Duration::from_secs(seconds);
            auditor.next(now, &mut Chance::new(1), |it| *it == peer(0)).is_some()
        };
        let is_neither = matches!(answer, Answer::Busy | Answer::Unreachable);
        assert_eq!((is_due(899), is_due(900)), (false, is_neither), "{answer:?}");
    }
}

/// A disk that slept is awake a minute later; a peer that is always late is asked as often as one that proves, and never
/// counts.
#[test]
fn late_pieces_prove_nothing_either_way() {
    let mut auditor = auditor(1, BUDGET_PER_HOUR, |_| Class::Other);
    let (mut chance, mut late) = (Chance::new(1), Vec::new());
    for minute in 0..12 * 60 {
        let now = START + Duration::from_secs(60) * minute;
        if let Some(ask) = auditor.next(now, &mut chance, |it| *it == peer(0)) {
            let left = auditor.left;
            auditor.answered(now, &ask, Answer::Late);
            assert_eq!(auditor.left, left, "what was fetched is paid for");
            late.push(minute);
        }
    }
    assert_eq!(late, [0, 1, 181, 361, 541]);
    let copy = auditor.audits().copies(&digest(0)).unwrap().get(&peer(0)).unwrap();
    assert_eq!((copy.failed.clone(), copy.passes.newest()), (None, None));
    let now = START + HOUR * 13;
    let ask = auditor.next(now, &mut chance, |it| *it == peer(0)).unwrap();
    auditor.answered(now, &ask, FINE);
    let copy = auditor.audits().copies(&digest(0)).unwrap().get(&peer(0)).unwrap();
    assert_eq!(copy.passes.newest(), Some(now));
}

#[test]
fn an_answer_that_never_comes_costs_a_place_for_two_minutes() {
    let (mut auditor, mut chance) = (auditor(20, 1 << 40, |_| Class::Other), Chance::new(1));
    let mut ask = |auditor: &mut Auditor, seconds| {
        let now = START + Duration::from_secs(seconds);
        std::iter::from_fn(|| auditor.next(now, &mut chance, |_| true)).count()
    };
    auditor.left = 1 << 40;
    assert_eq!([0, 119, 120].map(|seconds| ask(&mut auditor, seconds)), [ASKS_MAX, 0, ASKS_MAX]);
}

#[test]
fn pieces_are_chosen_by_the_size_of_their_blobs() {
    let mut auditor = Auditor::new(Audits::default(), 1 << 40, START);
    let sizes = [(1, 3 * PIECE_LEN), (2, PIECE_LEN - 1), (3, 0), (4, 5 * PIECE_LEN + 1)];
    auditor.watch(digest(0), Class::Other, &sizes.map(|(n, size)| (digest(n), layout(size))));
    let subject = auditor.subjects.get(&digest(0)).unwrap();
    let (mut chance, mut times) = (Chance::new(5), BTreeMap::new());
    for _ask in 0..10_000 {
        let ask = subject.random_piece(digest(0), peer(1), &mut chance);
        *times.entry((ask.blob, ask.piece, ask.bytes)).or_insert(0) += 1;
    }
    assert_eq!(times.len(), 3 + 1 + 6);
    assert!(times.values().all(|it| (850..1150).contains(it)), "{times:?}");
    assert!(times.keys().any(|(_, _, bytes)| *bytes == 1));
}

#[test]
fn zones_beyond_enough_are_not_begun() {
    let mut auditor = Auditor::new(Audits::default(), 1 << 40, START);
    auditor.watch(digest(0), Class::Other, &[(digest(0), layout(PIECE_LEN))]);
    (0..20).for_each(|n| assert!(auditor.holds(START, digest(0), peer(n), zone(n))));
    assert!(!auditor.holds(START, digest(9), peer(1), zone(1)), "a model that is not audited");
    let mut chance = Chance::new(1);
    let few = |ask: &Ask| (0..10).any(|n| peer(n) == ask.peer).then_some(FINE);
    for hours in 0..30 {
        hour(&mut auditor, &mut chance, START + HOUR * hours, few);
    }
    let later = START + HOUR * 30;
    assert_eq!(auditor.audits().count(&digest(0), later).zones, ZONES_ENOUGH);
    let late = hour(&mut auditor, &mut chance, later, |ask| few(ask).is_none().then_some(FINE));
    assert!(late.is_empty(), "{late:?}");
    auditor.unwatch(&digest(0));
    assert_eq!(auditor.audits().models().count(), 0);
}
