//! Tests peers that lie: they are caught at the first piece, the reason is reported, and nothing unverified is on disk.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use reg_proto::bounded::Bounded;
use reg_proto::descriptor::Descriptor;
use reg_proto::digest::Digest;
use reg_proto::envelope::{Envelope, PublicKey};
use reg_proto::key::{KeyDocument, publisher_id};
use reg_proto::manifest::{
    MANIFEST_TYPE, MODEL_CONFIG_TYPE, Manifest, ModelConfig, ModelDescriptor, ModelFile, RAW_LAYER_TYPES,
};
use reg_proto::name::{ModelName, PublisherId, Tag};
use reg_proto::piece::BlobLayout;
use reg_proto::provenance::{Provenance, STATEMENT_PAYLOAD_TYPE};
use reg_proto::referrer::{ENVELOPE_MEDIA_TYPE, PROVENANCE_ARTIFACT_TYPE, Referrer};
use reg_proto::states::{Hashed, PieceStates, StateHasher};
use reg_proto::tag::{ManifestPointer, TAG_RECORD_TYPE, TagRecord};
use reg_proto::wire::{Records, Request, Response};
use reg_testnet::author::Author;
use reg_testnet::evil::{Liars, Manner, Script};
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, Ran};
use reg_testnet::tree;

const MIB: usize = 1 << 20;

/// A publisher with statements that are made here, true or not.
struct Publisher {
    key: SigningKey,
    document: String,
    id: PublisherId,
}

impl Publisher {
    fn new(seed: u8) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let first = KeyDocument::first(PublicKey::of(&key));
        Self { document: first.sign(&key).to_json(), id: publisher_id(&first.to_payload()), key }
    }
}

/// A model as a liar tells it; every field can be bent before it is told.
struct Tale {
    signer: SigningKey,
    publisher: PublisherId,
    key_document: String,
    model: ModelName,
    /// The name that is asked for.
    asked: ModelName,
    manifest: Vec<u8>,
    states: BTreeMap<Digest, PieceStates>,
    blobs: BTreeMap<Digest, Arc<Vec<u8>>>,
    /// The model that the provenance names.
    provenance_model: ModelName,
}

pub(super) fn hashed(bytes: &[u8]) -> Hashed {
    let mut hasher = StateHasher::new();
    hasher.update(bytes);
    hasher.finish().expect("small")
}

pub(super) fn weights(seed: u8) -> Vec<u8> {
    let header = format!(r#"{{"w":{{"dtype":"U8","shape":[{0}],"data_offsets":[0,{0}]}}}}"#, 3 * MIB);
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend((0..3 * MIB).map(|i| (i as u8).wrapping_mul(31).wrapping_add((i >> 11) as u8) ^ seed));
    bytes
}

/// Returns a true tale of a model with one file.
fn tale(publisher: &Publisher, content: &[u8]) -> Tale {
    let Hashed { digest, states } = hashed(content);
    let file = ModelFile {
        path: "model.safetensors".parse().expect("a path"),
        digest,
        layout: BlobLayout::new(content.len() as u64).expect("small"),
        media_type: RAW_LAYER_TYPES[0].to_owned(),
    };
    let config = ModelConfig::new(ModelDescriptor::default(), std::slice::from_ref(&file)).to_bytes();
    let manifest = Manifest::new(Descriptor::of(MODEL_CONFIG_TYPE, &config), vec![file]).expect("a manifest");
    let name: ModelName = "tale".parse().expect("a name");
    let large = states.layout().piece_count() > 1;
    Tale {
        signer: publisher.key.clone(),
        publisher: publisher.id,
        key_document: publisher.document.clone(),
        model: name.clone(),
        asked: name.clone(),
        manifest: manifest.to_bytes(),
        states: if large { BTreeMap::from([(digest, states)]) } else { BTreeMap::new() },
        blobs: BTreeMap::from([
            (digest, Arc::new(content.to_vec())),
            (Digest::of(&config), Arc::new(config)),
        ]),
        provenance_model: name,
    }
}

impl Tale {
    fn edit_manifest(&mut self, edit: impl FnOnce(&mut serde_json::Value)) {
        let mut json = serde_json::from_slice(&self.manifest).expect("JSON");
        edit(&mut json);
        self.manifest = serde_json::to_vec(&json).expect("JSON");
    }

    fn script(&self) -> Script {
        let digest = Digest::of(&self.manifest);
        let record = TagRecord {
            publisher: self.publisher,
            model: self.model.clone(),
            tag: Tag::latest(),
            seq: 1,
            prev: None,
            manifest: ManifestPointer { digest, size: self.manifest.len() as u64 },
            key_document: 1,
            issued: 1_700_000_000,
            fresh_until: None,
            expires: None,
            settles: Bounded::empty(),
            min_usable: None,
        };
        let provenance = Provenance {
            publisher: self.publisher,
            model: self.provenance_model.clone(),
            key_document: 1,
            issued: 1_700_000_000,
            states: self.states.iter().map(|(blob, states)| (*blob, states.digest())).collect(),
        };
        let sign = |kind: &str, payload| Envelope::sign(kind, payload, &[&self.signer]).to_json();
        let tag = sign(TAG_RECORD_TYPE, record.to_payload());
        let statement = sign(STATEMENT_PAYLOAD_TYPE, provenance.to_payload(&digest)).into_bytes();
        let referrer = Referrer {
            artifact_type: PROVENANCE_ARTIFACT_TYPE.to_owned(),
            subject: Descriptor::of(MANIFEST_TYPE, &self.manifest),
            document: Descriptor::of(ENVELOPE_MEDIA_TYPE, &statement),
        };
        let mut script =
            Script { blobs: self.blobs.clone(), states: self.states.clone(), ..Script::default() };
        let records = Records {
            key_documents: Bounded::first_of([self.key_document.clone()]),
            tags: Bounded::first_of([tag]),
            ..Records::default()
        };
        for tag in [Some(Tag::latest()), None] {
            let ask = Request::GetRecords {
                publisher: self.publisher,
                model: Some(self.asked.clone()),
                tag,
                documents: None,
            };
            script.answer(&ask, Response::Records(records.clone()));
        }
        let referrer_bytes = referrer.to_bytes();
        let listed = referrer.descriptor(Digest::of(&referrer_bytes));
        let ask = Request::Referrers { subject: digest, artifact_type: None };
        script.answer(&ask, Response::Referrers { manifests: Bounded::first_of([listed]) });
        for bytes in [self.manifest.clone(), referrer_bytes, statement] {
            let ask = Request::GetDocument { digest: Digest::of(&bytes) };
            script.answer(&ask, Response::Document { bytes });
        }
        script
    }
}

/// Returns the script of a peer that tells a true tale and serves it in this manner, and the reference of the model.
pub(super) fn script_of(manner: Manner) -> (Script, String) {
    let tale = tale(&Publisher::new(1), &weights(35));
    (Script { manner, ..tale.script() }, format!("{}/{}", tale.publisher, tale.asked))
}

pub(super) fn pull(home: &Home, reference: &str, from: &[&str]) -> Ran {
    home.pull(reference, from, &["--dht", "off", "--no-gossip"])
}

/// Nothing may lie under the name of a blob that was not verified.
fn assert_nothing_unverified(home: &Home) {
    let blobs = home.path().join("store/blobs/sha256");
    if !blobs.is_dir() {
        return;
    }
    for (path, digest) in tree::digests(&blobs) {
        assert!(path.ends_with(&digest.hex()), "{path} holds {digest}");
    }
    assert!(!home.path().join("out").exists() || tree::digests(&home.path().join("out")).is_empty());
}

/// Tells a bent tale, and checks that it is refused.
fn refused(code: i32, what: &str, bend: impl FnOnce(&mut Tale)) {
    let publisher = Publisher::new(1);
    let mut tale = tale(&publisher, &weights(1));
    bend(&mut tale);
    let mut liars = Liars::default();
    let address = liars.tell(tale.script());
    let home = Home::new("P");
    let reference = format!("{}/{}", tale.publisher, tale.asked);
    pull(&home, &reference, &[&address]).failed(code, what);
    assert_nothing_unverified(&home);
}

#[test]
fn a_true_tale_is_believed() {
    let publisher = Publisher::new(1);
    let told = tale(&publisher, &weights(1));
    let mut liars = Liars::default();
    let address = liars.tell(told.script());
    let home = Home::new("P");
    pull(&home, &format!("{}/tale", publisher.id), &[&address]).ok();
    assert_eq!(tree::digests(&home.path().join("out")).len(), 1);
}

#[test]
fn statements_that_do_not_verify_are_refused() {
    refused(4, "not signed", |tale| tale.signer = SigningKey::from_bytes(&[2; 32]));
    refused(4, "not of", |tale| tale.key_document = Publisher::new(2).document);
    refused(4, "is of model other", |tale| tale.provenance_model = "other".parse().expect("a name"));
    refused(4, "no states", |tale| tale.states.clear());
}

#[test]
fn a_model_passed_off_as_another_by_digest_is_refused() {
    let publisher = Publisher::new(1);
    let mut told = tale(&publisher, &weights(1));
    told.asked = "other".parse().expect("a name");
    let digest = Digest::of(&told.manifest);
    let mut liars = Liars::default();
    let address = liars.tell(told.script());
    let home = Home::new("P");
    pull(&home, &format!("{}/other@{digest}", publisher.id), &[&address])
        .failed(4, "model tale, not of other");
    assert_nothing_unverified(&home);
}

#[test]
fn manifests_that_cannot_be_meant_are_refused() {
    let path = |path: &'static str| {
        move |tale: &mut Tale| {
            tale.edit_manifest(|it| it["layers"][0]["annotations"]["org.cncf.model.filepath"] = path.into());
        }
    };
    for name in
        ["../../evil", "/etc/cron.d/evil", "a\\..\\b", ".git/hooks/post-checkout", "NUL", "a\u{202e}b"]
    {
        refused(4, "unsafe path", path(name));
    }
    refused(4, "too large", |tale| tale.edit_manifest(|it| it["layers"][0]["size"] = u64::MAX.into()));
    refused(4, "cannot be parsed", |tale| tale.edit_manifest(|it| it["layers"][0]["size"] = (-1).into()));
    refused(4, "artifact type", |tale| tale.edit_manifest(|it| it["artifactType"] = "x".into()));
    refused(4, "cannot be parsed", |tale| tale.manifest.resize(4 * MIB + 1, b' '));
}

#[test]
fn a_size_that_lies_is_refused_at_the_first_piece() {
    let publisher = Publisher::new(1);
    let content = weights(1);
    let mut told = tale(&publisher, &content);
    told.edit_manifest(|it| it["layers"][0]["size"] = (content.len() as u64 + 1).into());
    let digest = *told.states.keys().next().expect("one");
    let longer = [content.as_slice(), b"x"].concat();
    told.states.insert(digest, hashed(&longer).states);
    told.blobs.insert(digest, Arc::new(longer));
    let mut liars = Liars::default();
    let address = liars.tell(told.script());
    let home = Home::new("P");
    pull(&home, &format!("{}/tale", publisher.id), &[&address]).failed(4, "not what was signed");
    assert_nothing_unverified(&home);
}

/// A real node that holds `content` as a model of its own, and a liar that holds something else under its name.
pub(super) fn honest(content: &[u8]) -> (Home, Daemon, String) {
    let home = Home::new("H");
    let dir = home.path().join("model");
    std::fs::create_dir_all(&dir).expect("a folder");
    std::fs::write(dir.join("model.safetensors"), content).expect("written");
    home.key("me");
    let daemon = Daemon::start(&home, [""; 0]);
    let reference = home.publish(&dir, "honest", "me");
    (home, daemon, reference)
}

#[test]
fn a_peer_that_sends_wrong_bytes_is_dropped_at_the_first_piece_and_the_pull_completes() {
    let content = weights(3);
    let (honest_home, daemon, reference) = honest(&content);
    let Hashed { digest, states } = hashed(&content);
    let mut wrong = content.clone();
    wrong.iter_mut().for_each(|byte| *byte ^= 1);
    // One liar goes by the true list, one by a list of its own.
    let mut liars = Liars::default();
    let script = |states: PieceStates| Script {
        blobs: BTreeMap::from([(digest, Arc::new(wrong.clone()))]),
        states: BTreeMap::from([(digest, states)]),
        ..Script::default()
    };
    let one = liars.tell(script(states));
    let two = liars.tell(script(hashed(&wrong).states));
    let home = Home::new("P");
    let pulled = pull(&home, &reference, &[&one, &two, &daemon.address()]).ok().json();
    let peers: Vec<&String> = pulled["peers"].as_object().expect("peers").keys().collect();
    assert_eq!(peers, [&daemon.peer_id()], "nothing counts that a liar sent");
    tree::assert_equal(&honest_home.path().join("model"), &home.path().join("out"));
}

#[test]
fn false_states_get_no_honest_peer_banned_and_poison_nothing() {
    let content = weights(5);
    let (honest_home, daemon, reference) = honest(&content);
    // Another publisher signs a manifest that names the same blob, with states that are not its own.
    let publisher = Publisher::new(9);
    let mut told = tale(&publisher, &content);
    let digest = *told.states.keys().next().expect("one");
    let mut bent = told.states[&digest].to_bytes();
    bent[40] ^= 1;
    let layout = told.states[&digest].layout();
    told.states.insert(digest, PieceStates::parse(layout, &bent).expect("states"));
    told.blobs.remove(&digest);
    let mut liars = Liars::default();
    let liar = liars.tell(told.script());
    let home = Home::new("P");
    let _daemon = Daemon::start(&home, ["--dht", "off", "--no-gossip"]);
    pull(&home, &format!("{}/tale", publisher.id), &[&liar, &daemon.address()])
        .failed(4, "do not belong to it");
    assert_nothing_unverified(&home);
    // The same daemon, which would have remembered a ban, pulls the honest model from the honest peer.
    pull(&home, &reference, &[&daemon.address()]).ok();
    tree::assert_equal(&honest_home.path().join("model"), &home.path().join("out"));
}

/// A peer that is asked for a manifest sends something else: bytes that are none, or the true manifest of another publisher,
/// of the same size and with everything that it needs.
#[test]
fn a_document_that_is_not_what_was_asked_for_is_not_believed() {
    let (author, other) = (Author::new(21), Author::new(22));
    let (version, theirs) = (author.version("tale", "mine"), other.version("tale", "else"));
    let record = author.sign(&author.record(&version, "latest", 1, None));
    let told = || author.script(&version.model, "latest", std::slice::from_ref(&record), &[&version]);
    assert_eq!(version.manifest().len(), theirs.manifest().len());
    let reference = format!("{}/tale", author.id);
    let mut liars = Liars::default();
    // So that the liar is the first to be asked for documents.
    let honest = liars.tell(Script { records_after: Duration::from_millis(400), ..told() });
    for bytes in [theirs.manifest().to_vec(), vec![b'x'; version.manifest().len()]] {
        let mut script = told();
        script.answer(&Request::GetDocument { digest: version.digest }, Response::Document { bytes });
        other.tell(&theirs, &theirs, &mut script);
        let liar = liars.tell(script);
        let home = Home::new("P");
        pull(&home, &reference, &[&liar, &honest]).ok();
        let pulled = std::fs::read_to_string(home.path().join("out/config.json")).expect("pulled");
        assert!(pulled.contains("mine"), "{pulled}");
    }
}

/// One peer sends what it was asked for, but late; meanwhile another one answers in its place, with wrong bytes.
#[test]
fn a_peer_that_answers_for_another_puts_nobody_out() {
    let publisher = Publisher::new(1);
    let told = tale(&publisher, &weights(7));
    let mut liars = Liars::default();
    let late = liars.tell(Script { manner: Manner::Tarries, ..told.script() });
    let meddler = liars.tell(Script { manner: Manner::Meddles, ..Script::default() });
    let home = Home::new("P");
    let ran = pull(&home, &format!("{}/tale", publisher.id), &[&late, &meddler]).ok();
    let pulled = ran.json();
    let peers: Vec<&String> = pulled["peers"].as_object().expect("peers").keys().collect();
    assert!(peers.len() == 1 && late.ends_with(peers[0].as_str()), "{pulled}");
    assert_eq!(tree::digests(&home.path().join("out")).len(), 1);
}

#[test]
fn unsafe_content_needs_consent_on_both_sides() {
    let [a, b] = ["A", "B"].map(Home::new);
    let dir = a.path().join("model");
    model::generate(&dir, MIB as u64, 1);
    // A pickle under a harmless name: protocol 2, a call of os.system.
    std::fs::write(dir.join("weights.json"), b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.")
        .expect("written");
    a.key("me");
    let daemon = Daemon::start(&a, [""; 0]);
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let publish = ["publish", &path(&dir), "risky", "--key", "me"].map(str::to_owned);
    a.run(publish.clone()).failed(6, "--allow-unsafe");
    let published = a.json(publish.into_iter().chain(["--allow-unsafe".to_owned()]));
    let reference = published["reference"].as_str().expect("a reference").to_owned();
    let dest = path(&b.path().join("out"));
    let pull = ["pull", &reference, &dest, "--from", &daemon.address(), "--no-mdns"].map(str::to_owned);
    b.run(pull.clone()).failed(6, "pickle");
    assert!(!b.path().join("out").exists());
    b.run(pull.into_iter().chain(["--allow-unsafe".to_owned()])).ok();
    tree::assert_equal(&dir, &b.path().join("out"));
}

/// Names that lead out of a folder, mean a device or a stream, hide what they are, or are one where a file system folds
/// them; each entry is the files of one model.
fn hostile_names() -> Vec<Vec<String>> {
    let one = [
        "..",
        ".",
        "../x",
        "../../etc/x",
        "a/../../x",
        "a/..",
        "a/../x",
        "./x",
        "a/./x",
        "a//x",
        "a/",
        "/",
        "//",
        "//x",
        "/etc/x",
        "/tmp/x",
        "~/x/../../y",
        "\\",
        "a\\x",
        "..\\x",
        "..\\..\\x",
        "\\x",
        "\\\\server\\share\\x",
        "C:\\x",
        "C:x",
        "C:/x",
        "c:",
        "x:stream",
        "x::$DATA",
        "a/x:y",
        "x\0",
        "\0",
        "x\0.json",
        "a/\0/x",
        "x\n",
        "x\r",
        "x\ty",
        "\u{1b}[2J",
        "\u{7f}",
        "\u{80}",
        "\u{9f}x",
        "CON",
        "con",
        "PRN",
        "AUX",
        "NUL",
        "nul",
        "COM1",
        "com9",
        "LPT1",
        "lpt9",
        "a/NUL",
        "CONIN$",
        "...",
        "\u{202e}gpj.x",
        "x\u{202d}y",
        "x\u{2066}y",
        "x\u{2069}",
        "\u{200e}x",
        "x\u{200f}",
        "\u{200b}x",
        "x\u{200c}y",
        "x\u{200d}y",
        "x\u{2060}y",
        "\u{feff}x",
        "x\u{ad}y",
        "e\u{301}",
        "a/e\u{301}/x",
        "\u{212b}ngstrom",
        "x\u{2028}y",
        "x\u{2029}y",
        "\u{e000}\u{202e}",
        "COM\u{b9}",
        "LPT\u{b2}",
        "",
        "a/b/../../../c",
        "%2e%2e\\x",
        "x/..\u{0}",
        "..\u{0}/x",
        "\u{1}",
        "x\u{b}",
        "a/b/c/../../../../d",
        "x\u{61c}y",
        "\u{2067}x",
        "file:$DATA",
        "a/file::$INDEX_ALLOCATION/x",
        "z:",
        "x/COM3",
        "a/lpt4/b",
        "....",
        " ",
        ". .",
        "x/ ./y",
        ".hg/hgrc",
        "x/.SVN/y",
        ".bzr",
        "GIT~1/x",
        "\u{1f469}\u{200d}x",
        "x\u{fe0f}",
        "1\u{fe0f}x",
        "\u{1f3f4}\u{e0067}\u{e0062}\u{e007f}",
        "\u{fe0f}\u{1f600}",
    ];
    let long =
        ["x".repeat(256), format!("a/{}", "y".repeat(300)), vec!["a"; 40].join("/"), "ab/".repeat(600) + "x"];
    let several: [&[&str]; 14] = [
        &["x", "x"],
        &["x", "X"],
        &["a/x", "A/x"],
        &["a", "a/x"],
        &["A", "a/x"],
        &["a/b", "a/b/c"],
        &["stra\u{df}e", "STRASSE"],
        &["\u{e9}", "\u{c9}"],
        &["\u{3c3}", "\u{3c2}"],
        &["model.safetensors", "MODEL.safetensors"],
        &["x", "x."],
        &["x y", "x y "],
        &["what?", "what%3F"],
        &["\u{2764}.md", "\u{2764}\u{fe0f}.md"],
    ];
    let one = one.iter().map(|it| vec![(*it).to_owned()]).chain(long.map(|it| vec![it]));
    one.chain(several.iter().map(|names| names.iter().map(|it| (*it).to_owned()).collect())).collect()
}

/// A true tale of a model with files of these names.
fn named(publisher: &Publisher, number: usize, names: &[String]) -> Tale {
    let mut told = tale(publisher, b"{}");
    let model: ModelName = format!("tale-{number}").parse().expect("a name");
    told.edit_manifest(|json| {
        let layer = json["layers"][0].clone();
        let layers = names.iter().map(|name| {
            let mut layer = layer.clone();
            layer["annotations"]["org.cncf.model.filepath"] = name.as_str().into();
            layer
        });
        json["layers"] = layers.collect::<Vec<_>>().into();
    });
    Tale { model: model.clone(), asked: model.clone(), provenance_model: model, ..told }
}

/// Everything in a home but what the node keeps for itself, and nothing beyond it.
fn strange_files(home: &Home) -> Vec<String> {
    let own = [
        "store/",
        "cache/",
        "config/",
        "state/",
        "daemon.log",
        "ready.json",
        "node.key",
        "admin.token",
        "gateway",
        "catalogue/",
    ];
    let all = tree::digests(home.path()).into_keys().map(|path| path.trim_start_matches('/').to_owned());
    all.filter(|path| !own.iter().any(|it| path.starts_with(it) || path.contains(it))).collect()
}

#[test]
fn no_hostile_name_leaves_a_folder_a_hub_cache_or_a_push() {
    let publisher = Publisher::new(9);
    let tales: Vec<(Vec<String>, Tale)> = hostile_names()
        .into_iter()
        .enumerate()
        .map(|(number, names)| (names.clone(), named(&publisher, number, &names)))
        .collect();
    assert!(tales.len() >= 100, "{} names", tales.len());
    for (names, tale) in &tales {
        assert!(Manifest::from_bytes(&tale.manifest).is_err(), "{names:?} are taken");
    }
    // Pulled from a peer that tells of them, into a folder and into the hub's cache.
    let mut script = Script::default();
    for (_, tale) in &tales {
        let told = tale.script();
        script.answers.extend(told.answers);
        script.blobs.extend(told.blobs);
    }
    let mut liars = Liars::default();
    let address = liars.tell(script);
    let home = Home::new("P");
    let _daemon = Daemon::start(&home, ["--bootstrap", &address, "--dht", "off"]);
    let hub = home.path().join("hub");
    let every = if reg_testnet::process::is_full() { 1 } else { 12 };
    for (names, tale) in tales.iter().step_by(every) {
        let reference = format!("{}/{}", tale.publisher, tale.asked);
        let into_folder = pull(&home, &reference, &[&address]);
        assert_eq!(into_folder.code(), 4, "{names:?}: {}", into_folder.stderr());
        let args = ["pull", &reference, "--no-mdns", "--to-hf-cache=org/name", "--from", &address];
        let into_hub =
            home.command(args).env("HF_HUB_CACHE", &hub).env("HF_HOME", &hub).output().expect("reg runs");
        assert_eq!(
            into_hub.status.code(),
            Some(4),
            "{names:?}: {}",
            String::from_utf8_lossy(&into_hub.stderr)
        );
    }
    assert!(!hub.exists() || tree::digests(&hub).is_empty(), "something lies in the hub's cache");
    assert!(!home.path().join("out").exists(), "something was put into the folder");
    assert_eq!(strange_files(&home), Vec::<String>::new());
    // Pushed by the owner of a node, as OCI clients do.
    let owner = Home::new("O");
    owner.key("me");
    let daemon = Daemon::start(&owner, ["--offline", "--publish-key", "me"]);
    let token = format!("Bearer {}", reg_testnet::http::token(&owner));
    let base = format!("{}/v2/me", reg_testnet::http::base(&daemon));
    let owned = [("authorization", token.as_str()), ("content-type", MANIFEST_TYPE)];
    for blob in tales[0].1.blobs.values() {
        let url = format!("{base}/pushed/blobs/uploads/?digest={}", Digest::of(blob));
        assert_eq!(reg_testnet::http::send("POST", &url, &owned, blob).status, 201);
    }
    for (names, tale) in &tales {
        let url = format!("{base}/pushed/manifests/v1");
        let pushed = reg_testnet::http::send("PUT", &url, &owned, &tale.manifest);
        assert!((400..500).contains(&pushed.status), "{names:?}: {}", pushed.text());
        assert_ne!(reg_testnet::http::send("GET", &url, &[], &[]).status, 200, "{names:?} can be fetched");
    }
    assert_eq!(owner.json(["ls"]), serde_json::json!([]));
    for outside in ["/etc/x", "/tmp/x", "/x"] {
        assert!(!Path::new(outside).exists(), "{outside}");
    }
    println!("{} names, every {every}th by real pulls: 0 outside, 0 collisions", tales.len());
}
