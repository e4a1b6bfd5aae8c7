//! Tests how results look: tables that fit a terminal, short ids and names, patterns, the pager.

use std::path::Path;
use std::process::{Command, Output, Stdio};

const KEY: &str = "me";

fn reg(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reg"));
    command.args(args).env("REG_HOME", home).env("REG_NO_MDNS", "true").env("REG_DHT", "off");
    for variable in ["COLUMNS", "PAGER", "REG_PAGER", "LESS"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> Output {
    command.output().expect("it runs")
}

fn ok(home: &Path, args: &[&str]) -> String {
    let output = output(&mut reg(home, args));
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Fails with this exit code; returns what is said.
fn failed(home: &Path, args: &[&str], code: i32) -> String {
    let output = output(&mut reg(home, args));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    said
}

/// Publishes models of one key; returns its id.
fn publish(home: &Path, models: &[&str]) -> String {
    let id = ok(home, &["key", "new", KEY, "--quiet"]).trim().to_owned();
    for model in models {
        let dir = home.join("made").join(model.replace(':', "-"));
        std::fs::create_dir_all(&dir).expect("a folder");
        std::fs::write(dir.join("config.json"), format!("{{\"model_type\":\"{model}\"}}")).expect("written");
        ok(home, &["publish", &dir.to_string_lossy(), model, "--key", KEY, "--offline", "--quiet"]);
    }
    id
}

fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

#[test]
fn tables_fit_80_columns_use_120_and_are_whole_with_full() {
    let home = tempfile::tempdir().expect("a folder");
    let home = home.path();
    let long = "a-model-with-a-name-that-says-of-itself-all-that-a-name-can-say-instruct-q4:v1";
    let id = publish(home, &[long, "tiny:v1"]);
    let tiny = format!("{id}/tiny:v1");
    ok(home, &["trust", "add", "acme", &id]);
    ok(home, &["peers", "add", "/ip4/192.0.2.7/tcp/4600"]);
    for args in [
        &["ls"][..],
        &["info", &tiny],
        &["log", &tiny],
        &["files", &tiny],
        &["trust", "show"],
        &["trust", "ls"],
        &["peers", "--known"],
        &["status"],
        &["formats"],
        &["health"],
        &["key", "ls"],
    ] {
        let shown = ok(home, args);
        assert!((1..=80).contains(&widest(&shown)), "{args:?}: {}\n{shown}", widest(&shown));
        let wide = output(reg(home, args).env("COLUMNS", "200"));
        assert!(widest(&String::from_utf8_lossy(&wide.stdout)) <= 120, "{args:?}");
    }
    let name = long.trim_end_matches(":v1");
    assert!(!ok(home, &["ls"]).contains(name));
    let wide = output(reg(home, &["ls"]).env("COLUMNS", "120"));
    assert!(String::from_utf8_lossy(&wide.stdout).contains(name));
    let manifest = ok(home, &["ls", "tiny", "-q"]);
    assert!(!ok(home, &["ls"]).contains(manifest.trim()));
    assert!(ok(home, &["ls", "--full"]).contains(manifest.trim()));
    assert!(ok(home, &["info", &tiny, "--full"]).contains(manifest.trim()));
    assert_eq!(ok(home, &["info", &tiny, "-q"]), manifest);
}

#[test]
fn what_ls_shows_names_a_model_everywhere_and_a_pattern_selects_some() {
    let home = tempfile::tempdir().expect("a folder");
    let home = home.path();
    let id = publish(home, &["tiny:v1", "tiny:v2", "big:v1"]);
    let shown = ok(home, &["ls", "big"]);
    let row = shown.lines().nth(1).expect("a row");
    assert_eq!(shown.lines().count(), 2, "{shown}");
    let digest = row.split_whitespace().find(|it| it.starts_with("sha256:")).expect("a digest");
    assert_eq!(digest.len(), "sha256:".len() + 8, "{row}");
    let whole = ok(home, &["ls", "big", "-q"]);
    // The digits alone, with the model, behind a flag's name, and the publisher as it is shown.
    let name = row.split_whitespace().next().expect("a name");
    let of_model = format!("{id}/big@{digest}");
    for named in
        [digest, &digest["sha256:".len()..], &of_model, &format!("{name}:v1"), &format!("{KEY}/big@{digest}")]
    {
        assert_eq!(ok(home, &["info", named, "-q"]), whole, "{named}");
    }
    ok(home, &["pin", digest]);
    ok(home, &["verify", &of_model]);
    assert!(
        failed(home, &["info", "sha256:00000000", "--local"], 3).contains("begins the name of no version")
    );
    assert!(failed(home, &["info", &format!("{id}/tiny@{digest}"), "--local"], 3).contains("of"));
    let revoke = ["key", "revoke", KEY, "--manifest", digest, "--yes", "--json"];
    assert!(ok(home, &revoke).contains("\"finished\":true"));
    assert!(ok(home, &["ls", "--full"]).contains("withdrawn"));
    // Patterns.
    ok(home, &["trust", "add", "acme", &id]);
    for (pattern, count) in
        [("acme/*", 3), ("acme", 3), ("*/t?ny:v*", 2), ("tiny:v2", 1), ("TINY", 2), (digest, 1)]
    {
        let rows = ok(home, &["ls", pattern, "-q"]).lines().count();
        assert_eq!(rows, count, "{pattern}");
    }
    let said = failed(home, &["ls", "acme/none"], 8);
    assert!(said.contains("acme/none") && said.contains("3 models"), "{said}");
    failed(home, &["ls", "a/b/c"], 2);
}

#[test]
#[cfg(target_os = "linux")]
fn long_results_go_through_the_pager_on_a_terminal_only() {
    let home = tempfile::tempdir().expect("a folder");
    let home = home.path();
    // `script` gives a command a terminal of its own.
    let on_terminal = |args: &[&str], pager: Option<&str>| {
        let line = std::iter::once(env!("CARGO_BIN_EXE_reg")).chain(args.iter().copied());
        let line = line.collect::<Vec<_>>().join(" ");
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        command.env("REG_HOME", home).env("COLUMNS", "80").env("TERM", "dumb").stdin(Stdio::null());
        command.env_remove("REG_PAGER").env_remove("PAGER");
        command.envs(pager.map(|it| ("PAGER", it)));
        let output = output(&mut command);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).replace('\r', ""))
    };
    let mark = Some("sed s/^/paged:/");
    let (code, shown) = on_terminal(&["formats"], mark);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.lines().count() > 50 && shown.lines().all(|it| it.starts_with("paged:")), "{shown}");
    for args in [&["publish", "--help"][..], &["trust", "show"]] {
        assert!(on_terminal(args, mark).1.lines().all(|it| it.starts_with("paged:")), "{args:?}");
    }
    for args in [
        &["formats", "--no-pager"][..],
        &["formats", "--json"],
        &["formats", "-q"],
        &["key", "ls"],
        &["--version"],
    ] {
        assert!(!on_terminal(args, mark).1.contains("paged:"), "{args:?}");
    }
    for none in ["cat", "", "no-such-pager"] {
        let (code, shown) = on_terminal(&["formats"], Some(none));
        assert!(code == Some(0) && shown.contains("safetensors"), "{none}: {shown}");
    }
    // An error goes the way that the result went, and a pager that ends early ends the command without a word.
    let (code, shown) = on_terminal(&["ls", "none"], mark);
    assert_eq!(code, Some(8), "{shown}");
    let (code, shown) = on_terminal(&["formats"], Some("head -n 1"));
    assert_eq!((code, shown.lines().count()), (Some(0), 1), "{shown}");
    // Without a terminal there is none.
    let plain = output(reg(home, &["formats"]).env("PAGER", "sed s/^/paged:/"));
    assert!(!String::from_utf8_lossy(&plain.stdout).contains("paged:"));
}
