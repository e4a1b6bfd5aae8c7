//! Tests that a file that runs code when it is loaded is known by its bytes, under any name: on publish, pull and upload.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use reg_node::registry::policy::{Verdict, judge};
use reg_proto::content::inspect::inspect;
use reg_proto::path::SafePath;
use reg_testnet::process::{Daemon, Home, text, workspace};
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
        Ok(found) => judge(found.kind) != Verdict::Allow,
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
