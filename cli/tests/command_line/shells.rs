//! The completions in real shells: each script is loaded, and a command, a flag, a model, a tag and a key are completed.

use std::path::Path;
use std::process::Command;

use crate::aids::{err, out, ran};
use crate::configuration::Daemon;

/// A home with a key and a model, and a script for a shell. `reg` of the path is the binary of this test.
struct Prepared {
    dir: tempfile::TempDir,
}

impl Prepared {
    fn new(shell: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let home = dir.path().join("home");
        let model = dir.path().join("model");
        std::fs::create_dir_all(&model).expect("a folder");
        std::fs::write(model.join("config.json"), r#"{"model_type":"tiny"}"#).expect("written");
        let done = |args: &[&str]| {
            let output = ran(&home, args);
            assert!(output.status.success(), "{args:?}: {}", err(&output));
            out(&output)
        };
        done(&["key", "new", "zebra"]);
        done(&["publish", &model.to_string_lossy(), "tiny:v1.0", "--key", "zebra", "--offline"]);
        let script = done(&["completion", shell]);
        std::fs::write(dir.path().join("script"), script).expect("written");
        std::fs::create_dir(dir.path().join("bin")).expect("a folder");
        let binary = dir.path().join("bin/reg");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_reg"), binary).expect("a link");
        Self { dir }
    }

    /// Runs a program with `reg` in its path; `None` where there is no such program.
    fn run(&self, program: &str, args: &[&str]) -> Option<String> {
        let path = std::env::var("PATH").unwrap_or_default();
        let ran = Command::new(program)
            .args(args)
            .current_dir(self.dir.path())
            .env("PATH", format!("{}:{path}", self.dir.path().join("bin").display()))
            .env("REG_HOME", self.dir.path().join("home"))
            .env("HOME", self.dir.path())
            .env("TERM", "dumb")
            .output();
        match ran {
            Ok(output) => Some(out(&output) + &err(&output)),
            Err(_) => {
                println!("SKIPPED: no {program} here; try: apt-get install {program}");
                None
            }
        }
    }

    /// Returns the model's reference as `reg ls` names it.
    fn reference(&self) -> String {
        let list = out(&ran(&self.dir.path().join("home"), &["ls", "--json"]));
        let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
        let publisher = list[0]["petname"].as_str().or(list[0]["publisher"].as_str()).expect("a publisher");
        format!("{publisher}/tiny:v1.0")
    }
}

/// Completes a line in bash as the shell calls the function, and returns the words.
fn bash(prepared: &Prepared, words: &[&str]) -> Option<String> {
    let quoted: Vec<String> = words.iter().map(|it| format!("'{it}'")).collect();
    let code = format!(
        "source ./script; COMP_WORDS=(reg {}); COMP_CWORD={}; _reg; printf '<%s>\\n' \"${{COMPREPLY[@]}}\"",
        quoted.join(" "),
        words.len()
    );
    prepared.run("bash", &["--norc", "--noprofile", "-u", "-c", &code])
}

#[test]
fn bash_completes() {
    let prepared = Prepared::new("bash");
    let reference = prepared.reference();
    let (name, tag) = reference.split_once(':').expect("a tag");
    let Some(first) = bash(&prepared, &["pul"]) else { return };
    assert_eq!(first, "<pull>\n");
    let complete = |words: &[&str]| bash(&prepared, words).expect("bash is there");
    assert!(complete(&["pull", "--qu"]).contains("<--quant>"));
    assert!(complete(&["info", &name[..4]]).contains(&format!("<{reference}>")));
    // bash cuts the word at the colon, and replaces what is behind it.
    assert_eq!(complete(&["info", name, ":"]), format!("<{tag}>\n"));
    assert_eq!(complete(&["info", name, ":", "v"]), format!("<{tag}>\n"));
    assert_eq!(complete(&["publish", ".", "m", "--key", "ze"]), "<zebra>\n");
    assert_eq!(complete(&["publish", ".", "m", "--key", "=", "ze"]), "<zebra>\n");
    assert!(complete(&["config", "get", "transfer.limit"]).contains("<transfer.limit_up>"));
    assert!(complete(&["pull", "x", "mod"]).contains("<model>"), "names of files");
}

#[test]
fn fish_completes() {
    let prepared = Prepared::new("fish");
    let reference = prepared.reference();
    let complete = |line: &str| {
        prepared.run("fish", &["--no-config", "-c", &format!("source ./script; complete -C 'reg {line}'")])
    };
    let Some(first) = complete("pul") else { return };
    assert!(first.starts_with("pull\t"), "{first}");
    let complete = |line: &str| complete(line).expect("fish is there");
    assert!(complete("pull --qu").contains("--quant\t"));
    let cut = reference.len() - 2;
    for typed in [&reference[..4], &reference[..cut]] {
        assert!(complete(&format!("info {typed}")).contains(&reference), "{typed}");
    }
    assert!(complete("publish . m --key ze").contains("zebra"));
    assert!(complete("publish . m --key=ze").contains("--key=zebra"));
    assert!(complete("pull x mod").contains("model/"), "names of files");
}

/// Types a line and a tab in an interactive zsh, and returns the arguments that `reg` is then called with.
fn zsh(prepared: &Prepared, typed: &str) -> Option<String> {
    let code = format!(
        r#"
zmodload zsh/zpty || exit 3
zpty shell zsh -f -i
read_until() {{ local all="" part; repeat 200; do
    if zpty -rt shell part 2>/dev/null; then all+=$part; else sleep 0.05; fi
    [[ $all == *${{~1}}* ]] && break; done; print -r -- "$all"; }}
zpty -w shell 'PROMPT=; RPROMPT=; unsetopt zle_bracketed_paste 2>/dev/null; autoload -U compinit; compinit -u -D'
zpty -w shell 'source ./script; reg() {{ print -r -- "RAN""<$*>" }}; bindkey "^I" complete-word; print READY""YES'
read_until READYYES >/dev/null
zpty -w -n shell $'reg {typed}\t\n'
read_until 'RAN<*>'
"#
    );
    prepared.run("zsh", &["-f", "-c", &code])
}

#[test]
fn zsh_completes() {
    let prepared = Prepared::new("zsh");
    let reference = prepared.reference();
    let Some(first) = zsh(&prepared, "pul") else { return };
    assert!(first.contains("RAN<pull>") || first.contains("RAN<pull >"), "{first}");
    let cut = reference.len() - 2;
    for (typed, expected) in [
        (format!("info {}", &reference[..4]), reference.clone()),
        (format!("info {}", &reference[..cut]), reference.clone()),
        ("publish . m --key ze".to_owned(), "--key zebra".to_owned()),
        ("publish . m --key=ze".to_owned(), "--key=zebra".to_owned()),
    ] {
        let shown = zsh(&prepared, &typed).expect("zsh is there");
        assert!(shown.contains(&format!("{expected}>")), "{typed}: {shown}");
    }
}

#[test]
fn a_peer_is_completed_by_what_the_daemon_knows() {
    const PEER: &str = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
    let dir = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(dir.path(), &["--listen", "/ip4/127.0.0.1/tcp/0"]);
    let address = format!("/ip4/127.0.0.1/tcp/1/p2p/{PEER}");
    let added = ran(dir.path(), &["peers", "add", &address]);
    assert!(added.status.success(), "{}", err(&added));
    let complete = |words: &[&str]| {
        let args: Vec<&str> = ["complete-words", "--"].into_iter().chain(words.iter().copied()).collect();
        out(&ran(dir.path(), &args))
    };
    assert!(
        complete(&["peers", "rm", "12D3"]).lines().any(|it| it.trim_end() == PEER),
        "{}",
        complete(&["peers", "rm", ""])
    );
    assert!(!complete(&["peers", "rm", "12D4"]).contains(PEER));
    // What completes can be typed short, too.
    let removed = ran(dir.path(), &["peers", "rm", &PEER[..16]]);
    assert!(removed.status.success() && out(&removed).contains(PEER), "{}", err(&removed));
    assert!(!complete(&["peers", "rm", "12D3"]).contains(PEER));
    drop(daemon);
}

#[test]
fn a_completion_is_silent_where_nothing_can_be_found() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path().join("home");
    for words in
        [&["pull", ""][..], &["publish", ".", "m", "--key", ""], &["peers", "rm", ""], &["trust", "rm", ""]]
    {
        let args: Vec<&str> = ["complete-words", "--"].into_iter().chain(words.iter().copied()).collect();
        let output = ran(&home, &args);
        assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()), "{words:?}");
    }
    assert!(!Path::new(&home).exists(), "a key press makes no folder");
}
