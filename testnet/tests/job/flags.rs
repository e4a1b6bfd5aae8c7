//! Tests that no network flag of a command is ignored: a command of its own node obeys it, and where a daemon answers, the flag
//! travels with the request or is refused with the reason. The flags come from the help of each command, so that a new one
//! must be classified.

use std::collections::BTreeSet;
use std::time::Instant;

use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, Ran};
use reg_testnet::tree;

const MIB: u64 = 1 << 20;

/// The flags that concern the node of a command, each with a value that the daemon of the test was not started with.
const NODE: [(&str, Option<&str>); 12] = [
    ("bootstrap", Some("/ip4/127.0.0.1/tcp/9")),
    ("no-mdns", None),
    ("dht", Some("server")),
    ("no-gossip", None),
    ("no-remember", None),
    ("swarm-key", Some("another swarm")),
    ("offline", None),
    ("no-lanes", None),
    ("limit-up", Some("1 MB/s")),
    ("limit-down", Some("1 MB/s")),
    ("limit-local", None),
    ("web-seed", Some("http://127.0.0.1:9/")),
];

/// The flags of each command that are part of its request, or that the command itself obeys.
const OWN: [(&str, &[&str]); 13] = [
    (
        "pull",
        &[
            "from",
            "public",
            "cache-only",
            "to-hf-cache",
            "copy",
            "overwrite",
            "keep",
            "no-delete",
            "allow-unsafe",
            "allow",
            "allow-expired",
            "newest",
            "allow-unsigned-dns",
            "priority",
            "explain",
            "receipt",
            "include",
            "exclude",
            "quant",
            "tensors",
            "dry-run",
            "timeout",
        ],
    ),
    ("info", &["local", "lineage", "from"]),
    ("unlist", &["key", "out"]),
    ("verify", &["repair", "overwrite", "bundle", "key", "ca", "unsigned", "from"]),
    ("attest", &["kind", "result", "tool", "note", "key"]),
    (
        "import",
        &[
            "key",
            "from",
            "all",
            "bundle",
            "signer",
            "ca",
            "unsigned",
            "allow-unsafe",
            "allow",
            "incomplete",
            "include",
            "exclude",
            "hidden",
            "secret",
            "dry-run",
            "allow-expired",
            "newest",
        ],
    ),
    (
        "publish",
        &[
            "key",
            "prepare",
            "signed",
            "abandon",
            "min-usable",
            "settle",
            "expires-in",
            "license",
            "title",
            "description",
            "task",
            "summary",
            "version",
            "source-url",
            "allow-unsafe",
            "allow",
            "incomplete",
            "fresh-for",
            "wait",
            "link",
            "include",
            "exclude",
            "hidden",
            "secret",
            "dry-run",
        ],
    ),
    ("trust subscribe", &[]),
    ("follow", &["models", "keep", "delay", "include", "exclude", "quant", "allow"]),
    ("collection show", &[]),
    ("trust add", &["allow-unsigned-dns"]),
    ("trust accept", &["head", "yes"]),
    ("publisher set", &["key", "domain", "title", "url", "clear", "out"]),
];

/// Flags of that name by which commands without a node choose what they edit: the list of peers of which swarm.
const CHOOSES: [(&str, &str); 3] =
    [("peers", "swarm-key"), ("peers add", "swarm-key"), ("peers rm", "swarm-key")];

/// Those that a command takes from every user.
const GLOBAL: [&str; 9] =
    ["json", "quiet", "verbose", "log-file", "home", "full", "no-pager", "help", "version"];

/// Tells whether a flag travels with the request of a command.
fn travels(command: &str, flag: &str) -> bool {
    match command {
        "pull" | "info" => ["bootstrap", "offline", "limit-down", "limit-local", "web-seed"].contains(&flag),
        "verify" => flag == "bootstrap",
        _ => false,
    }
}

/// Returns the long flags in the help of a command.
pub(crate) fn flags_of(home: &Home, command: &str) -> BTreeSet<String> {
    let help = home.run(command.split(' ').chain(["--help"])).ok().stdout();
    let flag = |line: &str| {
        let (_, rest) = line.trim_start().split_once("--").filter(|(before, _)| before.len() <= 4)?;
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(rest.len());
        Some(rest[..end].to_owned()).filter(|it| !it.is_empty())
    };
    let options = help.lines().skip_while(|line| !line.ends_with("ptions:"));
    options.take_while(|line| !line.starts_with("Examples:")).filter_map(flag).collect()
}

/// Returns every command that has no commands below it.
pub(crate) fn commands(home: &Home, above: &str) -> Vec<String> {
    let help = home.run(above.split(' ').filter(|it| !it.is_empty()).chain(["--help"])).ok().stdout();
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<String> =
        names.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect();
    let below = names.iter().filter(|name| *name != "help");
    let found: Vec<String> =
        below.flat_map(|name| commands(home, format!("{above} {name}").trim_start())).collect();
    if found.is_empty() { vec![above.to_owned()] } else { found }
}

#[test]
fn every_flag_of_every_command_is_classified() {
    let home = Home::new("A");
    let node: BTreeSet<&str> = NODE.iter().map(|(flag, _)| *flag).collect();
    let commands = commands(&home, "");
    assert!(commands.len() > 30, "{commands:?}");
    for command in commands.iter().filter(|it| *it != "daemon") {
        let flags = flags_of(&home, command);
        let own = OWN.iter().find(|(name, _)| name == command).map(|(_, own)| *own);
        let of_node: BTreeSet<&str> =
            flags.iter().map(String::as_str).filter(|it| node.contains(it)).collect();
        match own {
            None => {
                let chooses = |flag: &&str| CHOOSES.contains(&(command.as_str(), *flag));
                let of_node: BTreeSet<&str> = of_node.into_iter().filter(|it| !chooses(it)).collect();
                assert!(of_node.is_empty(), "{command} takes {of_node:?}: classify its flags in this test")
            }
            Some(own) => {
                assert_eq!(of_node, node, "{command}");
                let is_known = |flag: &&String| {
                    let flag = flag.as_str();
                    node.contains(flag) || own.contains(&flag) || GLOBAL.contains(&flag)
                };
                let new: Vec<&String> = flags.iter().filter(|flag| !is_known(flag)).collect();
                assert!(new.is_empty(), "{command} takes {new:?}: classify them in this test");
            }
        }
    }
}

/// The arguments of each command with node flags.
fn calls(reference: &str, dir: &str, out: &str) -> Vec<(&'static str, Vec<String>)> {
    let texts = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
    vec![
        ("pull", texts(&["pull", reference, out, "--overwrite"])),
        ("info", texts(&["info", reference])),
        ("unlist", texts(&["unlist", reference, "--key", "me"])),
        ("verify", texts(&["verify", reference, "--repair"])),
        ("attest", texts(&["attest", reference, "--kind", "scan", "--result", "pass", "--key", "me"])),
        ("import", texts(&["import", "hf:org/name", "--key", "me"])),
        ("publish", texts(&["publish", dir, "again", "--key", "me"])),
        ("trust subscribe", texts(&["trust", "subscribe", reference])),
        ("follow", texts(&["follow", reference.split('/').next().unwrap_or_default()])),
        ("collection show", texts(&["collection", "show", reference])),
        ("trust add", texts(&["trust", "add", "acme.example"])),
        ("trust accept", texts(&["trust", "accept", "acme.example", "--yes"])),
        ("publisher set", texts(&["publisher", "set", "--key", "me", "--title", "Me"])),
    ]
}

/// Runs a call with one more flag, past the filter of [`Home::command`].
fn call(home: &Home, args: &[String], flag: &str, value: Option<&str>) -> Ran {
    let mut command = home.command([""; 0]);
    command.args(args).arg(format!("--{flag}")).args(value).env("HF_ENDPOINT", "http://127.0.0.1:9");
    home.ran(&mut command)
}

#[test]
fn a_daemon_honours_each_flag_of_its_node_or_refuses_it_with_the_reason() {
    let home = Home::remembering("A");
    home.key("me");
    let dir = home.path().join("model");
    model::generate(&dir, MIB, 31);
    let daemon = Daemon::start_with(&home, ["--dht", "off"]);
    let reference = home.publish(&dir, "m", "me");
    let (dir, out) =
        (dir.to_string_lossy().into_owned(), home.path().join("out").to_string_lossy().into_owned());
    for (command, args) in calls(&reference, &dir, &out) {
        for (flag, value) in NODE {
            let ran = call(&home, &args, flag, value);
            let said = ran.stderr();
            let is_refused = ran.code() == 2 && said.contains(&format!("--{flag} cannot be honoured"));
            assert_eq!(is_refused, !travels(command, flag), "{command} --{flag}: {said}");
            assert!(!is_refused || said.contains("a daemon answers"), "{said}");
            assert!(is_refused || ran.code() == 0, "{command} --{flag}: {said}");
        }
        // What the daemon was started with is no contradiction.
        let ran = call(&home, &args, "dht", Some("off"));
        assert!(!ran.stderr().contains("cannot be honoured"), "{command}: {}", ran.stderr());
    }
    drop(daemon);
    // Without a daemon, the node of the command obeys.
    for (command, args) in calls(&reference, &dir, &out) {
        for (flag, value) in NODE.iter().filter(|(flag, _)| *flag != "offline") {
            let args = [args.clone(), vec!["--offline".to_owned()]].concat();
            let ran = call(&home, &args, flag, *value);
            assert!(!ran.stderr().contains("cannot be honoured"), "{command} --{flag}: {}", ran.stderr());
            let is_possible =
                !["import", "verify", "collection show"].contains(&command) && !command.starts_with("trust ");
            assert!(!is_possible || ran.code() == 0, "{command} --{flag}: {}", ran.stderr());
        }
    }
}

#[test]
fn the_limit_of_one_pull_holds_through_a_daemon() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let dir = a.path().join("model");
    model::generate(&dir, 3 * MIB, 32);
    let server = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&dir, "m", "me");
    let _daemon = Daemon::start(&b, ["--bootstrap", &server.address()]);
    let dest = b.path().join("out");
    let start = Instant::now();
    let limits = ["--limit-down", "700kB/s", "--limit-local", "--json"];
    let pulled =
        b.run(["pull", &reference, &dest.to_string_lossy()].iter().copied().chain(limits)).ok().json();
    tree::assert_equal(&dir, &dest);
    let rate = pulled["bytes_fetched"].as_u64().expect("a number") as f64 / start.elapsed().as_secs_f64();
    // A burst of a quarter of a second comes on top, of more than four seconds. Without a limit it is several times as much.
    assert!(rate < 700_000.0 * 1.5, "{rate} bytes per second");
}
