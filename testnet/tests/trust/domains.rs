//! Tests domains as names of publishers between real nodes, a DNS server and an HTTPS server: when one is taken, when one is
//! refused and why, and that a profile outlives its publisher.

use std::path::PathBuf;

use reg_testnet::domains::{DomainWorld, Page};
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
        "broken.example",
        "failing.example",
        "nothing.example",
        "later.example",
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
    world.serve("broken.example", Page::File(file.replace("\"reg\":1", "\"reg\":1,\"more\":2")));
    world.serve("failing.example", Page::Status(500));
    world.serve("nothing.example", Page::Status(404));
    world.serve("later.example", Page::File(file.replace("\"reg\":1", "\"reg\":9")));
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
        ("broken.example", 4, "unknown field"),
        ("later.example", 4, "version 9 of the form is not known"),
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
    let shown = c.run(["trust", "show", "acme.org"]).ok().stdout();
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
