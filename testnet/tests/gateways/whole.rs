//! Tests that uploads of a model that is not whole are refused with the reason, in each dialect.

use data_encoding::BASE64;
use reg_proto::descriptor::Descriptor;
use reg_proto::digest::Digest;
use reg_proto::manifest::{
    MANIFEST_TYPE, MODEL_CONFIG_TYPE, Manifest, ModelConfig, ModelDescriptor, ModelFile, RAW_LAYER_TYPES,
};
use reg_proto::piece::BlobLayout;
use reg_testnet::gaps::{self, Lacking};
use reg_testnet::http;
use reg_testnet::process::{Daemon, Home};
use serde_json::json;

#[test]
fn an_upload_that_is_not_whole_is_refused_in_each_dialect() {
    let home = Home::new("A");
    home.key("me");
    let daemon = Daemon::start(&home, ["--publish-key", "me"]);
    let (base, token) = (http::base(&daemon), http::token(&home));
    let owner = format!("Bearer {token}");
    for Lacking { name, files, said } in gaps::all() {
        let header = json!({ "key": "header", "value": { "summary": "x", "description": "" } });
        let line = |(path, bytes): &(&str, Vec<u8>)| {
            let value = json!({ "path": path, "content": BASE64.encode(bytes), "encoding": "base64" });
            json!({ "key": "file", "value": value }).to_string()
        };
        let lines: Vec<String> = [header.to_string()].into_iter().chain(files.iter().map(line)).collect();
        let headers = [("authorization", owner.as_str()), ("content-type", "application/x-ndjson")];
        let url = format!("{base}/api/models/me/{name}/commit/main");
        let committed = http::send("POST", &url, &headers, lines.join("\n").as_bytes());
        assert_eq!(committed.status, 403, "{name}: {}", committed.text());
        assert!(committed.text().contains(said), "{name}: {}", committed.text());

        let pushed = push(&base, &owner, name, &files);
        assert_eq!(pushed.status, 403, "{name}: {}", pushed.text());
        assert!(pushed.text().contains(said), "{name}: {}", pushed.text());
    }
    assert_eq!(home.json(["ls"]), json!([]), "nothing is published");
}

/// Pushes a model as an OCI client does.
fn push(base: &str, owner: &str, model: &str, files: &[(&str, Vec<u8>)]) -> http::Served {
    let file = |(path, bytes): &(&str, Vec<u8>)| ModelFile {
        path: path.parse().expect("a path"),
        digest: Digest::of(bytes),
        layout: BlobLayout::new(bytes.len() as u64).expect("small"),
        media_type: RAW_LAYER_TYPES[0].to_owned(),
    };
    let layers: Vec<ModelFile> = files.iter().map(file).collect();
    let config = ModelConfig::new(ModelDescriptor::default(), &layers).to_bytes();
    let manifest = Manifest::new(Descriptor::of(MODEL_CONFIG_TYPE, &config), layers).expect("a manifest");
    let base = format!("{base}/v2/me/{model}");
    for blob in files.iter().map(|(_, bytes)| bytes).chain([&config]) {
        let url = format!("{base}/blobs/uploads/?digest={}", Digest::of(blob));
        let headers = [("authorization", owner), ("content-type", "application/octet-stream")];
        assert_eq!(http::send("POST", &url, &headers, blob).status, 201);
    }
    let headers = [("authorization", owner), ("content-type", MANIFEST_TYPE)];
    http::send("PUT", &format!("{base}/manifests/v1"), &headers, &manifest.to_bytes())
}
