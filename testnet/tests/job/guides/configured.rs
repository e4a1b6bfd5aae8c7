//! Compares the table of keys in docs/guide/configuration.md with the file that `reg config init` writes, and with the defaults
//! that `reg config show` prints.

use std::fs;

use reg_testnet::process::{Home, workspace};
use toml::Table;

use super::is_renewed;

const PAGE: &str = "docs/guide/configuration.md";
/// The lines of the page around the table.
const BEGIN: &str = "<!-- keys -->\n";
const END: &str = "<!-- end of keys -->";

/// Keys of the swarm that `reg config show` leaves out where there is no swarm, and the sample has their defaults.
const OF_A_SWARM: [&str; 3] = ["share", "repair_after", "shrink_after"];

/// A key of the sample.
struct Key {
    name: String,
    /// The value that stands in the sample: the default, or an example where there is none.
    value: String,
    words: String,
}

/// Returns the sections of the sample, with their keys.
fn sections(sample: &str) -> Vec<(String, Vec<Key>)> {
    let mut all: Vec<(String, Vec<Key>)> = Vec::new();
    let mut words = String::new();
    for line in sample.lines() {
        if let Some(section) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            all.push((section.to_owned(), Vec::new()));
            words.clear();
        } else if let (Some(said), Some((_, keys))) = (line.strip_prefix("# "), all.last_mut()) {
            let is_name = |it: &str| it.chars().all(|it| it.is_ascii_lowercase() || it == '_');
            match said.split_once(" = ").filter(|(name, _)| is_name(name)) {
                Some((name, value)) => {
                    // Two keys below one text are explained by it together.
                    let text = std::mem::take(&mut words);
                    let text = if text.is_empty() { "See the key above.".to_owned() } else { text };
                    keys.push(Key { name: name.to_owned(), value: value.to_owned(), words: text });
                }
                None => words = format!("{words} {said}").trim().to_owned(),
            }
        }
    }
    all
}

/// Returns the table of the page.
fn table(sample: &str, shown: &Table) -> String {
    let mut text = String::new();
    for (section, keys) in sections(sample) {
        text.push_str(&format!("\n### `[{section}]`\n\n| key | default | meaning |\n|---|---|---|\n"));
        for Key { name, value, words } in keys {
            let default = shown.get(&section).and_then(|it| it.get(&name));
            let is_empty = default.is_none_or(|it| it.as_array().is_some_and(Vec::is_empty));
            let is_empty = is_empty && !(section == "swarm" && OF_A_SWARM.contains(&name.as_str()));
            let (default, words) = if is_empty && value != "[]" {
                ("none".to_owned(), format!("{words} As in `{value}`."))
            } else {
                (format!("`{value}`"), words)
            };
            text.push_str(&format!("| `{name}` | {default} | {} |\n", words.replace('|', "\\|")));
        }
    }
    text + "\n"
}

#[test]
fn the_table_of_keys_is_that_of_the_program() {
    let home = Home::new("A");
    home.run(["config", "init"]).ok();
    let sample = fs::read_to_string(home.path().join("config.toml")).expect("it was written");
    let shown: Table = home.run(["config", "show"]).ok().stdout().parse().expect("a configuration");
    let made = table(&sample, &shown);
    assert!(made.matches("\n| `").count() > 40, "too few keys: the test looks in the wrong place:\n{made}");
    let path = workspace().join(PAGE);
    let page = fs::read_to_string(&path).expect("a page");
    let (before, rest) = page.split_once(BEGIN).expect("the table has a begin");
    let (said, after) = rest.split_once(END).expect("the table has an end");
    if is_renewed() {
        fs::write(path, format!("{before}{BEGIN}{made}{END}{after}")).expect("written");
    } else {
        assert_eq!(said, made, "REG_BLESS=1 renews the table");
    }
}
