//! Tests that a file that runs code when it is loaded is known by its bytes, under any name: on publish, pull and upload.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use reg_node::registry::policy::{Verdict, judge};
use reg_proto::content::inspect::inspect;
use reg_proto::path::SafePath;
use reg_testnet::measure::watched;
use reg_testnet::process::{Daemon, Home, left_out, text, workspace};
use reg_testnet::{clients, http, model};

/// What each fixture is renamed to: everything that is taken without consent when it is what it says.
const NAMES: [&str; 14] = [
    "model.safetensors",
    "model.gguf",
    "model.onnx",
    "config.json",
    "README.md",
    "LICENSE",
    "vocab.txt",
    "tokenizer.model",
    "train.parquet",
    "train.csv",
    "picture.png",
    "pytorch_model.bin",
    "weights",
    "a/b/c.yaml",
];

const PICKLERS: [&str; 4] = ["joblib==1.6.0", "dill==0.4.1", "cloudpickle==3.1.2", "numpy==2.4.6"];

/// Makes the fixtures, or says why there are none.
fn fixtures(dir: &Path) -> Option<Vec<PathBuf>> {
    let python = clients::python("picklers", &PICKLERS);
    if clients::is_left_out(&python) {
        return None;
    }
    fs::create_dir_all(dir).expect("a folder");
    let mut make = Command::new(python.expect("the picklers are installed").program("python"));
    let made = make.arg(workspace().join("testnet/src/pickles.py")).arg(dir).output().expect("Python runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut all: Vec<PathBuf> = fs::read_dir(dir).expect("a folder").flatten().map(|it| it.path()).collect();
    if let Ok(jit) = model::SILERO_VAD_JIT.get() {
        all.push(jit);
    }
    all.sort();
    Some(all)
}

fn is_refused(file: &Path, name: &str) -> bool {
    let path: SafePath = name.parse().expect("a path");
    let mut opened = File::open(file).expect("a file");
    let size = opened.metadata().expect("a file").len();
    match inspect(&path, &mut opened, size) {
        Ok(found) => judge(found.kind, &Default::default()) != Verdict::Allow,
        Err(_) => true,
    }
}

#[test]
fn no_pickle_of_any_tool_passes_under_any_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(fixtures) = fixtures(dir.path()) else { return };
    assert!(fixtures.len() >= 100, "{} fixtures", fixtures.len());
    let mut passed = Vec::new();
    for fixture in &fixtures {
        for name in NAMES {
            if !is_refused(fixture, name) {
                passed.push(format!("{} as {name}", fixture.display()));
            }
        }
    }
    println!("{} fixtures, {} names, {} passed", fixtures.len(), NAMES.len(), passed.len());
    assert!(passed.is_empty(), "{passed:#?}");
}

#[test]
fn renamed_pickles_programs_and_archives_are_refused_on_publish_pull_and_upload() {
    let [a, b] = ["A", "B"].map(Home::new);
    let dir = a.path().join("fixtures");
    let Some(_) = fixtures(&dir) else { return };
    let elf = b"\x7fELF\x02\x01\x01\0".iter().copied().chain([0; 200]).collect::<Vec<u8>>();
    fs::write(dir.join("shared-object"), elf).expect("written");
    fs::write(dir.join("python"), "import os\nos.system('id')\n").expect("written");
    fs::write(dir.join("unknown"), (0..4096u32).flat_map(|i| (i * i).to_le_bytes()).collect::<Vec<u8>>())
        .expect("written");
    a.key("me");
    let daemon = Daemon::start(&a, ["--publish-key", "me"]);
    let token = http::token(&a);
    for (fixture, name) in [
        ("pickle-call-4", "config.json"),
        ("pickle-call-0", "README.md"),
        ("joblib-zlib-call", "vocab.txt"),
        ("torch-zip-stored-behind-text", "README.md"),
        ("zip-of-code", "model.safetensors"),
        ("npy-objects", "train.parquet"),
        ("shared-object", "model.gguf"),
        ("python", "modeling.py"),
        ("unknown", "weights.dat"),
    ] {
        let from = a.path().join(format!("model-{fixture}"));
        fs::create_dir_all(&from).expect("a folder");
        fs::copy(dir.join(fixture), from.join(name)).expect("copied");
        let path = from.to_string_lossy().into_owned();
        let model = fixture.to_owned();
        let publish = ["publish", &path, &model, "--key", "me"].map(str::to_owned);
        a.run(publish.clone()).failed(6, "--allow-unsafe");
        // An upload through the OCI gateway is judged the same way.
        let bytes = fs::read(from.join(name)).expect("read");
        let pushed = push(&daemon, &token, &model, name, &bytes);
        assert_eq!(pushed.status, 403, "{fixture}: {}", pushed.text());
        let reference = text(&a.json(publish.into_iter().chain(["--allow-unsafe".to_owned()]))["reference"]);
        let info = a.json(["info", &reference]);
        let risky = info["metadata"]["computed"]["risky"].as_object().map(|it| it.len());
        assert_eq!(risky, Some(1), "{fixture} is marked: {info}");
        let pull = ["pull", &reference, "--cache-only", "--from", &daemon.address(), "--no-mdns"];
        b.run(pull).failed(6, "--allow-unsafe");
        b.run(pull.iter().chain(&["--allow-unsafe"])).ok();
    }
}

/// Pushes a model of one file as an OCI client does.
fn push(daemon: &Daemon, token: &str, model: &str, name: &str, bytes: &[u8]) -> http::Served {
    use reg_proto::descriptor::Descriptor;
    use reg_proto::manifest::{
        MANIFEST_TYPE, MODEL_CONFIG_TYPE, Manifest, ModelConfig, ModelDescriptor, ModelFile,
    };
    use reg_proto::piece::BlobLayout;
    let file = ModelFile {
        path: name.parse().expect("a path"),
        digest: reg_proto::digest::Digest::of(bytes),
        layout: BlobLayout::new(bytes.len() as u64).expect("small"),
        media_type: reg_proto::manifest::RAW_LAYER_TYPES[0].to_owned(),
    };
    let config = ModelConfig::new(ModelDescriptor::default(), std::slice::from_ref(&file)).to_bytes();
    let manifest = Manifest::new(Descriptor::of(MODEL_CONFIG_TYPE, &config), vec![file]).expect("a manifest");
    let owner = format!("Bearer {token}");
    let base = format!("{}/v2/me/{model}-pushed", http::base(daemon));
    for blob in [bytes, &config[..]] {
        let digest = reg_proto::digest::Digest::of(blob);
        let headers = [("authorization", owner.as_str()), ("content-type", "application/octet-stream")];
        let put = http::send("POST", &format!("{base}/blobs/uploads/?digest={digest}"), &headers, blob);
        assert_eq!(put.status, 201, "{}", put.text());
    }
    let headers = [("authorization", owner.as_str()), ("content-type", MANIFEST_TYPE)];
    http::send("PUT", &format!("{base}/manifests/v1"), &headers, &manifest.to_bytes())
}

/// Writes files of some hundred kilobytes that decompress to 512 MiB each, or to as many files.
const BOMBS: &str = r#"
import bz2, gzip, io, lzma, sys, zipfile, zlib
dir, size = sys.argv[1], 512 << 20
zeros = bytes(1 << 20)
with gzip.open(dir + "/bomb.gz", "wb") as out:
    for _ in range(size >> 20): out.write(zeros)
with bz2.open(dir + "/bomb.bz2", "wb") as out:
    for _ in range(size >> 20): out.write(zeros)
for name, member in [("bomb.zip", "a"), ("bomb.pt", "archive/data.pkl"), ("bomb.npz", "a.npy")]:
    with zipfile.ZipFile(dir + "/" + name, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open(member, "w", force_zip64=True) as out:
            for _ in range(size >> 20): out.write(zeros)
# An archive of many names, and one within one within one.
with zipfile.ZipFile(dir + "/many.zip", "w") as archive:
    for number in range(20000): archive.writestr(f"{number}", b"")
inner = open(dir + "/bomb.zip", "rb").read()
for _ in range(5):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for copy in range(8): archive.writestr(f"{copy}.zip", inner)
    inner = held.getvalue()
open(dir + "/nested.zip", "wb").write(inner)
"#;

/// Memory of a process that handles a bomb, in bytes: what it takes for any model of this size, and nothing for what is in it.
const BOMB_RSS_MAX: u64 = 256 << 20;
/// Seconds of processor time for a bomb. To decompress one takes longer in this build.
const BOMB_CPU_MAX: f64 = 20.0;

/// Nothing is decompressed: a bomb costs what its own bytes cost, with and without consent.
#[test]
fn a_compression_bomb_costs_neither_memory_nor_time() {
    let [a, b] = ["A", "B"].map(Home::new);
    let bombs = a.path().join("bombs");
    fs::create_dir_all(&bombs).expect("a folder");
    let Ok(made) = Command::new("python3").args(["-c", BOMBS]).arg(&bombs).output() else {
        return left_out("compression bombs", "python3 is not installed", "install python3");
    };
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let publisher = a.key("me");
    let daemon = Daemon::start(&a, ["--allow-unsafe"]);
    let before = daemon.cpu_seconds();
    let mut largest = (0, 0.0_f64);
    let mut count = |what: &str, command: &mut Command, code: i32| {
        let (cost, peak, status) = watched(command);
        assert_eq!(status.and_then(|it| it.code()), Some(code), "{what}");
        assert!(peak < BOMB_RSS_MAX && cost.cpu < BOMB_CPU_MAX, "{what}: {peak} bytes, {:.1} s", cost.cpu);
        largest = (largest.0.max(peak), largest.1.max(cost.cpu));
    };
    for (number, bomb) in fs::read_dir(&bombs).expect("a folder").flatten().enumerate() {
        for (other, name) in
            ["model.safetensors", "model.gguf", "pytorch_model.bin", "config.json"].iter().enumerate()
        {
            let (dir, model) = (a.path().join(format!("m{number}-{other}")), format!("m{number}-{other}"));
            fs::create_dir_all(&dir).expect("a folder");
            fs::copy(bomb.path(), dir.join(name)).expect("copied");
            let what = format!("{} as {name}", bomb.path().display());
            let path = dir.to_string_lossy().into_owned();
            count(&what, &mut a.command(["publish", &path, &model, "--key", "me"]), 6);
            if other == 2 {
                count(&what, &mut a.command(["publish", &path, &model, "--key", "me", "--allow-unsafe"]), 0);
                let reference = format!("{publisher}/{model}");
                let out = b.path().join(&model).to_string_lossy().into_owned();
                let pull = ["pull", &reference, &out, "--from", &daemon.address(), "--no-mdns"];
                count(&what, &mut b.command(pull), 6);
                count(&what, &mut b.command(pull.into_iter().chain(["--allow-unsafe"])), 0);
                let url = format!("{}/{reference}/resolve/main/{name}", http::base(&daemon));
                assert_eq!(
                    http::get(&url, &[]).bytes.len() as u64,
                    fs::metadata(bomb.path()).expect("a file").len()
                );
            }
        }
    }
    let (rss, cpu) = (daemon.peak_rss(), daemon.cpu_seconds() - before);
    println!(
        "commands: at most {} MiB and {:.2} CPU s; the daemon: {} MiB, {cpu:.2} CPU s in all",
        largest.0 >> 20,
        largest.1,
        rss >> 20
    );
    assert!(rss < BOMB_RSS_MAX, "{rss} bytes");
}
