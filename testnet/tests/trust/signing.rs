//! Tests that the stock verifier of OpenSSF Model Signing judges a pulled model by two files of ours.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use reg_testnet::process::{Daemon, Home, text};
use reg_testnet::{clients, model};

fn verify(program: &Path, model: &Path, signature: &Path, ca: &Path) -> Output {
    Command::new(program)
        .args(["verify", "certificate"])
        .arg(model)
        .arg("--signature")
        .arg(signature)
        .arg("--certificate_chain")
        .arg(ca)
        .output()
        .expect("the verifier runs")
}

#[test]
fn a_pulled_model_is_accepted_and_one_changed_byte_is_not() {
    let client = clients::python("model-signing", &clients::MODEL_SIGNING);
    if clients::is_left_out(&client) {
        return;
    }
    let program = client.expect("the verifier is installed").program("model_signing");
    let [a, b] = ["A", "B"].map(Home::new);
    let model = a.path().join("model");
    model::generate(&model, 3 << 20, 4);
    fs::create_dir_all(model.join("a")).expect("a folder");
    fs::write(model.join("a/b.json"), "{}").expect("written");
    fs::write(model.join("a-b.txt"), "").expect("written");
    a.key("me");
    let daemon = Daemon::start(&a, [""; 0]);
    let reference = a.publish(&model, "signed:v1", "me");
    let dest = b.path().join("out");
    let args =
        ["pull", &reference, &dest.to_string_lossy(), "--from", &daemon.address(), "--no-mdns", "--copy"];
    b.run(args.map(str::to_owned)).ok();
    let (signature, ca) = (b.path().join("model.sig"), b.path().join("ca.pem"));
    fs::write(&signature, b.run(["export-signature", &reference]).ok().stdout()).expect("written");
    fs::write(&ca, a.run(["key", "export-ca", "me"]).ok().stdout()).expect("written");
    let judged = verify(&program, &dest, &signature, &ca);
    let said =
        format!("{}{}", String::from_utf8_lossy(&judged.stdout), String::from_utf8_lossy(&judged.stderr));
    assert!(judged.status.success(), "{said}");
    let weights = dest.join("model.safetensors");
    let mut bytes = fs::read(&weights).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&weights, bytes).expect("written");
    let judged = verify(&program, &dest, &signature, &ca);
    assert!(!judged.status.success(), "one changed byte is accepted");
}

/// What an old key has signed stays signed by it, so each key has an authority of its own; a revoked one has none any more.
#[test]
fn each_key_of_a_publisher_has_an_authority_and_a_revoked_one_has_none() {
    let client = clients::python("model-signing", &clients::MODEL_SIGNING);
    if clients::is_left_out(&client) {
        return;
    }
    let program = client.expect("the verifier is installed").program("model_signing");
    let home = Home::new("A");
    let ca = home.path().join("ca.pem");
    let export = || {
        let ran = home.run(["key", "export-ca", "me"]).ok();
        fs::write(&ca, ran.stdout()).expect("written");
        ran
    };
    let publish = |name: &str| {
        let dir = home.path().join(name);
        fs::create_dir_all(&dir).expect("a folder");
        fs::write(dir.join("config.json"), format!("{{\"model_type\":\"{name}\"}}")).expect("written");
        let args = ["publish", &dir.to_string_lossy(), name, "--key", "me", "--offline"];
        let reference = text(&home.json(args.map(str::to_owned))["reference"]);
        let signature = home.path().join(format!("{name}.sig"));
        fs::write(&signature, home.run(["export-signature", &reference]).ok().stdout()).expect("written");
        (dir, signature)
    };
    let first_key = text(&home.json(["key", "new", "me", "--no-next"])["publisher"]);
    let one = publish("one");
    home.run(["key", "new", "second"]).ok();
    home.run(["key", "rotate", "me", "--add", "second", "--threshold", "2", "--no-next", "--yes"]).ok();
    let two = publish("two");
    let exported = export();
    assert_eq!(exported.stdout().matches("BEGIN CERTIFICATE").count(), 2, "{}", exported.stdout());
    assert!(
        exported.stderr().contains(&format!("proves a key, not the id {first_key}")),
        "{}",
        exported.stderr()
    );
    for (dir, signature) in [&one, &two] {
        assert!(verify(&program, dir, signature, &ca).status.success(), "{}", dir.display());
    }
    // The second key alone: what was signed by the first is not vouched for.
    let authorities = home.json(["key", "export-ca", "me"]);
    let pem_of = |name: &str| {
        let key = text(&home.json(["key", "show", name])["public_key"]);
        let all = authorities["authorities"].as_array().expect("a list");
        text(&all.iter().find(|it| it["key"] == key.as_str()).expect("the key's")["pem"])
    };
    let (only, pem) = (home.path().join("only.pem"), pem_of("second"));
    fs::write(&only, pem).expect("written");
    assert!(!verify(&program, &one.0, &one.1, &only).status.success(), "another key's authority");
    // The first key was stolen.
    home.run(["key", "new", "third"]).ok();
    home.run(["key", "rotate", "me", "--add", "third", "--remove", "me", "--no-next", "--yes"]).ok();
    home.run(["key", "revoke", "me", "--key", "me", "--reason", "stolen", "--yes"]).ok();
    let exported = export();
    assert!(exported.stderr().contains("is revoked"), "{}", exported.stderr());
    assert_eq!(exported.stdout().matches("BEGIN CERTIFICATE").count(), 2, "second and third");
    assert!(!verify(&program, &one.0, &one.1, &ca).status.success(), "what a revoked key has signed");
    let three = publish("three");
    assert!(verify(&program, &three.0, &three.1, &ca).status.success());
}
