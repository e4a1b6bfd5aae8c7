//! Tests stand in rooms: every test file is part of a test binary, and there are few binaries, since each is linked anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use reg_testnet::process::workspace;

/// The rooms of the tests with real processes: one folder and one test binary each.
const ROOMS: [&str; 8] = ["before", "faults", "gateways", "hostile", "house", "job", "network", "trust"];

/// Every test binary links the whole node; more of them than this make `cargo test` slow to build.
const BINARIES_MAX: usize = 14;

/// Returns every folder of the workspace that Cargo looks for test binaries in.
fn test_dirs() -> Vec<PathBuf> {
    let (mut found, mut dirs) = (Vec::new(), vec![workspace().to_owned()]);
    while let Some(dir) = dirs.pop() {
        if dir.join("Cargo.toml").is_file() && dir.join("tests").is_dir() {
            found.push(dir.join("tests"));
        }
        let inside = entries(&dir).into_iter().filter(|path| path.is_dir() && !is_built(path));
        dirs.extend(inside.filter(|path| !path.ends_with("tests")));
    }
    found.sort();
    found
}

/// Tells whether a folder holds nothing that was written by hand: hidden ones, and what Cargo builds.
fn is_built(dir: &Path) -> bool {
    dir.ends_with("target") || dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    entries.flatten().map(|entry| entry.path()).collect()
}

/// Returns the first file of each test binary of a `tests` folder, by Cargo's own rule: a file in it, or a folder with a
/// `main.rs`.
fn binaries(tests: &Path) -> Vec<PathBuf> {
    let roots =
        entries(tests).into_iter().map(|path| if path.is_dir() { path.join("main.rs") } else { path });
    roots.filter(|path| path.extension().is_some_and(|it| it == "rs") && path.is_file()).collect()
}

/// Returns every source below a folder.
fn sources(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for path in entries(dir) {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.insert(path);
        }
    }
    found
}

/// Returns the modules that a source declares in files of their own.
fn modules(text: &str) -> Vec<&str> {
    let declared = text.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    declared.collect()
}

/// Adds a source and all that its `mod` lines lead to; its modules stand in `dir`.
fn include(source: &Path, dir: &Path, included: &mut BTreeSet<PathBuf>) {
    let text = fs::read_to_string(source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
    included.insert(source.to_owned());
    for name in modules(&text) {
        let inside = dir.join(name);
        let file = inside.with_extension("rs");
        let file = if file.is_file() { file } else { inside.join("mod.rs") };
        include(&file, &inside, included);
    }
}

#[test]
fn every_test_file_is_included() {
    for tests in test_dirs() {
        let mut included = BTreeSet::new();
        for root in binaries(&tests) {
            include(&root, root.parent().expect("a folder"), &mut included);
        }
        for source in sources(&tests) {
            assert!(
                included.contains(&source),
                "{} is in no test binary: declare it in the main.rs of its room",
                source.display()
            );
        }
    }
    assert_eq!(modules("//! A room.\n\nmod one;\n    mod two;\nmod three {\n"), ["one"]);
}

#[test]
fn there_are_few_rooms_and_few_binaries() {
    let found: Vec<PathBuf> = test_dirs().iter().flat_map(|tests| binaries(tests)).collect();
    let here = workspace().join("testnet/tests");
    let rooms: BTreeSet<PathBuf> = found.iter().filter(|root| root.starts_with(&here)).cloned().collect();
    let wanted: BTreeSet<PathBuf> = ROOMS.iter().map(|room| here.join(room).join("main.rs")).collect();
    assert_eq!(rooms, wanted, "the rooms of testnet/tests");
    assert!(found.len() <= BINARIES_MAX, "{} test binaries: {found:?}", found.len());
    for root in found {
        let text = fs::read_to_string(&root).expect("a file");
        assert!(text.starts_with("//!"), "{} does not say what it tests", root.display());
    }
}

/// Returns the documents, and what else names test files or commands that run tests.
fn documents() -> Vec<PathBuf> {
    let root = workspace();
    let mut found =
        vec![root.join("deny.toml"), root.join("proto/src/lib.rs"), root.join("proto/fuzz/README.md")];
    let written = entries(root).into_iter().chain(entries(&root.join("docs")));
    found.extend(written.filter(|path| path.extension().is_some_and(|it| it == "md")));
    found
}

#[test]
fn documents_name_tests_that_exist() {
    let found = test_dirs().iter().flat_map(|tests| binaries(tests)).collect::<Vec<_>>();
    let name = |root: &PathBuf| {
        let stem = if root.ends_with("main.rs") { root.parent()?.file_name() } else { root.file_stem() };
        Some(stem?.to_string_lossy().into_owned())
    };
    let names: BTreeSet<String> = found.iter().filter_map(name).collect();
    let mut seen = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).expect("a document");
        let document = document.display();
        for (number, line) in (1..).zip(text.lines()) {
            let words = line.split(|it: char| !it.is_alphanumeric() && !"/_.-".contains(it));
            let paths = words.map(|word| word.trim_end_matches('.'));
            for path in paths.filter(|it| it.contains("/tests/") && it.ends_with(".rs")) {
                assert!(workspace().join(path).is_file(), "{document}:{number}: there is no {path}");
                seen += 1;
            }
            for after in line.split("--test ").skip(1) {
                let test: String =
                    after.chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect();
                assert!(names.contains(&test), "{document}:{number}: there is no test binary {test:?}");
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "only {seen} references were found");
}
