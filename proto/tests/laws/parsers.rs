//! Checks that every parser of this crate is tested on hostile bytes: in `hostile.rs`, and by a fuzz target.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
}

/// Returns the paths of the parsers in a file, as a caller writes them.
///
/// A parser turns untrusted bytes or text into a value or an error. Functions that verify signatures do not count, because
/// they parse with one of these first.
fn parsers(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).expect("a file");
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let stem = path.file_stem().expect("a name").to_string_lossy();
    let (mut found, mut of) = (BTreeSet::new(), stem.to_string());
    for (at, line) in
        text.match_indices('\n').map(|(at, _)| (at, text[at + 1..].lines().next().unwrap_or("")))
    {
        if line.starts_with("impl") {
            let head = line.trim_end_matches('{').trim();
            let name = head.rsplit([' ', ':']).next().unwrap_or_default();
            of = name.split('<').next().unwrap_or_default().to_owned();
            if line.contains("FromStr for ") {
                found.insert(format!("parse::<{of}>"));
            }
            if line.contains(" Message for ") {
                found.insert(format!("{of}::from_bytes"));
            }
        } else if line.starts_with('}') {
            of = stem.to_string();
        }
        let Some(name) = line.trim_start().strip_prefix("pub fn ") else { continue };
        let name = name.split(['(', '<']).next().unwrap_or_default();
        let rest = &text[at + 1..];
        let signature = &rest[..rest.find(" {").unwrap_or(rest.len())];
        let takes = ["&[u8]", "&str", "dyn Read", "&mut F"].iter().any(|it| signature.contains(it));
        let gives = signature.contains("-> Result<") || signature.contains("-> Option<") || name == "sniff";
        if takes && gives && !signature.contains("&self") && name != "verify" {
            found.insert(format!("{of}::{name}"));
        }
    }
    found
}

#[test]
fn every_parser_is_tested_and_fuzzed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut files, mut targets) = (Vec::new(), Vec::new());
    sources(&root.join("src"), &mut files);
    sources(&root.join("fuzz/fuzz_targets"), &mut targets);
    let all: BTreeSet<String> = files.iter().flat_map(|path| parsers(path)).collect();
    assert!(all.contains("TagRecord::from_payload") && all.contains("parse::<Reference>"), "{all:?}");
    let tested = fs::read_to_string(root.join("tests/laws/hostile.rs")).expect("a file");
    let fuzzed: String = targets.iter().map(|path| fs::read_to_string(path).expect("a file")).collect();
    let names = |text: &str, parser: &str| {
        text.contains(parser)
            || ["inspect", "sniff"].iter().any(|it| parser.ends_with(it) && text.contains(&format!(" {it}(")))
    };
    let lacking = |text: &str| all.iter().filter(|it| !names(text, it)).cloned().collect::<Vec<_>>();
    assert_eq!(lacking(&tested), Vec::<String>::new(), "not in tests/laws/hostile.rs");
    assert_eq!(lacking(&fuzzed), Vec::<String>::new(), "not in fuzz/fuzz_targets");
    let listed = fs::read_to_string(root.join("fuzz/Cargo.toml")).expect("a file");
    for target in &targets {
        let name = target.file_stem().expect("a name").to_string_lossy();
        assert!(listed.contains(&format!("name = \"{name}\"")), "{name} is not in fuzz/Cargo.toml");
    }
    println!("{} parsers, {} targets: {all:?}", all.len(), targets.len());
}
