//! Archives that lie: each is made from an honest one by one change, and is refused with its reason. Nothing of it is recorded,
//! nothing is written outside the store, and no memory is taken for what it claims. `REG_FULL=1` has a million entries.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use reg_proto::digest::Digest;
use reg_testnet::model;
use reg_testnet::process::{Home, is_full, peak_rss, text};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;
const RSS_MAX: u64 = 192 * MIB;

/// An archive as a list of files, which a case changes.
type Files = BTreeMap<String, Vec<u8>>;

fn read(dir: &Path) -> Files {
    let mut files = Files::new();
    for name in ["oci-layout", "index.json"] {
        files.insert(name.to_owned(), fs::read(dir.join(name)).expect("read"));
    }
    for entry in fs::read_dir(dir.join("blobs/sha256")).expect("blobs").flatten() {
        let name = format!("blobs/sha256/{}", entry.file_name().to_string_lossy());
        files.insert(name, fs::read(entry.path()).expect("read"));
    }
    files
}

fn blob(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", Digest::of(bytes).hex())
}

fn as_json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

/// Replaces the document about the carried model, and the names that lead to it.
fn with_carried(files: &Files, change: impl Fn(&mut Value)) -> Files {
    let mut files = files.clone();
    let mut index = as_json(&files["index.json"]);
    let entries = index["manifests"].as_array_mut().expect("entries");
    let kind = "application/vnd.reg.carried.v1+json";
    let entry = entries.iter_mut().find(|it| it["artifactType"] == kind).expect("it is there");
    let path = |digest: &Value| format!("blobs/sha256/{}", text(digest).trim_start_matches("sha256:"));
    let mut referrer = as_json(&files[&path(&entry["digest"])]);
    let mut carried = as_json(&files[&path(&referrer["layers"][0]["digest"])]);
    change(&mut carried);
    let bytes = serde_json::to_vec(&carried).expect("JSON");
    referrer["layers"][0]["digest"] = json!(Digest::of(&bytes).to_string());
    referrer["layers"][0]["size"] = json!(bytes.len());
    files.insert(blob(&bytes), bytes);
    let bytes = serde_json::to_vec(&referrer).expect("JSON");
    entry["digest"] = json!(Digest::of(&bytes).to_string());
    entry["size"] = json!(bytes.len());
    files.insert(blob(&bytes), bytes);
    files.insert("index.json".to_owned(), serde_json::to_vec(&index).expect("JSON"));
    files
}

/// A tar archive that is being made.
struct Tar(tar::Builder<File>);

impl Tar {
    fn new(path: &Path) -> Self {
        Self(tar::Builder::new(File::create(path).expect("a file")))
    }

    fn entry(&mut self, kind: tar::EntryType, name: &str, size: u64, content: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        self.0.append(&header, content).expect("written");
    }

    fn file(&mut self, name: &str, content: &[u8]) {
        self.entry(tar::EntryType::Regular, name, content.len() as u64, content);
    }

    fn of(path: &Path, files: &Files) -> Self {
        let mut tar = Self::new(path);
        files.iter().for_each(|(name, content)| tar.file(name, content));
        tar
    }

    fn end(self) {
        self.0.into_inner().expect("written").sync_all().expect("synced");
    }
}

struct World {
    dir: PathBuf,
    victim: Home,
    files: Files,
    /// The name of the large blob.
    weights: String,
}

impl World {
    fn new(publisher: &Home) -> Self {
        let model = publisher.path().join("model");
        model::generate(&model, 3 * MIB, 61);
        publisher.key("me");
        let reference = publisher.publish(&model, "honest:v1", "me");
        let layout = publisher.path().join("layout");
        publisher.run(["export", &reference, "-o", &layout.to_string_lossy()]).ok();
        let weights = blob(&fs::read(model.join("model.safetensors")).expect("read"));
        Self { dir: publisher.path().to_owned(), victim: Home::new("victim"), files: read(&layout), weights }
    }

    /// Returns the same with another victim.
    fn of_new_node(&self) -> Self {
        let Self { dir, files, weights, .. } = self;
        let (dir, files, weights) = (dir.clone(), files.clone(), weights.clone());
        Self { dir, victim: Home::new("new victim"), files, weights }
    }

    /// Imports an archive, and checks that it is refused and leaves no model.
    fn refuse(&self, what: &str, path: &Path, code: i32, why: &str) {
        let mut child = self.victim.command(["import", &path.to_string_lossy()]);
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("reg runs");
        let mut peak = 0;
        while matches!(child.try_wait(), Ok(None)) {
            peak = peak.max(peak_rss(child.id()).unwrap_or(0));
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let ran = self.victim.ended(child.wait_with_output().expect("it has ended"));
        let said = ran.stderr();
        assert_eq!(ran.code(), code, "{what}: {said}");
        assert!(said.contains(why), "{what}: {said}");
        assert!(peak < RSS_MAX, "{what}: {peak} bytes of memory");
        assert_eq!(self.victim.json(["ls"]), json!([]), "{what}");
    }

    fn refuse_files(&self, what: &str, files: &Files, code: i32, why: &str) {
        let path = self.dir.join("case.tar");
        Tar::of(&path, files).end();
        self.refuse(what, &path, code, why);
    }

    fn changed(&self, name: &str, change: impl Fn(&mut Vec<u8>)) -> Files {
        let mut files = self.files.clone();
        change(files.get_mut(name).expect("it is there"));
        files
    }

    fn without(&self, name: &str) -> Files {
        let mut files = self.files.clone();
        files.remove(name).expect("it is there");
        files
    }
}

#[test]
fn an_archive_with_false_content_is_refused_with_its_reason() {
    let publisher = Home::new("publisher");
    let world = World::new(&publisher);
    let World { files, weights, .. } = &world;
    let damaged = world.changed(weights, |it| it[MIB as usize] ^= 1);
    world.refuse_files("the weights are damaged", &damaged, 4, "not what its name says");
    world.refuse_files(
        "the weights are short",
        &world.changed(weights, |it| it.truncate(2 << 20)),
        4,
        "the manifest says",
    );
    world.refuse_files("the weights are missing", &world.without(weights), 4, "copy it again");
    world.refuse_files("no index", &world.without("index.json"), 4, "has no index.json");
    world.refuse_files("no marker", &world.without("oci-layout"), 4, "has no oci-layout");
    let later = world.changed("oci-layout", |it| *it = br#"{"imageLayoutVersion":"9.0.0"}"#.to_vec());
    world.refuse_files("a later layout", &later, 4, "upgrade");
    world.refuse_files(
        "index is no JSON",
        &world.changed("index.json", |it| it.truncate(20)),
        4,
        "cannot be parsed",
    );
    let bare = world.changed("index.json", |it| *it = br#"{"schemaVersion":2,"manifests":[]}"#.to_vec());
    world.refuse_files("an image of another tool", &bare, 4, "records of its publisher");
    // Every small document, damaged: whichever it is, nothing is recorded. The store of a new node has none of them.
    let is_read = |it: &&String| it.starts_with("blobs") && *it != weights && **it != blob(b"{}");
    for name in files.keys().filter(is_read) {
        let damaged = world.changed(name, |it| *it.last_mut().expect("a byte") ^= 1);
        world.of_new_node().refuse_files(name, &damaged, 4, "not what its name says");
    }
    world.refuse_files("another version", &with_carried(files, |it| it["version"] = json!(2)), 4, "upgrade");
    // A node that has heard of the publisher would go on with what it knows: it verifies by its own records.
    let stranger = Home::new("stranger").key("me");
    let stolen = with_carried(files, |it| it["publisher"] = json!(stranger));
    world.of_new_node().refuse_files("another publisher", &stolen, 4, "keys that are not its publisher's");
    let renamed = with_carried(files, |it| it["model"] = json!("other"));
    world.of_new_node().refuse_files("another name", &renamed, 4, "no record");
    let keyless = with_carried(files, |it| it["records"]["key_documents"] = json!([]));
    world.of_new_node().refuse_files("no keys", &keyless, 4, "");
    let tagless = with_carried(files, |it| it["records"]["tags"] = json!([]));
    world.of_new_node().refuse_files("no record of the tag", &tagless, 4, "no record");
    let forged = with_carried(files, |it| {
        let tag = text(&it["records"]["tags"][0]);
        it["records"]["tags"][0] = json!(tag.replacen("\"sig\":\"", "\"sig\":\"AA", 1));
    });
    world.of_new_node().refuse_files("a forged record", &forged, 4, "");
    let unproven = with_carried(files, |it| it["referrers"] = json!([]));
    world.of_new_node().refuse_files("no provenance", &unproven, 4, "provenance");
    let elsewhere = with_carried(files, |it| it["files"] = json!(["../../etc/passwd"]));
    world.refuse_files("a file outside", &elsewhere, 4, "cannot be parsed");
    let extra = with_carried(files, |it| it["files"] = json!(["more.bin"]));
    world.refuse_files("a file that is not the model's", &extra, 4, "no file of the model");
    let other = with_carried(files, |it| it["manifest"] = json!(Digest::of(b"x").to_string()));
    world.refuse_files("another manifest", &other, 4, "has no blobs");
    // The honest one is taken.
    let path = world.dir.join("honest.tar");
    Tar::of(&path, files).end();
    world.victim.run(["import", &path.to_string_lossy()]).ok();
}

#[test]
fn an_archive_that_is_hostile_as_a_file_is_refused_before_anything_is_read() {
    use tar::EntryType;
    let publisher = Home::new("publisher");
    let world = World::new(&publisher);
    let case = world.dir.join("case.tar");
    let refuse = |what: &str, add: &dyn Fn(&mut Tar), why: &str| {
        let mut tar = Tar::new(&case);
        add(&mut tar);
        world.files.iter().for_each(|(name, content)| tar.file(name, content));
        tar.end();
        world.refuse(what, &case, 4, why);
    };
    for name in ["../escaped", "/tmp/reg-escaped", "blobs/../../escaped"] {
        refuse(name, &|it| it.file(name, b"x"), "leads out of the archive");
    }
    for (kind, why) in [
        (EntryType::Symlink, "a symbolic link"),
        (EntryType::Link, "a hard link"),
        (EntryType::Char, "a device"),
        (EntryType::Block, "a device"),
        (EntryType::Fifo, "a named pipe"),
        (EntryType::GNUSparse, "a sparse file"),
        (EntryType::Continuous, "of type"),
    ] {
        refuse(why, &|it| it.entry(kind, "blobs/x", 0, b""), why);
    }
    refuse("twice", &|it| it.file("./index.json", b"{}"), "in it twice");
    let long = vec![b'x'; 1 << 20];
    refuse("a huge name", &|it| it.entry(EntryType::GNULongName, "x", 1 << 20, &long), "extended header");
    refuse("a huge header", &|it| it.entry(EntryType::XHeader, "x", 1 << 20, &long), "extended header");
    refuse("sparse", &|it| it.entry(EntryType::XHeader, "x", 25, b"25 GNU.sparse.size=99999\n"), "sparse");
    let count = if is_full() { 1_000_000 } else { 100_001 };
    let many = |it: &mut Tar| (0..count).for_each(|_| it.entry(EntryType::Directory, "d", 0, b""));
    refuse("very many entries", &many, "more than 100000 entries");
    assert!(!world.dir.join("escaped").exists() && !Path::new("/tmp/reg-escaped").exists());

    // An index of 1 GiB, which takes no room on this disk.
    let tar = Tar::of(&case, &world.without("index.json"));
    tar.end();
    let file = File::options().append(true).open(&case).expect("a file");
    let length = file.metadata().expect("it is there").len() - 1024;
    file.set_len(length).expect("cut");
    let mut header = tar::Header::new_gnu();
    header.set_path("index.json").expect("a name");
    header.set_entry_type(EntryType::Regular);
    header.set_size(1 << 30);
    header.set_cksum();
    std::io::Write::write_all(&mut &file, header.as_bytes()).expect("written");
    file.set_len(length + 512 + (1 << 30) + 1024).expect("a hole");
    world.refuse("an index of 1 GiB", &case, 4, "at most 4194304 are read");
    file.set_len(length + 512 + 4096).expect("cut");
    world.refuse("cut off", &case, 4, "copy it again");
    for (magic, with) in [(&b"\x1f\x8b\x08"[..], "gzip"), (b"\x28\xb5\x2f\xfd", "zstd")] {
        fs::write(&case, [magic, &[0; 600]].concat()).expect("written");
        world.refuse(with, &case, 4, &format!("decompress it with {with}"));
    }
}

#[test]
fn a_directory_with_links_and_pipes_is_refused_and_never_waited_for() {
    let publisher = Home::new("publisher");
    let world = World::new(&publisher);
    let layout = world.dir.join("layout");
    let weights = layout.join(&world.weights);
    let keep = world.dir.join("kept");
    fs::rename(&weights, &keep).expect("moved");
    std::os::unix::fs::symlink("/dev/zero", &weights).expect("a link");
    world.refuse("a link to a device", &layout, 2, "no ordinary file");
    fs::remove_file(&weights).expect("removed");
    std::os::unix::fs::symlink(&keep, &weights).expect("a link");
    world.refuse("a link to the bytes themselves", &layout, 2, "no ordinary file");
    fs::remove_file(&weights).expect("removed");
    rustix::fs::mkfifoat(rustix::fs::CWD, &weights, rustix::fs::Mode::RUSR).expect("a pipe");
    world.refuse("a pipe", &layout, 2, "no ordinary file");
    fs::remove_file(&weights).expect("removed");
    fs::rename(&keep, &weights).expect("moved back");
    let index = layout.join("index.json");
    fs::rename(&index, &keep).expect("moved");
    std::os::unix::fs::symlink(&keep, &index).expect("a link");
    world.refuse("a link to the index", &layout, 2, "no ordinary file");
    fs::remove_file(&index).expect("removed");
    fs::rename(&keep, &index).expect("moved back");
    world.victim.run(["import", &layout.to_string_lossy()]).ok();
}
