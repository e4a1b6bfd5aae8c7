//! Tests domains as names of publishers between real nodes, a DNS server and an HTTPS server: when one is taken, when one is
//! refused and why, and that a profile outlives its publisher.

use std::path::PathBuf;
use std::time::Duration;

use reg_proto::limits::DOMAIN_FILE_BYTES_MAX;
use reg_testnet::domains::{DomainWorld, Page};
use reg_testnet::evil::{Liars, Script};
use reg_testnet::identity::{Identity, Offer};
use reg_testnet::process::{Daemon, Home, Ran, text};

fn model(home: &Home, content: &str) -> String {
    let dir = home.path().join(content);
    std::fs::create_dir_all(&dir).expect("a folder");
    std::fs::write(dir.join("config.json"), format!("{{\"model_type\":\"{content}\"}}")).expect("written");
    dir.to_string_lossy().into_owned()
}

/// Publishes a model, and names a domain in the publisher's profile. Returns the daemon and the publisher's id.
fn publisher(home: &Home, domain: Option<&str>) -> (Daemon, String) {
    let id = home.key("me");
    let daemon = Daemon::start(home, ["--dht", "off"]);
    home.run(["publish", &model(home, "tale"), "tale", "--key", "me"]).ok();
    if let Some(domain) = domain {
        home.run(["publisher", "set", "--key", "me", "--domain", domain]).ok();
    }
    (daemon, id)
}

/// Returns what the domain of a publisher has to say: the file, and the TXT record.
fn says(home: &Home, daemon: &Daemon) -> (String, String) {
    let said = home.json(["publisher", "dns", "--key", "me", "--peer", &daemon.address()]);
    (text(&said["file"]), text(&said["txt"]))
}

fn pull(home: &Home, reference: &str, flags: &[&str]) -> Ran {
    let flags: Vec<&str> = [&["--dht", "off", "--no-gossip", "--overwrite"], flags].concat();
    home.pull(reference, &[], &flags)
}

fn trust_file(home: &Home) -> PathBuf {
    home.path().join("trust.toml")
}

fn pinned(home: &Home) -> String {
    std::fs::read_to_string(trust_file(home)).unwrap_or_default()
}

/// Every way in which a domain is not taken, each with its reason and its exit code, and nothing pinned.
#[test]
fn a_domain_that_does_not_hold_is_refused_with_its_reason() {
    let domains = [
        "moved.example",
        "inside.example",
        "other.example",
        "silent.example",
        "unsigned.example",
        "closed.example",
        "forbidden.example",
        "broken.example",
        "failing.example",
        "nothing.example",
        "later.example",
        "large.example",
        "unknown.example",
    ];
    let world = DomainWorld::new(&domains);
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    let (a_daemon, id) = publisher(&a, Some("named.example"));
    let (b_daemon, _) = publisher(&b, None);
    let (file, txt) = says(&a, &a_daemon);
    let (without, _) = says(&b, &b_daemon);
    let unknown = file.replace(&id, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    world.serve("moved.example", Page::Redirect("https://named.example/.well-known/reg.json".to_owned()));
    world.serve("inside.example", Page::File(file.clone()));
    world.serve("other.example", Page::File(file.clone()));
    world.serve("silent.example", Page::File(without));
    world.serve("unsigned.example", Page::Status(404));
    world.say("unsigned.example", &["v=spf1 -all", &txt]);
    for (domain, status) in [("closed.example", 401), ("forbidden.example", 403)] {
        world.serve(domain, Page::Status(status));
        world.say(domain, &[&txt]);
    }
    world.serve("broken.example", Page::File(file.replace("\"reg\":1", "\"reg\":1,\"more\":2")));
    world.serve("failing.example", Page::Status(500));
    world.serve("nothing.example", Page::Status(404));
    world.serve("later.example", Page::File(file.replace("\"reg\":1", "\"reg\":9")));
    // Sound JSON, and more of it than a node reads.
    world.serve("large.example", Page::File(format!("{file}{}", " ".repeat(DOMAIN_FILE_BYTES_MAX))));
    world.serve("uncertified.example", Page::File(file.clone()));
    world.at("far.example", [10, 255, 255, 1]);
    world.serve("unknown.example", Page::File(unknown));
    let private: Vec<&str> =
        domains.into_iter().filter(|it| *it != "inside.example").chain(["uncertified.example"]).collect();
    world.configure(&c, &private);
    for (domain, code, why) in [
        ("moved.example", 4, "no redirect is followed"),
        ("inside.example", 6, "only private addresses"),
        ("far.example", 6, "only private addresses"),
        ("other.example", 4, "and its profile names named.example instead"),
        ("silent.example", 4, "has signed no profile that names a domain"),
        ("unsigned.example", 6, "in a TXT record, which nothing has signed"),
        ("closed.example", 6, "in a TXT record, which nothing has signed"),
        ("forbidden.example", 6, "in a TXT record, which nothing has signed"),
        ("broken.example", 4, "unknown field"),
        ("later.example", 4, "version 9 of the form is not known"),
        ("large.example", 4, "reg.json has more than"),
        ("failing.example", 5, "answers 500"),
        ("nothing.example", 3, "has neither the file"),
        ("missing.example", 3, "has neither the file"),
        ("uncertified.example", 5, "cannot be read"),
        ("unknown.example", 5, "which no peer in reach knows"),
    ] {
        pull(&c, &format!("{domain}/tale"), &[]).failed(code, why);
        let add = ["trust", "add", domain, "--no-mdns", "--dht", "off", "--no-gossip"];
        c.run(add).failed(code, why);
        assert!(!pinned(&c).contains("[domains]"), "{domain} is pinned: {}", pinned(&c));
    }
    let hint = pull(&c, "other.example/tale", &[]).stderr();
    assert!(hint.contains("reg publisher set --domain other.example"), "{hint}");
    pull(&c, "never.example/tale", &["--offline"]).failed(5, "because the node is offline");
}

/// A TXT record counts with the user's consent, and a changed one is refused until the user accepts it.
#[test]
fn a_changed_domain_is_refused_until_the_user_accepts_it() {
    let world = DomainWorld::new(&["acme.org"]);
    let [a, b, c, d] = ["A", "B", "C", "D"].map(Home::new);
    let (a_daemon, old) = publisher(&a, Some("acme.org"));
    let (b_daemon, new) = publisher(&b, Some("acme.org"));
    let (_, txt) = says(&a, &a_daemon);
    // A domain without a web server: the address refuses connections, or there is none.
    world.say("acme.org", &[&txt]);
    for home in [&c, &d] {
        world.configure(home, &["acme.org"]);
    }
    pull(&c, "acme.org/tale", &[]).failed(6, "nothing has signed");
    let pulled = pull(&c, "acme.org/tale", &["--allow-unsigned-dns"]).ok().json();
    assert_eq!(text(&pulled["publisher"]), old);
    assert!(pinned(&c).contains(&format!("\"acme.org\" = \"{old}\"")), "{}", pinned(&c));
    pull(&c, "acme.org/tale", &[]).ok();
    // Consent to an unsigned record, given by accepting it.
    let accepted = d.run(["trust", "accept", "acme.org", "--yes", "--no-mdns", "--dht", "off"]).ok();
    assert!(accepted.stderr().contains("an unsigned TXT record"), "{}", accepted.stderr());

    let (file, _) = says(&b, &b_daemon);
    world.serve("acme.org", Page::File(file));
    let changed = pull(&c, "acme.org/tale", &[]).failed(4, "and is pinned to");
    assert!(changed.stderr().contains(&old) && changed.stderr().contains(&new), "{}", changed.stderr());
    assert!(changed.stderr().contains("reg trust accept acme.org"), "{}", changed.stderr());
    c.run(["trust", "add", "acme.org", "--no-mdns", "--dht", "off"]).failed(4, "and is pinned to");
    let shown = c.run(["trust", "accept", "acme.org", "--no-mdns", "--dht", "off"]).failed(2, "--yes");
    assert!(shown.stderr().contains(&old) && shown.stderr().contains(&new), "{}", shown.stderr());
    assert!(pinned(&c).contains(&old), "a question that was not answered changes nothing");
    c.run(["trust", "accept", "acme.org", "--yes", "--no-mdns", "--dht", "off"]).ok();
    let pulled = pull(&c, "acme.org/tale", &[]).ok().json();
    assert_eq!(text(&pulled["publisher"]), new);
    // The domain is gone: what is pinned counts.
    world.forget();
    let pulled = pull(&c, "acme.org/tale", &[]).ok().json();
    assert!(pulled["notes"].to_string().contains("which counts"), "{pulled}");
    c.run(["trust", "rm", "acme.org"]).ok();
    assert!(!pinned(&c).contains("[domains]"), "a file without the table is read by an earlier version");
}

/// Holders of a model keep the profile of its publisher; a rotation takes it over; a lower number is refused.
#[test]
fn a_profile_outlives_its_publisher_and_a_rotation() {
    let world = DomainWorld::new(&["acme.org"]);
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    let (a_daemon, id) = publisher(&a, Some("acme.org"));
    a.run(["publisher", "set", "--key", "me", "--title", "Acme Research"]).ok();
    a.run(["key", "rotate", "me", "--yes"]).ok();
    let kept = a.run(["publisher", "show", &id]).ok().stdout();
    assert!(kept.contains("Acme Research") && kept.contains("acme.org"), "a rotation keeps it: {kept}");
    assert!(kept.contains("number 2"), "{kept}");
    let b_daemon = Daemon::start(&b, ["--dht", "off", "--bootstrap", &a_daemon.address()]);
    pull(&b, &format!("{id}/tale"), &[]).ok();
    drop(a_daemon);
    let page = format!("{{\"reg\":1,\"publisher\":\"{id}\",\"peers\":[\"{}\"]}}", b_daemon.address());
    world.serve("acme.org", Page::File(page));
    world.configure(&c, &["acme.org"]);
    let pulled = pull(&c, "acme.org/tale", &[]).ok().json();
    assert_eq!(text(&pulled["publisher"]), id);
    let shown = c.run(["trust", "show", "acme.org", "--full"]).ok().stdout();
    assert!(shown.contains("Acme Research"), "{shown}");
}

/// A petname with a dot, as an earlier version gave them, is meant before a domain. No new one is given.
#[test]
fn a_petname_of_before_wins_over_a_domain_and_no_new_one_has_a_dot() {
    let world = DomainWorld::new(&["acme.org"]);
    let [a, c] = ["A", "C"].map(Home::new);
    let (a_daemon, id) = publisher(&a, None);
    world.configure(&c, &["acme.org"]);
    std::fs::write(trust_file(&c), format!("[petnames]\n\"acme.org\" = \"{id}\"\n")).expect("written");
    let from = a_daemon.address();
    let pulled = pull(&c, "acme.org/tale", &["--from", &from]).ok().json();
    assert_eq!(text(&pulled["publisher"]), id);
    assert!(pulled["notes"].to_string().contains("acme.org is a petname of yours"), "{pulled}");
    assert_eq!(world.asked(), 0, "the domain is not asked");
    c.run(["trust", "add", "acme.labs", &id]).failed(2, "has a dot");
    c.run(["trust", "add", "acme", &id]).ok();
    c.run(["trust", "rm", "acme.org"]).ok();
    assert!(!pinned(&c).contains("acme.org"), "{}", pinned(&c));
}

/// Returns the page of a domain that names a publisher and these peers.
fn page(id: impl std::fmt::Display, peers: &[String]) -> Page {
    let peers: Vec<String> = peers.iter().map(|it| format!("{it:?}")).collect();
    Page::File(format!("{{\"reg\":1,\"publisher\":\"{id}\",\"peers\":[{}]}}", peers.join(",")))
}

/// Returns what a node knows of the keys of a publisher: how many branches, and whether it follows one of them.
fn known_keys(home: &Home, id: &str) -> (usize, bool) {
    let ran = home.run(["trust", "accept", id, "--json"]);
    if ran.code() == 3 {
        return (0, false);
    }
    let branches = ran.ok().json()["branches"].as_array().expect("a list").clone();
    (branches.len(), branches.iter().any(|it| it["is_followed"] == true))
}

/// A thief of a retired key has a branch of its own, and answers first. A newcomer that comes by the domain takes neither branch,
/// shows both, and takes the one that the user accepts. A domain that is refused pins no keys.
#[test]
fn a_newcomer_by_a_domain_takes_no_branch_before_the_user_accepts_one() {
    let world = DomainWorld::new(&["acme.org", "other.example"]);
    let mut liars = Liars::default();
    let first = Identity::new(&[1], 1, &[], 1);
    let id = first.id.to_string();
    let v1 = first.model("tale", "one", 1, &[1]);
    let r1 = first.record(&v1, "latest", 1, None, 1, &[1]);
    let offer_of = |key: u8, content: &str, seq: u64| -> (Identity, String, Offer) {
        let branch = first.rotated(&[key], 1, &[key + 1], &[1, key], &[&r1, &v1.provenance]);
        let model = branch.model("tale", content, 2, &[key]);
        let record = branch.record(&model, "latest", seq, Some(&r1), 2, &[key]);
        let offer = branch.offer().tag("latest", &record, &model).model(&v1);
        let offer = offer.says(&branch.profile("acme.org", 2, &[key]));
        (branch, model.digest.to_string(), offer)
    };
    let (owner, ours, offer) = offer_of(11, "two", 2);
    let (_, _, stolen) = offer_of(66, "thief", 5);
    let thief = liars.tell(stolen.script());
    // Well within the 700 ms that a newcomer waits for other answers (`ANSWERS_PATIENCE`).
    let late = Script { records_after: Duration::from_millis(50), ..offer.script() };
    let peers = [thief.clone(), liars.tell(late)];
    world.serve("acme.org", page(&id, &peers));
    world.serve("other.example", page(&id, &[thief]));

    let refused = Home::new("refused");
    world.configure(&refused, &["other.example"]);
    pull(&refused, "other.example/tale", &[]).failed(4, "and its profile names acme.org instead");
    assert_eq!(known_keys(&refused, &id), (0, false), "a domain that is refused pins no keys");

    let newcomer = Home::new("newcomer");
    world.configure(&newcomer, &["acme.org"]);
    let parted = pull(&newcomer, "acme.org/tale", &[]).failed(4, "part after version 1");
    assert!(parted.stderr().contains("reg trust accept"), "{}", parted.stderr());
    assert!(!pinned(&newcomer).contains("[domains]"), "{}", pinned(&newcomer));
    assert_eq!(known_keys(&newcomer, &id), (2, false), "both are kept as evidence, and neither is followed");

    let head = owner.head().to_string();
    newcomer.run(["trust", "accept", &id, "--head", &head, "--yes"]).ok();
    let pulled = pull(&newcomer, "acme.org/tale", &[]).ok().json();
    assert_eq!(text(&pulled["manifest"]), ours);
}
