//! Tests that the pull of a fine-tune takes what its base has from the store, and the rest from a peer.

use std::path::Path;

use reg_testnet::model::{self, Made};
use reg_testnet::process::{Daemon, Home};
use reg_testnet::tree;
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// Twenty layers, each a large tensor and a small one; in a fine-tune two of the layers are others.
fn layers(prefix: &str, changed: &[u64]) -> Vec<Made> {
    let seed = |layer: u64| if changed.contains(&layer) { 1000 + layer } else { 1 + layer };
    (0..20)
        .flat_map(|layer| {
            let name = |what: &str| format!("{prefix}layers.{layer}.{what}.weight");
            [
                Made { name: name("proj"), elements: 4 * MIB / 4, seed: seed(layer) },
                Made { name: name("norm"), elements: 1024, seed: 500 + seed(layer) },
            ]
        })
        .collect()
}

fn publish(home: &Home, name: &str, tensors: &[Made]) -> String {
    let dir = home.path().join(name);
    std::fs::create_dir_all(&dir).expect("a folder");
    model::safetensors(&dir.join("model.safetensors"), tensors);
    home.publish(&dir, name, "me")
}

fn pull(home: &Home, reference: &str, out: &Path, flags: &[&str]) -> Value {
    let out = out.to_string_lossy();
    home.json(["pull", reference, &out].into_iter().chain(flags.iter().copied()))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_fine_tune_fetches_what_its_base_does_not_have() {
    let [a, b, c] = ["A", "B", "C"].map(Home::new);
    a.key("me");
    let daemon_a = Daemon::start(&a, [""; 0]);
    let base = publish(&a, "base", &layers("model.", &[]));
    let tune = publish(&a, "tune", &layers("base_model.model.", &[3, 4]));
    let _daemon_b = Daemon::start(&b, ["--bootstrap", &daemon_a.address()]);
    pull(&b, &base, &b.path().join("base"), &[]);
    let pulled = pull(&b, &tune, &b.path().join("tune"), &[]);
    tree::assert_equal(&a.path().join("tune"), &b.path().join("tune"));
    let (bytes, fetched) = (number(&pulled["bytes"]), number(&pulled["bytes_fetched"]));
    println!("{fetched} of {bytes} bytes fetched: {:.1} %", fetched as f64 * 100.0 / bytes as f64);
    assert!(fetched * 100 < bytes * 15, "{pulled}");
    let reused = number(&pulled["bytes_reused"]);
    assert!(reused > 0 && reused + fetched >= bytes, "what is not reused is fetched: {pulled}");
    assert!(reused + fetched < bytes + MIB, "nothing is fetched that was reused: {pulled}");
    // A node without the base fetches all of it, from the node that has put it together.
    let all = pull(&c, &tune, &c.path().join("tune"), &["--from", &daemon_a.address(), "--no-mdns"]);
    assert_eq!(number(&all["bytes_reused"]), 0);
    assert!(number(&all["bytes_fetched"]) >= bytes, "{all}");
}

/// The bytes after a safetensors file's header, and the header.
fn parted(path: &Path) -> (String, Vec<u8>) {
    let bytes = std::fs::read(path).expect("a file");
    let length = u64::from_le_bytes(*bytes.first_chunk().expect("a length")) as usize;
    (String::from_utf8(bytes[8..8 + length].to_vec()).expect("text"), bytes[8 + length..].to_vec())
}

#[test]
fn tensors_that_are_asked_for_come_alone_and_the_rest_later() {
    let [a, b] = ["A", "B"].map(Home::new);
    a.key("me");
    let daemon_a = Daemon::start(&a, [""; 0]);
    let all = layers("model.", &[]);
    let reference = publish(&a, "base", &all);
    let from = ["--from", &daemon_a.address(), "--no-mdns"];
    let out = b.path().join("part");
    let flags = [&from[..], &["--tensors", "model.layers.3.*", "--tensors", "*.layers.17.norm.*"]].concat();
    let pulled = pull(&b, &reference, &out, &flags);
    let wanted: Vec<Made> =
        all.iter().filter(|it| it.name.contains(".3.") || it.name.contains(".17.norm.")).cloned().collect();
    model::safetensors(&b.path().join("expected"), &wanted);
    let (header, data) = parted(&out.join("model.safetensors"));
    assert!(data == parted(&b.path().join("expected")).1, "the tensors are those that were published");
    assert!(header.contains("layers.3.proj") && !header.contains("layers.4."), "{header}");
    let (bytes, fetched) = (number(&pulled["bytes"]), number(&pulled["bytes_fetched"]));
    assert_eq!(
        (bytes, &pulled["complete"]),
        (wanted.iter().map(|it| it.elements * 4).sum(), &Value::Bool(false))
    );
    assert!(fetched < bytes + 5 * MIB, "a piece at each end, and the header: {pulled}");

    let again = pull(
        &b,
        &reference,
        &out,
        &["--tensors", "model.layers.3.*", "--tensors", "*.17.norm.*", "--offline"],
    );
    assert_eq!(number(&again["bytes_fetched"]), 0);
    let args = ["pull", &reference, "--tensors", "lm_head.*", "--offline", "--cache-only"];
    assert!(b.run(args).failed(8, "lm_head").stderr().contains("model.layers.0"));
    std::fs::write(out.join("model.safetensors"), "mine").expect("written");
    let part = out.to_string_lossy().into_owned();
    let args = ["pull", &reference, &part, "--tensors", "model.layers.3.*", "--offline"];
    b.run(args).failed(6, "exists and has other contents");
    assert_eq!(std::fs::read(out.join("model.safetensors")).expect("a file"), b"mine");

    let whole = pull(&b, &reference, &b.path().join("whole"), &from);
    tree::assert_equal(&a.path().join("base"), &b.path().join("whole"));
    assert!(number(&whole["bytes_fetched"]) + fetched <= number(&whole["bytes"]) + MIB, "{whole}");
}
