//! Tests what the members of a download get together.

use super::*;

fn join(demand: &Arc<Demand>, is_reader: bool, far: Option<u64>, seconds: Option<u64>) -> Membership {
    let joining = Joining {
        pull: None,
        is_reader,
        limit: DownLimit { far, near: None },
        timeout: seconds.map(Duration::from_secs),
        reporter: Reporter::silent(),
        wake: Arc::default(),
    };
    demand.join(joining).expect("the download is not over")
}

fn once(run: Range<u32>) -> Vec<Range<u32>> {
    std::iter::once(run).collect()
}

fn runs(run: Range<u32>) -> Wish {
    Wish::Runs(once(run))
}

fn blob(n: u8) -> Digest {
    Digest::from_bytes([n; 32])
}

#[test]
fn the_limit_and_the_patience_are_those_of_the_member_that_allows_most() {
    let demand = Arc::new(Demand::default());
    let members = [(Some(10), Some(5)), (Some(20), Some(60))].map(|(limit, timeout)| {
        let member = join(&demand, false, limit, timeout);
        member.want(BTreeMap::from([(blob(1), Wish::Whole)]));
        member
    });
    assert_eq!((demand.limit().far, demand.timeout()), (Some(20), Some(Duration::from_secs(60))));
    let free = join(&demand, false, None, None);
    assert_eq!(demand.limit().far, Some(20), "a member without wishes counts for nothing");
    free.want(BTreeMap::from([(blob(2), Wish::Whole)]));
    assert_eq!((demand.limit().far, demand.timeout()), (None, None));
    drop(free);
    let [slow, quick] = members;
    drop(quick);
    assert_eq!((demand.limit().far, demand.timeout()), (Some(10), Some(Duration::from_secs(5))));
    slow.want(BTreeMap::new());
    assert_eq!(demand.limit().far, Some(10), "between two wishes the limit of the only member holds");
    drop(slow);
    assert_eq!(demand.limit(), DownLimit::default());
}

#[test]
fn what_is_wanted_is_what_the_members_that_are_left_want() {
    let demand = Arc::new(Demand::default());
    let (pull, reader) = (join(&demand, false, None, None), join(&demand, true, None, None));
    pull.want(BTreeMap::from([(blob(1), Wish::Whole)]));
    reader.want(BTreeMap::from([(blob(1), runs(3..5)), (blob(2), runs(0..1))]));
    assert_eq!(demand.wanted(&blob(1)), Wanted { runs: once(3..5), is_whole: true });
    assert_eq!(demand.wanted(&blob(2)), Wanted { runs: once(0..1), is_whole: false });
    drop(demand.changes());
    drop(pull);
    assert_eq!(demand.wanted(&blob(1)), Wanted { runs: once(3..5), is_whole: false });
    assert_eq!(demand.changes().blobs, BTreeSet::from([blob(1)]), "the download looks at it again");
    assert!(!demand.has_pulls());
    drop(reader);
    assert_eq!(demand.wanted(&blob(1)), Wanted::default());
}

#[test]
fn it_ends_with_its_last_member_and_waits_a_moment_for_readers() {
    let pulled = Arc::new(Demand::default());
    assert!(!pulled.is_over(), "no member has joined yet");
    let (one, two) = (join(&pulled, false, None, None), join(&pulled, false, None, None));
    drop(one);
    assert!(!pulled.is_over());
    drop(two);
    assert!(pulled.is_over());
    let read = Arc::new(Demand::default());
    drop(join(&read, true, None, None));
    assert!(!read.is_over(), "a reader may come back");
    drop(join(&read, false, None, None));
    assert!(!read.is_over());
    drop(read.end(Some(DownloadError::Ended)));
    assert!(read.is_over() && matches!(read.failure(), Some(DownloadError::Ended)));
}

#[test]
fn a_pull_ends_when_its_own_patience_does() {
    let error = DownloadError::Starved { seconds: 30, missing: 1, total: 2 };
    let of = |quiet, patience, is_fixed| Stall {
        quiet: Duration::from_secs(quiet),
        unverified: Duration::from_secs(quiet),
        patience: Duration::from_secs(patience),
        is_fixed,
        error: error.clone(),
    };
    for (stall, asked, ends) in [
        (of(30, 20, false), None, true),
        (of(10, 20, false), None, false),
        (of(30, 20, false), Some(60), false),
        (of(30, 300, false), Some(5), true),
        (of(30, 300, true), Some(5), false),
    ] {
        let end = stall.end(asked.map(Duration::from_secs), Duration::MAX);
        assert_eq!(end.is_some(), ends, "{stall:?} {asked:?}");
    }
}

#[test]
fn bytes_that_are_not_verified_postpone_the_end_within_a_bound() {
    let error = DownloadError::Starved { seconds: 30, missing: 1, total: 2 };
    for (unverified, asked, ends) in [
        // A piece takes 8 s at 1 Mbit/s.
        (9, Some(5), false),
        (59, Some(5), false),
        (60, Some(5), true),
        (200, Some(30), false),
        (300, Some(30), true),
        (319, None, false),
        (320, None, true),
        (400, Some(600), false),
    ] {
        let unverified = Duration::from_secs(unverified);
        let (quiet, patience) = (Duration::from_secs(1), Duration::from_secs(60));
        let stall = Stall { quiet, unverified, patience, is_fixed: false, error: error.clone() };
        let end = stall.end(asked.map(Duration::from_secs), Duration::MAX);
        assert_eq!(end.is_some(), ends, "{stall:?} {asked:?}");
    }
}

#[test]
fn the_patience_of_a_member_begins_with_it_and_not_anew_with_another() {
    let second = Duration::from_secs(1);
    let error = DownloadError::Starved { seconds: 30, missing: 1, total: 2 };
    let stall =
        Stall { quiet: 30 * second, unverified: 30 * second, patience: 20 * second, is_fixed: false, error };
    assert!(stall.end(Some(10 * second), 9 * second).is_none(), "it has come later");
    assert!(stall.end(Some(10 * second), 10 * second).is_some());
    let demand = Arc::new(Demand::default());
    let first = join(&demand, false, None, Some(10));
    first.want(BTreeMap::from([(blob(1), Wish::Whole)]));
    demand.note_stall(stall);
    std::thread::sleep(Duration::from_millis(20));
    let waited = first.waited();
    let second = join(&demand, false, None, Some(10));
    second.want(BTreeMap::from([(blob(1), Wish::Whole)]));
    assert!(first.waited() >= waited && second.waited() < first.waited());
    assert!(demand.stall().is_some(), "one that joins is no progress for the others");
}

/// Of callers that begin together, one sets the space aside, and none of the others gives it back.
#[test]
fn space_that_is_set_aside_for_several_callers_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = crate::store::Store::open(dir.path(), crate::store::CacheLimits::default()).unwrap();
    let content = vec![7; 16 << 20];
    let mut hasher = reg_proto::states::StateHasher::new();
    hasher.update(&content);
    let hashed = hasher.finish().unwrap();
    let partial = store.partial(hashed.digest, content.len() as u64, hashed.states).unwrap();
    let (demand, blob) = (Arc::new(Demand::default()), partial.digest());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    demand.open(partial.clone());
    demand.set_aside(partial.clone()).unwrap();
    assert!(demand.has_room(&blob));
    // Some file systems allocate nothing.
    let before = partial.unused_bytes();
    std::thread::scope(|scope| {
        for _caller in 0..8 {
            scope.spawn(|| {
                let _entered = runtime.enter();
                demand.set_aside(partial.clone()).unwrap();
            });
        }
    });
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(partial.unused_bytes(), before);
}

#[test]
fn a_download_without_members_ends_where_another_needs_its_room() {
    let dir = tempfile::tempdir().unwrap();
    let limits = crate::store::CacheLimits { max_size: crate::store::CacheSize::Bytes(10), min_free: 0 };
    let store = crate::store::Store::open(dir.path(), limits).unwrap();
    let demand = Arc::new(Demand::default());
    let reader = join(&demand, true, None, None);
    demand.keep_lease(store.reserve(6, &BTreeSet::new()).unwrap());
    assert!(store.reserve(6, &BTreeSet::new()).is_err(), "it is read");
    drop(reader);
    assert!(!demand.is_over(), "its reader may come back");
    let reader = join(&demand, true, None, None);
    assert!(store.reserve(6, &BTreeSet::new()).is_err(), "it is read again");
    drop(reader);
    let other = store.reserve(6, &BTreeSet::new()).unwrap();
    assert!(demand.is_over());
    drop(other);
}
