//! Tests collections between real nodes: they are kept in a folder, published like any model, followed from other nodes, and
//! make what they name known. A board of three keys keeps one as the guide says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reg_testnet::process::{Daemon, Home, Ran, reg_binary, text, until};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::documents::{Line, PULLER, lines};

const QUIET: [&str; 2] = ["--dht", "off"];

/// A model of one file that says what it is for.
fn model(home: &Home, name: &str, key: &str) -> Value {
    let dir = home.path().join("models").join(name);
    fs::create_dir_all(&dir).expect("a folder");
    fs::write(dir.join("config.json"), format!("{{\"model_type\":\"{name}\"}}")).expect("written");
    let (dir, title) = (dir.to_string_lossy().into_owned(), format!("reads receipts {name}"));
    home.json(["publish", &dir, name, "--key", key, "--title", &title, "--task", "ocr"])
}

/// A draft in the home of a node, by its path.
fn draft(home: &Home, name: &str) -> String {
    home.path().join(name).to_string_lossy().into_owned()
}

fn publish(home: &Home, draft: &str, name: &str, key: &str) -> Value {
    home.json(["publish", draft, name, "--key", key])
}

/// What a node follows that is a collection.
fn followed(home: &Home) -> Vec<Value> {
    let all = home.json(["follow", "ls"]);
    let all = all.as_array().expect("a list");
    all.iter().filter(|it| it.get("collection").is_some()).cloned().collect()
}

fn search(home: &Home, more: &[&str]) -> Vec<Value> {
    let found = home.json(["search", "receipts"].iter().chain(more));
    found["results"].as_array().expect("a list").clone()
}

/// A node with two publishers, `list` and `acme`, and a draft with an entry for a model of `acme`.
fn keeper(name: &str) -> (Home, Daemon, BTreeMap<&'static str, String>) {
    let home = Home::new(name);
    let daemon = Daemon::start(&home, QUIET);
    let ids = ["list", "acme"].map(|key| (key, home.key(key)));
    let (ids, small) = (BTreeMap::from(ids), draft(&home, "small-ocr"));
    model(&home, "tiny-ocr", "acme");
    home.run(["collection", "new", &small, "--title", "Small OCR models", "--words", "checked by us"]).ok();
    let entry = format!("{}/tiny-ocr", ids["acme"]);
    home.run(["collection", "add", &small, &entry, "--words", "reads receipts"]).ok();
    publish(&home, &small, "small-ocr", "list");
    (home, daemon, ids)
}

fn start(home: &Home, known: &Daemon) -> Daemon {
    Daemon::start(home, QUIET.iter().copied().chain(["--bootstrap", &known.address()]))
}

fn follower(name: &str, keeper: &Daemon, list: &str) -> (Home, Daemon) {
    let home = Home::new(name);
    let daemon = start(&home, keeper);
    home.run(["trust", "add", "list", list]).ok();
    (home, daemon)
}

/// A draft is a file of the user: each command changes one entry, and says what is wrong with what it is given.
#[test]
fn a_list_is_kept_in_a_folder_with_one_entry_changed_at_a_time() {
    let home = Home::new("A");
    let [acme, bob] = ["acme", "bob"].map(|name| {
        let id = home.key(name);
        home.run(["trust", "add", name, &id]).ok();
        id
    });
    let small = draft(&home, "small-ocr");
    let file = Path::new(&small).join("collection.json");
    let entries = || home.json(["collection", "show", &small])["entries"].clone();
    home.run(["collection", "show", &small]).failed(3, "reg collection new");
    home.run(["collection", "new", &draft(&home, "Small OCR"), "--title", "x"]).failed(2, "Small OCR");
    home.run(["collection", "new", &small, "--title", "Small OCR models"]).ok();
    home.run(["collection", "new", &small, "--title", "Other"]).failed(6, "exists already");
    home.run(["collection", "add", &small, "acme/tiny:v1", "--words", "reads receipts"]).ok();
    home.run(["collection", "add", &small, "acme/Other"]).ok();
    let said = home.run(["collection", "add", &small, "bob", "--words", "careful people"]).ok();
    assert!(said.stderr().contains("3 entries; to publish it: reg publish"), "{}", said.stderr());
    home.run(["collection", "add", &small, "carol"]).failed(3, "reg trust add carol ID");
    home.run(["collection", "add", &small, "acme/tiny", "--words", &"w".repeat(201)]).failed(2, "201 bytes");
    home.run(["collection", "add", &small, "acme/tiny", "--words", "a\u{1b}[2Jb"]).failed(2, "not printable");
    // The ids are in the list, so that a petname of one machine means the same on another.
    let expected = json!([
        { "collect": format!("{acme}/tiny:v1"), "petname": "acme", "words": "reads receipts" },
        { "collect": format!("{acme}/Other"), "petname": "acme" },
        { "collect": bob, "petname": "bob", "words": "careful people" },
    ]);
    assert_eq!(entries(), expected);
    let shown = home.run(["collection", "show", &small]).ok().stdout();
    for line in ["Small OCR models", "1  acme/tiny:v1  reads receipts", "3  bob/*         careful people"] {
        assert!(shown.contains(line), "{line:?} is not in:\n{shown}");
    }
    // Added again it has other words, in any case of its letters.
    home.run(["collection", "add", &small, "acme/other", "--words", &"long ".repeat(40)]).ok();
    assert_eq!(entries().as_array().map(Vec::len), Some(3));
    let shown = home.run(["collection", "show", &small]).ok().stdout();
    let table = shown.lines().skip_while(|line| !line.contains("ENTRY"));
    assert!(table.clone().all(|line| line.chars().count() <= 80), "{shown}");
    assert_eq!(table.count(), 4);
    home.run(["collection", "rm", &small, "acme/tiny"]).failed(3, "is not in the list");
    home.run(["collection", "rm", &small, "9"]).failed(3, "there are 3");
    home.run(["collection", "rm", &small, "acme/tiny:v1"]).ok();
    home.run(["collection", "rm", &small, "2"]).ok();
    assert_eq!(entries()[0]["collect"], json!(format!("{acme}/Other")));
    assert_eq!(entries().as_array().map(Vec::len), Some(1));
    // What is no list is named, and not touched.
    for rubbish in ["", "{}", "[1]", "{\"version\":2}", "\u{0}\u{1}", &"{".repeat(100_000)] {
        fs::write(&file, rubbish).expect("written");
        for args in [vec!["show"], vec!["add"], vec!["rm"]] {
            let more: &[&str] = if args[0] == "show" { &[] } else { &["bob"] };
            let args = [&["collection"], &args[..], &[small.as_str()], more].concat();
            home.run(args).failed(2, "collection");
        }
        assert_eq!(fs::read_to_string(&file).expect("it is there"), rubbish);
    }
}

/// What is followed is found first and kept whole; it makes no rule pass.
#[test]
fn a_followed_collection_makes_its_publishers_known_and_waives_no_rule() {
    let (a, daemon_a, ids) = keeper("keeper");
    // A stranger with words that fit better.
    let stranger = a.key("stranger");
    model(&a, "receipts", "stranger");
    let (b, daemon_b) = follower("follower", &daemon_a, &ids["list"]);
    until("both are listed", || search(&b, &[]).len() == 2);
    assert_eq!(search(&b, &[])[0]["publisher"], json!(stranger), "it fits better");
    assert!(search(&b, &["--known"]).is_empty());
    let report = b.json(["follow", "list/small-ocr"]);
    assert_eq!(
        (&report["collection"], &report["state"]["is"], &report["entries"], &report["publishers"]),
        (&json!("list/small-ocr"), &json!("current"), &json!(1), &json!(1)),
        "{report}"
    );
    let found = search(&b, &[]);
    assert_eq!(
        (&found[0]["publisher"], &found[0]["is_known"]),
        (&json!(ids["acme"]), &json!(true)),
        "{found:?}"
    );
    assert_eq!(found[1]["is_known"], json!(false));
    let said = json!([{
        "collection": "list/small-ocr", "entry": format!("{}/tiny-ocr", ids["acme"]), "words": "reads receipts",
    }]);
    assert_eq!(found[0]["collected"], said);
    assert_eq!(search(&b, &["--known"]).len(), 1);
    let shown = b.run(["search", "receipts"]).ok().stdout();
    assert!(shown.contains("1 is collected by list/small-ocr: reads receipts"), "{shown}");
    // The model itself is not pulled, and `reg info` says where it is from, before a pull and after it.
    let reference = format!("{}/tiny-ocr", ids["acme"]);
    let info = b.json(["info", &reference]);
    assert_eq!((&info["in_store"], &info["collected"]), (&json!(false), &said), "{info}");
    b.run(["trust", "require", "*/tiny-ocr", "--known-publisher"]).ok();
    let pull = || b.pull(&reference, &[], &["--dht", "off"]);
    pull().failed(6, "known publisher");
    b.run(["trust", "waive", "*/tiny-ocr"]).ok();
    pull().ok();
    assert_eq!(b.json(["info", &reference])["collected"], said);
    let shown = b.run(["info", &reference, "--full"]).ok().stdout();
    assert!(shown.contains("collected by") && shown.contains("list/small-ocr: reads receipts"), "{shown}");
    // It survives a restart, and another update comes with it.
    daemon_b.stop();
    let small = draft(&a, "small-ocr");
    a.run(["collection", "add", &small, &stranger, "--words", "a vouch"]).ok();
    publish(&a, &small, "small-ocr", "list");
    let _daemon_b = start(&b, &daemon_a);
    until("the update is here", || followed(&b)[0]["entries"] == 2);
    assert_eq!(b.json(["trust", "show"])["collections"], json!(["list/small-ocr"]));
    b.run(["trust", "rm", "list"]).failed(6, "list is in use");
    let ended = b.json(["follow", "rm", &format!("{}/Small-OCR", ids["list"])]);
    assert_eq!(ended["collection"], "list/small-ocr");
    assert!(followed(&b).is_empty() && search(&b, &["--known"]).is_empty());
    b.run(["trust", "rm", "list"]).ok();
    let trust = fs::read_to_string(b.path().join("trust.toml")).unwrap_or_default();
    assert!(!trust.contains("collections"), "an earlier version reads the file again: {trust}");
}

/// The last version counts where nobody has a newer one, and none where its publisher has withdrawn it.
#[test]
fn a_collection_outlives_its_keeper_and_ends_with_its_withdrawal() {
    let (a, daemon_a, ids) = keeper("keeper");
    let (b, daemon_b) = follower("follower", &daemon_a, &ids["list"]);
    until("it is listed", || search(&b, &[]).len() == 1);
    let report = b.json(["follow", "list/small-ocr"]);
    let manifest = text(&report["manifest"]);
    let listed = b.json(["ls"]);
    assert_eq!((&listed[0]["manifest"], &listed[0]["pinned"]), (&json!(manifest), &json!(true)), "{listed}");
    // A newer one that is heard of and not fetched changes nothing yet.
    let small = draft(&a, "small-ocr");
    a.run(["collection", "add", &small, &ids["list"], "--words", "ourselves"]).ok();
    publish(&a, &small, "small-ocr", "list");
    until("the newer one is heard of", || b.json(["info", "list/small-ocr"])["behind"].is_object());
    assert_eq!((followed(&b)[0]["entries"].clone(), search(&b, &["--known"]).len()), (json!(1), 1));
    daemon_b.stop();
    daemon_a.stop();
    let daemon_b = Daemon::start(&b, QUIET);
    // The newer one may be remembered by the catalogue. It is not here.
    let state = followed(&b)[0]["state"]["is"].clone();
    assert!(state == "current" || state == "behind", "{state}");
    assert_eq!(search(&b, &["--known"]).len(), 1);
    let shown = b.run(["collection", "show", "list/small-ocr"]).ok().stdout();
    assert!(shown.contains("checked by us") && shown.contains("/tiny-ocr  reads receipts"), "{shown}");
    // Nothing newer can be had, so it stays, and is not taken for a model.
    let again = b.run(["follow", "list/small-ocr"]).ok();
    assert!(again.stdout().contains("is a collection, and is followed: 1 entry"), "{}", again.stdout());
    assert_eq!(b.json(["follow", "ls"]).as_array().map(Vec::len), Some(1));
    // One that follows now gets it from the follower: any holder can serve it.
    let (c, daemon_c) = follower("newcomer", &daemon_b, &ids["list"]);
    until("the newcomer gets it", || {
        let asked = c.run(["follow", "list/small-ocr", "--json"]).ok().json();
        let is_one = asked.get("collection").is_some();
        assert!(is_one || c.run(["follow", "rm", "list/small-ocr"]).code() == 0, "{asked}");
        is_one
    });
    drop((daemon_b, daemon_c));
    let daemon_a = Daemon::start(&a, QUIET);
    let _daemon_b = start(&b, &daemon_a);
    until("the newer one is fetched", || followed(&b)[0]["entries"] == 2);
    let manifest = text(&followed(&b)[0]["manifest"]);
    a.run(["key", "revoke", "list", "--manifest", &manifest, "--reason", "we were wrong", "--yes"]).ok();
    until("the withdrawal is heard of", || followed(&b)[0]["state"]["is"] == "withdrawn");
    assert!(search(&b, &["--known"]).is_empty() && search(&b, &[])[0].get("collected").is_none());
    let shown = b.run(["follow", "ls"]).ok().stdout();
    assert!(
        shown.contains("list/small-ocr  collection, not used") && shown.contains("we were wrong"),
        "{shown}"
    );
    a.run(["collection", "rm", &small, "2"]).ok();
    a.run(["collection", "add", &small, &format!("{}/tiny-ocr", ids["acme"]), "--words", "mended"]).ok();
    publish(&a, &small, "small-ocr", "list");
    until("the next version is used", || b.json(["follow", "list/small-ocr"])["entries"] == 1);
    assert_eq!(search(&b, &["--known"]).len(), 1);
}

/// A name is looked at before it is followed: what is no collection is followed as a model, or refused with the reason.
#[test]
fn what_is_no_collection_is_a_model_or_refused() {
    let (a, daemon_a, ids) = keeper("keeper");
    let (b, _daemon_b) = follower("follower", &daemon_a, &ids["list"]);
    let junk = |name: &str, content: &str, more: Option<&str>| {
        let dir = a.path().join("junk").join(name);
        fs::create_dir_all(&dir).expect("a folder");
        fs::write(dir.join("collection.json"), content).expect("written");
        if let Some(more) = more {
            fs::write(dir.join(more), "# more\n").expect("written");
        }
        publish(&a, &dir.to_string_lossy(), name, "list");
    };
    let small =
        fs::read_to_string(Path::new(&draft(&a, "small-ocr")).join("collection.json")).expect("a list");
    junk("rubbish", "{\"version\":1}", None);
    junk("other-name", &small, None);
    junk("entries", &small.replace("tiny-ocr\"", "tiny-ocr:\""), None);
    junk("steers", &small.replace("checked by us", "a\\u001b[2Jb"), None);
    for (name, why) in [
        ("rubbish", "its collection.json is refused"),
        ("other-name", "says that it is the collection small-ocr"),
        ("entries", "its collection.json is refused"),
        ("steers", "its collection.json is refused"),
    ] {
        let name = format!("list/{name}");
        b.run(["follow", &name]).failed(2, why);
        b.run(["collection", "show", &name]).failed(2, why);
    }
    assert_eq!(b.json(["follow", "ls"]), json!([]), "what is refused is not followed");
    b.run(["follow", "list/rubbish"]).failed(2, "its publisher must correct it");
    b.run(["follow", "list/small-ocr:latest"]).failed(2, "leave out the tag");
    // More files make a model, and so does any other name.
    junk("more-files", &small.replace("small-ocr", "more-files"), Some("README.md"));
    b.run(["collection", "show", "list/more-files"]).failed(2, "it has 2 files");
    b.run(["collection", "show", "list/more-files"]).failed(2, "reg info list/more-files");
    // A ticket has no petname, and the advice has that of the user.
    let ticket = text(&a.json(["share", &format!("{}/small-ocr", ids["list"]), "--lan"])["ticket"]);
    let said = b.run(["collection", "show", &ticket]).ok().stderr();
    assert!(said.contains("reg follow list/small-ocr"), "{said}");
    b.run(["collection", "show", &format!("{}/tiny-ocr", ids["acme"])]).failed(2, "is config.json");
    for name in ["list/more-files", &format!("{}/tiny-ocr", ids["acme"])] {
        let made = b.json(["follow", name, "--delay", "0"]);
        assert_eq!(made["settings"]["delay"], json!(0), "{made}");
    }
    let said = b.run(["follow", "list/later"]).ok();
    assert!(said.stderr().contains("not known whether list/later is a collection"), "{}", said.stderr());
    let said = b.run(["follow", "list/small-ocr", "--models"]).ok();
    assert!(said.stdout().contains("a new version comes after"), "{}", said.stdout());
    assert!(followed(&b).is_empty());
}

/// What one collection can cost has a bound: the publishers beyond it are counted, and are not known.
#[test]
fn the_publishers_of_all_collections_together_are_bounded() {
    let (a, daemon_a, ids) = keeper("keeper");
    let id = |n: u16| {
        let mut bytes = [7; 32];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        reg_proto::name::PublisherId::from_bytes(bytes).to_string()
    };
    let large = |name: &str, ids: &mut dyn Iterator<Item = u16>| {
        let dir = a.path().join(name);
        let entries: Vec<Value> = ids.map(|it| json!({ "collect": id(it) })).collect();
        let list = json!({ "version": 1, "name": name, "title": "Many", "entries": entries });
        fs::create_dir_all(&dir).expect("a folder");
        fs::write(dir.join("collection.json"), list.to_string()).expect("written");
        publish(&a, &dir.to_string_lossy(), name, "list");
    };
    large("many", &mut (0..4096));
    large("too-many", &mut (0..4097));
    let (b, _daemon_b) = follower("follower", &daemon_a, &ids["list"]);
    until("it is listed", || search(&b, &[]).len() == 1);
    b.run(["follow", "list/too-many"]).failed(2, "its collection.json is refused");
    let report = b.json(["follow", "list/many"]);
    assert_eq!((&report["publishers"], &report["left_out"]), (&json!(4096), &json!(0)), "{report}");
    // The list that is followed second has one publisher more, which has no room.
    let report = b.json(["follow", "list/small-ocr"]);
    assert_eq!((&report["publishers"], &report["left_out"]), (&json!(1), &json!(1)), "{report}");
    assert!(search(&b, &["--known"]).is_empty());
    assert_eq!(search(&b, &[])[0]["collected"][0]["words"], json!("reads receipts"), "its words still count");
    b.run(["follow", "rm", "list/many"]).ok();
    assert_eq!(search(&b, &["--known"]).len(), 1);
}

/// The machines of the guide, which share a folder in which files travel.
struct Guide {
    shared: TempDir,
    machines: BTreeMap<String, (Home, Daemon)>,
    /// The publisher and the model that the guide names.
    model: String,
    /// The address of the node that all machines know.
    known: String,
}

impl Guide {
    fn home(&mut self, name: &str) -> &Home {
        let known = &self.known;
        let (home, _) = self.machines.entry(name.to_owned()).or_insert_with(|| {
            let home = Home::new(name);
            let daemon = Daemon::start(&home, ["--dht", "off", "--bootstrap", known]);
            (home, daemon)
        });
        home
    }

    /// Puts values in the place of the words in capitals.
    fn fill(&mut self, command: &str) -> String {
        let mut words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        for word in &mut words {
            let shown = |home: &Home, key: &str| home.json(["key", "show", key]);
            let next = |home: &Home, key: &str| {
                let shown = shown(home, key);
                let mut next = shown["next"].as_array().expect("a list").iter();
                text(&next.find(|it| it["is_available"] == true).expect("a next key")["public_key"])
            };
            *word = match word.as_str() {
                "BOB" => text(&shown(self.home("bob"), "bob")["public_key"]),
                "CAROL" => text(&shown(self.home("carol"), "carol")["public_key"]),
                "BOB2" => next(self.home("bob"), "bob"),
                "CAROL2" => next(self.home("carol"), "carol"),
                "BOARD-ID" => text(&shown(self.home("your"), "board")["publisher"]),
                "ACME-ID" => self.model.clone(),
                "sha256:…" => text(&self.home(PULLER).json(["follow", "ls"])[0]["manifest"]),
                _ => continue,
            };
        }
        words.join(" ").replace("reg key revoke ", "reg key revoke --yes ")
    }

    fn run(&mut self, line: &Line) -> Ran {
        let command = self.fill(&line.command);
        println!("{} [{}] {command}", line.at, line.machine);
        let path = std::env::var("PATH").unwrap_or_default();
        let bin: PathBuf = self.shared.path().join("bin");
        let folder = self.shared.path().to_owned();
        let home = self.home(&line.machine);
        let mut shell = Command::new("sh");
        shell.args(["-ec", &command]).current_dir(folder).stdin(Stdio::null());
        shell.env("REG_HOME", home.path()).env("PATH", format!("{}:{path}", bin.display()));
        home.ran(shell.env_remove("RUST_LOG"))
    }
}

/// Each line of the guide, in its order: two of the three keys of a board sign the list, its next version and its withdrawal.
#[test]
fn a_board_of_three_keys_keeps_a_collection_as_the_guide_says() {
    let hub = Home::new("hub");
    let daemon = Daemon::start(&hub, QUIET);
    let model = hub.key("acme");
    self::model(&hub, "tiny-ocr", "acme");
    let shared = tempfile::Builder::new().prefix("reg-guide-").tempdir().expect("a folder");
    fs::create_dir(shared.path().join("bin")).expect("a folder");
    std::os::unix::fs::symlink(reg_binary(), shared.path().join("bin/reg")).expect("a link");
    let mut guide = Guide { shared, machines: BTreeMap::new(), model, known: daemon.address() };
    let lines = lines("docs/guide/collections.md", |_| true);
    assert!(lines.len() >= 25, "{} lines are too few", lines.len());
    let mut entries = Vec::new();
    for line in &lines {
        let ran = guide.run(line);
        assert_eq!(ran.code(), 0, "{}: {}\n{}\n{}", line.at, line.command, ran.stdout(), ran.stderr());
        if line.command == "reg follow board/small-ocr" {
            assert!(ran.stdout().contains("is a collection, and is followed"), "{}", ran.stdout());
            entries.push(followed(guide.home(PULLER))[0]["entries"].clone());
        }
    }
    assert_eq!(entries, [json!(1), json!(2)], "the list, and its next version");
    until("the withdrawal reaches the follower", || {
        followed(guide.home(PULLER))[0]["state"]["is"] == "withdrawn"
    });
}
