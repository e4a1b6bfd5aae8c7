//! Tests delegations between real nodes: until when they count, and over how many steps.

use reg_proto::delegation::Delegation;
use reg_proto::limits::DELEGATION_DEPTH_MAX;
use reg_testnet::author::Author;
use reg_testnet::clients;
use reg_testnet::evil::{Liars, Script};
use reg_testnet::process::{Daemon, Home, Ran, text};

/// 2096: later than any run of this test.
const FAR: u64 = 4_000_000_000;

fn model(home: &Home, content: &str) -> String {
    let dir = home.path().join(content);
    std::fs::create_dir_all(&dir).expect("a folder");
    std::fs::write(dir.join("config.json"), format!("{{\"model_type\":\"{content}\"}}")).expect("written");
    dir.to_string_lossy().into_owned()
}

fn pull(home: &Home, reference: &str, from: &[&str]) -> Ran {
    home.pull(reference, from, &["--dht", "off", "--no-gossip", "--overwrite"])
}

/// A friend publishes under the lab's name for thirty days; the puller's clock goes on to the thirty-first.
#[test]
fn a_delegation_counts_until_its_last_day_and_then_no_more() {
    let library = clients::faketime();
    let [a, b, c, d] = ["A", "B", "C", "D"].map(Home::new);
    let (lab, friend) = (a.key("me"), b.key("me"));
    let a_daemon = Daemon::start(&a, ["--dht", "off"]);
    let b_daemon = Daemon::start(&b, ["--bootstrap", &a_daemon.address(), "--dht", "off"]);
    b.run(["publish", &model(&b, "theirs"), "llama-1", "--key", "me"]).ok();
    a.run(["key", "delegate", "me", "llama-*", &friend, "--expires", "30"]).ok();
    let reference = format!("{lab}/llama-1");
    let from = [&a_daemon.address()[..], &b_daemon.address()[..]];
    let pulled = pull(&c, &reference, &from).ok();
    assert_eq!(text(&pulled.json()["publisher"]), friend, "the signer is reported");
    assert!(pulled.json()["notes"].to_string().contains("days left)"), "{}", pulled.stdout());
    if clients::is_left_out(&library) {
        return;
    }
    let library = library.expect("the library is unpacked");
    let later = |home: &Home, days: u64, offline: bool| {
        let out = home.path().join("out").to_string_lossy().into_owned();
        let mut command =
            home.command(["pull", &reference, &out, "--no-mdns", "--dht", "off", "--no-gossip"]);
        command.args(["--overwrite", "--json", "--from", from[0], "--from", from[1]]);
        command.args(offline.then_some("--offline"));
        command.env("LD_PRELOAD", &library).env("FAKETIME", format!("+{days}d"));
        // Only the time of day is bent: timers go on as ever.
        home.ran(command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1"))
    };
    // A node that has followed it before, one that has it and asks no peer, and one that hears of it for the first time.
    later(&c, 29, false).ok();
    let told = format!("{lab} let {friend} speak for llama-*, until 24 h ago");
    later(&c, 31, false).failed(3, &told);
    later(&c, 31, true).failed(5, "not in the store");
    later(&d, 31, false).failed(3, "none has it");
    later(&d, 29, false).ok();
}

/// Publishers that lead on to each other; the last one has the model.
fn path(length: u8, circle: bool) -> (Liars, String, String, String) {
    let authors: Vec<Author> = (0..=length).map(|it| Author::new(200 + it)).collect();
    let last = &authors[usize::from(length)];
    let version = last.version("tale", "far");
    let record = last.record(&version, "latest", 1, None);
    let mut script = if circle {
        Script::default()
    } else {
        last.script(&version.model, "latest", &[last.sign(&record)], &[&version])
    };
    for (author, next) in authors.iter().zip(authors.iter().cycle().skip(1)) {
        if author.id != last.id || circle {
            author.tell_delegations(&version.model, &[author.delegate("t*", next.id, FAR)], &mut script);
        }
    }
    let mut liars = Liars::default();
    let address = liars.tell(script);
    (liars, address, format!("{}/tale", authors[0].id), last.id.to_string())
}

#[test]
fn delegations_lead_on_three_times_and_never_in_a_circle() {
    let depth = u8::try_from(DELEGATION_DEPTH_MAX).expect("a small number");
    let (_liars, address, reference, last) = path(depth, false);
    let pulled = pull(&Home::new("P"), &reference, &[&address]).ok().json();
    assert_eq!(text(&pulled["publisher"]), last);
    assert_eq!(pulled["notes"].to_string().matches("speak for t*").count(), DELEGATION_DEPTH_MAX, "{pulled}");
    let (_liars, address, reference, _) = path(depth + 1, false);
    pull(&Home::new("Q"), &reference, &[&address]).failed(4, "more than 3 times");
    let (_liars, address, reference, _) = path(1, true);
    pull(&Home::new("R"), &reference, &[&address]).failed(4, "in a circle");
}

/// A delegation that does not cover the model, that another key has signed, or that is over, lets no delegate in.
#[test]
fn a_delegation_that_does_not_count_lets_nobody_in() {
    let (lab, friend, stranger) = (Author::new(210), Author::new(211), Author::new(212));
    let version = friend.version("tale", "theirs");
    let record = friend.record(&version, "latest", 1, None);
    let mut liars = Liars::default();
    let reference = format!("{}/tale", lab.id);
    let by_stranger = stranger.delegate("t*", friend.id, FAR);
    let covers: Delegation = Delegation::from_payload(
        &reg_proto::envelope::Envelope::from_bytes(by_stranger.as_bytes(), 1 << 14)
            .expect("an envelope")
            .payload,
    )
    .expect("a delegation");
    assert!(
        covers.covers(&version.model, FAR) && !covers.covers(&version.model, FAR + 1),
        "the last second counts"
    );
    for (delegation, code) in [
        (lab.delegate("tale", friend.id, FAR), 0),
        (lab.delegate("tales", friend.id, FAR), 3),
        (lab.delegate("t*", friend.id, reg_testnet::author::ISSUED + 60), 3),
        (lab.delegate("t*", stranger.id, FAR), 3),
        (by_stranger, 3),
    ] {
        let mut script = friend.script(&version.model, "latest", &[friend.sign(&record)], &[&version]);
        lab.tell_delegations(&version.model, std::slice::from_ref(&delegation), &mut script);
        let address = liars.tell(script);
        let ran = pull(&Home::new("P"), &reference, &[&address]);
        assert_eq!(ran.code(), code, "{delegation}: {}", ran.stderr());
    }
}
