//! Every bound holds, and what is refused says which one it met.

use reg_catalogue::{Bounds, Catalogue, Entry, PublisherTexts, Refusal};

use crate::generate::{Random, entry, publisher};

fn small() -> Bounds {
    Bounds {
        kept: 10,
        kept_of_publisher: 6,
        kept_publishers: 3,
        strangers: 8,
        strangers_of_publisher: 3,
        disk_bytes: 1 << 30,
    }
}

fn entries(of: usize, count: usize) -> Vec<Entry> {
    let mut random = Random::new(of as u64);
    (0..count)
        .map(|number| {
            let mut entry = entry(&mut random, of);
            entry.model = format!("model-{number}").parse().unwrap();
            entry
        })
        .collect()
}

/// Runs with and without commits between the steps: what waits counts as much as what is committed.
fn with_commits(run: impl Fn(&Catalogue, &dyn Fn())) {
    for commits in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(dir.path(), small()).unwrap().catalogue;
        run(&catalogue, &|| {
            if commits {
                catalogue.commit().unwrap();
            }
        });
        let counts = catalogue.counts();
        catalogue.commit().unwrap();
        drop(catalogue);
        let catalogue = Catalogue::open(dir.path(), small()).unwrap().catalogue;
        assert_eq!(catalogue.counts(), counts);
    }
}

#[test]
fn strangers_make_room_by_chance_and_kept_ones_never_do() {
    with_commits(|catalogue, between| {
        let mut random = Random::new(9);
        catalogue.set_kept(&publisher(0), true, &mut || 0).unwrap();
        catalogue.put(entries(0, 5), &mut || random.next()).unwrap();
        for of in 1..20 {
            let taken = catalogue.put(entries(of, 5), &mut || random.next()).unwrap();
            assert_eq!((taken.taken, taken.refused.len()), (5, 0));
            assert!(taken.evicted.iter().all(|name| name.publisher != publisher(0)));
            assert!(catalogue.names(&publisher(of)).len() <= 3);
            assert!(catalogue.counts().1 <= 8);
            between();
        }
        assert_eq!(catalogue.counts(), (5, 8));
        assert_eq!(catalogue.names(&publisher(0)).len(), 5);
    });
}

#[test]
fn kept_publishers_are_refused_what_is_too_much() {
    with_commits(|catalogue, between| {
        for of in 0..3 {
            catalogue.set_kept(&publisher(of), true, &mut || 0).unwrap();
        }
        between();
        let full = catalogue.set_kept(&publisher(3), true, &mut || 0).unwrap_err();
        assert_eq!(full.to_string(), Refusal::PublishersFull { max: 3 }.to_string());
        let taken = catalogue.put(entries(0, 8), &mut || 0).unwrap();
        let reason = Refusal::PublisherFull { publisher: publisher(0), max: 6 };
        assert_eq!(taken.refused.into_iter().map(|it| it.1).collect::<Vec<_>>(), [reason.clone(), reason]);
        between();
        let taken = catalogue.put(entries(1, 6), &mut || 0).unwrap();
        let full = Refusal::KeptFull { max: 10 };
        assert_eq!(taken.refused.into_iter().map(|it| it.1).collect::<Vec<_>>(), [full.clone(), full]);
        between();
        // What is there already is never refused.
        assert_eq!(catalogue.put(entries(0, 6), &mut || 0).unwrap().taken, 6);
        assert_eq!(catalogue.counts(), (10, 0));
    });
}

#[test]
fn a_publisher_that_is_no_longer_kept_shrinks_to_a_sample() {
    with_commits(|catalogue, between| {
        let texts = PublisherTexts {
            publisher: publisher(0),
            key_documents: vec!["key document".to_owned()],
            revocations: Vec::new(),
        };
        assert_eq!(catalogue.put_publisher(texts.clone()), Err(Refusal::NoEntry { publisher: publisher(0) }));
        catalogue.set_kept(&publisher(0), true, &mut || 0).unwrap();
        catalogue.put_publisher(texts.clone()).unwrap();
        catalogue.put(entries(0, 6), &mut || 0).unwrap();
        between();
        assert_eq!(catalogue.set_kept(&publisher(0), false, &mut || 1).unwrap().len(), 3);
        assert_eq!(catalogue.counts(), (0, 3));
        assert_eq!(catalogue.publisher(&publisher(0)).unwrap(), Some(texts));
        between();
        for name in catalogue.names(&publisher(0)) {
            assert!(catalogue.remove(name.publisher, &name.model, &name.tag));
        }
        assert_eq!(catalogue.publisher(&publisher(0)).unwrap(), None);
    });
}

#[test]
fn a_full_disk_keeps_what_was_named_and_drops_strangers() {
    let dir = tempfile::tempdir().unwrap();
    let bounds = Bounds { disk_bytes: 10_000, ..small() };
    let catalogue = Catalogue::open(dir.path(), bounds).unwrap().catalogue;
    catalogue.set_kept(&publisher(0), true, &mut || 0).unwrap();
    catalogue.put(entries(1, 2), &mut || 0).unwrap();
    catalogue.put(entries(0, 2), &mut || 0).unwrap();
    catalogue.commit().unwrap();
    let bytes = catalogue.disk_bytes();
    assert!(bytes > 10_000, "{bytes}");
    let full = Refusal::DiskFull { bytes, max: 10_000 };
    let taken = catalogue.put(entries(2, 1), &mut || 0).unwrap();
    assert_eq!(taken.refused[0].1, full);
    let taken = catalogue.put(entries(0, 5), &mut || 0).unwrap();
    assert_eq!((taken.taken, taken.evicted.len()), (4, 2));
    assert_eq!(taken.refused[0].1, full);
}

#[test]
fn what_is_too_large_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::open(dir.path(), small()).unwrap().catalogue;
    type Change = fn(&mut Entry);
    let changes: [(&str, Change); 4] = [
        ("record", |it| it.listing.record = "x".repeat(8193)),
        ("card", |it| it.listing.card = Some("x".repeat(3073))),
        ("facts", |it| it.facts.summary = "x".repeat(4097)),
        ("items of facts", |it| it.facts.formats = vec![String::new(); 65]),
    ];
    for (expected, change) in changes {
        let mut entry = entries(1, 1).remove(0);
        change(&mut entry);
        let taken = catalogue.put(vec![entry], &mut || 0).unwrap();
        let Refusal::TooLarge { part, .. } = taken.refused[0].1 else { panic!("{:?}", taken.refused) };
        assert_eq!(part, expected);
    }
    assert_eq!(catalogue.counts(), (0, 0));
}
