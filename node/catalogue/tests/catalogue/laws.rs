//! Whatever is put, removed and committed in whatever order: the catalogue holds what a plain map would hold.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use reg_catalogue::{Entry, EntryKey, EntryName, PublisherTexts, Query};

use crate::generate::{NOW, Random, entry, opened, publisher, put, stranger};

const PUBLISHERS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    Put(usize, u64),
    Remove(usize),
    PutPublisher(usize, u64),
    SetKept(usize, bool),
    Commit,
    Rest,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..PUBLISHERS, 0..12u64).prop_map(|(of, seed)| Step::Put(of, seed)),
        2 => (0..20usize).prop_map(Step::Remove),
        1 => (0..PUBLISHERS, any::<u64>()).prop_map(|(of, seed)| Step::PutPublisher(of, seed)),
        1 => (0..PUBLISHERS, any::<bool>()).prop_map(|(of, kept)| Step::SetKept(of, kept)),
        2 => Just(Step::Commit),
        1 => Just(Step::Rest),
        1 => Just(Step::Reopen),
    ]
}

/// What a plain map holds.
#[derive(Debug, Clone, Default, PartialEq)]
struct Plain {
    entries: BTreeMap<EntryName, Entry>,
    kept: BTreeSet<usize>,
    texts: BTreeMap<usize, PublisherTexts>,
}

impl Plain {
    fn has_entry(&self, of: usize) -> bool {
        self.entries.keys().any(|name| name.publisher == publisher(of))
    }

    /// A stranger without entries leaves no texts behind.
    fn forget(&mut self) {
        let gone = |of: &usize| !self.kept.contains(of) && !self.has_entry(*of);
        let gone: Vec<usize> = (0..PUBLISHERS).filter(gone).collect();
        self.texts.retain(|of, _| !gone.contains(of));
    }

    fn keys(&self) -> Vec<([u8; 32], [u8; 32], bool)> {
        let is_kept = |entry: &Entry| self.kept.iter().any(|of| publisher(*of) == entry.publisher);
        let mut keys: Vec<_> = self.entries.values().map(|it| (it.key, it.value, is_kept(it))).collect();
        keys.sort_unstable();
        keys
    }
}

fn sorted(keys: Vec<EntryKey>) -> Vec<([u8; 32], [u8; 32], bool)> {
    let mut keys: Vec<_> = keys.into_iter().map(|it| (it.key, it.value, it.is_kept)).collect();
    keys.sort_unstable();
    keys
}

fn texts(of: usize, seed: u64) -> PublisherTexts {
    let key_documents = vec![format!("key document {seed}")];
    PublisherTexts { publisher: publisher(of), key_documents, revocations: Vec::new() }
}

fn check(catalogue: &reg_catalogue::Catalogue, plain: &Plain, committed: &Plain) {
    for of in 0..PUBLISHERS {
        let names: Vec<EntryName> =
            plain.entries.keys().filter(|name| name.publisher == publisher(of)).cloned().collect();
        assert_eq!(catalogue.names(&publisher(of)), names);
        assert_eq!(catalogue.is_kept(&publisher(of)), plain.kept.contains(&of));
        let found = catalogue.publisher(&publisher(of)).unwrap().filter(|it| !it.key_documents.is_empty());
        assert_eq!(found.as_ref(), plain.texts.get(&of));
    }
    for (name, entry) in &plain.entries {
        let found = catalogue.get(name.publisher, &name.model, &name.tag).unwrap();
        assert_eq!(found.as_ref(), Some(entry));
    }
    let all = Query { limit: 100, ..Query::default() };
    let page = catalogue.search(&all, NOW, &stranger).unwrap();
    let mut found: Vec<EntryName> = page.hits.iter().map(|hit| hit.head.name()).collect();
    found.extend(page.hits.into_iter().flat_map(|hit| hit.also));
    found.sort();
    let shown = committed.entries.values().filter(|it| !it.is_tombstone).map(Entry::name);
    assert_eq!(found, shown.collect::<Vec<_>>());
}

fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut catalogue = opened(dir.path()).catalogue;
    let (mut plain, mut committed) = (Plain::default(), Plain::default());
    for step in steps {
        match step {
            Step::Put(of, seed) => {
                let mut entry = entry(&mut Random::new(seed % 6), of);
                entry.seq = seed;
                plain.entries.remove(&entry.name());
                plain.entries.insert(entry.name(), entry.clone());
                put(&catalogue, vec![entry]);
            }
            Step::Remove(place) => {
                let Some(name) = plain.entries.keys().nth(place).cloned() else { continue };
                plain.entries.remove(&name);
                assert!(catalogue.remove(name.publisher, &name.model, &name.tag));
                assert!(!catalogue.remove(name.publisher, &name.model, &name.tag));
            }
            Step::PutPublisher(of, seed) => {
                let is_taken = plain.kept.contains(&of) || plain.has_entry(of);
                assert_eq!(catalogue.put_publisher(texts(of, seed)).is_ok(), is_taken);
                if is_taken {
                    plain.texts.insert(of, texts(of, seed));
                }
            }
            Step::SetKept(of, kept) => {
                catalogue.set_kept(&publisher(of), kept, &mut || 7).unwrap();
                if kept {
                    plain.kept.insert(of)
                } else {
                    plain.kept.remove(&of)
                };
            }
            Step::Commit => {
                catalogue.commit().unwrap();
                committed = plain.clone();
            }
            Step::Rest => catalogue.rest().unwrap(),
            Step::Reopen => {
                drop(catalogue);
                let opened = opened(dir.path());
                plain = committed.clone();
                assert_eq!(sorted(opened.keys), plain.keys());
                catalogue = opened.catalogue;
            }
        }
        plain.forget();
        check(&catalogue, &plain, &committed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("REG_FULL").is_some() { 1000 } else { 24 }))]

    #[test]
    fn the_catalogue_is_a_map(steps in prop::collection::vec(step(), 1..40)) {
        run(steps);
    }
}
