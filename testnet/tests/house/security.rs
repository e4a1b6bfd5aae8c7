//! Checks that the threat model in docs/security.md names tests that exist.

use std::collections::BTreeSet;
use std::fs;

use reg_testnet::process::workspace;

/// Threats of the table.
const THREATS: usize = 58;

#[test]
fn every_threat_names_tests_that_exist() {
    let text = fs::read_to_string(workspace().join("docs/security.md")).expect("the document");
    let mut threats = BTreeSet::new();
    let mut proofs = 0;
    for row in text.lines().filter(|line| line.starts_with("| T")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (number, proof) = (cells[1], cells[cells.len() - 2]);
        threats.insert(number.to_owned());
        let quoted: Vec<&str> = proof.split('`').skip(1).step_by(2).collect();
        assert!(!quoted.is_empty() && quoted.len().is_multiple_of(2), "{number} names no test: {proof}");
        for pair in quoted.chunks(2) {
            let [file, name] = pair else { unreachable!("chunks of two") };
            let source = fs::read_to_string(workspace().join(file));
            let source = source.unwrap_or_else(|error| panic!("{number}: {file}: {error}"));
            let function = format!("fn {name}(");
            let at = source.find(&function).unwrap_or_else(|| panic!("{number}: {file} has no {name}"));
            // A test, not a function that happens to be called so: its attribute stands just before it.
            let before: Vec<&str> = source[..at].lines().rev().take(4).collect();
            assert!(
                before.iter().any(|line| line.contains("test]") || line.contains("::test(")),
                "{number}: {name} is no test"
            );
            assert!(!before.iter().any(|line| line.contains("#[ignore")), "{number}: {name} is not run");
            proofs += 1;
        }
    }
    // A threat that is added is counted here, so that none goes unseen.
    let expected: BTreeSet<String> = (1..=THREATS).map(|number| format!("T{number}")).collect();
    assert_eq!(threats, expected);
    println!("{} threats, {proofs} proofs", threats.len());
}

#[test]
fn nothing_calls_content_safe() {
    // The word is for paths, threads and memory; of content it would promise more than a node can know.
    let word = ["saf", "e"].concat();
    for file in [
        "README.md",
        "docs/security.md",
        "cli/src/args.rs",
        "cli/src/args/trust.rs",
        "node/src/registry/policy/formats.rs",
    ] {
        let text = fs::read_to_string(workspace().join(file)).expect("a file");
        for (number, line) in text.lines().enumerate() {
            let words = line.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
            let says = words.filter(|it| it.eq_ignore_ascii_case(&word)).count() > 0;
            assert!(!says || line.contains("Nothing here says"), "{file}:{}: {line}", number + 1);
        }
    }
}
