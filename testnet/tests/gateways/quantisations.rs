//! Tests that a quantisation means one file in every dialect: for Ollama, for llama.cpp and its kin, and for `reg pull`.

use std::fs;
use std::path::{Path, PathBuf};

use reg_testnet::http::{self, Served};
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, text};
use reg_testnet::tree;

const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The files of a repository with many quantisations, each with other bytes.
const FILES: [&str; 13] = [
    "BF16/Model-BF16-00001-of-00002.gguf",
    "BF16/Model-BF16-00002-of-00002.gguf",
    "Model-IQ4_XS.gguf",
    "Model-MXFP4_MOE.gguf",
    "Model-Q4_K_M.gguf",
    "Model-Q4_K_S.gguf",
    "Model-Q8_0.gguf",
    "Model-UD-Q4_K_XL.gguf",
    "Model-i1-Q4_K_M.gguf",
    "Model-mtp-Q4_K_M.gguf",
    "imatrix_model.gguf",
    "mmproj-Model-F16.gguf",
    "mmproj-Model-Q8_0.gguf",
];

/// What each name means, and the projector that goes with it.
const MEANT: [(&str, &str, &str); 11] = [
    ("latest", "Model-Q4_K_M.gguf", "mmproj-Model-Q8_0.gguf"),
    ("Q4_K_M", "Model-Q4_K_M.gguf", "mmproj-Model-Q8_0.gguf"),
    ("q4_k_m", "Model-Q4_K_M.gguf", "mmproj-Model-Q8_0.gguf"),
    ("Q4_K_S", "Model-Q4_K_S.gguf", "mmproj-Model-Q8_0.gguf"),
    ("IQ4_XS", "Model-IQ4_XS.gguf", "mmproj-Model-Q8_0.gguf"),
    ("UD-Q4_K_XL", "Model-UD-Q4_K_XL.gguf", "mmproj-Model-Q8_0.gguf"),
    ("Q4_K_XL", "Model-UD-Q4_K_XL.gguf", "mmproj-Model-Q8_0.gguf"),
    ("MXFP4_MOE", "Model-MXFP4_MOE.gguf", "mmproj-Model-Q8_0.gguf"),
    ("i1-Q4_K_M", "Model-i1-Q4_K_M.gguf", "mmproj-Model-Q8_0.gguf"),
    ("Q8_0", "Model-Q8_0.gguf", "mmproj-Model-Q8_0.gguf"),
    ("v1", "Model-Q4_K_M.gguf", "mmproj-Model-Q8_0.gguf"),
];

fn repository(dir: &Path, files: &[&str]) {
    for (number, file) in files.iter().enumerate() {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        model::gguf(&path, 4096 + 128 * number as u64);
    }
}

/// A node that has published [`FILES`] as `many:latest` and `many:v1`.
struct Many {
    a: Home,
    publisher: String,
    dir: PathBuf,
    daemon: Daemon,
}

impl Many {
    fn start() -> Self {
        let a = Home::new("A");
        let publisher = a.key("me");
        let dir = a.path().join("model");
        repository(&dir, &FILES);
        let daemon = Daemon::start(&a, [""; 0]);
        a.publish(&dir, "many", "me");
        a.publish(&dir, "many:v1", "me");
        Self { a, publisher, dir, daemon }
    }
}

fn said(served: &Served) -> String {
    text(&served.json()["errors"][0]["message"])
}

#[test]
fn ollama_gets_the_file_that_a_name_means_or_is_refused_with_words() {
    let Many { a, publisher, dir, daemon } = Many::start();
    let ask = |model: &str, name: &str| {
        let url = format!("{}/v2/{publisher}/{model}/manifests/{name}", http::base(&daemon));
        http::get(&url, &[("accept", DOCKER)])
    };
    let digest = |file: &str| tree::digest(&dir.join(file)).to_string();
    for (name, weights, projector) in MEANT {
        let served = ask("many", name);
        assert_eq!(served.status, 200, "{name}: {}", served.text());
        let manifest = served.json();
        let layers = manifest["layers"].as_array().expect("layers");
        assert_eq!(layers.len(), 2, "{name}: {manifest}");
        assert_eq!(text(&layers[0]["mediaType"]), "application/vnd.ollama.image.model");
        assert_eq!(text(&layers[0]["digest"]), digest(weights), "{name}");
        assert_eq!(text(&layers[1]["mediaType"]), "application/vnd.ollama.image.projector");
        assert_eq!(text(&layers[1]["digest"]), digest(projector), "{name}");
        let config = format!(
            "{}/v2/{publisher}/many/blobs/{}",
            http::base(&daemon),
            text(&manifest["config"]["digest"])
        );
        assert_eq!(http::get(&config, &[]).status, 200);
    }
    let split = ask("many", "BF16");
    assert_eq!(split.status, 400, "{}", split.text());
    assert!(
        said(&split).contains("split into 2 files") && said(&split).contains("ollama create"),
        "{}",
        split.text()
    );
    for name in ["F16", "Q4_K", "Q2_K", "MXFP4", "imatrix"] {
        let none = ask("many", name);
        assert!(matches!(none.status, 404 | 503), "{name}: {}", none.text());
        assert!(none.status == 503 || said(&none).contains("Model-Q4_K_M.gguf"), "{name}: {}", none.text());
    }

    // A split model alone; half of one; two models; weights that are not GGUF.
    let cases: [(&str, &[&str], u16, &str); 4] = [
        ("split", &["x-Q4_K_M-00001-of-00002.gguf", "x-Q4_K_M-00002-of-00002.gguf"], 400, "split into 2"),
        ("two", &["a-Q4_K_M.gguf", "b-Q4_K_M.gguf"], 400, "several models: a-Q4_K_M.gguf, b-Q4_K_M.gguf"),
        ("projector", &["mmproj-F16.gguf"], 404, "no GGUF file"),
        (
            "beside",
            &["imatrix.gguf", "x-Q5_0-00001-of-00002.gguf", "x-Q5_0-00002-of-00002.gguf", "x-Q6_K.gguf"],
            200,
            "",
        ),
    ];
    for (name, files, status, why) in cases {
        let dir = a.path().join(name);
        repository(&dir, files);
        a.publish(&dir, name, "me");
        let served = ask(name, "latest");
        assert_eq!(served.status, status, "{name}: {}", served.text());
        assert!(served.text().contains(why), "{name}: {}", served.text());
        if status == 200 {
            let found = text(&served.json()["layers"][0]["digest"]);
            assert_eq!(found, tree::digest(&dir.join("x-Q6_K.gguf")).to_string());
        }
    }
}

#[test]
fn llama_cpp_is_told_the_name_of_the_file_and_finds_it_on_main() {
    let Many { a, publisher, dir, daemon } = Many::start();
    let ask = |name: &str| {
        let url = format!("{}/v2/{publisher}/many/manifests/{name}", http::base(&daemon));
        http::get(&url, &[("user-agent", "llama-cpp"), ("accept", "application/json")])
    };
    for (name, weights, projector) in
        MEANT.into_iter().chain([("BF16", "BF16/Model-BF16-00001-of-00002.gguf", "mmproj-Model-F16.gguf")])
    {
        let served = ask(name);
        assert_eq!(served.status, 200, "{name}: {}", served.text());
        let manifest = served.json();
        assert_eq!(text(&manifest["ggufFile"]["rfilename"]), weights, "{name}");
        assert_eq!(text(&manifest["mmprojFile"]["rfilename"]), projector, "{name}");
        let url = format!("{}/{publisher}/many/resolve/main/{weights}", http::base(&daemon));
        let digest = http::get(&url, &[]).digest();
        assert_eq!(text(&manifest["ggufFile"]["blobId"]), digest.to_string(), "{name}");
        assert_eq!(text(&manifest["ggufFile"]["lfs"]["sha256"]), digest.hex(), "{name}");
    }
    assert_eq!(ask("Q2_K").status, 404);
    // The client would fetch the file of main for another version.
    fs::remove_file(dir.join("Model-Q4_K_S.gguf")).expect("removed");
    a.publish(&dir, "many:v1", "me");
    let other = ask("v1");
    assert_eq!(other.status, 400, "{}", other.text());
    assert!(said(&other).contains("files of main"), "{}", other.text());
}

#[test]
fn a_pull_takes_the_same_files_as_the_other_dialects() {
    let a = Home::new("A");
    let publisher = a.key("me");
    let dir = a.path().join("model");
    repository(&dir, &FILES);
    a.publish(&dir, "many", "me");
    for (name, weights, projector) in MEANT.into_iter().filter(|(name, ..)| !matches!(*name, "latest" | "v1"))
    {
        let out = a.path().join(format!("out-{name}"));
        let out_text = out.to_string_lossy().into_owned();
        a.run(["pull", &format!("{publisher}/many"), &out_text, "--quant", name, "--offline"]).ok();
        let found: Vec<String> =
            tree::digests(&out).into_keys().filter(|it| !it.starts_with(".reg")).collect();
        assert_eq!(found, [weights, projector], "{name}");
    }
    a.run(["pull", &format!("{publisher}/many"), "x", "--quant", "F16", "--offline"])
        .failed(8, "no GGUF file of quantisation F16");
}

#[test]
fn a_tag_with_the_name_of_a_quantisation_needs_no_latest() {
    let home = Home::new("A");
    home.key("me");
    let dir = home.path().join("model");
    repository(&dir, &["Model-Q4_K_M.gguf"]);
    let daemon = Daemon::start(&home, [""; 0]);
    let reference = home.publish(&dir, "named:Q8_0", "me");
    let repo = reference.trim_end_matches(":Q8_0");
    let get = |name: &str| {
        let url = format!("{}/v2/{repo}/manifests/{name}", http::base(&daemon));
        http::get(&url, &[("accept", DOCKER)])
    };
    let served = get("Q8_0");
    assert_eq!(served.status, 200, "{}", served.text());
    assert_eq!(get("Q2_K").status, 404);
    assert_eq!(get("latest").status, 404);
}
