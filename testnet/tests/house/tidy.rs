//! Checks the walls of the house: which module may use which, which names are fenced in, and what every file must have.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use reg_testnet::mutants;
use reg_testnet::process::workspace;

/// Lines of a file above which it is to be split.
const LINES_MAX: usize = 800;

/// Which modules of the node each module may use; itself is always fine.
const MAY_USE: [(&str, &[&str]); 7] = [
    ("hub", &[]),
    ("store", &[]),
    ("net", &[]),
    ("web", &["net"]),
    ("registry", &["hub", "net", "store", "web"]),
    ("gateway", &["registry"]),
    ("daemon", &["gateway", "registry", "net", "store", "web"]),
];

fn sources(dir: &Path) -> Vec<(PathBuf, String)> {
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
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    before_tests.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn all() -> Vec<(PathBuf, String)> {
    let root = workspace();
    ["proto", "node", "cli", "testnet"].iter().flat_map(|member| sources(&root.join(member))).collect()
}

/// The modules of the node that a source names, as `crate::module`.
fn used(text: &str) -> Vec<String> {
    let names = code(text);
    let uses = names.match_indices("crate::").filter(|(at, _)| !names[..*at].ends_with("pub(in "));
    uses.map(|(at, word)| {
        names[at + word.len()..].chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect()
    })
    .collect()
}

#[test]
fn modules_of_the_node_depend_downwards_only() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.into_iter().collect();
    for (module, may_use) in &allowed {
        for (path, text) in sources(&workspace().join("node/src").join(module)) {
            for name in used(&text) {
                let fine = name == *module
                    || may_use.contains(&name.as_str())
                    || !allowed.contains_key(name.as_str());
                assert!(fine, "{} uses {name}: {module} may use {may_use:?} only", path.display());
            }
        }
    }
    assert_eq!(used("use crate::net::Network;\n// crate::x"), ["net"]);
}

/// Words that only some folders may name.
const FENCED: [(&str, &[&str]); 5] = [
    ("reqwest", &["node/src/hub", "node/src/webseed"]),
    ("sled", &["node/src/store/index.rs"]),
    ("libp2p", &["node/src/net", "testnet/src/sybil.rs"]),
    ("axum", &["node/src/gateway", "node/src/daemon/node.rs", "cli/src/client.rs"]),
    ("clap", &["cli", "node/transfer/simulator/src/bin", "testnet/src/bin"]),
];

#[test]
fn heavy_dependencies_stay_behind_their_fences() {
    for (path, text) in all() {
        let shown = path.strip_prefix(workspace()).expect("inside").to_string_lossy().replace('\\', "/");
        for (word, homes) in FENCED {
            let named = code(&text).contains(&format!("{word}::"));
            let fine = !named || homes.iter().any(|home| shown.starts_with(home));
            assert!(fine, "{shown} names {word}, which belongs to {homes:?}");
        }
    }
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
    for dir in ["proto/src", "node/transfer/src"] {
        for (path, text) in sources(&workspace().join(dir)) {
            for word in banned {
                assert!(!code(&text).contains(word), "{} names {word}", path.display());
            }
        }
    }
}

#[test]
fn the_pure_crates_reach_nothing_that_does_io() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    for package in ["reg-proto", "reg-transfer"] {
        let tree = Command::new(&cargo)
            .args(["tree", "--offline", "--package", package, "--edges", "normal", "--prefix", "none"])
            .current_dir(workspace())
            .output()
            .expect("cargo runs");
        let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
        assert!(tree.contains("sha2"), "{tree}");
        for name in ["tokio", "libp2p", "sled", "hyper", "axum", "mio", "socket2", "reqwest", "rustix"] {
            let reached = tree.lines().any(|line| {
                line.split(' ').next().is_some_and(|it| it == name || it.starts_with(&format!("{name}-")))
            });
            assert!(!reached, "{package} reaches {name}");
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
