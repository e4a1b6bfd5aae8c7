//! Checks what every source file must have, and what none may have.

use std::fs;
use std::path::{Path, PathBuf};

use reg_testnet::mutants;
use reg_testnet::process::workspace;

/// Lines of a file above which it is to be split.
const LINES_MAX: usize = 800;

pub(super) fn sources(dir: &Path) -> Vec<(PathBuf, String)> {
    let (mut found, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(next) = dirs.pop() {
        for entry in
            fs::read_dir(&next).unwrap_or_else(|error| panic!("{}: {error}", next.display())).flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                if !path.ends_with("target") {
                    dirs.push(path);
                }
            } else if path.extension().is_some_and(|it| it == "rs") {
                found.push((path.clone(), fs::read_to_string(&path).expect("a source")));
            }
        }
    }
    assert!(!found.is_empty(), "{} holds no sources", dir.display());
    found
}

/// A file without its comments and its unit tests, which may do what the code may not.
pub(super) fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    before_tests.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

pub(super) fn all() -> Vec<(PathBuf, String)> {
    let root = workspace();
    ["proto", "node", "cli", "testnet"].iter().flat_map(|member| sources(&root.join(member))).collect()
}

#[test]
fn the_pure_parts_read_no_clock_no_file_and_no_chance() {
    let banned = [
        "std::fs",
        "std::net",
        "std::env",
        "Instant::now",
        "SystemTime",
        "HashMap",
        "HashSet",
        "tokio",
        "rand::",
    ];
    for dir in ["proto/src", "node/transfer/src", "node/commons/src"] {
        // A file of unit tests may ask how much of them is wanted.
        let sources =
            sources(&workspace().join(dir)).into_iter().filter(|(path, _)| !path.ends_with("tests.rs"));
        for (path, text) in sources {
            for word in banned {
                assert!(!code(&text).contains(word), "{} names {word}", path.display());
            }
        }
    }
}

#[test]
fn unsafe_code_is_one_call_for_each_kind_of_machine_in_one_file() {
    let mut found = 0;
    for (path, text) in all() {
        let code = code(&text);
        let words = ["{", "fn", "impl", "extern"].map(|after| ["unsafe", after].join(" "));
        let blocks: usize = words.iter().map(|word| code.matches(word).count()).sum();
        if path.ends_with("proto/sha256x2/src/lib.rs") {
            found = blocks;
        } else {
            assert_eq!(blocks, 0, "{} holds unsafe code", path.display());
        }
    }
    assert_eq!(found, 2, "the calls for x86-64 and AArch64");
}

#[test]
fn every_file_says_what_it_is_and_can_be_read_in_one_sitting() {
    for (path, text) in all() {
        let shown = path.display();
        assert!(text.starts_with("//!") || path.ends_with("fuzz"), "{shown} does not begin with what it is");
        assert!(text.lines().count() <= LINES_MAX, "{shown} has more than {LINES_MAX} lines");
        assert!(!text.contains(concat!("#[", "allow(")), "{shown}: expect with a reason, not allow");
        assert!(
            !code(&text).contains(concat!("unbounded", "_channel")),
            "{shown} has a channel without a bound"
        );
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        assert!(
            !["util", "utils", "helpers", "common", "manager", "misc"].contains(&stem.as_str()),
            "{shown} has no name"
        );
    }
}

/// Files that write to a terminal or a log, each through `Printable`.
const PRINTS: [&str; 3] = ["cli/src/output.rs", "cli/src/progress.rs", "node/src/daemon/telemetry.rs"];

#[test]
fn what_is_printed_goes_through_one_place() {
    for member in ["cli/src", "node/src", "node/api/src", "node/keys/src", "proto/src"] {
        for (path, text) in sources(&workspace().join(member)) {
            let shown = path.strip_prefix(workspace()).expect("inside").to_string_lossy().replace('\\', "/");
            let code = code(&text);
            let printed =
                ["print!(", "println!(", "stdout()", "io::stderr()"].iter().find(|it| code.contains(**it));
            assert!(
                printed.is_none() || PRINTS.contains(&shown.as_str()),
                "{shown} has {printed:?}: foreign text steers a terminal, unless cli/src/output.rs prints it"
            );
        }
    }
}

/// Words that hide the actor of a sentence: a comment says which peer, puller, publisher, caller or user is meant.
const NO_ACTOR: [&str; 4] = ["who", "whom", "whoever", "whose"];

/// Files that name those words, and why.
const MAY_NAME_THEM: [(&str, &str); 1] = [("testnet/tests/house/tidy.rs", "this list")];

#[test]
fn comments_and_messages_name_the_actor() {
    for (path, text) in all() {
        let shown = path.strip_prefix(workspace()).expect("inside").to_string_lossy().replace('\\', "/");
        if MAY_NAME_THEM.iter().any(|(file, _)| *file == shown) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split(|it: char| !it.is_alphanumeric() && it != '_');
            let found = words.find(|word| NO_ACTOR.contains(&word.to_lowercase().as_str()));
            assert!(found.is_none(), "{shown}:{}: name the actor instead of {found:?}: {line}", number + 1);
        }
    }
}

/// A list of faults that the code has outgrown would catch nothing: every snippet stands where it is said to, and every test.
#[test]
fn every_fault_of_the_list_can_still_be_put_in() {
    let faults = mutants::list(workspace()).unwrap_or_else(|error| panic!("{error}"));
    assert!(faults.len() >= 40, "{} faults", faults.len());
    let changed = mutants::put_in(workspace(), &faults).unwrap_or_else(|error| panic!("{error}"));
    assert!(!changed.is_empty());
    for fault in &faults {
        assert!(!fault.runs(workspace()).unwrap_or_else(|error| panic!("{error}")).is_empty());
    }
}
