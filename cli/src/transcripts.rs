//! Tests that the transcripts in `tests/cmd` are complete: that they show each command, as text and as JSON, and each kind of
//! error, and that what they show fits 80 columns.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Command;
use reg_api::fault::FaultKind;
use unicode_width::UnicodeWidthStr;

use crate::grammar::{find, grammar};
use crate::wrap::{BELOW, wrapped};

/// Columns of the terminal for which transcripts are recorded.
const COLUMNS: usize = 80;

/// Commands that no transcript shows as text, or with `--json`, and why.
const NOT_SHOWN: [(&str, &str); 4] = [
    ("complete-words", "scripts of shells ask it: tests/command_line/shells.rs runs them"),
    ("completion --json", "it prints a script"),
    (
        "doctor",
        "what it finds is the machine's: testnet/tests/job/doctor.rs breaks one, docs/guide/operations.md shows it",
    ),
    ("doctor --json", "the same"),
];

/// Kinds of errors that no transcript shows, and the test that does.
const KINDS_NOT_SHOWN: [(FaultKind, &str); 3] = [
    (FaultKind::Internal, "no disk fails here: cli/src/unstarted.rs has a test with one that takes no file"),
    (FaultKind::DiskFull, "a disk cannot be full here: testnet/tests/job/disks.rs has a small one"),
    (FaultKind::RetryLater, "another process holds what is asked for: testnet/tests/job/shared.rs runs two"),
];

/// A command of a transcript with what it prints.
struct Shown {
    place: String,
    words: Vec<String>,
    code: u8,
    lines: Vec<String>,
}

/// Returns all commands of all transcripts.
fn all_shown() -> Vec<Shown> {
    let mut files = Vec::new();
    collect(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cmd"), &mut files);
    assert!(files.len() >= 7, "{files:?}");
    files.iter().flat_map(|file| shown_in(file)).collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder").map(|it| it.expect("an entry").path()) {
        let is_sandbox = entry.extension().is_some_and(|it| it == "in" || it == "out");
        match entry.is_dir() {
            true if !is_sandbox => collect(&entry, files),
            _ if entry.extension().is_some_and(|it| it == "md") => files.push(entry),
            _ => {}
        }
    }
}

fn shown_in(file: &Path) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    let mut is_code = false;
    for (number, line) in fs::read_to_string(file).expect("a transcript").lines().enumerate() {
        if line.starts_with("```") {
            is_code = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| is_code) {
            let words = command.split_whitespace().skip(1).map(str::to_owned).collect();
            let place = format!("{}:{}", file.display(), number + 1);
            found.push(Shown { place, words, code: 0, lines: Vec::new() });
        } else if let (true, Some(last)) = (is_code, found.last_mut()) {
            match line.strip_prefix("? ").and_then(|it| it.parse().ok()) {
                Some(code) if last.lines.is_empty() => last.code = code,
                _ => last.lines.push(line.to_owned()),
            }
        }
    }
    found
}

/// Returns the commands that may be run, as they are typed: `key ls`.
fn commands(above: &str, command: &Command, found: &mut BTreeSet<String>) {
    for below in command.get_subcommands() {
        let name = format!("{above}{}", below.get_name());
        commands(&format!("{name} "), below, found);
        if !below.is_subcommand_required_set() {
            found.insert(name);
        }
    }
}

#[test]
fn a_transcript_shows_each_command_as_text_and_as_json() {
    let all = grammar();
    let mut wanted = BTreeSet::new();
    commands("", &all, &mut wanted);
    let wanted: BTreeSet<String> =
        wanted.iter().flat_map(|it| [it.clone(), format!("{it} --json")]).collect();
    let name = |it: &Shown| {
        // A flag may stand before the words of a command that it has: those that begin name it.
        let typed: Vec<String> = it.words.iter().take_while(|it| !it.starts_with('-')).cloned().collect();
        let (_, name, _) = find(&all, &typed);
        let json = if it.words.iter().any(|it| it == "--json") { " --json" } else { "" };
        format!("{}{json}", name.trim_start_matches("reg").trim_start())
    };
    let shown: BTreeSet<String> = all_shown().iter().map(name).collect();
    let is_excused = |it: &&String| {
        NOT_SHOWN.iter().any(|(name, _)| it == name || it.strip_suffix(" --json") == Some(*name))
    };
    let missing: Vec<&String> = wanted.difference(&shown).filter(|it| !is_excused(it)).collect();
    assert!(missing.is_empty(), "no transcript shows {missing:?}");
    for (name, why) in NOT_SHOWN {
        assert!(!shown.contains(name) && wanted.contains(name), "a transcript shows {name}, but: {why}");
    }
}

#[test]
fn a_transcript_shows_each_kind_of_error() {
    let codes: BTreeSet<u8> = all_shown().iter().map(|it| it.code).collect();
    for kind in FaultKind::ALL {
        let excused = KINDS_NOT_SHOWN.iter().find(|(it, _)| *it == kind);
        assert_eq!(codes.contains(&kind.exit_code()), excused.is_none(), "{kind:?}: {excused:?}");
    }
}

#[test]
fn what_transcripts_show_fits_the_terminal() {
    for it in all_shown().iter().filter(|it| !it.words.iter().any(|it| it == "--json")) {
        for line in &it.lines {
            // Documents for programs, and the one line of a usage, which clap does not break.
            let begins = ["{", "[", "---", "+++", "# ", "Usage: "];
            let is_document = begins.iter().any(|it| line.starts_with(it));
            // What is never broken may overfill a line that has nothing else.
            let is_one_word = wrapped(line.trim(), COLUMNS - BELOW).len() == 1 || line.width() <= COLUMNS;
            let is_whole = line.contains("[..]") || is_document || is_one_word;
            assert!(is_whole || wrapped(line.trim(), 1).len() == 1, "{}: {line}", it.place);
        }
    }
}
