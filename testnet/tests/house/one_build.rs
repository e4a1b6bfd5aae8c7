//! The demo, the tests and the `reg` that both start are one build: every dependency has the same features in each.
//!
//! Cargo chooses the features of a dependency from all packages that one command names, with development dependencies for
//! tests alone. One feature that only one command asks for builds the dependency twice, and everything above it.

use std::collections::BTreeSet;
use std::process::Command;

use reg_testnet::process::workspace;

/// Dependencies that the demo builds once more. They are parts of a procedural macro of fuser, and of tun-rs, where the tests'
/// validator of JSON schemas asks for one feature more. Nothing large needs them.
const BUILT_TWICE: [&str; 2] = ["hashbrown v0.17.1", "ahash v0.8.12 default,getrandom,runtime-rng,std"];

/// Returns the dependencies that a command builds, a line each: name, version and features.
fn dependencies(selection: &[&str]) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = Command::new(cargo)
        .args(["tree", "--offline", "--prefix", "none", "--format", "{p} {f}"])
        .args(selection)
        .current_dir(workspace())
        .output()
        .expect("cargo runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    tree.lines().map(|line| line.trim_end_matches("(*)").trim().to_owned()).collect()
}

#[test]
fn the_demo_and_the_tests_build_each_dependency_once() {
    let tests = dependencies(&["--workspace"]);
    // As `.cargo/config.toml` builds the demo and `reg_binary` builds `reg`.
    let demo = dependencies(&["--package", "reg-testnet", "--edges", "normal,build"]);
    let binary = dependencies(&["--workspace", "--edges", "normal,build"]);
    assert!(demo.len() > 100, "{demo:?}");
    for (command, built) in [("the demo", demo), ("the reg binary", binary)] {
        let other: Vec<&String> =
            built.difference(&tests).filter(|it| !BUILT_TWICE.contains(&it.as_str())).collect();
        assert!(
            other.is_empty(),
            "{command} builds these with other features than the tests do, so they are built twice; name the features \
             that tests need in the workspace's Cargo.toml: {other:#?}"
        );
    }
}
