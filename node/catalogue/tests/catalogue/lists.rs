//! A list is a filter: every word counts, every entry is a result of its own, and its pages together are all of it.

use reg_catalogue::{Catalogue, Entry, Fact, Query, SearchError, Sort};

use crate::generate::{NOW, Random, entry, open, put, stranger};

const ENTRIES: usize = 150;

fn filled(dir: &std::path::Path) -> (Catalogue, Vec<Entry>) {
    let catalogue = open(dir);
    let mut random = Random::new(11);
    let mut entries: Vec<Entry> = (0..ENTRIES).map(|number| entry(&mut random, number)).collect();
    for (number, entry) in entries.iter_mut().enumerate() {
        entry.is_tombstone = number % 10 == 0;
        // Many have one content.
        entry.content = reg_proto::digest::Digest::of(&[u8::try_from(number % 3).unwrap()]);
    }
    put(&catalogue, entries.clone());
    catalogue.commit().unwrap();
    entries.retain(|it| !it.is_tombstone);
    (catalogue, entries)
}

fn names(catalogue: &Catalogue, query: &Query) -> (Vec<String>, usize) {
    let page = catalogue.search(query, NOW, &stranger).unwrap();
    let name = |hit: &reg_catalogue::Hit| {
        assert!(hit.also.is_empty());
        format!("{}/{}:{}", hit.head.publisher, hit.head.model, hit.head.tag)
    };
    (page.hits.iter().map(name).collect(), page.total)
}

#[test]
fn the_pages_of_a_list_are_all_of_it_in_one_order() {
    let dir = tempfile::tempdir().unwrap();
    let (catalogue, entries) = filled(dir.path());
    for sort in [Sort::Relevance, Sort::Newest, Sort::Size, Sort::Name, Sort::Replicas] {
        for is_reversed in [false, true] {
            let list = Query { is_list: true, sort, is_reversed, limit: 7, ..Query::default() };
            let mut found: Vec<String> = Vec::new();
            loop {
                let (page, total) = names(&catalogue, &Query { offset: found.len(), ..list.clone() });
                assert_eq!(total, entries.len());
                if page.is_empty() {
                    break;
                }
                found.extend(page);
            }
            assert_eq!(found.len(), entries.len(), "{sort:?}");
            let whole = Query { limit: 100, ..list.clone() };
            assert_eq!(names(&catalogue, &whole).0, found[..100], "{sort:?}");
            found.sort_unstable();
            found.dedup();
            assert_eq!(found.len(), entries.len(), "{sort:?}: each one once");
        }
    }
    let names_of = |is_reversed| {
        let list = Query { is_list: true, sort: Sort::Name, is_reversed, limit: 100, ..Query::default() };
        let page = catalogue.search(&list, NOW, &stranger).unwrap();
        page.hits.iter().map(|it| it.head.model.folded()).collect::<Vec<_>>()
    };
    assert!(names_of(false).is_sorted() && names_of(true).iter().rev().is_sorted());
}

#[test]
fn a_list_has_what_has_a_fact_of_each_list_and_every_word() {
    let dir = tempfile::tempdir().unwrap();
    let (catalogue, entries) = filled(dir.path());
    let count = |query: &Query| names(&catalogue, query).1;
    for entry in &entries {
        let (facts, list) = (&entry.facts, Query { is_list: true, limit: 100, ..Query::default() });
        let (Some(format), Some(language)) = (facts.formats.first(), facts.languages.first()) else {
            continue;
        };
        let either = vec![Fact::Format(format.to_uppercase()), Fact::Language("no such language".to_owned())];
        let query = Query { any_of: vec![either, vec![Fact::Language(language.clone())]], ..list.clone() };
        let expected = entries.iter().filter(|it| {
            let has = |all: &[String], one: &str| all.iter().any(|it| it.eq_ignore_ascii_case(one));
            has(&it.facts.formats, format) && has(&it.facts.languages, language)
        });
        assert_eq!(count(&query), expected.count());
        let words = format!("{} nosuchwordanywhere", entry.model);
        assert_eq!(count(&Query { words: words.clone(), ..list.clone() }), 0, "every word must be found");
        let search = Query { words, is_list: false, ..list.clone() };
        let page = catalogue.search(&search, NOW, &stranger).unwrap();
        assert!(page.total > 0, "a search finds what has one");
        assert!(count(&Query { words: entry.model.to_string(), ..list }) > 0);
    }
    let no_word = Query { words: " --- ".to_owned(), is_list: true, limit: 100, ..Query::default() };
    assert_eq!(count(&no_word), 0, "what is no word is in no name");
    let many = Query { any_of: vec![Vec::new(); 33], ..Query::default() };
    assert!(matches!(catalogue.search(&many, NOW, &stranger), Err(SearchError::TooManyFacts { .. })));
}

#[test]
fn entries_are_found_by_their_manifest_and_their_publisher() {
    let dir = tempfile::tempdir().unwrap();
    let (catalogue, entries) = filled(dir.path());
    for entry in &entries {
        let found = catalogue.with_manifest(&entry.manifest, 1000);
        assert!(found.iter().any(|it| it.name() == entry.name()) && found.iter().all(|it| !it.is_tombstone));
        assert!(catalogue.publishers().contains(&entry.publisher));
        let heads = catalogue.heads(&entry.publisher);
        assert!(heads.iter().any(|it| it.name() == entry.name()));
        assert!(heads.is_sorted_by_key(|it| (it.model.folded(), it.tag.to_string())));
    }
}
