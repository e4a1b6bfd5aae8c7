//! Tests attestations, rules and denylists between real nodes.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use reg_proto::digest::Digest;
use reg_proto::key::KeyHistory;
use reg_proto::referrer::{PROVENANCE_ARTIFACT_TYPE, Referrer};
use reg_proto::wire::{Request, Response};
use reg_testnet::asker::Asker;
use reg_testnet::process::{Daemon, Home, Ran, text};
use serde_json::{Value, json};

/// What is not found is then said sooner: nobody looks in the DHT.
const QUIET: [&str; 2] = ["--dht", "off"];

/// A model of two small files in a folder of its own.
fn model(home: &Home, name: &str, licence: &str) -> PathBuf {
    let dir = home.path().join("models").join(name);
    fs::create_dir_all(&dir).expect("a folder");
    fs::write(dir.join("config.json"), format!("{{\"model_type\":\"{name}\"}}")).expect("written");
    fs::write(dir.join("README.md"), format!("---\nlicense: {licence}\n---\n# {name}\n")).expect("written");
    dir
}

fn pull(home: &Home, reference: &str, from: &[&Daemon]) -> Ran {
    let mut args =
        vec!["pull".to_owned(), reference.to_owned(), "--cache-only".to_owned(), "--no-mdns".to_owned()];
    args.extend(["--dht".to_owned(), "off".to_owned()]);
    for daemon in from {
        args.extend(["--from".to_owned(), daemon.address()]);
    }
    home.run(args)
}

fn said(home: &Home, reference: &str) -> Vec<Value> {
    home.json(["info", reference])["attestations"].as_array().expect("a list").clone()
}

/// A publishes, B scans, C takes only what two named attestors have scanned, and learns of them from the swarm.
#[test]
fn rules_count_attestations_of_whom_the_user_has_named_and_refuse_before_anything_is_fetched() {
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    let daemon_a = Daemon::start(&a, [""; 0]);
    a.key("me");
    let reference = a.publish(&model(&a, "tiny", "mit"), "tiny:v1", "me");
    let (publisher, _) = reference.split_once('/').expect("a reference");
    let daemon_b = Daemon::start(&b, ["--bootstrap", &daemon_a.address()]);
    pull(&b, &reference, &[]).ok();
    let scanner = b.key("scanner");
    let attest = |home: &Home, key: &str, kind: &str, result: &str| {
        home.json([
            "attest", &reference, "--kind", kind, "--result", result, "--tool", "scan 1", "--key", key,
        ])
    };
    let made = attest(&b, "scanner", "scan", "pass");
    assert_eq!(made["by"], json!(scanner));
    assert_eq!(said(&b, &reference).len(), 1);
    for (scope, flags) in
        [("*/*", ["--known-publisher"; 1]), ("*/tiny", ["--attested=scan=2:scanner,other"; 1])]
    {
        if scope == "*/tiny" {
            c.run(["trust", "add", "scanner", &scanner]).ok();
            c.run(["trust", "add", "other", &a.key("other")]).ok();
        }
        c.run([&["trust", "require", scope], &flags[..]].concat()).ok();
    }
    pull(&c, &reference, &[&daemon_a, &daemon_b]).failed(6, "known publisher");
    c.run(["trust", "add", "acme", publisher]).ok();
    let refused = pull(&c, &reference, &[&daemon_a, &daemon_b]);
    refused.failed(6, "wants 2, and 1 of 2 named attestors say pass (scanner)");
    assert_eq!(c.json(["status"])["bytes"], json!(0), "no file has been fetched");
    attest(&a, "other", "scan", "pass");
    // B has told A nothing and A nothing B: the puller asks both.
    pull(&c, &reference, &[&daemon_a, &daemon_b]).ok();
    let names: Vec<Value> = said(&c, &reference).iter().map(|it| it["petname"].clone()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    // What C has it passes on, by digest too.
    daemon_a.stop();
    daemon_b.stop();
    let daemon_c = Daemon::start(&c, [""; 0]);
    let d = Home::new("D");
    let manifest = text(&c.json(["info", &reference])["summary"]["manifest"]);
    let by_digest = format!("{publisher}/tiny@{manifest}");
    pull(&d, &by_digest, &[&daemon_c]).ok();
    assert_eq!(said(&d, &by_digest).len(), 2);
    // A scanner that fails it later takes its word back.
    // The time of an attestation is in whole seconds. Of two by one attestor in one second, the first one counts.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    b.run(["attest", &reference, "--kind", "scan", "--result", "fail", "--key", "scanner", "--offline"]).ok();
    let after: Vec<Value> = said(&b, &reference).iter().map(|it| it["result"].clone()).collect();
    assert_eq!(after, [json!("fail")], "the newest of a kind counts");
}

#[test]
fn licences_and_formats_are_required_of_what_is_pulled() {
    let [a, b] = ["A", "B"].map(Home::new);
    let daemon = Daemon::start(&a, [""; 0]);
    a.key("me");
    let mit = a.publish(&model(&a, "tiny", "mit"), "tiny:v1", "me");
    let gpl = a.publish(&model(&a, "other", "gpl-3.0"), "other:v1", "me");
    b.run(["trust", "require", "*/*", "--license", "MIT", "--license", "apache-2.0"]).ok();
    pull(&b, &gpl, &[&daemon]).failed(6, "does not allow gpl-3.0");
    pull(&b, &mit, &[&daemon]).ok();
    b.run(["trust", "waive", "*/*"]).ok();
    pull(&b, &gpl, &[&daemon]).ok();
    b.run(["trust", "require", "*/tiny", "--format", "safetensors", "--format", "json"]).ok();
    pull(&b, &mit, &[&daemon]).failed(6, "README.md is of kind text");
    b.run(["trust", "require", "*/tiny"]).failed(2, "requires nothing");
}

#[test]
fn a_denylist_is_applied_to_what_is_pulled_and_served_until_the_user_says_otherwise() {
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    let daemon_a = Daemon::start(&a, QUIET);
    a.key("me");
    let bad = a.publish(&model(&a, "bad", "mit"), "bad:v1", "me");
    let good = a.publish(&model(&a, "good", "mit"), "good:v1", "me");
    let manifest = text(&a.json(["info", &bad])["summary"]["manifest"]);
    let watcher = a.key("watcher");
    let list = a.path().join("list");
    let write = |entries: Value, expires: u64| {
        fs::create_dir_all(&list).expect("a folder");
        let text = json!({ "version": 1, "expires": expires, "entries": entries }).to_string();
        fs::write(list.join("denylist.json"), text).expect("written");
        a.publish(&list, "warnings", "watcher");
    };
    write(json!([{ "deny": manifest, "reason": "answers with adverts" }]), 4_000_000_000);
    // B has the model before it hears of the warning.
    let daemon_b = Daemon::start(&b, ["--dht", "off", "--bootstrap", &daemon_a.address()]);
    pull(&b, &bad, &[]).ok();
    b.run(["trust", "add", "watcher", &watcher]).ok();
    b.run(["trust", "subscribe", "watcher/none"]).failed(3, "cannot be fetched");
    assert_eq!(b.json(["trust", "show"])["denylists"], json!([]), "what cannot be had is not subscribed to");
    b.run(["trust", "subscribe", "watcher/warnings"]).ok();
    pull(&b, &bad, &[]).failed(6, "is on watcher/warnings: answers with adverts");
    pull(&b, &good, &[]).ok();
    // It serves it no longer, in whichever way it is asked for; what the other model needs too it serves.
    daemon_a.stop();
    let asker = Asker::meet(&daemon_b.address());
    let digests = |reference: &str| -> BTreeSet<Digest> {
        let files = b.json(["files", reference]);
        let files = files.as_array().expect("a list").iter().map(|file| &file["digest"]);
        let manifest = &b.json(["info", reference])["summary"]["manifest"];
        files.chain([manifest]).map(|digest| text(digest).parse().expect("a digest")).collect()
    };
    let (bad_digests, good_digests) = (digests(&bad), digests(&good));
    let referrers = |subject: &str| {
        let subject = subject.parse().expect("a digest");
        asker.ask(Request::Referrers { subject, artifact_type: None })
    };
    let serves_it = |is_served: bool| {
        bad_digests.iter().for_each(|it| assert_eq!(asker.is_given(*it), is_served, "{it}"));
        good_digests.iter().for_each(|it| assert!(asker.is_given(*it), "{it}"));
        let told = matches!(referrers(&manifest), Response::Referrers { .. });
        assert_eq!(told, is_served, "the referrers of what is denied");
    };
    assert!(bad_digests.is_disjoint(&good_digests));
    serves_it(false);
    pull(&c, &good, &[&daemon_b]).ok();
    b.run(["trust", "allow", &manifest]).ok();
    serves_it(true);
    pull(&c, &bad, &[&daemon_b]).ok();
    pull(&b, &bad, &[]).ok();
    // Without the exception, and then without the list.
    b.run(["trust", "disallow", &manifest]).ok();
    serves_it(false);
    pull(&b, &bad, &[]).failed(6, "watcher/warnings");
    b.run(["trust", "unsubscribe", "watcher/warnings"]).ok();
    serves_it(true);
    pull(&b, &bad, &[]).ok();
    drop(daemon_b);
    // A list that is not current still counts, and says so.
    let daemon_a = Daemon::start(&a, QUIET);
    write(json!([{ "deny": a.key("third"), "reason": "stolen key" }]), 1_000_000_000);
    let d = Home::new("D");
    d.run(["trust", "add", "watcher", &watcher]).ok();
    let daemon_d = Daemon::start(&d, ["--dht", "off", "--bootstrap", &daemon_a.address()]);
    d.run(["trust", "subscribe", "watcher/warnings"]).ok();
    let third = a.publish(&model(&a, "third", "mit"), "third:v1", "third");
    pull(&d, &third, &[]).failed(6, "stolen key");
    let shown = d.run(["trust", "show", "--full"]).ok().stdout();
    assert!(shown.contains("has not been updated"), "{shown}");
    drop(daemon_d);
}

#[test]
fn a_name_means_whom_the_user_has_said_until_they_say_otherwise() {
    let a = Home::new("A");
    let [one, two] = ["one", "two"].map(|name| a.key(name));
    a.run(["trust", "add", "acme", &one]).ok();
    a.run(["trust", "add", "acme", &two]).failed(2, "reg trust accept acme ID");
    a.run(["trust", "accept", "acme", &two]).ok();
    assert_eq!(a.json(["trust", "ls"])[0]["publisher"], json!(two));
    a.run(["trust", "require", "acme/*", "--known-publisher"]).ok();
    a.run(["trust", "rm", "acme"]).failed(6, "acme is in use");
    a.run(["trust", "waive", "acme/*"]).ok();
    a.run(["trust", "rm", "acme"]).ok();
    a.run(["trust", "rm", "acme"]).failed(3, "acme is not in the trust file");
    a.run(["trust", "show", "acme"]).failed(3, "no petname");
}

/// Every check by name and result, in both forms, and what was written down.
#[test]
fn a_pull_explains_itself_and_leaves_a_receipt() {
    let [a, b] = ["A", "B"].map(Home::new);
    let daemon = Daemon::start(&a, [""; 0]);
    a.key("me");
    let reference = a.publish(&model(&a, "tiny", "mit"), "tiny:v1", "me");
    let (publisher, _) = reference.split_once('/').expect("a reference");
    let receipt = b.path().join("receipt.json");
    let from = daemon.address();
    let written = receipt.to_string_lossy().into_owned();
    let args = |more: &[&str]| {
        let base = ["pull", &reference, "--cache-only", "--no-mdns", "--from", &from];
        base.iter().chain(more).map(|it| (*it).to_owned()).collect::<Vec<String>>()
    };
    let said = b.run(args(&["--explain", "--receipt", &written])).ok().stderr();
    for line in [
        "pass      publisher: ",
        "pass      keys: key document 1, 1 of 1 must sign: ed25519:",
        "pass      tag record: v1 number 1, signed by key document 1",
        "note      resolving: first model of publisher",
        "pass      manifest: sha256:",
        "pass      provenance: says it is tiny, signed by key document 1",
        "pass      OpenSSF bundle: ",
        "not done  denylists: none is subscribed to",
        "not done  rules: ",
        "pass      content: 1 json, 1 text",
        "pass      bytes: 3 blobs have the SHA-256 that was signed",
    ] {
        assert!(said.contains(line), "{line:?} is not in:\n{said}");
    }
    assert!(said.contains(&format!("from peer {}", daemon.peer_id())), "{said}");
    let receipt: Value = serde_json::from_slice(&fs::read(receipt).expect("written")).expect("JSON");
    assert_eq!((&receipt["version"], &receipt["publisher"]), (&json!(1), &json!(publisher)));
    assert_eq!(receipt["files"].as_array().map(Vec::len), Some(2));
    assert_eq!(receipt["tag"]["seq"], json!(1));
    assert!(text(&receipt["keys"]["keys"][0]).starts_with("ed25519:"), "{receipt}");
    assert!(text(&receipt["provenance"]["digest"]).starts_with("sha256:"), "{receipt}");
    assert_eq!(receipt["sources"][0]["kind"], json!("peer"));
    let pulled = b.run(args(&["--json"])).ok().json();
    assert_eq!(pulled["pace"]["bounded_by"], json!("nothing"));
    assert_eq!(pulled["sources"][0]["kind"], json!("cache"));
    // What refuses is shown after what passed.
    b.run(["trust", "require", "*/*", "--attested", "review"]).ok();
    let refused = b.run(args(&["--explain"]));
    let said = refused.failed(6, "refused by a policy of yours: review attestations").stderr();
    assert!(
        said.contains("pass      provenance") && said.contains("refused   review attestations"),
        "{said}"
    );
}

/// What a receipt says, against what the publisher's node says of the same things: of a version that was signed before its
/// publisher had another key, for a node that knows both keys.
#[test]
fn a_receipt_names_the_files_the_records_and_the_key_that_signed_them() {
    let [a, b] = ["A", "B"].map(Home::new);
    let daemon = Daemon::start(&a, [""; 0]);
    a.key("me");
    let dir = model(&a, "tiny", "mit");
    let old = a.publish(&dir, "tiny:v1", "me");
    a.run(["key", "rotate", "me", "--yes"]).ok();
    fs::write(dir.join("more.json"), "{}").expect("written");
    let new = a.publish(&dir, "tiny:v2", "me");
    let (publisher, _) = old.split_once('/').expect("a reference");
    let (from, asker) = (daemon.address(), Asker::meet(&daemon.address()));
    let (publisher, name) = (publisher.parse().expect("an id"), "tiny".parse().expect("a name"));
    let records = Request::GetRecords { publisher, model: Some(name), tag: None, documents: None };
    let Response::Records(records) = asker.ask(records) else { panic!("no records") };
    let keys = KeyHistory::verify(publisher, &records.key_documents).expect("keys");
    for (reference, version) in [(&new, 2), (&old, 1)] {
        let path = b.path().join("receipt.json");
        let written = path.to_string_lossy().into_owned();
        let args = ["pull", reference, "--cache-only", "--no-mdns", "--from", &from, "--receipt", &written];
        b.run(args).ok();
        let receipt: Value = serde_json::from_slice(&fs::read(path).expect("written")).expect("JSON");
        let parts = |files: &Value| -> BTreeSet<String> {
            let files = files.as_array().expect("a list").iter();
            files.map(|it| format!("{} {} {}", it["path"], it["size"], it["digest"])).collect()
        };
        assert_eq!(parts(&receipt["files"]), parts(&a.json(["files", reference])));
        let manifest = &a.json(["info", reference])["summary"]["manifest"];
        assert_eq!(&receipt["manifest"], manifest);
        let record = &a.json(["log", reference])["records"][0];
        assert_eq!(receipt["tag"]["digest"], record["payload"]);
        assert_eq!(receipt["tag"]["issued"], record["record"]["issued"]);
        assert_eq!((&receipt["tag"]["seq"], &record["record"]["seq"]), (&json!(1), &json!(1)));
        let subject: Digest = text(manifest).parse().expect("a digest");
        let artifact_type = Some(PROVENANCE_ARTIFACT_TYPE.to_owned());
        let Response::Referrers { manifests } = asker.ask(Request::Referrers { subject, artifact_type })
        else {
            panic!("no referrers")
        };
        let referrer = asker.document(manifests[0].digest).expect("a referrer");
        let provenance = Referrer::from_bytes(&referrer).expect("a referrer").document.digest;
        assert_eq!(receipt["provenance"]["digest"], json!(provenance));
        assert_eq!(receipt["keys"]["document"], json!(version));
        assert_eq!(receipt["keys"]["keys"], json!(keys.document(version).expect("a document").keys));
    }
    assert_ne!(keys.document(1).map(|it| &it.keys), keys.document(2).map(|it| &it.keys));
}
