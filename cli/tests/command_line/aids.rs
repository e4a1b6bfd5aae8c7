//! What helps a user to the next command: help, topics, hints, the version, man pages, colours, the log.

use std::path::Path;
use std::process::{Command, Output};

/// Runs `reg` in an empty home, with these arguments and no variables that colour its output.
pub(crate) fn reg(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reg"));
    command.args(args).env("REG_HOME", home).env("COLUMNS", "80");
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "REG_LOG", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

pub(crate) fn ran(home: &Path, args: &[&str]) -> Output {
    reg(home, args).output().expect("reg runs")
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn reg_alone_shows_the_commands_of_the_first_hour() {
    let home = home();
    let shown = ran(home.path(), &[]);
    assert_eq!(shown.status.code(), Some(0));
    for word in ["reg daemon", "reg search", "reg pull", "reg publish", "reg ls", "reg help"] {
        assert!(out(&shown).contains(word), "{word}: {}", out(&shown));
    }
    assert!(out(&shown).lines().count() < 20 && err(&shown).is_empty());
}

#[test]
fn a_typo_names_the_command_that_was_meant() {
    let home = home();
    for (args, hint) in [
        (&["pul"][..], "did you mean `reg pull`?"),
        (&["version"], "did you mean `reg --version`?"),
        (&["key", "rotat"], "did you mean `reg key rotate`?"),
        (&["pull", "acme/x", "--qant", "Q4"], "did you mean `--quant`?"),
        (&["key", "help", "rotate"], "did you mean `reg help key rotate`?"),
    ] {
        let refused = ran(home.path(), args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        assert!(err(&refused).contains(&format!("hint: {hint}")), "{args:?}: {}", err(&refused));
        assert!(!err(&refused).contains("--home"), "what a variable says was not typed: {}", err(&refused));
    }
    let bare = ran(home.path(), &["pull"]);
    assert!(err(&bare).contains("Usage: reg pull [OPTIONS] <REF|TICKET|NUMBER> [DEST]"), "{}", err(&bare));
    assert!(!err(&bare).contains("--home"), "{}", err(&bare));
    // A program reads one document.
    let document = err(&ran(home.path(), &["pull", "--json"]));
    let document: serde_json::Value = serde_json::from_str(&document).expect("JSON");
    assert_eq!(document["error"]["kind"], "invalid", "{document}");
    assert_eq!(document["error"]["hint"], "`reg help pull` explains it", "{document}");
}

#[test]
fn help_explains_commands_and_topics() {
    let home = home();
    let list = out(&ran(home.path(), &["help"]));
    for topic in ["names", "exit-codes", "configuration", "trust.md"] {
        assert!(list.contains(&format!("\n  {topic} ")), "{topic}: {list}");
        let shown = ran(home.path(), &["help", topic]);
        assert_eq!(shown.status.code(), Some(0));
        assert!(out(&shown).lines().count() > 5 && !out(&shown).contains("```"), "{}", out(&shown));
    }
    assert!(out(&ran(home.path(), &["help", "pull"])).contains("Usage: reg pull"));
    // However it is asked for, the help of a command is the same.
    for command in [&["pull"][..], &["publish"], &["key", "rotate"], &["trust", "require"]] {
        let of = |args: Vec<&str>| out(&ran(home.path(), &args));
        let [asked, long, short] = [
            of([&["help"], command].concat()),
            of([command, &["--help"]].concat()),
            of([command, &["-h"]].concat()),
        ];
        assert!(asked == long && asked == short, "{command:?}:\n{asked}\n{long}");
    }
    assert!(out(&ran(home.path(), &["help", "key", "rotate"])).contains("Usage: reg key rotate"));
    let keys = out(&ran(home.path(), &["help", "keys"]));
    assert!(keys.contains("Usage: reg key"), "an alias of a command wins");
    assert!(keys.ends_with("The guide: reg help keys.md\n"), "{keys}");
    let nothing = ran(home.path(), &["help", "nothing"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(err(&nothing).contains("`reg help` lists both"));
    let json: serde_json::Value =
        serde_json::from_str(&out(&ran(home.path(), &["help", "--json"]))).expect("JSON");
    assert!(json.as_array().is_some_and(|all| all.iter().any(|it| it["topic"] == "names")));
}

#[test]
fn the_version_says_commit_and_target() {
    let home = home();
    let short = out(&ran(home.path(), &["-V"]));
    assert_eq!(short, format!("reg {}\n", env!("CARGO_PKG_VERSION")));
    let long = out(&ran(home.path(), &["--version"]));
    assert!(
        long.starts_with(short.trim_end()) && long.contains("\ncommit  ") && long.contains("\ntarget  "),
        "{long}"
    );
}

#[test]
fn colours_follow_the_variables() {
    let home = home();
    let coloured = |variable: &str, value: &str| {
        let output = reg(home.path(), &["pul"]).env(variable, value).output().expect("reg runs");
        err(&output).contains('\u{1b}')
    };
    assert!(!coloured("X", "1"), "no terminal, no colour");
    assert!(coloured("CLICOLOR_FORCE", "1") && !coloured("CLICOLOR_FORCE", "0"));
    let both = reg(home.path(), &["help"]).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1").output();
    assert!(!out(&both.expect("reg runs")).contains('\u{1b}'));
}

#[test]
fn the_log_is_silent_and_can_go_to_a_file() {
    let home = home();
    let silent = ran(home.path(), &["ls", "--json"]);
    assert!(silent.status.success() && err(&silent).is_empty(), "{}", err(&silent));
    let verbose = ran(home.path(), &["ls", "--json", "-v"]);
    assert!(err(&verbose).contains(" INFO reg_node"), "{}", err(&verbose));
    let log = home.path().join("a log.txt");
    let logged = ran(home.path(), &["ls", "--json", "-vv", "--log-file", &log.to_string_lossy()]);
    assert!(logged.status.success() && err(&logged).is_empty(), "{}", err(&logged));
    let text = std::fs::read_to_string(&log).expect("a log");
    assert!(text.contains(" INFO reg_node") && !text.contains('\u{1b}'), "{text}");
    let nowhere = ran(home.path(), &["ls", "--json", "--log-file", "no/such/folder/log"]);
    assert!(!nowhere.status.success() && err(&nowhere).contains("cannot be written"), "{}", err(&nowhere));
}

#[test]
fn man_pages_are_made_by_one_command_and_render() {
    let home = home();
    let dir = home.path().join("man 1");
    let made = ran(home.path(), &["man", &dir.to_string_lossy()]);
    assert!(made.status.success(), "{}", err(&made));
    let pages: Vec<_> =
        std::fs::read_dir(&dir).expect("a folder").map(|it| it.expect("a page").path()).collect();
    assert!(pages.len() > 60, "{} pages", pages.len());
    for name in ["reg.1", "reg-pull.1", "reg-key-rotate.1"] {
        assert!(dir.join(name).is_file(), "{name}");
    }
    assert!(!dir.join("reg-complete-words.1").exists(), "it is hidden");
    let renders = |pages: &[std::path::PathBuf]| {
        Command::new("man").args(["--warnings", "-l"]).args(pages).env("MANWIDTH", "80").output()
    };
    let Ok(all) = renders(&pages) else {
        println!("SKIPPED: no `man` here; try: apt-get install man-db groff-base");
        return;
    };
    assert!(all.status.success() && all.stderr.is_empty(), "{}", err(&all));
    assert!(
        pages.iter().all(
            |it| out(&all).contains(&it.file_stem().unwrap_or_default().to_string_lossy().to_uppercase())
        )
    );
    let pull = out(&renders(&[dir.join("reg-pull.1")]).expect("man runs"));
    assert!(
        pull.contains("EXAMPLES") && pull.contains("reg pull acme/my-model:v1 /models/x  a tag"),
        "{pull}"
    );
    assert!(pull.contains("--quant"), "{pull}");
}
