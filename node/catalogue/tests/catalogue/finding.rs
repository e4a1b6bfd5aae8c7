//! A search finds what a look at every entry finds, in the promised order, for every text.

use std::collections::BTreeSet;

use proptest::prelude::*;
use reg_catalogue::{Catalogue, Entry, EntryName, Hit, Query, SearchError, Sort, Standing};
use reg_proto::digest::Digest;
use tempfile::TempDir;

use crate::generate::{NOW, Random, entry, open, publisher, put, stranger};

/// Makes a catalogue of models with these names and summaries, each by a publisher of its own.
fn with(models: &[(&str, &str)]) -> (TempDir, Catalogue) {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    let entries = models.iter().enumerate().map(|(number, (model, summary))| {
        let mut entry = entry(&mut Random::new(7), number);
        entry.model = model.parse().unwrap();
        entry.is_tombstone = false;
        entry.content = Digest::of(model.as_bytes());
        entry.facts.title = String::new();
        entry.facts.base = String::new();
        entry.facts.summary = (*summary).to_owned();
        entry
    });
    put(&catalogue, entries.collect());
    catalogue.commit().unwrap();
    (dir, catalogue)
}

fn models(catalogue: &Catalogue, words: &str) -> Vec<String> {
    let query = Query { words: words.to_owned(), limit: 100, ..Query::default() };
    let page = catalogue.search(&query, NOW, &stranger).unwrap();
    page.hits.iter().map(|hit| hit.head.model.to_string()).collect()
}

#[test]
fn words_find_what_people_mean() {
    let (_dir, catalogue) = with(&[
        ("Qwen2.5-0.5B-Instruct", "A small chat model"),
        ("Qwen2.5-7B", "Reasoning"),
        ("TinyLlama_v1.0", "Translates legal documents"),
        ("Llama-3-8B", "Summarises qwen dialogues"),
    ]);
    let table: [(&str, &[&str]); 14] = [
        ("qwen 0.5b", &["Qwen2.5-0.5B-Instruct", "Qwen2.5-7B", "Llama-3-8B"]),
        ("QWEN2.5-0.5B-INSTRUCT", &["Qwen2.5-0.5B-Instruct", "Qwen2.5-7B"]),
        ("0.5b", &["Qwen2.5-0.5B-Instruct"]),
        ("tiny llama", &["TinyLlama_v1.0", "Llama-3-8B"]),
        ("tinyllama", &["TinyLlama_v1.0"]),
        ("llama3", &["Llama-3-8B"]),
        ("inst", &["Qwen2.5-0.5B-Instruct"]),
        ("inst llama-3-8b", &["Llama-3-8B", "TinyLlama_v1.0"]),
        ("translating document", &["TinyLlama_v1.0"]),
        ("zebra 7b", &["Qwen2.5-7B"]),
        ("zebra", &[]),
        ("\"tiny\" AND (llama* OR -qwen) title:^2 [a TO b] \\", &["TinyLlama_v1.0"]),
        ("***", &["Llama-3-8B", "Qwen2.5-0.5B-Instruct", "Qwen2.5-7B", "TinyLlama_v1.0"]),
        (&"qwen ".repeat(10_000), &["Qwen2.5-7B", "Qwen2.5-0.5B-Instruct", "Llama-3-8B"]),
    ];
    for (words, expected) in table {
        let found = models(&catalogue, words);
        if words.starts_with('"') {
            assert_eq!(found.first().map(String::as_str), expected.first().copied(), "{words}");
        } else if words.len() > 1000 {
            assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), expected.len(), "{words:.20}");
        } else {
            assert_eq!(found, expected, "{words:.60}");
        }
    }
    assert_eq!(models(&catalogue, &publisher(2).to_string()), ["TinyLlama_v1.0"]);
}

#[test]
fn what_has_all_words_and_is_known_comes_first() {
    let (_dir, catalogue) =
        with(&[("alpha", ""), ("alpha-beta", ""), ("alpha-alpha-alpha", ""), ("beta-alpha-x-y-z-u-v-w", "")]);
    let found = models(&catalogue, "alpha beta ");
    assert_eq!(found[..2].iter().collect::<BTreeSet<_>>().len(), 2);
    assert!(found[..2].iter().all(|it| it.contains("beta")), "{found:?}");
    let query = Query { words: "alpha beta".to_owned(), limit: 3, ..Query::default() };
    let known = |head: &reg_catalogue::EntryHead| Standing {
        known: head.model.as_str() == "alpha",
        ..Standing::default()
    };
    let page = catalogue.search(&query, NOW, &known).unwrap();
    assert_eq!(page.hits[0].head.model.as_str(), "alpha");
    assert_eq!((page.hits.len(), page.total), (3, 4));
    let only = Query { is_known_only: true, ..query };
    assert_eq!(catalogue.search(&only, NOW, &known).unwrap().hits.len(), 1);
    let hidden = |_: &reg_catalogue::EntryHead| Standing { hidden: true, ..Standing::default() };
    assert_eq!(catalogue.search(&only, NOW, &hidden).unwrap().total, 0);
}

#[test]
fn health_decides_between_equals_and_moves_little() {
    let (_dir, catalogue) = with(&[("alpha-one", ""), ("alpha-two", ""), ("alpha-alpha-three", "")]);
    let query = Query { words: "alpha".to_owned(), limit: 9, ..Query::default() };
    for (healthy, sick) in [("alpha-one", "alpha-two"), ("alpha-two", "alpha-one")] {
        let standing = |head: &reg_catalogue::EntryHead| Standing {
            replicas: Some(if head.model.as_str() == sick { 0 } else { 8 }),
            ..Standing::default()
        };
        let page = catalogue.search(&query, NOW, &standing).unwrap();
        let score = |model| page.hits.iter().find(|it| it.head.model.as_str() == model).unwrap().score;
        assert!(score(healthy) > score(sick) && score(sick) > 0.9 * score(healthy));
    }
}

#[test]
fn equal_content_is_one_result() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    let entries = (0..60).map(|number| {
        let mut entry = entry(&mut Random::new(number), usize::try_from(number).unwrap());
        entry.is_tombstone = false;
        entry.content = Digest::of(if number < 50 { b"same" } else { b"more" });
        entry
    });
    put(&catalogue, entries.collect());
    catalogue.commit().unwrap();
    for sort in [Sort::Relevance, Sort::Newest, Sort::Size, Sort::Name, Sort::Replicas] {
        let query = Query { limit: 2, sort, ..Query::default() };
        let page = catalogue.search(&query, NOW, &stranger).unwrap();
        assert_eq!((page.hits.len(), page.total), (2, 60));
        let also: Vec<usize> = page.hits.iter().map(|hit| hit.also.len()).collect();
        assert!(also == [16, 9] || also == [9, 16], "{also:?}");
        let query = Query { limit: 2, offset: 1, ..query };
        let second = catalogue.search(&query, NOW, &stranger).unwrap();
        assert_eq!(second.hits.len(), 1);
        assert_eq!(second.hits[0].head, page.hits[1].head);
    }
}

#[test]
fn among_the_names_of_one_content_are_those_of_kept_publishers_and_none_that_is_hidden() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    let content = Digest::of(b"same");
    let of = |number: usize| {
        let made = entry(&mut Random::new(9), number);
        Entry { content, is_tombstone: false, ..made }
    };
    catalogue.set_kept(&publisher(30), true, &mut || 7).unwrap();
    put(&catalogue, (0..=30).map(of).collect());
    catalogue.commit().unwrap();
    let shown = |head: &reg_catalogue::EntryHead| head.publisher != publisher(0);
    let found = catalogue.with_content(&BTreeSet::from([content]), 16, &shown);
    let publishers: BTreeSet<_> = found[&content].iter().map(|it| it.publisher).collect();
    assert_eq!(publishers.len(), 16);
    assert!(publishers.contains(&publisher(30)) && !publishers.contains(&publisher(0)));
}

#[test]
fn a_search_that_asks_too_much_is_refused() {
    let (_dir, catalogue) = with(&[("alpha", "")]);
    let many = Query { publishers: vec![publisher(1); 257], ..Query::default() };
    let refused = catalogue.search(&many, NOW, &stranger);
    assert!(matches!(refused, Err(SearchError::TooManyPublishers { count: 257, max: 256 })));
    let deep = Query { offset: 10_001, ..Query::default() };
    assert!(matches!(catalogue.search(&deep, NOW, &stranger), Err(SearchError::TooDeep { .. })));
    let beyond = Query { offset: 10_000, limit: usize::MAX, ..Query::default() };
    assert!(catalogue.search(&beyond, NOW, &stranger).unwrap().hits.is_empty());
}

/// A removed entry is found until the commit that removes it.
#[test]
fn a_page_is_as_of_the_last_commit() {
    let (_dir, catalogue) = with(&[("alpha", ""), ("beta", "")]);
    let name = catalogue.names(&publisher(0)).remove(0);
    catalogue.remove(name.publisher, &name.model, &name.tag);
    assert_eq!(models(&catalogue, "alpha"), ["alpha"]);
    catalogue.commit().unwrap();
    assert!(models(&catalogue, "alpha").is_empty());
}

fn fits(entry: &Entry, query: &Query) -> bool {
    let same = |wanted: &Option<String>, found: &str| {
        wanted.as_ref().is_none_or(|wanted| wanted.trim().to_lowercase() == found.to_lowercase())
    };
    let any = |wanted: &Option<String>, found: &[String]| {
        wanted.is_none() || found.iter().any(|found| same(wanted, found))
    };
    let facts = &entry.facts;
    let manifest = facts.base_manifest.map(|it| it.to_string()).unwrap_or_default();
    !entry.is_tombstone
        && same(&query.task, &facts.task)
        && same(&query.licence, &facts.licence)
        && any(&query.format, &facts.formats)
        && any(&query.quantisation, &facts.quantisations)
        && (same(&query.base, &facts.base) || same(&query.base, &manifest))
        && query.bytes_max.is_none_or(|max| facts.bytes.is_some_and(|bytes| bytes <= max))
        && (query.publishers.is_empty() || query.publishers.contains(&entry.publisher))
}

fn names(hits: Vec<Hit>) -> Vec<EntryName> {
    let mut names: Vec<EntryName> =
        hits.into_iter().flat_map(|hit| std::iter::once(hit.head.name()).chain(hit.also)).collect();
    names.sort();
    names
}

/// Takes every filter from a random entry, or leaves it open.
fn filter(random: &mut Random, entries: &[Entry]) -> Query {
    let from = |random: &mut Random| entries[random.below(entries.len())].clone();
    let is_open = |random: &mut Random| random.below(3) > 0;
    let mut query = Query { limit: 100, ..Query::default() };
    if !is_open(random) {
        query.task = Some(format!(" {} ", from(random).facts.task.to_uppercase()));
    }
    if !is_open(random) {
        query.licence = Some(from(random).facts.licence);
    }
    if !is_open(random) {
        query.format = from(random).facts.formats.pop();
    }
    if !is_open(random) {
        query.quantisation = from(random).facts.quantisations.pop().map(|it| it.to_lowercase());
    }
    if !is_open(random) {
        let facts = from(random).facts;
        query.base = Some(facts.base_manifest.map_or(facts.base, |it| it.to_string()));
    }
    if !is_open(random) {
        query.bytes_max = from(random).facts.bytes;
    }
    if !is_open(random) {
        query.publishers = (0..random.below(3)).map(|_| from(random).publisher).collect();
    }
    query
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("REG_FULL").is_some() { 200 } else { 8 }))]

    #[test]
    fn a_filter_finds_what_a_look_at_every_entry_finds(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let dir = tempfile::tempdir().unwrap();
        let catalogue = open(dir.path());
        let mut all = std::collections::BTreeMap::new();
        for _ in 0..3 {
            let some: Vec<Entry> = (0..30).map(|_| { let of = random.below(9); entry(&mut random, of) }).collect();
            all.extend(some.iter().map(|it| (it.name(), it.clone())));
            put(&catalogue, some);
            catalogue.commit().unwrap();
        }
        let all: Vec<Entry> = all.into_values().collect();
        for _ in 0..30 {
            let query = filter(&mut random, &all);
            let expected: Vec<EntryName> = all.iter().filter(|it| fits(it, &query)).map(Entry::name).collect();
            let page = catalogue.search(&query, NOW, &stranger).unwrap();
            prop_assert_eq!(page.total, expected.len());
            prop_assert_eq!(names(page.hits), expected, "{:?}", query);
        }
    }

    #[test]
    fn pages_are_one_order(seed in any::<u64>(), sort in 0..5usize, words in "(qwen|llama|7b|chat| ){0,4}") {
        let mut random = Random::new(seed);
        let dir = tempfile::tempdir().unwrap();
        let catalogue = open(dir.path());
        put(&catalogue, (0..150).map(|_| { let of = random.below(9); entry(&mut random, of) }).collect());
        catalogue.commit().unwrap();
        let sort = [Sort::Relevance, Sort::Newest, Sort::Size, Sort::Name, Sort::Replicas][sort];
        let standing = |head: &reg_catalogue::EntryHead| Standing {
            known: head.publisher.as_bytes()[0].is_multiple_of(2),
            replicas: Some(u32::from(head.manifest.as_bytes()[0] % 4)),
            hidden: head.manifest.as_bytes()[1] < 10,
        };
        let page = |offset, limit| {
            let query = Query { words: words.clone(), sort, offset, limit, ..Query::default() };
            let page = catalogue.search(&query, NOW, &standing).unwrap();
            page.hits.into_iter().map(|hit| hit.head).collect::<Vec<_>>()
        };
        let all = page(0, 100);
        prop_assert!(all.is_sorted_by_key(|head| !standing(head).known));
        prop_assert!(all.iter().all(|head| !standing(head).hidden && !head.is_tombstone));
        let in_pages: Vec<_> = (0..100).step_by(7).flat_map(|offset| page(offset, 7)).take(all.len()).collect();
        prop_assert_eq!(in_pages, all);
    }
}

#[test]
fn any_text_is_a_query() {
    let (_dir, catalogue) = with(&[("Qwen2.5-0.5B", "A model"), ("alpha", "翻译")]);
    let cases = if std::env::var_os("REG_FULL").is_some() { 20_000 } else { 300 };
    let config = ProptestConfig::with_cases(cases);
    proptest!(config, |(words in any::<String>(), filter in any::<Option<String>>(), typed in "[-+a-zA-Z0-9\"*:^~(){}\\[\\]\\\\/ .]{0,60}")| {
        for words in [words, typed] {
            let query = Query {
                words,
                task: filter.clone(),
                base: filter.clone(),
                limit: 10,
                ..Query::default()
            };
            prop_assert!(catalogue.search(&query, NOW, &stranger).is_ok());
        }
    });
}
