//! Tests donors: they keep what is scarce, never what is refused, and give way to the owner. Replicas are proven at a pace at which a
//! day takes 12 s, so that a donor decides within half a minute.

use std::fs;
use std::path::Path;

use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, text, until};
use serde_json::{Value, json};

use crate::cache::blocks;
use crate::disks::Disk;

const MIB: u64 = 1 << 20;
const QUIET: [&str; 3] = ["--no-mdns", "--dht", "off"];

/// Writes the configuration of a node that audits fast. A model is to have one replica elsewhere; `donors` are said to be there.
fn configure(home: &Path, donors: u32, more: &str) {
    let file = format!(
        "[health]\npace = 7200\naudit = '1 TiB/h'\ntarget = 1\n[donate]\nevery = '1s'\ndonors = {donors}\n{more}\n"
    );
    fs::create_dir_all(home).expect("a folder");
    fs::write(home.join("config.toml"), file).expect("written");
}

/// Starts a node at an address of loopback: each network there is a zone of its own.
fn start_at(home: &Home, ip: &str, flags: &[&str]) -> Daemon {
    Daemon::start_at(home, &[&format!("/ip4/{ip}/tcp/0")], QUIET.iter().chain(flags))
}

fn publish(home: &Home, name: &str, bytes: u64, seed: u64, more: &[&str]) -> String {
    let dir = home.path().join("models").join(name);
    model::generate(&dir, bytes, seed);
    let path = dir.to_string_lossy().into_owned();
    let args = ["publish", &path, name, "--key", "me"];
    text(&home.json(args.iter().chain(more))["reference"])
}

/// The names of the models that a donor keeps, of those that are whole.
fn kept(home: &Home) -> Vec<String> {
    let report = home.json(["donate", "ls"]);
    let models = report["models"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<String> =
        models.iter().filter(|it| it["whole"] == true).map(|it| text(&it["model"])).collect();
    names.sort();
    names
}

fn why(home: &Home, reference: &str) -> String {
    text(&home.json(["donate", "why", reference])["verdict"]["code"])
}

/// Of five nodes, three hold one model and one holds five: the scarce one of them is taken, and the others are refused in every way
/// that there is. A second donor finds that one donor is enough.
#[test]
fn a_donor_takes_the_scarce_and_never_what_is_refused() {
    let [a, b, c, d, e] = ["A", "B", "C", "donor", "second donor"].map(Home::remembering);
    let publisher = a.key("me");
    let daemon_a = start_at(&a, "127.0.1.1", &[]);
    let address = daemon_a.address();
    let popular = publish(&a, "popular", 3 * MIB, 1, &[]);
    let scarce = publish(&a, "scarce", 3 * MIB, 2, &[]);
    let licensed = publish(&a, "licensed", 3 * MIB, 3, &["--license", "gpl-3.0"]);
    let denied = publish(&a, "denied", 3 * MIB, 4, &[]);
    let unsafe_dir = a.path().join("unsafe");
    model::generate(&unsafe_dir, 3 * MIB, 5);
    fs::write(unsafe_dir.join("weights.pkl"), b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.")
        .expect("written");
    let args = ["publish", &unsafe_dir.to_string_lossy(), "unsafe", "--key", "me", "--allow-unsafe"];
    let unsafe_one = text(&a.json(args)["reference"]);
    let watcher = a.key("watcher");
    let list = a.path().join("list");
    fs::create_dir_all(&list).expect("a folder");
    let manifest = text(&a.json(["info", &denied])["summary"]["manifest"]);
    let entries = json!([{ "deny": manifest, "reason": "answers with adverts" }]);
    let warnings = json!({ "version": 1, "expires": 4_000_000_000u64, "entries": entries }).to_string();
    fs::write(list.join("denylist.json"), warnings).expect("written");
    a.publish(&list, "warnings", "watcher");
    let daemons = [(&b, "127.0.2.1"), (&c, "127.0.3.1")].map(|(home, ip)| {
        let daemon = start_at(home, ip, &["--bootstrap", &address]);
        home.run(["pull", &popular, "--cache-only"]).ok();
        daemon
    });
    let begin = |home: &Home, ip: &str, donors: u32| {
        configure(home.path(), donors, "");
        let mut flags = vec!["--bootstrap", &address];
        let others: Vec<String> = daemons.iter().map(Daemon::address).collect();
        others.iter().for_each(|it| flags.extend(["--bootstrap", it]));
        let daemon = start_at(home, ip, &flags);
        home.run(["trust", "add", "acme", &publisher]).ok();
        home.run(["trust", "add", "watcher", &watcher]).ok();
        // What is denied before it is heard of is never listed, and then nothing is known of it.
        let is_listed =
            || home.json(["search", "denied"])["results"].as_array().is_some_and(|it| !it.is_empty());
        until("the catalogue has come", is_listed);
        home.run(["trust", "subscribe", "watcher/warnings"]).ok();
        home.run(["trust", "require", "acme/licensed", "--license", "MIT"]).ok();
        home.run(["donate", "100M", "--limit", "50M"]).ok();
        daemon
    };
    let daemon_d = begin(&d, "127.0.4.1", 1);
    let took = until("the scarce model is kept", || kept(&d) == ["scarce"]);
    println!("the scarce model is kept {:.1} s after the donation began", took.as_secs_f64());
    let is_said = |home: &Home, reference: &str, code: &str| {
        until(&format!("{reference} is {code}"), || why(home, reference) == code);
    };
    is_said(&d, &popular, "enough");
    is_said(&d, &licensed, "refused-by-rule");
    is_said(&d, &denied, "denied");
    is_said(&d, &unsafe_one, "no-consent");
    assert_eq!(kept(&d), ["scarce"]);
    let listed = d.json(["ls"]);
    let row = listed.as_array().into_iter().flatten().find(|it| it["model"] == "scarce").expect("listed");
    assert_eq!((&row["donated"], &row["pinned"]), (&json!(true), &json!(false)));
    assert!(d.run(["ls"]).ok().stdout().contains("kept for others"));
    let shown = d.run(["donate", "why", &denied]).ok().stdout();
    assert!(shown.contains("answers with adverts"), "{shown}");
    // Of a thousand donors, this one acts in a thousand days of its audits: it has time to count the first one's.
    let _daemon_e = begin(&e, "127.0.5.1", 1000);
    e.run(["peers", "add", &daemon_d.address()]).ok();
    is_said(&e, &scarce, "enough");
    assert!(kept(&e).is_empty(), "one donor is enough");
    // What comes later is refused too: the donor gives it back.
    d.run(["trust", "require", "acme/scarce", "--license", "apache-2.0"]).ok();
    is_said(&d, &scarce, "refused-by-rule");
    assert!(d.json(["ls"]).as_array().is_some_and(|all| all.iter().all(|it| it["model"] != "scarce")));
    drop((daemon_d, daemon_a));
}

/// A donor on a small disk: it goes on after a kill in the middle of a pull, gives way to its owner, the popular model first, and stops.
#[test]
fn a_donor_survives_a_kill_gives_way_to_its_owner_and_stops() {
    let [a, b, mount] = ["A", "B", "donor"].map(Home::remembering);
    let at = mount.path().join("disk");
    fs::create_dir(&at).expect("a folder");
    let Some(disk) = Disk::mount(&at, "84m") else { return };
    let d = mount.kept_at(at.join("home"));
    let publisher = a.key("me");
    let daemon_a = start_at(&a, "127.0.1.1", &[]);
    let address = daemon_a.address();
    let first = publish(&a, "first", 24 * MIB, 1, &[]);
    b.key("me");
    let daemon_b = start_at(&b, "127.0.2.1", &["--bootstrap", &address]);
    let owned = publish(&b, "owned", 40 * MIB, 3, &[]);
    configure(&at.join("home"), 1, "[cache]\nmax_size = '60 MiB'\nmin_free = '1 MiB'");
    let flags = ["--bootstrap", &address];
    let slowly = ["--limit-down", "3 MB/s", "--limit-local"];
    let daemon = start_at(&d, "127.0.4.1", &[&flags[..], &slowly].concat());
    d.run(["trust", "add", "acme", &publisher]).ok();
    d.run(["donate", "80M"]).ok();
    let partial = at.join("home/store/partial");
    until("a donation is under way", || blocks(&partial) >= 24 * MIB);
    daemon.kill();
    let daemon = start_at(&d, "127.0.4.1", &flags);
    assert_eq!(kept(&d), [""; 0], "it was killed in the middle");
    until("the pull goes on", || kept(&d) == ["first"]);
    let second = publish(&a, "second", 24 * MIB, 2, &[]);
    until("the second is kept", || kept(&d) == ["first", "second"]);
    // Another node takes the second one: it is less scarce then.
    b.run(["pull", &second, "--cache-only"]).ok();
    d.run(["peers", "add", &daemon_b.address()]).ok();
    let replicas = |name: &str| {
        let report = d.json(["donate", "ls"]);
        let model = report["models"].as_array().into_iter().flatten().find(|it| it["model"] == name).cloned();
        model.unwrap_or_default()["replicas"].as_u64()
    };
    until("two replicas of the second are counted", || replicas("second") == Some(2));
    until("one replica of the first is counted", || replicas("first") == Some(1));
    // What goes first is known by the last decision.
    until("the donor has decided by the new count", || why(&d, &second) == "rose-lately");
    assert!(disk.free() < 40 * MIB, "the owner's model does not fit beside both: {}", disk.free());
    d.run(["pull", &owned, "--cache-only"]).ok();
    assert_eq!(kept(&d), ["first"], "the last replica goes last");
    assert_eq!(why(&d, &second), "owner-needs-disk");
    assert!(d.json(["donate", "ls"])["gave_way"].as_u64() >= Some(24 * MIB));
    // Other programs fill the disk: donations go, and nothing of the owner.
    disk.fill(MIB / 2);
    until("the donation gives way", || kept(&d).is_empty());
    let names = || -> Vec<Value> {
        d.json(["ls"]).as_array().into_iter().flatten().map(|it| it["model"].clone()).collect()
    };
    assert_eq!(names(), ["owned"]);
    fs::remove_file(at.join("filler")).expect("removed");
    d.run(["donate", "stop", "--yes"]).ok();
    assert!(d.json(["donate", "ls"])["settings"].is_null());
    d.run(["donate", "stop"]).failed(3, "nothing is donated");
    assert_eq!(why(&d, &first), "owner-needs-disk", "what was decided last is remembered");
    drop((daemon, daemon_a, daemon_b));
}

#[test]
fn what_is_donated_is_kept_shown_and_stopped_without_a_daemon() {
    let home = Home::new("donor");
    home.run(["donate", "100M", "--scope", "*"]).failed(6, "reg trust subscribe");
    home.run(["donate", "100M", "--scope", "*", "--yes"]).failed(6, "denylist");
    home.run(["donate", "1k"]).failed(2, "too little");
    home.run(["donate", "1G", "--scope", "everyone"]).failed(2, "is none of");
    home.run(["donate", "1G", "--scope", "acme/*"]).failed(3, "acme");
    let publisher = home.key("me");
    home.run(["trust", "add", "acme", &publisher]).ok();
    let said = home.run(["donate", "1G", "--scope", "acme/llama-*", "--limit", "2M"]).ok();
    assert!(said.stderr().contains("reg daemon"), "{}", said.stderr());
    let settings = home.json(["donate", "ls"])["settings"].clone();
    assert_eq!(settings["size"], 1_000_000_000);
    assert_eq!(
        (&settings["scope"], &settings["limit"]),
        (&json!(format!("{publisher}/llama-*")), &json!(2_000_000))
    );
    assert_eq!(why(&home, "acme/other"), "not-known");
    home.run(["donate", "stop"]).ok();
    home.run(["donate", "stop", "--keep"]).failed(3, "reg donate SIZE");
}
