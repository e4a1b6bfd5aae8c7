//! The stock verifier of OpenSSF Model Signing judges a pulled model by two files of ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use reg_testnet::model;
use reg_testnet::process::{Daemon, Home};

/// What is installed, pinned: 1.1.1 imports pyOpenSSL and does not say so.
const PACKAGES: [&str; 2] = ["model-signing==1.1.1", "pyOpenSSL==25.3.0"];

/// Returns the verifier, installed into the cache folder where it is not there yet.
fn verifier() -> PathBuf {
    let cache = model::cache_dir();
    fs::create_dir_all(&cache).expect("a cache folder");
    let lock = fs::File::create(cache.join("model-signing.lock")).expect("a lock");
    lock.lock().expect("locked");
    let venv = cache.join("model-signing-1.1.1");
    let program = venv.join("bin/model_signing");
    if !venv.join("complete").exists() {
        drop(fs::remove_dir_all(&venv));
        let made = Command::new("python3").args(["-m", "venv"]).arg(&venv).status().expect("python3 runs");
        assert!(made.success(), "a virtual environment cannot be made: is python3-venv installed?");
        let pip = venv.join("bin/pip");
        let installed =
            Command::new(pip).args(["install", "--quiet"]).args(PACKAGES).output().expect("pip runs");
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        fs::write(venv.join("complete"), "").expect("written");
    }
    program
}

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
    let program = verifier();
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
