//! The stock verifier of OpenSSF Model Signing judges a pulled model by two files of ours.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use reg_testnet::process::{Daemon, Home};
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
