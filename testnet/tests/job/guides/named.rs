//! Checks what the text of the guides names: each command is one, and takes each flag that stands beside it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;

use reg_testnet::process::{Home, workspace};

use crate::flags::{commands, flags_of};

/// Flags of other programs that the guides name, and the program.
const OF_OTHERS: [(&str, &str); 3] = [("revision", "hf"), ("private", "hf"), ("create-pr", "hf")];

/// Returns the texts in code quotes, and the lines of the fenced blocks.
fn quoted(text: &str) -> Vec<String> {
    let parts: Vec<&str> = text.split("\n```").collect();
    let prose = parts.iter().step_by(2).flat_map(|it| it.split('`').skip(1).step_by(2));
    let fenced = parts.iter().skip(1).step_by(2).flat_map(|it| it.lines().skip(1));
    prose.chain(fenced).map(|it| it.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Returns the long flags of a command line, without their values.
fn flags(line: &str) -> BTreeSet<String> {
    let words = line.split(|it: char| it.is_whitespace() || "=|[]()".contains(it));
    let flags = words.filter_map(|word| word.strip_prefix("--"));
    let name =
        |it: &str| it.chars().take_while(|it| it.is_ascii_lowercase() || *it == '-').collect::<String>();
    flags.map(name).filter(|it| !it.is_empty()).collect()
}

#[test]
fn the_guides_name_commands_and_flags_that_exist() {
    let home = Home::new("A");
    let leaves = commands(&home, "");
    let groups: BTreeSet<&str> =
        leaves.iter().filter_map(|it| it.split_once(' ')).map(|(group, _)| group).collect();
    // A group may take arguments of its own, as `reg follow acme` does.
    let all = leaves.iter().map(String::as_str).chain(groups.iter().copied());
    let known: BTreeMap<&str, BTreeSet<String>> = all.map(|it| (it, flags_of(&home, it))).collect();
    let topics = home.json(["help"]);
    let topics: BTreeSet<&str> =
        topics.as_array().expect("a list").iter().filter_map(|it| it["topic"].as_str()).collect();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for path in super::all_pages() {
        let text = fs::read_to_string(workspace().join(&path)).expect("a page");
        for line in quoted(&text) {
            let Some(rest) = line.trim_start_matches("$ ").strip_prefix("reg ") else { continue };
            // What stands behind `--`, a pipe or a comment is of another program.
            let rest = rest.split(" -- ").next().unwrap_or(rest);
            let rest = rest.split(['#', '|', '>', ';']).next().unwrap_or(rest);
            for call in rest.split("&& reg ") {
                let words: Vec<&str> = call.split_whitespace().collect();
                let Some(first) =
                    words.first().filter(|it| it.starts_with(|it: char| it.is_ascii_lowercase()))
                else {
                    continue;
                };
                let second = words.get(1).copied().unwrap_or_default();
                let is_explained =
                    |it: &str| topics.contains(it) || known.contains_key(it) || it == "COMMAND";
                if *first == "help" && is_explained(second) {
                    continue;
                }
                let both = format!("{first} {second}");
                let command = if known.contains_key(both.as_str()) { &both } else { *first };
                let Some(flags_known) = known.get(command) else {
                    wrong.push(format!("{path}: no command: reg {call}"));
                    continue;
                };
                seen += 1;
                for flag in flags(call).difference(flags_known) {
                    wrong.push(format!("{path}: reg {command} has no --{flag}: reg {call}"));
                }
            }
        }
        // A flag that is named alone is one of some command.
        for flag in quoted(&text).iter().filter(|it| it.starts_with("--")).flat_map(|it| flags(it)) {
            let is_of_others = OF_OTHERS.iter().any(|(other, _)| *other == flag);
            if !is_of_others && !known.values().any(|it| it.contains(&flag)) {
                wrong.push(format!("{path}: no command has --{flag}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 200, "{seen} commands are too few: the test looks in the wrong place");
}
