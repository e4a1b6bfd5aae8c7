//! `reg config` and `reg reload`, without a daemon and with one that runs.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::aids::{err, out, ran, reg};

fn json(home: &Path, args: &[&str]) -> Value {
    let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
    let output = ran(home, &args);
    serde_json::from_str(&out(&output))
        .unwrap_or_else(|_| panic!("{args:?}: {}{}", out(&output), err(&output)))
}

fn done(home: &Path, args: &[&str]) -> String {
    let output = ran(home, args);
    assert!(output.status.success(), "{args:?}: {}", err(&output));
    out(&output)
}

fn written(home: &Path, text: &str) -> PathBuf {
    std::fs::create_dir_all(home).expect("a folder");
    let path = home.join("config.toml");
    std::fs::write(&path, text).expect("written");
    path
}

#[test]
fn keys_are_set_read_and_removed_and_comments_stay() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path().join("a home");
    let path = written(&home, "# mine\n[transfer]\n# slow line\nlimit_up = \"1 MB/s\"\n");
    assert_eq!(done(&home, &["config", "get", "transfer.limit_up"]), "1 MB/s\n");
    done(&home, &["config", "set", "transfer.limit_up", "2 MB/s"]);
    done(&home, &["config", "set", "node.bootstrap", "/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/1"]);
    let text = std::fs::read_to_string(&path).expect("a file");
    assert!(text.starts_with("# mine\n[transfer]\n# slow line\nlimit_up = \"2 MB/s\"\n"), "{text}");
    let got = json(&home, &["config", "get", "node.bootstrap"]);
    assert_eq!(
        (&got["value"][1], &got["source"]),
        (&"/ip4/192.0.2.2/tcp/1".into(), &"line 7".into()),
        "{got}"
    );
    done(&home, &["config", "unset", "limit_up"]);
    assert!(std::fs::read_to_string(&path).expect("a file").contains("# slow line"));
    assert_eq!(json(&home, &["config", "get", "limit_up"])["source"], "default");
    assert_eq!(json(&home, &["config", "path"])["exists"], true);
    // The first key of a home makes the file.
    let other = dir.path().join("other");
    done(&other, &["config", "set", "cache.min_free", "2 GiB"]);
    assert_eq!(done(&other, &["config", "get", "cache.min_free"]), "2 GiB\n");
}

#[test]
fn what_is_wrong_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let before = "[transfer]\nlimit_up = \"1 MB/s\"\n";
    let path = written(dir.path(), before);
    for (args, word) in [
        (&["config", "set", "transfer.limt_up", "2 MB/s"][..], "did you mean `transfer.limit_up`"),
        (&["config", "get", "listen"], "`node.listen` or `http.listen`"),
        (&["config", "set", "transfer.limit_up", "slow"], "is not a rate"),
        (&["config", "set", "node.mdns", "perhaps"], "takes no such value"),
    ] {
        let refused = ran(dir.path(), args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        assert!(err(&refused).contains(word), "{args:?}: {}", err(&refused));
    }
    // A variable that hides the value does not make it right: other commands would refuse the file.
    let hidden = ["config", "set", "node.dht", "maybe"];
    let hidden = reg(dir.path(), &hidden).env("REG_DHT", "off").output().expect("reg runs");
    assert_eq!(hidden.status.code(), Some(2), "{}", err(&hidden));
    assert!(err(&hidden).contains("auto, server, client, off"), "{}", err(&hidden));
    assert_eq!(std::fs::read_to_string(&path).expect("a file"), before);
}

#[test]
fn a_check_names_the_line() {
    let dir = tempfile::tempdir().expect("a folder");
    assert!(done(dir.path(), &["config", "check"]).contains("does not exist"));
    written(dir.path(), "[node]\n\ndht = 'sometimes'\n");
    let refused = ran(dir.path(), &["config", "check"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(err(&refused).contains("see line 3 of"), "{}", err(&refused));
    let verdict = json(dir.path(), &["config", "check"]);
    assert_eq!((&verdict["valid"], &verdict["error"]["line"]), (&false.into(), &3.into()));
    written(dir.path(), "[node]\r\ndht = 'client'\r\n");
    assert!(done(dir.path(), &["config", "check"]).contains("is valid"));
}

#[test]
fn an_empty_variable_is_an_empty_list() {
    let dir = tempfile::tempdir().expect("a folder");
    // What stands after the lists is refused, so no daemon starts.
    let args = ["daemon", "--http", "here:80"];
    let without = err(&ran(dir.path(), &args));
    assert!(without.contains("here:80"), "{without}");
    for name in ["REG_BOOTSTRAP", "REG_WEB_SEEDS", "REG_LISTEN", "REG_EXTERNAL", "REG_ALLOW"] {
        let refused = reg(dir.path(), &args).env(name, "").output().expect("reg runs");
        assert_eq!(err(&refused), without, "{name}");
        let shown = reg(dir.path(), &["config", "show"]).env(name, "").output().expect("reg runs");
        assert!(shown.status.success() && !out(&shown).contains(name), "{name}: {}", out(&shown));
    }
    for name in ["REG_BOOTSTRAP", "REG_WEB_SEEDS"] {
        let home = dir.path().to_string_lossy().into_owned();
        let lacks = reg(dir.path(), &["publish", &home, "m", "--key", "nobody"]).env(name, "").output();
        assert_eq!(lacks.expect("reg runs").status.code(), Some(3), "{name}");
    }
}

#[test]
fn each_value_says_where_it_comes_from() {
    let dir = tempfile::tempdir().expect("a folder");
    written(dir.path(), "[node]\nmdns = false\n[transfer]\nlimit_up = '1 MB/s'\n");
    let shown =
        reg(dir.path(), &["config", "show"]).env("REG_LIMIT_UP", "3 MB/s").output().expect("reg runs");
    let line =
        |key: &str| out(&shown).lines().find(|it| it.starts_with(key)).map(str::to_owned).unwrap_or_default();
    assert!(line("mdns").ends_with("# line 2"), "{}", out(&shown));
    assert!(line("limit_up").contains("3 MB/s") && line("limit_up").ends_with("# variable REG_LIMIT_UP"));
    assert!(line("gossip").ends_with("# default"));
    // It stays a file with the same meaning.
    let copy = dir.path().join("copy");
    written(&copy, &out(&shown));
    assert!(done(&copy, &["config", "check"]).contains("is valid"));
}

/// A daemon without a network, which ends with the test.
pub(crate) struct Daemon(Child);

impl Daemon {
    pub(crate) fn start(home: &Path, args: &[&str]) -> Self {
        let all: Vec<&str> = ["daemon", "--http", "127.0.0.1:0"].iter().chain(args).copied().collect();
        let mut child = reg(home, &all)
            .env("REG_NO_MDNS", "true")
            .env("REG_DHT", "off")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("reg runs");
        // The last line that it prints when it is ready.
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        assert!(lines.map_while(Result::ok).any(|it| it.starts_with("home ")), "the daemon has not started");
        Self(child)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_running_daemon_takes_what_it_can_and_names_the_rest() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    let none = ran(home, &["reload"]);
    assert_eq!(none.status.code(), Some(3), "{}", err(&none));
    written(home, "[transfer]\nlimit_up = '1 MB/s'\n");
    done(home, &["key", "new", "me"]);
    let daemon = Daemon::start(home, &["--offline", "--limit-down", "5 MB/s"]);
    let of = |key: &str| json(home, &["config", "get", key]);
    assert_eq!(of("limit_up")["value"], "1 MB/s");
    assert_eq!(of("limit_down")["source"], "flag --limit-down");
    assert!(done(home, &["reload"]).contains("nothing has changed"));

    let set = ran(home, &["config", "set", "limit_up", "2 MB/s"]);
    assert!(err(&set).contains("`reg reload`"), "{}", err(&set));
    assert_eq!(of("limit_up")["value"], "1 MB/s", "the daemon has not read it yet");
    done(home, &["config", "set", "limit_down", "9 MB/s"]);
    let restart = ran(home, &["config", "set", "node.gossip", "false"]);
    assert!(err(&restart).contains("after its restart"), "{}", err(&restart));
    let reloaded = json(home, &["reload"]);
    let keys = |what: &str| -> Vec<String> {
        let all = reloaded[what].as_array().expect("a list").iter();
        all.map(|it| it["key"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(
        (keys("taken"), keys("needs_restart")),
        (vec!["transfer.limit_up".into()], vec!["node.gossip".into()])
    );
    assert_eq!(of("limit_up")["value"], "2 MB/s");
    assert_eq!(of("limit_down")["value"], "5 MB/s", "a flag wins over the file");
    assert_eq!(of("node.gossip")["value"], true);
    // A command compares its flags with what is in effect now.
    let other = ran(home, &["publish", ".", "m", "--key", "me", "--limit-up", "1 MB/s"]);
    assert!(err(&other).contains("limit-up 2 MB/s, not limit-up 1 MB/s"), "{}", err(&other));

    // Never half of it: the first key of a bad file is fine, and is not taken.
    written(home, "[transfer]\nlimit_up = '3 MB/s'\nzone = ['nowhere']\n");
    let refused = ran(home, &["reload"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        err(&refused).contains("nowhere") && err(&refused).contains("stay as they were"),
        "{}",
        err(&refused)
    );
    assert_eq!(of("limit_up")["value"], "2 MB/s");
    drop(daemon);
}

/// Returns the status with which the daemon's API answers a page of another server.
fn answer_to_page(home: &Path, origin: &str) -> u16 {
    let address = json(home, &["env", "hf"])["HF_ENDPOINT"].as_str().expect("an address").to_owned();
    let address = address.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request =
        format!("GET / HTTP/1.1\r\nHost: {address}\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("a status");
    line.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a number")
}

#[test]
fn pages_of_new_origins_are_answered_after_a_reload() {
    const ORIGIN: &str = "https://page.example";
    let dir = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(dir.path(), &["--offline"]);
    assert_eq!(answer_to_page(dir.path(), ORIGIN), 403);
    done(dir.path(), &["config", "set", "http.origins", ORIGIN]);
    // A value that waits is said to wait.
    let waiting = ran(dir.path(), &["config", "get", "http.origins"]);
    assert!(err(&waiting).contains("the file has another one"), "{}", err(&waiting));
    done(dir.path(), &["reload"]);
    assert_eq!(answer_to_page(dir.path(), ORIGIN), 200);
    let taken = ran(dir.path(), &["config", "get", "http.origins"]);
    assert_eq!((out(&taken).trim(), err(&taken).as_str()), (ORIGIN, ""));
    done(dir.path(), &["config", "unset", "http.origins"]);
    done(dir.path(), &["reload"]);
    assert_eq!(answer_to_page(dir.path(), ORIGIN), 403);
    drop(daemon);
}

#[test]
#[cfg(unix)]
fn a_hangup_signal_reads_the_file_again() {
    let dir = tempfile::tempdir().expect("a folder");
    written(dir.path(), "[http]\norigins = []\n");
    let daemon = Daemon::start(dir.path(), &["--offline"]);
    written(dir.path(), "[http]\norigins = ['https://page.example']\n");
    let sent = Command::new("kill").args(["-HUP", &daemon.0.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
    // The signal is handled beside the questions, so the answer changes soon, or never.
    let is_taken =
        || json(dir.path(), &["config", "get", "http.origins"])["value"][0] == "https://page.example";
    assert!((0..600).any(|_| is_taken()), "the daemon has not read the file again");
    drop(daemon);
}
