//! Tests the counts of replicas: which copies count, which do not, what is told of them, and what a kill leaves. The nodes audit at
//! a pace at which a fortnight takes 34 s.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use reg_proto::digest::Digest;
use reg_proto::manifest::Manifest;
use reg_proto::piece::PIECE_LEN;
use reg_testnet::asker::Asker;
use reg_testnet::evil::{Liars, Manner, Script};
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, is_full, text, until};
use serde_json::Value;

/// Seconds of audits in a second.
const PACE: u32 = 36_000;
/// Pieces of the model.
const PIECES: u64 = 24;
/// A kill and a start within this leave each proof good: two thirds of a fortnight are left.
const QUICK: Duration = Duration::from_secs(10);

type Blobs = BTreeMap<Digest, Arc<Vec<u8>>>;

fn configure(home: &Home, more: &str) {
    let file = format!("[health]\npace = {PACE}\naudit = '1 TiB/h'\n{more}\n");
    std::fs::write(home.path().join("config.toml"), file).expect("written");
}

/// A node that audits, and has published a model.
struct Auditor {
    home: Home,
    daemon: Daemon,
    reference: String,
    manifest: Digest,
}

impl Auditor {
    fn new(settings: &str) -> Self {
        let home = Home::remembering("A");
        configure(&home, settings);
        home.key("me");
        let dir = home.path().join("model");
        model::generate(&dir, PIECES * PIECE_LEN, 7);
        let daemon = Daemon::start(&home, ["--dht", "off"]);
        let reference = home.publish(&dir, "tale", "me");
        let models = home.json(["ls"]);
        let manifest = text(&models[0]["manifest"]).parse().expect("a digest");
        Self { home, daemon, reference, manifest }
    }

    /// Returns the blobs of the model, as a peer gets them.
    fn blobs(&self) -> Blobs {
        let asker = Asker::meet(&self.daemon.address());
        let document = |digest| asker.document(digest).expect("a document");
        let manifest = Manifest::from_bytes(&document(self.manifest)).expect("a manifest");
        let mut blobs = Blobs::new();
        for (digest, layout) in manifest.blobs() {
            let pieces = layout.pieces().map(|it| asker.piece(digest, it.get()).expect("a piece"));
            blobs.insert(digest, Arc::new(pieces.flatten().collect()));
        }
        blobs
    }

    /// Starts a node at an address of loopback that pulls the model, and connects this one to it.
    fn holder(&self, name: &str, ip: &str) -> (Home, Daemon) {
        let home = Home::new(name);
        let flags = ["--no-mdns", "--dht", "off"];
        let daemon = Daemon::start_at(&home, &[&format!("/ip4/{ip}/tcp/0")], flags);
        home.pull(&self.reference, &[&self.daemon.address()], &[]).ok();
        self.meet(&daemon.address());
        (home, daemon)
    }

    fn meet(&self, address: &str) {
        self.home.run(["peers", "add", address]).ok();
    }

    fn health(&self) -> Value {
        self.home.json(["health", &self.reference])["models"][0].clone()
    }

    fn replicas(&self) -> u64 {
        self.health()["replicas"].as_u64().expect("a number")
    }
}

fn script(blobs: &Blobs, manner: Manner) -> Script {
    Script { blobs: blobs.clone(), manner, ..Script::default() }
}

/// Honest holders in two networks count as two, and twelve peers that claim a third and more do not make it three: ten of one
/// machine are one with the honest one beside them, and the others hold nothing, half of it, something else, or ask elsewhere.
#[test]
fn holders_that_lie_are_not_counted_and_ten_of_one_machine_are_one() {
    let a = Auditor::new("target = 3");
    let blobs = a.blobs();
    let (_home, _daemon) = a.holder("B", "127.0.0.1");
    let mut liars = Liars::default();
    let ten = (1..=10).map(|n| (format!("127.0.2.{n}"), script(&blobs, Manner::Sends)));
    let wrong: Blobs = blobs.iter().map(|(digest, it)| (*digest, Arc::new(vec![7; it.len()]))).collect();
    let others = [
        script(&blobs, Manner::Boasts),
        script(&BTreeMap::new(), Manner::Sends),
        script(&blobs, Manner::Halves),
        script(&blobs, Manner::Truncates),
        script(&blobs, Manner::Stalls),
        script(&wrong, Manner::Sends),
        // Each piece comes after three seconds: it had to be fetched.
        script(&blobs, Manner::Trickles),
    ];
    let others = others.into_iter().enumerate().map(|(n, it)| (format!("127.0.{}.1", 10 + n), it));
    for (ip, script) in ten.chain(others) {
        a.meet(&liars.claim(&ip, a.manifest, script));
    }
    let busy = liars.claim("127.0.30.1", a.manifest, script(&blobs, Manner::HangsUp));
    a.meet(&busy);
    let took = until("both zones are proven", || a.replicas() >= 2);
    println!("two replicas are proven {:.1} s after all holders were met", took.as_secs_f64());
    let are_asked = || liars.requests().iter().skip(10).all(|it| *it > 0);
    until("each of the others was asked", are_asked);
    for _second in 0..12 {
        sleep(Duration::from_secs(1));
        let health = a.health();
        assert_eq!(health["replicas"], 2, "{health}");
        let zones = health["zones"].as_array().expect("a list").iter().map(text).collect::<Vec<_>>();
        assert_eq!(zones, ["v4:7f0000", "v4:7f0002"], "{health}");
        let copies = health["copies"].as_u64().expect("a number");
        assert!((2..=5).contains(&copies), "{health}");
    }
    let health = a.health();
    assert!(health["claimed"].as_u64().is_some_and(|it| it >= 12), "{health}");
    let of_busy = |it: &&Value| busy.ends_with(&text(&it["peer"]));
    let of_busy = health["holders"].as_array().and_then(|all| all.iter().find(of_busy)).expect("a holder");
    assert_eq!((&of_busy["proven"], &of_busy["failed"]), (&false.into(), &Value::Null), "it was only busy");
    let failed = health["holders"].as_array().expect("a list").iter().map(|it| it["failed"].clone());
    let failed: Vec<Value> = failed.filter(|it| !it.is_null()).collect();
    assert!(failed.contains(&"not-given".into()) && failed.contains(&"wrong".into()), "{health}");
    let shown = a.home.run(["health"]).ok().stdout();
    assert!(shown.contains("2 of 3") && shown.lines().all(|it| it.chars().count() <= 80), "{shown}");
    let listed = a.home.run(["ls", "--health"]).ok().stdout();
    assert!(listed.contains("REPLICAS") && listed.contains("2 of 3"), "{listed}");
    let status = a.home.json(["status"]);
    let audited = status["audited"]["since_start"].as_u64().expect("a number");
    assert!(audited >= 16 * PIECE_LEN && status["audited"]["last_hour"] == audited, "{status}");
}

/// Receives events. Returns its URL, and the documents that have come.
fn receiver() -> (String, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/events", listener.local_addr().expect("an address"));
    let events = Arc::<Mutex<Vec<Value>>>::default();
    let taken = events.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) <= 2 {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            taken.lock().expect("no panic").push(serde_json::from_slice(&body).expect("JSON"));
            let answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
            reader.into_inner().write_all(answer).expect("answered");
        }
    });
    (url, events)
}

/// A holder stops and comes back: the user is told of each once. In between, the node that counts is killed, and its file is
/// damaged.
#[test]
fn what_stops_and_comes_back_is_told_once_each_and_a_kill_keeps_the_count() {
    let (url, events) = receiver();
    let told = || events.lock().expect("no panic").iter().map(|it| text(&it["event"])).collect::<Vec<_>>();
    let a = Auditor::new(&format!("target = 1\nwebhook = '{url}'"));
    let (b, b_daemon) = a.holder("B", "127.0.1.1");
    until("the copy is proven", || a.replicas() == 1);
    // Two days of audits until a count is judged, and a second until it is written, or more on a busy machine.
    sleep(Duration::from_secs(8));
    let Auditor { home, daemon, reference, manifest } = a;
    until("the count is written", || {
        let text = std::fs::read_to_string(home.path().join("health.json")).unwrap_or_default();
        let written: Value = serde_json::from_str(&text).unwrap_or_default();
        written["observed"][manifest.to_string()]["replicas"] == 1
    });
    // Where the copy is proven late, the user was told so already.
    let told_before = told();
    let killed = Instant::now();
    daemon.kill();
    let stored = home.json(["health", &reference]);
    assert_eq!((&stored["models"][0]["replicas"], &stored["auditing"]), (&1.into(), &false.into()));
    let daemon = Daemon::start(&home, ["--dht", "off"]);
    let a = Auditor { home, daemon, reference, manifest };
    let (replicas, told_yet) = (a.replicas(), told());
    // A busy machine may take longer than a proof is good for. Then it is proven anew, and the user is told so.
    if killed.elapsed() < QUICK {
        assert_eq!((replicas, told_yet), (1, told_before));
    }
    until("the copy is proven", || a.replicas() == 1 && told().len().is_multiple_of(2));
    let before = told().len();
    let told = || told().split_off(before);

    b_daemon.stop();
    let took = until("the user is told that it is endangered", || !told().is_empty());
    println!("told {:.1} s after the holder has stopped", took.as_secs_f64());
    assert_eq!((a.replicas(), &a.health()["endangered"]), (0, &true.into()));
    sleep(Duration::from_secs(3));
    assert_eq!(told(), ["endangered"]);
    assert!(a.home.run(["health"]).ok().stdout().contains("endangered"));

    let b_daemon = Daemon::start(&b, ["--dht", "off", "--bootstrap", &a.daemon.address()]);
    until("the user is told that it has recovered", || told().len() > 1);
    sleep(Duration::from_secs(3));
    assert_eq!(told(), ["endangered", "recovered"]);
    assert_eq!((a.replicas(), &a.health()["endangered"]), (1, &false.into()));
    let event = events.lock().expect("no panic")[before].clone();
    assert_eq!(
        (&event["replicas"], &event["target"], &event["tags"][0]),
        (&0.into(), &1.into(), &"latest".into())
    );
    assert_eq!(
        (text(&event["manifest"]), text(&event["node"])),
        (a.manifest.to_string(), a.daemon.peer_id())
    );
    let log = a.daemon.log();
    let logged = [log.matches("is endangered").count(), log.matches("has recovered").count()];
    assert_eq!(logged, [1 + before / 2; 2], "{log}");

    let Auditor { home, daemon, reference, .. } = a;
    daemon.stop();
    std::fs::write(home.path().join("health.json"), "{\"version\":1,rubbish").expect("written");
    assert_eq!(home.json(["health", &reference])["models"][0]["replicas"], 0);
    let daemon = Daemon::start(&home, ["--dht", "off", "--bootstrap", &b_daemon.address()]);
    let count = || home.json(["health", &reference])["models"][0]["replicas"].as_u64();
    until("it is counted anew", || count() == Some(1));
    assert!(daemon.log().contains("begin anew"), "{}", daemon.log());
}

/// What the budget allows bounds what audits fetch, and 0 turns them off.
#[test]
fn audits_fetch_no_more_than_the_user_allows() {
    let home = Home::remembering("A");
    // 3 MiB an hour, and at this pace one piece takes 20 minutes of the budget: none but the first is asked for.
    std::fs::write(home.path().join("config.toml"), "[health]\npace = 36000\naudit = '3 MiB/h'")
        .expect("written");
    home.key("me");
    let dir = home.path().join("model");
    model::generate(&dir, PIECES * PIECE_LEN, 8);
    let daemon = Daemon::start(&home, ["--dht", "off"]);
    let reference = home.publish(&dir, "tale", "me");
    let manifest = text(&home.json(["ls"])[0]["manifest"]).parse().expect("a digest");
    let a = Auditor { home, daemon, reference, manifest };
    let (_b, b_daemon) = a.holder("B", "127.0.1.1");
    let audited = |a: &Auditor| a.home.json(["status"])["audited"]["since_start"].as_u64().expect("a number");
    until("the first piece was asked for", || audited(&a) > 0);
    sleep(Duration::from_secs(8));
    // One piece at once, and what two minutes allow.
    let allowed = PIECE_LEN + 3 * PIECE_LEN / 30;
    assert!(audited(&a) <= allowed, "{} of {allowed}", audited(&a));

    let Auditor { home, daemon, reference, manifest } = a;
    daemon.stop();
    std::fs::write(home.path().join("config.toml"), "[health]\npace = 36000\naudit = '0'").expect("written");
    let daemon = Daemon::start(&home, ["--dht", "off", "--bootstrap", &b_daemon.address()]);
    let a = Auditor { home, daemon, reference, manifest };
    until("they are connected", || a.home.json(["status"])["peers"] == 1);
    sleep(Duration::from_secs(4));
    assert_eq!((audited(&a), &a.home.json(["health"])["auditing"]), (0, &false.into()));
}

/// What [`reg_commons`] computes for a thousand models, with real nodes: three holders of each model are counted right, and audits
/// fetch no more than the budget. By default with a few models and the same budget.
#[test]
fn many_models_of_three_replicas_are_counted_within_the_budget() {
    /// Pieces that audits of a thousand models may fetch in an hour: docs/performance.md.
    const PIECES_PER_HOUR: u64 = 192;
    /// Bytes of a model's tensors. A model has a piece of them, and a small one of its configuration.
    const TENSORS: u64 = 16 << 10;
    let (models, pace) = if is_full() { (1000, 240) } else { (24, PACE) };
    let budget = PIECES_PER_HOUR * TENSORS * u64::from(pace);
    let home = Home::remembering("A");
    let file = format!("[health]\npace = {pace}\naudit = '{budget} B/h'\ntarget = 3\n");
    std::fs::write(home.path().join("config.toml"), file).expect("written");
    home.key("me");
    let daemon = Daemon::start(&home, ["--dht", "off"]);
    let references: Vec<String> = (0..models)
        .map(|n| {
            let dir = home.path().join("model");
            model::generate(&dir, TENSORS, 1000 + n);
            home.publish(&dir, &format!("tale-{n}"), "me")
        })
        .collect();
    // Three holders hold at most 250 models each, because a peer is asked for few pieces in an hour.
    let groups = references.chunks(250).enumerate().map(|(group, references)| {
        let archive = home.path().join(format!("archive-{group}")).to_string_lossy().into_owned();
        let export = ["export"].into_iter().chain(references.iter().map(String::as_str));
        home.run(export.chain(["-o", &archive])).ok();
        [1, 2, 3].map(|n| {
            let ip = format!("127.0.{}.1", 3 * group + n);
            let holder = Home::new(&ip);
            holder.run(["import", &archive]).ok();
            let listen = format!("/ip4/{ip}/tcp/0");
            let daemon = Daemon::start_at(&holder, &[&listen], ["--no-mdns", "--dht", "off"]);
            home.run(["peers", "add", &daemon.address()]).ok();
            (holder, daemon)
        })
    });
    let holders: Vec<_> = groups.collect();
    let fetched = || home.json(["status"])["audited"]["since_start"].as_u64().expect("a number");
    let right = || {
        let health = home.json(["health"]);
        let (right, wrong): (Vec<Value>, Vec<Value>) =
            health["models"].as_array().expect("a list").iter().cloned().partition(|it| it["replicas"] == 3);
        (right.len() as u64, wrong.first().cloned())
    };
    let start = Instant::now();
    let mut said = Instant::now();
    loop {
        let ((counted, wrong), days) = (right(), start.elapsed().as_secs_f64() * f64::from(pace) / 86_400.0);
        if counted == models || said.elapsed() > Duration::from_secs(15) {
            println!("{days:.1} days of audits: {counted} of {models} models, {} bytes", fetched());
            if let Some(wrong) = wrong.filter(|_| days > 15.0) {
                println!("not counted yet: {wrong}");
            }
            said = Instant::now();
        }
        if counted == models {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(5400), "{counted} of {models} are counted");
        sleep(Duration::from_secs(1));
    }
    let hours = start.elapsed().as_secs_f64() * f64::from(pace) / 3600.0;
    // What is not spent is kept for an hour, and the last piece may be larger than what is left.
    let allowed = (hours + 1.0) * (PIECES_PER_HOUR * TENSORS) as f64 + PIECE_LEN as f64;
    assert!(fetched() as f64 <= allowed, "{} bytes in {hours:.0} h, of {allowed:.0}", fetched());
    drop((holders, daemon));
}
