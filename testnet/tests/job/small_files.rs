//! Tests models of many small files: they are fetched many at a time from peers that send them, and stored together. Peers that
//! send wrong bytes, nothing, or refusals cost no file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reg_proto::digest::Digest;
use reg_proto::manifest::Manifest;
use reg_proto::name::Tag;
use reg_proto::referrer::Referrer;
use reg_proto::wire::{Request, Response};
use reg_testnet::asker::Asker;
use reg_testnet::evil::{Liars, Manner, Script};
use reg_testnet::process::{Daemon, Home, text};
use reg_testnet::tree;

const FILES: usize = 200;

/// A publisher of many small files.
struct Many {
    home: Home,
    daemon: Daemon,
    dir: PathBuf,
    publisher: String,
    manifest: Digest,
}

impl Many {
    fn new() -> Self {
        let home = Home::new("A");
        let publisher = home.key("me");
        let daemon = Daemon::start(&home, ["--dht", "off"]);
        let dir = home.path().join("model");
        for number in 0..FILES {
            let part = dir.join(format!("part-{}", number % 7));
            fs::create_dir_all(&part).expect("a folder");
            // Some have the same bytes, and one has none.
            let content = if number == 3 { String::new() } else { format!("{{\"number\":{}}}", number / 2) };
            fs::write(part.join(format!("{number}.json")), content).expect("written");
        }
        let path = dir.to_string_lossy().into_owned();
        let published = home.run(["publish", &path, "many", "--key", "me", "--json"]).ok().json();
        let manifest = text(&published["manifest"]).parse().expect("a digest");
        Self { home, daemon, dir, publisher, manifest }
    }

    fn reference(&self) -> String {
        format!("{}/many", self.publisher)
    }

    /// Returns the script of a peer that has the whole model, as the publisher's node serves it.
    fn script(&self) -> Script {
        let asker = Asker::meet(&self.daemon.address());
        let (publisher, model) = (self.publisher.parse().expect("an id"), "many".parse().expect("a name"));
        let records =
            Request::GetRecords { publisher, model: Some(model), tag: Some(Tag::latest()), documents: None };
        let referrers = Request::Referrers { subject: self.manifest, artifact_type: None };
        let mut script = Script::default();
        for request in [records, referrers.clone()] {
            script.answer(&request, asker.ask(request.clone()));
        }
        let Response::Referrers { manifests } = asker.ask(referrers) else { panic!("referrers") };
        let mut wanted = vec![self.manifest];
        for digest in manifests.iter().map(|it| it.digest) {
            let referrer = Referrer::from_bytes(&asker.document(digest).expect("here")).expect("a referrer");
            wanted.extend([digest, referrer.document.digest]);
        }
        for digest in wanted {
            if let Some(bytes) = asker.document(digest) {
                script.answer(&Request::GetDocument { digest }, Response::Document { bytes });
            }
        }
        let manifest =
            Manifest::from_bytes(&asker.document(self.manifest).expect("here")).expect("a manifest");
        let config = asker.document(manifest.config().digest).expect("here");
        let mut blobs = BTreeMap::from([(Digest::of(&config), Arc::new(config))]);
        for path in files(&self.dir) {
            let bytes = fs::read(path).expect("read");
            blobs.insert(Digest::of(&bytes), Arc::new(bytes));
        }
        Script { blobs, ..script }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a folder").map(|it| it.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn no_peer_that_lies_or_is_silent_costs_a_small_file() {
    let many = Many::new();
    let mut liars = Liars::default();
    // The others answer first, so they are asked for files first.
    let honest = liars.tell(Script { records_after: Duration::from_millis(300), ..many.script() });
    let other_bytes = |script: Script| {
        let blobs = script.blobs.into_keys().map(|blob| (blob, Arc::new(b"other".to_vec()))).collect();
        Script { blobs, ..script }
    };
    let bad = [
        ("wrong bytes", other_bytes(many.script())),
        ("nothing", Script { manner: Manner::Stalls, ..many.script() }),
        ("refusals", Script { manner: Manner::Boasts, ..many.script() }),
        ("half of each", Script { manner: Manner::Truncates, ..many.script() }),
    ];
    for (what, script) in bad {
        let liar = liars.tell(script);
        let home = Home::new("P");
        let ran = home.pull(&many.reference(), &[&liar, &honest], &["--dht", "off", "--no-gossip"]).ok();
        tree::assert_equal(&many.dir, &home.path().join("out"));
        let pulled = ran.json();
        // The publisher's own node may have sent some of it: the others know it as a holder.
        let mut peers = pulled["peers"].as_object().expect("peers").keys();
        assert!(peers.all(|peer| !liar.ends_with(peer.as_str())), "{what}: {pulled}");
        home.run(["verify", "--offline"]).ok();
    }
}

#[test]
fn pulls_of_the_same_small_files_at_once_fetch_them_once() {
    let many = Many::new();
    let home = Home::new("P");
    let _daemon = Daemon::start(&home, ["--bootstrap", &many.daemon.address(), "--dht", "off"]);
    let pull = |number: usize| {
        let out = home.path().join(format!("out-{number}")).to_string_lossy().into_owned();
        home.command(["pull", &many.reference(), &out, "--json"]).spawn().expect("reg runs")
    };
    let pulls: Vec<_> = (0..4).map(pull).collect();
    for mut pull in pulls {
        assert!(pull.wait().expect("it ends").success());
    }
    for number in 0..4 {
        tree::assert_equal(&many.dir, &home.path().join(format!("out-{number}")));
    }
    let served = many.home.json(["status"])["bytes_served"].as_u64().expect("a count");
    let all: u64 = many.script().blobs.values().map(|bytes| bytes.len() as u64).sum();
    // Four pulls that share nothing take four copies.
    assert!(served <= all + all / 2, "{served} bytes were sent of {all}");
}

#[test]
fn a_pull_of_small_files_that_is_killed_goes_on() {
    let many = Many::new();
    for wait in [50, 150, 250, 350] {
        let home = Home::new("P");
        let out = home.path().join("out").to_string_lossy().into_owned();
        let address = many.daemon.address();
        let args =
            ["pull", &many.reference(), &out, "--no-mdns", "--from", &address, "--json", "--overwrite"];
        let mut child = home.command(args).spawn().expect("reg runs");
        std::thread::sleep(Duration::from_millis(wait));
        drop(child.kill());
        child.wait().expect("it ends");
        home.run(args).ok();
        tree::assert_equal(&many.dir, Path::new(&out));
        home.run(["verify", "--offline"]).ok();
    }
}
