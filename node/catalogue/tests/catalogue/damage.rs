//! Whatever is on disk, a catalogue opens: whole as of a commit, or empty and usable.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use reg_catalogue::{Bounds, Catalogue, Entry, EntryName, Found, OpenError, Query};

use crate::generate::{NOW, Random, entry, open, publisher, put, stranger};

fn is_full() -> bool {
    std::env::var_os("REG_FULL").is_some()
}

type Entries = BTreeMap<EntryName, Entry>;

fn some(seed: u64, count: usize) -> Vec<Entry> {
    let mut random = Random::new(seed);
    (0..count)
        .map(|_| {
            let of = random.below(5);
            entry(&mut random, of)
        })
        .collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let mut files: Vec<PathBuf> = fs::read_dir(from).unwrap().map(|it| it.unwrap().path()).collect();
    // The lists of files first: what they name is there, or is removed while this loop runs.
    files.sort_by_key(|path| !path.ends_with("meta.json") && !path.ends_with(".managed.json"));
    for path in files {
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            let _ = fs::copy(&path, target);
        }
    }
}

fn files(path: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in fs::read_dir(path).unwrap().map(|it| it.unwrap().path()) {
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Checks that the catalogue at `path` takes and finds entries.
fn check_usable(path: &Path) {
    let catalogue = open(path);
    put(&catalogue, some(99, 2));
    catalogue.commit().unwrap();
    let query = Query { words: "a model".to_owned(), limit: 100, ..Query::default() };
    assert!(catalogue.search(&query, NOW, &stranger).unwrap().total > 0);
}

/// Returns everything that the catalogue at `path` holds, or nothing if it was made anew.
fn held(path: &Path) -> Option<Entries> {
    let opened = Catalogue::open(path, Bounds::default()).unwrap();
    let catalogue = opened.catalogue;
    let mut entries = Entries::new();
    for name in (0..5).flat_map(|of| catalogue.names(&publisher(of))) {
        let entry = catalogue.get(name.publisher, &name.model, &name.tag).unwrap().unwrap();
        entries.insert(name, entry);
    }
    match opened.found {
        Found::Kept { entries: count } => {
            assert_eq!(count, entries.len());
            Some(entries)
        }
        Found::New | Found::MadeAnew { .. } => {
            assert!(entries.is_empty());
            None
        }
    }
}

#[test]
fn a_process_that_is_killed_loses_what_it_did_not_commit() {
    let dir = tempfile::tempdir().unwrap();
    let copies = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    // A stranger would lose entries to its sample.
    for of in 0..5 {
        catalogue.set_kept(&publisher(of), true, &mut || 0).unwrap();
    }
    catalogue.commit().unwrap();
    let (mut now, mut committed) = (Entries::new(), Entries::new());
    let mut random = Random::new(3);
    for step in 0..if is_full() { 400 } else { 40 } {
        match random.below(4) {
            0 => {
                catalogue.commit().unwrap();
                catalogue.rest().unwrap();
                committed = now.clone();
            }
            1 if !now.is_empty() => {
                let name = now.keys().nth(random.below(now.len())).unwrap().clone();
                catalogue.remove(name.publisher, &name.model, &name.tag);
                now.remove(&name);
            }
            _ => {
                let entries = some(random.next(), 5);
                for entry in &entries {
                    now.remove(&entry.name());
                    now.insert(entry.name(), entry.clone());
                }
                put(&catalogue, entries);
            }
        }
        let path = copies.path().join(step.to_string());
        copy(dir.path(), &path);
        assert_eq!(held(&path).as_ref(), Some(&committed), "step {step}");
        if step % 10 == 0 {
            check_usable(&path);
        }
    }
}

#[test]
fn a_copy_in_the_middle_of_commits_is_a_commit_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let copies = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    let is_done = AtomicBool::new(false);
    let copies_max = if is_full() { 500 } else { 15 };
    let copied = std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..if is_full() { 300 } else { 10 } {
                let mut entry = entry(&mut Random::new(1), 1);
                entry.seq = number;
                put(&catalogue, vec![entry]);
                catalogue.commit().unwrap();
            }
            is_done.store(true, Ordering::Release);
        });
        let mut copied = 0;
        while !is_done.load(Ordering::Acquire) && copied < copies_max {
            copy(dir.path(), &copies.path().join(copied.to_string()));
            copied += 1;
        }
        copied
    });
    for number in 0..copied {
        if let Some(entries) = held(&copies.path().join(number.to_string())) {
            let expected = entry(&mut Random::new(1), 1);
            for mut entry in entries.into_values() {
                assert!(entry.seq < 300);
                entry.seq = expected.seq;
                assert_eq!(entry, expected);
            }
        }
    }
}

#[test]
fn cut_zeroed_and_changed_files_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let sound = dir.path().join("sound");
    let catalogue = open(&sound);
    put(&catalogue, some(1, 20));
    catalogue.commit().unwrap();
    let first = catalogue.names(&publisher(1)).remove(0);
    catalogue.remove(first.publisher, &first.model, &first.tag);
    catalogue
        .put_publisher(reg_catalogue::PublisherTexts {
            publisher: publisher(1),
            key_documents: vec!["key".to_owned()],
            revocations: Vec::new(),
        })
        .unwrap();
    catalogue.commit().unwrap();
    drop(catalogue);
    let expected = {
        copy(&sound, &dir.path().join("copy"));
        held(&dir.path().join("copy")).unwrap()
    };
    let mut random = Random::new(5);
    let mut made_anew = 0;
    for file in files(&sound) {
        let bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        let mut damages: Vec<Option<Vec<u8>>> = [0, 1, middle, bytes.len().saturating_sub(1)]
            .into_iter()
            .map(|length| bytes.get(..length).map(<[u8]>::to_vec))
            .collect();
        damages.push(Some(vec![0; bytes.len()]));
        damages.push(Some((0..bytes.len()).map(|_| random.next().to_le_bytes()[0]).collect()));
        for _ in 0..3 {
            let mut changed = bytes.clone();
            if !changed.is_empty() {
                let place = random.below(changed.len());
                changed[place] ^= 1 << random.below(8);
            }
            damages.push(Some(changed));
        }
        damages.push(None);
        for (number, damage) in damages.into_iter().enumerate() {
            let path = dir.path().join("damaged");
            let _ = fs::remove_dir_all(&path);
            copy(&sound, &path);
            let target = path.join(file.strip_prefix(&sound).unwrap());
            match damage {
                Some(bytes) => fs::write(&target, bytes).unwrap(),
                None => fs::remove_file(&target).unwrap(),
            }
            match held(&path) {
                Some(entries) => assert_eq!(entries, expected, "{}", file.display()),
                None => made_anew += 1,
            }
            if is_full() || number == 0 {
                check_usable(&path);
            }
        }
    }
    assert!(made_anew > 50, "{made_anew}");
}

#[test]
fn an_index_is_used_by_one_process_and_older_ones_are_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    put(&catalogue, some(1, 3));
    catalogue.commit().unwrap();
    let second = Catalogue::open(dir.path(), Bounds::default());
    assert!(matches!(second, Err(OpenError::InUse { .. })));
    drop(catalogue);
    fs::write(dir.path().join("version"), "reg catalogue 0\n").unwrap();
    let opened = Catalogue::open(dir.path(), Bounds::default()).unwrap();
    assert!(matches!(opened.found, Found::MadeAnew { .. }), "{:?}", opened.found);
    assert!(opened.keys.is_empty());
    drop(opened);
    assert!(matches!(
        Catalogue::open(dir.path(), Bounds::default()).unwrap().found,
        Found::Kept { entries: 0 }
    ));
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(Catalogue::open(&file, Bounds::default()), Err(OpenError::Unwritable { .. })));
}

#[test]
fn what_a_failed_commit_did_not_write_is_written_later() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    put(&catalogue, some(1, 3));
    catalogue.commit().unwrap();
    catalogue.rest().unwrap();
    let (index, aside) = (dir.path().join("index"), dir.path().join("aside"));
    fs::rename(&index, &aside).unwrap();
    let mut added = some(2, 2);
    added.sort_by_key(Entry::name);
    put(&catalogue, added.clone());
    assert!(catalogue.commit().is_err());
    let newest = &added[0];
    let found = catalogue.get(newest.publisher, &newest.model, &newest.tag).unwrap();
    assert_eq!(found.as_ref(), Some(newest));
    let _ = fs::remove_dir_all(&index);
    fs::rename(&aside, &index).unwrap();
    catalogue.commit().unwrap();
    drop(catalogue);
    let entries = held(dir.path()).unwrap();
    assert!(added.iter().all(|entry| entries.get(&entry.name()) == Some(entry)));
}
