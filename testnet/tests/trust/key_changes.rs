//! Tests the commands that make, replace, commit and revoke keys, with followers and newcomers beside them, and with every
//! set of files that an interrupted command leaves.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use reg_keys::key_changes::{self, KeySet};
use reg_keys::keyring::{KeyName, Keyring, UnwrittenKey};
use reg_proto::digest::Digest;
use reg_proto::key::{Inheritance, KeyHistory, Next, NextKeys};
use reg_testnet::author::Author;
use reg_testnet::process::{Daemon, Home, text};
use serde_json::Value;

fn model(home: &Home) -> String {
    let dir = home.path().join("model");
    fs::create_dir_all(&dir).expect("a folder");
    fs::write(dir.join("config.json"), "{\"model_type\":\"tiny\"}").expect("written");
    dir.to_string_lossy().into_owned()
}

/// Publishes `tale` with this content, and returns its reference by digest.
fn publish_tale(home: &Home, key: &str, content: &str) -> (String, String) {
    let dir = home.path().join(format!("tale-{content}"));
    fs::create_dir_all(&dir).expect("a folder");
    fs::write(dir.join("config.json"), format!("{{\"model_type\":\"{content}\"}}")).expect("written");
    let published = home.json(["publish", &dir.to_string_lossy(), "tale", "--key", key]);
    let reference = text(&published["reference"]);
    let name = reference.rsplit_once(':').map_or(reference.as_str(), |(name, _)| name).to_owned();
    (format!("{name}@{}", text(&published["manifest"])), name)
}

fn pulled(home: &Home, reference: &str, from: &str) -> String {
    let flags = ["--dht", "off", "--no-gossip", "--overwrite"];
    home.pull(reference, &[from], &flags).ok();
    fs::read_to_string(home.path().join("out/config.json")).unwrap_or_default()
}

fn key_files(home: &Home) -> Vec<String> {
    let entries = fs::read_dir(home.path().join("keys")).expect("keys").flatten();
    let mut names: Vec<String> = entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The lines of README.md, in their order, beside a follower and newcomers: the key is replaced, and then revoked.
#[test]
fn a_rotation_and_a_revocation_leave_everything_to_followers_and_newcomers() {
    for flags in [&[][..], &["--no-next"][..]] {
        let [a, follower, newcomer, late] = ["A", "follower", "newcomer", "late"].map(Home::new);
        let made = a.json(["key", "new", "me"].iter().chain(flags));
        let daemon = Daemon::start(&a, ["--dht", "off"]);
        let address = daemon.address();
        let (first, name) = publish_tale(&a, "me", "first");
        assert!(pulled(&follower, &name, &address).contains("first"));
        let ran = a.run(["key", "rotate", "me"]);
        assert!(ran.stderr().contains("tale:latest number 1"), "{}", ran.stderr());
        ran.failed(2, "add --yes");
        let rotated = a.json(["key", "rotate", "me", "--yes"]);
        assert_eq!((&rotated["version"], &rotated["publisher"]), (&2.into(), &made["publisher"]));
        assert_eq!(rotated["next"].as_array().map(Vec::len), Some(2), "{rotated}");
        assert!(rotated["inherits"].to_string().contains("tale:latest number 1"), "{rotated}");
        let old = text(&made["public_key"]);
        a.run(["key", "revoke", "me", "--manifest", &format!("sha256:{}", "0".repeat(64)), "--yes"]).ok();
        let ran = a.run(["key", "revoke", "me", "--key", &old, "--reason", "stolen", "--yes"]).ok();
        assert!(
            ran.stderr().contains("is retired") && ran.stderr().contains("Nothing that"),
            "{}",
            ran.stderr()
        );
        for home in [&follower, &newcomer] {
            assert!(pulled(home, &name, &address).contains("first"));
            assert!(pulled(home, &first, &address).contains("first"));
        }
        // The new key goes on, for nodes that followed before, in between, and never.
        publish_tale(&a, "me", "second");
        for home in [&follower, &newcomer, &late] {
            assert!(pulled(home, &name, &address).contains("second"));
        }
        // The key after that was committed to, however the publisher began.
        a.json(["key", "rotate", "me", "--yes"]);
        publish_tale(&a, "me", "third");
        for home in [&follower, &late] {
            assert!(pulled(home, &name, &address).contains("third"));
        }
    }
}

#[test]
fn a_commitment_is_made_later_and_the_key_and_the_id_stay() {
    let [a, follower] = ["A", "follower"].map(Home::new);
    let made = a.json(["key", "new", "me", "--no-next"]);
    let daemon = Daemon::start(&a, ["--dht", "off"]);
    let (_, name) = publish_tale(&a, "me", "first");
    assert!(pulled(&follower, &name, &daemon.address()).contains("first"));
    let stick = a.path().join("stick");
    fs::create_dir(&stick).expect("a folder");
    let to = stick.to_string_lossy().into_owned();
    let committed = a.json(["key", "commit", "me", "--next-to", &to, "--yes"]);
    assert_eq!((&committed["version"], &committed["publisher"]), (&2.into(), &made["publisher"]));
    a.run(["key", "commit", "me", "--yes"]).failed(2, "is committed to next keys already");
    publish_tale(&a, "me", "second");
    assert!(pulled(&follower, &name, &daemon.address()).contains("second"));
    let shown = a.json(["key", "show", "me"]);
    assert_eq!(shown["keys"][0], made["public_key"]);
    // The next keys are in two other places, and one comes back.
    let away = a.path().join("away");
    fs::rename(&stick, &away).expect("moved");
    a.run(["key", "rotate", "me", "--yes"]).failed(3, "--next-from DIR");
    fs::remove_file(away.join("me.next-1.pem")).expect("lost");
    fs::remove_file(a.path().join("keys/me.pem")).expect("lost too");
    let from = away.to_string_lossy().into_owned();
    a.json(["key", "rotate", "me", "--next-from", &from, "--yes"]);
    publish_tale(&a, "me", "third");
    assert!(pulled(&follower, &name, &daemon.address()).contains("third"));
}

/// Every set of files that a killed `key new` can leave.
#[test]
fn an_interrupted_new_key_is_finished_by_the_same_command() {
    let model = Home::new("model");
    let stages: [&[&str]; 5] = [
        &["me.pending"],
        &["me.pending", "me.next-1.pem"],
        &["me.pending", "me.next-1.pem", "me.next-1.pub", "me.next-2.pem", "me.next-2.pub"],
        &["me.pending", "me.next-1.pem", "me.next-1.pub", "me.next-2.pem", "me.next-2.pub", "me.pem"],
        &[
            "me.pending",
            "me.next-1.pem",
            "me.next-1.pub",
            "me.next-2.pem",
            "me.next-2.pub",
            "me.pem",
            "me.json",
        ],
    ];
    for kept in stages {
        let home = Home::new("A");
        // A folder stands where the key documents are to be written, so all but them is there.
        let keys = home.path().join("keys");
        fs::create_dir_all(keys.join("me.json")).expect("a folder");
        fs::set_permissions(&keys, Permissions::from_mode(0o700)).expect("ours");
        home.run(["key", "new", "me"]).failed(1, "cannot be written");
        fs::remove_dir(keys.join("me.json")).expect("removed");
        home.run(["publish", &self::model(&model), "tiny", "--key", "me", "--offline"])
            .failed(6, "reg key new me");
        let pending = fs::read(keys.join("me.pending")).expect("begun");
        if kept.contains(&"me.json") {
            home.run(["key", "new", "me"]).ok();
            fs::write(keys.join("me.pending"), pending).expect("written");
        }
        for name in key_files(&home) {
            if !kept.contains(&name.as_str()) {
                fs::remove_file(keys.join(name)).expect("removed");
            }
        }
        home.run(["key", "new", "me"]).ok();
        let shown = home.json(["key", "show", "me"]);
        assert_eq!(shown["next"].as_array().map(Vec::len), Some(2), "{kept:?}: {shown}");
        assert!(shown["next"].as_array().is_some_and(|it| it.iter().all(|it| it["is_available"] == true)));
        let published = home.json(["publish", &self::model(&model), "tiny", "--key", "me", "--offline"]);
        assert_eq!(published["publisher"], shown["publisher"], "{kept:?}");
        assert_eq!(home.json(["key", "ls"]).as_array().map(Vec::len), Some(1), "{:?}", key_files(&home));
    }
}

/// Every set of files that a killed rotation can leave, for a publisher with a commitment and for one without.
#[test]
fn an_interrupted_rotation_is_finished_by_the_same_command() {
    for flags in [&[][..], &["--no-next"][..]] {
        for stage in ["nothing is signed", "no next key is written", "signed", "not announced"] {
            let [a, follower] = ["A", "follower"].map(Home::new);
            a.json(["key", "new", "me"].iter().chain(flags));
            let daemon = Daemon::start(&a, ["--dht", "off"]);
            let (_, name) = publish_tale(&a, "me", "first");
            assert!(pulled(&follower, &name, &daemon.address()).contains("first"));
            let digest = interrupted(&a, stage);
            let is_signed = stage == "signed" || stage == "not announced";
            if is_signed {
                let path = model(&a);
                a.run(["publish", &path, "tiny", "--key", "me"]).failed(6, "reg key rotate me");
            }
            let finished = a.json(["key", "rotate", "me", "--yes"]);
            assert_eq!(finished["version"], 2, "{stage}");
            assert!(!key_files(&a).contains(&"me.pending".to_owned()), "{stage}");
            let documents = a.run(["key", "documents", "me"]).ok().json();
            let head = head_of(&documents);
            assert_eq!(head == digest, is_signed, "{stage}: what was signed is finished, and nothing else");
            publish_tale(&a, "me", "second");
            assert!(pulled(&follower, &name, &daemon.address()).contains("second"), "{stage}");
            assert_eq!(a.json(["key", "rotate", "me", "--yes"])["version"], 3, "{stage}");
        }
    }
}

/// The commands that sign something else meet the same files. They first put into effect what is signed.
#[test]
fn an_interrupted_rotation_hinders_no_other_command_about_keys() {
    let other = Author::new(62).id.to_string();
    for stage in ["nothing is signed", "no next key is written", "signed", "not announced"] {
        let is_signed = stage == "signed" || stage == "not announced";
        for command in ["revoke", "delegate"] {
            let a = Home::new("A");
            a.key("me");
            let (first, _) = publish_tale(&a, "me", "first");
            let manifest = first.rsplit_once('@').expect("a digest").1;
            interrupted(&a, stage);
            let arguments = match command {
                "revoke" => ["--manifest", manifest, "--yes", "--json"],
                _ => ["tale-*", &other, "--expires=9", "--json"],
            };
            let ran = a.run(["key", command, "me"].iter().chain(&arguments)).ok();
            assert_eq!(ran.json()["finished"], true, "{command}, {stage}");
            assert_eq!(ran.stderr().contains("is in effect now"), is_signed, "{command}, {stage}");
            let documents = a.json(["key", "show", "me"])["documents"].as_u64();
            assert_eq!(documents, Some(1 + u64::from(is_signed)), "{command}, {stage}");
            assert_eq!(key_files(&a).contains(&"me.pending".to_owned()), !is_signed, "{command}, {stage}");
            publish_tale(&a, "me", "second");
            a.run(["key", "rotate", "me", "--yes"]).ok();
            publish_tale(&a, "me", "third");
        }
    }
}

/// A key document is given up without touching files, unless all keys have signed it.
#[test]
fn a_key_document_that_the_other_keys_do_not_sign_is_abandoned() {
    let a = Home::new("A");
    a.key("me");
    a.run(["key", "abandon", "me", "--yes"]).failed(3, "no key document of me is begun");
    publish_tale(&a, "me", "first");
    // Nothing is signed: the keys that were made for it go.
    let before = key_files(&a);
    interrupted(&a, "nothing is signed");
    a.run(["key", "abandon", "me"]).failed(2, "--yes");
    assert!(key_files(&a).contains(&"me.pending".to_owned()));
    let shown = a.json(["key", "abandon", "me", "--yes"]);
    assert_eq!(shown["abandoned"], 2, "{shown}");
    assert_eq!(
        (shown["signed"].as_bool(), shown["removed"].as_array().map(Vec::len)),
        (Some(false), Some(2))
    );
    assert_eq!(key_files(&a), before);
    // Everything is signed: only its end is possible.
    for stage in ["signed", "not announced"] {
        interrupted(&a, stage);
        a.run(["key", "abandon", "me", "--yes"]).failed(6, "reg key rotate me");
        a.run(["key", "rotate", "me", "--yes"]).ok();
        assert!(!key_files(&a).contains(&"me.pending".to_owned()));
    }
    // Two keys must sign, and the other one does not: the publisher keeps its keys, and rotates in another way.
    let b = Home::new("B");
    let bob = text(&b.json(["key", "new", "bob"])["public_key"]);
    let file = a.path().join("board.sign").to_string_lossy().into_owned();
    a.run(["key", "new", "board", "--threshold", "2", "--with", &bob, "--no-next", "--out", &file]).ok();
    a.run(["key", "new", "board"]).failed(6, "--out FILE");
    b.run(["sign", &file, "--key", "bob"]).ok();
    for (home, name) in [(&a, "board"), (&b, "both")] {
        home.run(["key", "finish", &file, "--name", name]).ok();
    }
    let add = a.json(["key", "new", "carol", "--no-next"]);
    let rotation = ["key", "rotate", "board", "--add", &text(&add["public_key"]), "--no-next", "--yes"];
    a.run(rotation.iter().chain(&["--out", &file])).ok();
    let shown = a.json(["key", "show", "board"]);
    assert_eq!((&shown["documents"], &shown["begun"]["stage"]), (&1.into(), &"waiting".into()), "{shown}");
    assert!(a.run(["key", "show", "board"]).ok().stdout().contains("reg key abandon board"));
    let ran = a.run(["key", "abandon", "board", "--yes"]).ok();
    assert!(ran.stderr().contains("Delete the file that --out wrote"), "{}", ran.stderr());
    assert!(!key_files(&a).contains(&"board.pending".to_owned()));
    a.run([
        "key",
        "rotate",
        "board",
        "--remove",
        &bob,
        "--threshold",
        "1",
        "--no-next",
        "--yes",
        "--out",
        &file,
    ])
    .ok();
    b.run(["sign", &file, "--key", "both"]).ok();
    a.run(["key", "finish", &file]).ok();
    assert_eq!(a.json(["key", "show", "board"])["documents"], 2);
    assert!(!key_files(&a).contains(&"board.pending".to_owned()));
}

/// Another machine of the publisher has finished another document of the same number.
#[test]
fn a_begun_document_that_another_machine_has_overtaken_is_forgotten() {
    let [a, b] = ["A", "B"].map(Home::new);
    let author = Author::new(63);
    for home in [&a, &b] {
        author.give_key(home.path(), "me");
    }
    b.run(["key", "rotate", "me", "--yes"]).ok();
    publish_tale(&a, "me", "first");
    interrupted(&a, "signed");
    let documents = a.path().join("me.json").to_string_lossy().into_owned();
    fs::write(&documents, b.run(["key", "documents", "me"]).ok().stdout()).expect("written");
    a.run(["key", "import", "me", "--documents", &documents]).ok();
    let ran = a.run(["key", "rotate", "me", "--yes"]).failed(3, "next keys");
    assert!(ran.stderr().contains("is forgotten"), "{}", ran.stderr());
    assert!(!key_files(&a).contains(&"me.pending".to_owned()));
}

fn head_of(documents: &Value) -> Digest {
    let texts: Vec<String> = documents.as_array().expect("a list").iter().map(text).collect();
    KeyHistory::read(&texts).expect("key documents").head()
}

/// Leaves the files of a rotation that was killed at this point. Returns the digest of the document that it began.
fn interrupted(home: &Home, stage: &str) -> Digest {
    let keyring = Keyring::open(home.path().join("keys"));
    let name: KeyName = "me".parse().expect("a name");
    let publisher = keyring.load(&name).expect("a key");
    let history = publisher.history();
    let mut made = keyring.generate_next(&name, 2, None).expect("keys");
    let next: Vec<_> = made.iter().map(UnwrittenKey::public_key).collect();
    let key = match history.newest().next.keys() {
        Some(next) => {
            let known = keyring.next_keys(&name, next).into_iter().filter(|it| it.is_available);
            known.filter_map(|it| it.public_key).next().expect("a next key")
        }
        None => {
            made.push(keyring.generate(&name.successor(2)).expect("a key"));
            made[2].public_key()
        }
    };
    let next = Next::Keys(NextKeys::of(&next, 1));
    let key_set = KeySet { keys: vec![key], threshold: 1, next, floor: None };
    let statements = home.json(["log", &format!("{}/tale", history.publisher())]);
    let listed = statements["records"][0]["payload"].as_str().and_then(|it| it.parse().ok());
    let file = key_changes::rotate(history, key_set, Inheritance::of(listed).expect("a list"));
    let digest = Digest::of(file.documents[0].payload.as_bytes());
    let mut pending = keyring.begin(&name, file, &made, None).expect("begun");
    if stage == "no next key is written" {
        for made in &pending.made {
            fs::remove_file(&made.path).expect("removed");
            fs::remove_file(made.path.with_extension("pub")).expect("removed");
        }
    }
    if stage == "signed" || stage == "not announced" {
        for key in keyring.secrets(&pending.file.wanted().expect("keys"), 9).expect("keys") {
            pending.file.sign(&key).expect("signed");
        }
        keyring.keep_pending(&name, &pending).expect("written");
    }
    if stage == "not announced" {
        let (history, _) = pending.file.declarations().expect("signed");
        keyring.keep_documents(&name, &history).expect("written");
    }
    digest
}

/// Three machines, two keys of which must sign. Each step is one that the commands print.
#[test]
fn a_board_of_three_machines_works_by_the_printed_steps() {
    let [a, b, c, follower] = ["A", "B", "C", "follower"].map(Home::new);
    let keys_of = |home: &Home, name: &str| {
        let made = home.json(["key", "new", name]);
        (text(&made["public_key"]), text(&made["next"][0]["public_key"]))
    };
    let ((bob, bob_next), (carol, carol_next)) = (keys_of(&b, "bob"), keys_of(&c, "carol"));
    let file = a.path().join("board.sign");
    let path = file.to_string_lossy().into_owned();
    let start = ["key", "new", "board", "--threshold", "2", "--with", &bob, "--with", &carol];
    let next = ["--next", &bob_next, "--next", &carol_next, "--out", &path];
    for _again in 0..2 {
        let ran = a.run(start.iter().chain(&next)).ok();
        assert!(
            ran.stderr().contains("reg sign") && ran.stderr().contains("--name board"),
            "{}",
            ran.stderr()
        );
    }
    a.run(["publish", &model(&a), "tiny", "--key", "board"]).failed(6, "reg key new board");
    b.run(["sign", &path, "--key", "bob"]).ok();
    let daemon = Daemon::start(&a, ["--dht", "off"]);
    for home in [&a, &b, &c] {
        home.run(["key", "finish", &path, "--name", "board"]).ok();
    }
    b.run(["key", "finish", &path, "--name", "bob"]).failed(2, "another publisher");
    let publish = |signer: &Home, key: &str, content: &str| {
        let dir = a.path().join(content);
        fs::create_dir_all(&dir).expect("a folder");
        fs::write(dir.join("config.json"), format!("{{\"model_type\":\"{content}\"}}")).expect("written");
        let to_sign = a.path().join("v.sign").to_string_lossy().into_owned();
        a.run(["publish", &dir.to_string_lossy(), "tale", "--key", "board", "--prepare", &to_sign]).ok();
        a.run(["sign", &to_sign, "--key", "board"]).ok();
        signer.run(["sign", &to_sign, "--key", key]).ok();
        text(&a.json(["publish", "--signed", &to_sign])["reference"])
    };
    let reference = publish(&b, "bob", "first");
    assert!(pulled(&follower, &reference, &daemon.address()).contains("first"));
    // The key on the first machine is stolen. The next keys of the three machines take over.
    let known = a.json(["key", "show", "board"])["next"].as_array().expect("a list").clone();
    let own_next = known.iter().find(|it| it["is_available"] == true).expect("the first machine's next key");
    let own_next = text(&own_next["public_key"]);
    let (bob_later, carol_later) = (text(&b.json(["key", "show", "bob"])["next"][1]["public_key"]), carol);
    let out = a.path().join("rotation.sign").to_string_lossy().into_owned();
    let to = ["--to", &own_next, "--to", &bob_next, "--to", &carol_next];
    let later = ["--next", &bob_later, "--next", &carol_later, "--out", &out, "--yes"];
    let ran = a.run(["key", "rotate", "board"].iter().chain(&to).chain(&later)).ok();
    assert!(ran.stderr().contains("reg key finish"), "{}", ran.stderr());
    c.run(["sign", &out, "--key", "carol"]).ok();
    for home in [&a, &b, &c] {
        home.run(["key", "finish", &out, "--name", "board"]).ok();
    }
    let reference = publish(&c, "carol", "second");
    assert!(pulled(&follower, &reference, &daemon.address()).contains("second"));
    assert!(pulled(&Home::new("newcomer"), &reference, &daemon.address()).contains("second"));
    // A board with all keys on one machine writes its file too, and says so.
    let d = Home::new("D");
    d.key("k2");
    let path = d.path().join("both.sign");
    let out = path.to_string_lossy().into_owned();
    let ran = d.run(["key", "new", "both", "--threshold", "2", "--with", "k2", "--out", &out]).ok();
    assert!(path.exists() && ran.stderr().contains("has all signatures"), "{}", ran.stderr());
}

/// Two machines with one key rotate without knowing of each other. The user decides, with the evidence shown.
#[test]
fn a_fork_is_shown_and_one_branch_is_accepted() {
    let author = Author::new(61);
    let [x, y, follower] = ["X", "Y", "follower"].map(Home::new);
    for home in [&x, &y] {
        author.give_key(home.path(), "me");
        home.run(["key", "rotate", "me", "--yes"]).ok();
    }
    let (x_daemon, y_daemon) = (Daemon::start(&x, ["--dht", "off"]), Daemon::start(&y, ["--dht", "off"]));
    let (_, name) = publish_tale(&x, "me", "ours");
    publish_tale(&y, "me", "theirs");
    assert!(pulled(&follower, &name, &x_daemon.address()).contains("ours"));
    let flags = ["--dht", "off", "--no-gossip", "--overwrite"];
    follower.pull(&name, &[&y_daemon.address()], &flags);
    let id = author.id.to_string();
    let shown = follower.json(["trust", "accept", &id]);
    let branches = shown["branches"].as_array().expect("a list").clone();
    assert_eq!((branches.len(), &branches[0]["is_followed"]), (2, &true.into()), "{shown}");
    assert_eq!(branches[1]["common"], 1, "{shown}");
    follower.run(["trust", "accept", &id]).failed(2, "--head DIGEST --yes");
    let head = text(&branches[1]["head"]);
    follower.run(["trust", "accept", &id, "--head", &head]).failed(2, "--yes");
    follower
        .run(["trust", "accept", &id, "--head", &format!("sha256:{}", "0".repeat(64)), "--yes"])
        .failed(3, "no branch");
    let ran = follower.run(["trust", "accept", &id, "--head", &head, "--yes"]).ok();
    assert!(ran.stderr().contains("can have made it"), "{}", ran.stderr());
    assert!(pulled(&follower, &name, &y_daemon.address()).contains("theirs"));
}

#[test]
fn an_alias_leads_to_the_publisher_that_goes_on() {
    let [a, b] = ["A", "B"].map(Home::new);
    let (old, new) = (a.key("old"), a.key("new"));
    let daemon = Daemon::start(&a, ["--dht", "off"]);
    publish_tale(&a, "new", "again");
    b.run(["trust", "add", "acme", &old]).ok();
    b.run(["trust", "alias", "acme/tale", &format!("{new}/tale")]).ok();
    assert!(
        b.run(["trust", "show", "--full"]).ok().stdout().contains(&format!("acme/tale means {new}/tale"))
    );
    assert!(pulled(&b, "acme/tale", &daemon.address()).contains("again"));
    let flags = ["--dht", "off", "--no-gossip", "--overwrite"];
    let ran = b.pull("acme/tale", &[&daemon.address()], &flags).ok().json();
    assert!(ran["notes"].to_string().contains("reg trust alias"), "{ran}");
    b.run(["trust", "alias", "--rm", "acme/tale"]).ok();
    b.run(["trust", "alias", "acme/*", &format!("{new}/one")]).failed(2, "all models");
    b.run(["trust", "alias", "acme/*", &format!("{new}/*")]).ok();
    assert!(pulled(&b, "acme/tale", &daemon.address()).contains("again"));
}

#[test]
fn a_machine_that_only_prepares_says_what_it_needs() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let path = model(&b);
    let out = b.path().join("v.sign").to_string_lossy().into_owned();
    let args = ["publish", &path, "tiny", "--key", "me", "--prepare", &out, "--offline"];
    b.run(args).failed(3, "reg key documents me");
    let documents = b.path().join("me.json");
    fs::write(&documents, a.run(["key", "documents", "me"]).ok().stdout()).expect("written");
    b.run(["key", "import", "me", "--documents", &documents.to_string_lossy()]).ok();
    b.run(args).ok();
    a.run(["key", "rotate", "me", "--yes"]).ok();
    a.run(["sign", &out, "--key", "me"]).ok();
}

/// What a person may do with the files by accident: the key passes for no other publisher, and no id is overwritten.
#[test]
fn a_key_without_its_documents_is_no_other_publisher() {
    let home = Home::new("A");
    let id = home.key("me");
    let folder = home.path().join("keys");
    let kept = fs::read(folder.join("me.json")).expect("key documents");
    // The key is gone, and its documents are not: no new publisher takes their place.
    fs::rename(folder.join("me.pem"), home.path().join("me.pem")).expect("moved");
    home.run(["key", "new", "me"]).failed(6, "exists");
    assert_eq!(fs::read(folder.join("me.json")).expect("key documents"), kept);
    fs::rename(home.path().join("me.pem"), folder.join("me.pem")).expect("moved back");
    // The documents are gone: nothing is signed under another id until they are back.
    let saved = home.path().join("saved.json");
    fs::rename(folder.join("me.json"), &saved).expect("moved");
    for command in
        [vec!["key", "show", "me"], vec!["key", "rotate", "me", "--yes"], vec!["key", "documents", "me"]]
    {
        home.run(command).failed(3, "key documents of me are missing");
    }
    home.run(["publish", &model(&home), "tale", "--key", "me"]).failed(3, "reg key import me --documents");
    home.run(["key", "import", "me", "--documents", &saved.to_string_lossy()]).ok();
    assert_eq!(text(&home.json(["key", "show", "me"])["publisher"]), id);
    home.run(["publish", &model(&home), "tale", "--key", "me"]).ok();
}

/// A machine that has not heard of a rotation signs no second document of the same number.
#[test]
fn a_machine_with_old_documents_does_not_rotate_again() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let daemon = Daemon::start(&a, ["--dht", "off"]);
    a.run(["publish", &model(&a), "tale", "--key", "me"]).ok();
    // The second machine has the keys and the documents of before, and its node hears of the rotation.
    fs::create_dir_all(b.path().join("keys")).expect("a folder");
    fs::set_permissions(b.path().join("keys"), Permissions::from_mode(0o700)).expect("ours");
    for entry in fs::read_dir(a.path().join("keys")).expect("keys").flatten() {
        let to = b.path().join("keys").join(entry.file_name());
        fs::copy(entry.path(), &to).expect("copied");
    }
    a.run(["key", "rotate", "me", "--yes"]).ok();
    let other = Daemon::start(&b, ["--bootstrap", &daemon.address(), "--dht", "off"]);
    let id = text(&a.json(["key", "show", "me"])["publisher"]);
    b.pull(&format!("{id}/tale"), &[], &["--overwrite"]).ok();
    let before = fs::read(b.path().join("keys/me.json")).expect("key documents");
    b.run(["key", "rotate", "me", "--yes"]).failed(4, "reg key documents");
    assert_eq!(fs::read(b.path().join("keys/me.json")).expect("key documents"), before);
    assert!(!b.path().join("keys/me.pending").exists());
    let newest = a.run(["key", "documents", "me"]).ok().stdout();
    let file = b.path().join("newest.json");
    fs::write(&file, newest).expect("written");
    b.run(["key", "import", "me", "--documents", &file.to_string_lossy()]).ok();
    other.stop();
}
