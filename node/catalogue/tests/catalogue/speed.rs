//! Measures a large catalogue: `REG_FULL=1 cargo test --release -p reg-catalogue -- speed --nocapture`.

use std::time::{Duration, Instant};

use reg_catalogue::{EntryHead, Query, Sort, Standing};

use crate::generate::{NOW, Random, entry, name, opened, publisher, put};

const PUBLISHERS: usize = 10_000;

fn memory(line: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|it| it.starts_with(line)).unwrap_or("unknown").to_owned()
}

/// Returns the time that this thread ran on a processor: on a machine with other work, the wall clock says less.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or_default())
}

fn query(random: &mut Random) -> Query {
    let from = entry(random, 1);
    let name = name(random);
    let words = match random.below(6) {
        0 => String::new(),
        1 => name[..1 + random.below(name.len())].to_owned(),
        2 => format!("{} {}", from.facts.task, from.facts.summary),
        3 => format!("{name} {}", from.facts.licence),
        _ => name.replace('-', " "),
    };
    let sorts = [Sort::Relevance, Sort::Relevance, Sort::Newest, Sort::Size, Sort::Name, Sort::Replicas];
    Query {
        words,
        task: (random.below(4) == 0).then_some(from.facts.task),
        licence: (random.below(6) == 0).then_some(from.facts.licence),
        format: (random.below(6) == 0).then(|| "gguf".to_owned()),
        bytes_max: (random.below(6) == 0).then_some(50_000_000_000),
        sort: sorts[random.below(sorts.len())],
        offset: random.below(3) * 20,
        limit: 20,
        ..Query::default()
    }
}

/// A small catalogue without REG_FULL, so that the measuring itself stays sound.
#[test]
fn speed() {
    let is_full = std::env::var_os("REG_FULL").is_some();
    let (entries, searches) = if is_full { (100_000, 1000) } else { (500, 50) };
    let dir = tempfile::tempdir().unwrap();
    let catalogue = opened(dir.path()).catalogue;
    let mut random = Random::new(1);
    println!("before: {}", memory("RssAnon"));
    for of in 0..PUBLISHERS / 2 {
        catalogue.set_kept(&publisher(of), true, &mut || 0).unwrap();
    }
    let mut indexing = Duration::ZERO;
    for _ in 0..entries / 500 {
        let some = (0..500)
            .map(|_| {
                let of = random.below(PUBLISHERS / 2);
                entry(&mut random, of)
            })
            .collect();
        let start = Instant::now();
        put(&catalogue, some);
        catalogue.commit().unwrap();
        indexing += start.elapsed();
    }
    let start = Instant::now();
    catalogue.rest().unwrap();
    let held = catalogue.counts().0;
    println!("{held} entries: indexed in {indexing:?}, merges ended after {:?} more", start.elapsed());
    println!("disk: {} bytes; {}; {}", catalogue.disk_bytes(), memory("RssAnon"), memory("VmHWM"));
    drop(catalogue);
    let start = Instant::now();
    let opened = opened(dir.path());
    println!("opened in {:?}; {}", start.elapsed(), memory("RssAnon"));
    assert_eq!(opened.keys.len(), held);
    let standing = |head: &EntryHead| Standing {
        known: head.publisher.as_bytes()[0] < 64,
        replicas: Some(u32::from(head.manifest.as_bytes()[0] % 9)),
        hidden: false,
    };
    let (mut times, mut cpus, mut found) = (Vec::new(), Vec::new(), 0);
    for _ in 0..searches {
        let query = query(&mut random);
        let (start, start_cpu) = (Instant::now(), cpu());
        let page = opened.catalogue.search(&query, NOW, &standing).unwrap();
        cpus.push(cpu() - start_cpu);
        times.push((start.elapsed(), page.total, query.words, query.sort));
        found += usize::from(!page.hits.is_empty());
    }
    times.sort_by_key(|it| it.0);
    let at = |share: usize| &times[(times.len() - 1) * share / 100];
    println!("{searches} searches, {found} with results: p50 {:?}, p99 {:?}", at(50), at(99));
    cpus.sort_unstable();
    let at_cpu = |share: usize| cpus[(cpus.len() - 1) * share / 100];
    println!("of a processor: p50 {:?}, p99 {:?}, slowest {:?}", at_cpu(50), at_cpu(99), at_cpu(100));
    println!("slowest: {:?}; {}", at(100), memory("VmHWM"));
    assert!(found > searches / 2);
}
