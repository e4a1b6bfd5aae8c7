//! Tests that each command that prints JSON has a schema in `docs/json`, and that the schemas say what each field is.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use clap::CommandFactory;
use serde_json::Value;

use crate::args::Args;

/// Commands that print no document: a script for a shell, and the words that it asks for.
const WITHOUT: [&str; 2] = ["completion", "complete-words"];

fn dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/json")
}

/// Returns the commands that may be run, as their schemas are named: `key-ls`.
fn commands() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<(String, clap::Command)> =
        Args::command().get_subcommands().map(|it| (it.get_name().to_owned(), it.clone())).collect();
    while let Some((name, command)) = open.pop() {
        let below = command.get_subcommands().map(|it| (format!("{name}-{}", it.get_name()), it.clone()));
        open.extend(below);
        if !command.is_subcommand_required_set() && !WITHOUT.contains(&name.as_str()) {
            found.insert(name);
        }
    }
    found
}

#[test]
fn each_command_has_a_schema_and_each_schema_a_command() {
    let files: BTreeSet<String> = fs::read_dir(dir())
        .expect("a folder")
        .filter_map(|it| it.expect("an entry").file_name().to_str()?.strip_suffix(".json").map(str::to_owned))
        .collect();
    let commands = commands();
    let missing: Vec<&String> = commands.difference(&files).collect();
    assert!(missing.is_empty(), "no schema in docs/json: {missing:?}");
    let unknown: Vec<&String> = files.difference(&commands).collect();
    assert!(unknown.is_empty(), "schemas of no command: {unknown:?}");
    let index = fs::read_to_string(dir().join("README.md")).expect("the index");
    let unnamed: Vec<&String> = files.iter().filter(|it| !index.contains(&format!("]({it}.json)"))).collect();
    assert!(unnamed.is_empty(), "docs/json/README.md names no {unnamed:?}");
}

#[test]
fn schemas_say_what_each_field_is_and_which_ones_are_always_there() {
    for name in commands() {
        let path = dir().join(format!("{name}.json"));
        let schema: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        assert_eq!(schema["title"], format!("reg {}", spoken(&name)), "{name}");
        described(&name, &schema);
    }
}

/// Returns a command as it is typed: the first dash of a name with two words is a space, unless the command has the dash itself.
fn spoken(name: &str) -> String {
    let is_whole = Args::command().find_subcommand(name).is_some();
    if is_whole { name.to_owned() } else { name.replacen('-', " ", 1) }
}

fn described(place: &str, schema: &Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
                // One of several forms, which a field with a fixed value tells apart.
                let is_alternative = properties.values().any(|it| it.get("const").is_some());
                assert!(fields.contains_key("required"), "{place} does not say what is always there");
                for (field, property) in properties.iter().filter(|_| !is_alternative) {
                    for said in ["title", "description"] {
                        let text = property.get(said).and_then(Value::as_str).unwrap_or_default();
                        assert!(!text.is_empty(), "{place}: {field} has no {said}");
                    }
                }
            }
            fields.iter().for_each(|(name, below)| described(&format!("{place}/{name}"), below));
        }
        Value::Array(items) => items.iter().for_each(|it| described(place, it)),
        _ => {}
    }
}
