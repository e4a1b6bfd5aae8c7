//! Tests that a model is pulled by the domain of its publisher, and that real clients then get it by that name, also offline.

use std::fs;
use std::path::Path;

use reg_proto::digest::Digest;
use reg_testnet::domains::{DomainWorld, Page};
use reg_testnet::http;
use reg_testnet::model;
use reg_testnet::process::{Daemon, Home, text};
use reg_testnet::tree;

use crate::hf::{client, hf, ok};
use crate::oci::{copy, host, skopeo};

const MIB: u64 = 1 << 20;

/// A publisher with a model, and a profile that names the domain. Returns its daemon, its id, and the weights.
fn publisher(home: &Home, domain: &str) -> (Daemon, String, Digest) {
    let id = home.key("me");
    let dir = home.path().join("model");
    fs::create_dir_all(&dir).expect("a folder");
    let weights = model::gguf(&dir.join("tiny.Q4_K_M.gguf"), 3 * MIB);
    fs::write(dir.join("config.json"), "{\"model_type\":\"tiny\"}").expect("written");
    let daemon = Daemon::start(home, ["--dht", "off"]);
    home.publish(&dir, "Tiny", "me");
    home.run(["publisher", "set", "--key", "me", "--domain", domain, "--title", "Acme Research"]).ok();
    (daemon, id, weights)
}

/// What `reg publisher dns` prints for the domain's web server.
fn file(home: &Home, daemon: &Daemon) -> String {
    text(&home.json(["publisher", "dns", "--key", "me", "--peer", &daemon.address()])["file"])
}

/// Gets the model as Hugging Face's client, skopeo and Ollama do, by the domain.
fn fetch_as_clients_do(daemon: &Daemon, scratch: &Path, model: &Path, weights: &Digest) {
    let base = http::base(daemon);
    if let Some(python) = client() {
        let out = scratch.join("hf");
        let mut download = hf(&python, "hf", daemon, &scratch.join("hf-home"));
        ok(&download.args(["download", "acme.org/Tiny", "--local-dir"]).arg(&out).output().expect("hf runs"));
        let mut found = tree::digests(&out);
        found.retain(|name, _| !name.starts_with(".cache/"));
        assert_eq!(found, tree::digests(model));
    }
    if let Some(skopeo) = skopeo() {
        let out = scratch.join("image");
        fs::create_dir_all(&out).expect("a folder");
        let image = format!("docker://{}/acme.org/tiny:latest", host(daemon));
        copy(&skopeo, &image, &format!("dir:{}", out.display()), None);
        assert!(out.join(weights.hex()).is_file(), "the layer is named by its digest");
    }
    let repo = format!("{base}/v2/acme.org/tiny");
    let accept = [("accept", "application/vnd.docker.distribution.manifest.v2+json")];
    let manifest = http::get(&format!("{repo}/manifests/Q4_K_M"), &accept).json();
    assert_eq!(text(&manifest["layers"][0]["digest"]), weights.to_string());
    let blob = format!("{repo}/blobs/{weights}");
    assert_eq!(http::head(&blob).status, 200);
    let location = http::get(&blob, &[]).header("location").expect("Ollama needs a location");
    assert_eq!(http::get(&format!("{base}{location}"), &[]).digest(), *weights);
}

#[test]
fn a_model_is_pulled_by_its_domain_and_then_by_every_client_also_offline() {
    let world = DomainWorld::new(&["acme.org"]);
    let [a, b] = ["A", "B"].map(Home::new);
    let (server, id, weights) = publisher(&a, "acme.org");
    world.serve("acme.org", Page::File(file(&a, &server)));
    world.configure(&b, &["acme.org"]);
    let daemon = Daemon::start(&b, ["--dht", "off"]);

    // Before it is pinned, no gateway asks the domain, and the error says what does.
    for url in ["api/models/acme.org/Tiny", "v2/acme.org/tiny/manifests/latest"] {
        let refused = http::get(&format!("{}/{url}", http::base(&daemon)), &[]);
        let said = format!("{} {:?}", refused.text(), refused.headers);
        assert_eq!(refused.status, 404, "{said}");
        assert!(said.contains("reg trust add acme.org") && said.contains("reg pull acme.org/"), "{said}");
    }
    assert_eq!(world.asked(), 0, "a gateway has asked for a domain");

    let pulled = b.pull("acme.org/Tiny", &[], &["--overwrite"]).ok().json();
    assert_eq!(text(&pulled["publisher"]), id);
    assert!(pulled["notes"].to_string().contains("its profile names acme.org back: pinned"), "{pulled}");
    assert!(world.asked() > 0);
    let shown = b.run(["info", "acme.org/Tiny", "--full"]).ok().stdout();
    assert!(shown.contains("Acme Research, acme.org"), "{shown}");
    let shown = b.run(["trust", "show", "acme.org", "--full"]).ok().stdout();
    assert!(
        shown.contains(&format!("acme.org is pinned to {id}")) && shown.contains("Acme Research"),
        "{shown}"
    );

    drop((server, daemon));
    let daemon = Daemon::start(&b, ["--offline"]);
    world.forget();
    let asked = world.asked();
    fetch_as_clients_do(&daemon, b.path(), &a.path().join("model"), &weights);
    b.pull("acme.org/Tiny", &[], &["--overwrite", "--offline"]).ok();
    assert_eq!(world.asked(), asked, "offline, the pin counts");
}
