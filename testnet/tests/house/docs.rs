//! Checks the documents against the tree: every path in code quotes and every relative link leads somewhere.

use std::fs;
use std::path::{Path, PathBuf};

use reg_proto::content::format::FORMATS;
use reg_testnet::process::workspace;

use crate::tidy::sources;

/// Folders at which a path in a document may begin, as the top of ARCHITECTURE.md says.
const BASES: [&str; 3] = ["", "node/src", "node/src/registry"];

fn documents() -> Vec<PathBuf> {
    let root = workspace();
    let folders = ["docs", "docs/guide"].map(|folder| fs::read_dir(root.join(folder)).expect("a folder"));
    let docs = folders.into_iter().flatten().flatten().map(|entry| entry.path());
    let top = ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"].map(|name| root.join(name));
    top.into_iter().chain(docs).filter(|path| path.extension().is_some_and(|it| it == "md")).collect()
}

/// Returns a document without its fenced blocks.
fn prose(text: &str) -> String {
    text.split("\n```").step_by(2).collect()
}

/// Returns the texts in code quotes. A quote may go on in the next line.
fn quoted(prose: &str) -> impl Iterator<Item = &str> {
    prose.split('`').skip(1).step_by(2)
}

/// Returns the targets of links that lead to another file of the repository.
fn linked(prose: &str) -> impl Iterator<Item = &str> {
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|it| !it.contains("://")).filter_map(|it| it.split('#').next()).filter(|it| !it.is_empty())
}

/// Tells whether a quoted text means a file or folder of this repository: it has the form of a path, and it names a source
/// file or begins with a folder that is there.
fn is_path(text: &str) -> bool {
    let is_fit = |it: char| it.is_ascii_alphanumeric() || "/._-".contains(it);
    let Some((first, _)) = text.split_once('/').filter(|_| text.chars().all(is_fit)) else { return false };
    let is_source = [".rs", ".md", ".py", ".toml"].iter().any(|end| text.ends_with(end));
    !first.is_empty() && (is_source || BASES.iter().any(|base| workspace().join(base).join(first).is_dir()))
}

fn is_there(path: &str) -> bool {
    BASES.iter().any(|base| workspace().join(base).join(path).exists())
}

#[test]
fn paths_in_the_documents_exist() {
    let (mut paths, mut missing) = (0, Vec::new());
    for document in documents() {
        let text = prose(&fs::read_to_string(&document).expect("a document"));
        for path in quoted(&text).filter(|it| is_path(it)) {
            paths += 1;
            if !is_there(path) {
                missing.push(format!("{}: {path}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "no such file:\n{}", missing.join("\n"));
    assert!(paths > 200, "{paths} paths are too few: the test looks in the wrong place");
    assert!(is_path("node/src/nothing.rs") && !is_there("node/src/nothing.rs") && !is_path("acme/llama"));
}

/// Folders of which ARCHITECTURE.md names every source file: a newcomer finds each by the page.
const MAPPED: [&str; 7] = [
    "node/src/registry",
    "node/src/daemon",
    "node/api/src",
    "node/keys/src",
    "node/transfer/src",
    "node/catalogue/src",
    "node/commons/src",
];

/// Files that need no line of their own: the page says once what they are in every folder.
const SELF_EXPLAINING: [&str; 4] = ["mod.rs", "lib.rs", "error.rs", "tests.rs"];

#[test]
fn the_code_map_names_every_file_of_the_house() {
    let text = fs::read_to_string(workspace().join("ARCHITECTURE.md")).expect("a document");
    let named: Vec<PathBuf> = quoted(&prose(&text))
        .flat_map(|path| BASES.iter().map(move |base| workspace().join(base).join(path)))
        .collect();
    for folder in MAPPED {
        for (path, _) in sources(&workspace().join(folder)) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let fine = SELF_EXPLAINING.contains(&name.as_str()) || named.contains(&path);
            assert!(fine, "ARCHITECTURE.md does not name {}", path.display());
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut links = 0;
    for document in documents() {
        let text = prose(&fs::read_to_string(&document).expect("a document"));
        let folder = document.parent().unwrap_or(Path::new("."));
        for link in linked(&text) {
            links += 1;
            assert!(folder.join(link).exists(), "{}: {link} leads nowhere", document.display());
        }
    }
    assert!(links > 10, "{links} links are too few: the test looks in the wrong place");
}

/// docs/formats.md has the table that `reg formats` prints.
#[test]
fn the_table_of_formats_is_that_of_the_code() {
    let text = fs::read_to_string(workspace().join("docs/formats.md")).expect("a document");
    let rows: Vec<String> = FORMATS
        .iter()
        .map(|it| format!("| {} | {} | {} | `{}` | {} |", it.name, it.on_load(), it.kind, it.files, it.why))
        .collect();
    let said: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with("| format |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(said, rows);
}
