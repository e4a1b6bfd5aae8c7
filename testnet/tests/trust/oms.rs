//! Tests OpenSSF Model Signing both ways over random trees, and the DSSE code of securesystemslib over a provenance.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use reg_testnet::clients::{self, Python};
use reg_testnet::process::{Daemon, Home, is_full, text};
use reg_testnet::{http, model};
use serde_json::json;

/// Drives the library of the stock tool: its command line takes a second to start.
const DRIVER: &str = r#"
import json, pathlib, sys
from model_signing import signing, verifying

order = json.load(sys.stdin)
keys = pathlib.Path(order["keys"])
for tree in order["trees"]:
    model, out = pathlib.Path(tree["dir"]), pathlib.Path(tree["out"])
    verifying.Config().use_certificate_verifier(
        certificate_chain=[pathlib.Path(order["ca"])]
    ).verify(model, pathlib.Path(tree["ours"]))
    signing.Config().use_elliptic_key_signer(private_key=keys / "key.pem").sign(model, out / "key.sig")
    signing.Config().use_certificate_signer(
        private_key=keys / "leaf.pem",
        signing_certificate=keys / "leaf.crt",
        certificate_chain=[keys / "ca.crt"],
    ).sign(model, out / "certificate.sig")
    print(model)
"#;

/// Makes the keys that the stock tool signs with.
const KEYS: &str = r#"
import datetime, pathlib, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization as s
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

out = pathlib.Path(sys.argv[1])
def private(name):
    key = ec.generate_private_key(ec.SECP256R1())
    out.joinpath(name).write_bytes(
        key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()))
    return key
def certificate(name, key, subject, issuer, by, authority):
    def named(text): return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
    usage = dict.fromkeys(["content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "crl_sign", "encipher_only", "decipher_only"], False)
    built = (x509.CertificateBuilder().subject_name(named(subject)).issuer_name(named(issuer))
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2024, 1, 1)).not_valid_after(datetime.datetime(2099, 1, 1))
        .add_extension(x509.BasicConstraints(authority, None), True)
        .add_extension(x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, **usage), True)
        .sign(by, hashes.SHA256()))
    out.joinpath(name).write_bytes(built.public_bytes(s.Encoding.PEM))
key = private("key.pem")
out.joinpath("key.pub").write_bytes(
    key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo))
ca, leaf = private("ca.pem"), private("leaf.pem")
certificate("ca.crt", ca, "authority", "authority", ca, True)
certificate("leaf.crt", leaf, "signer", "authority", ca, False)
"#;

fn stock() -> Option<Python> {
    let client = clients::python("model-signing", &clients::MODEL_SIGNING);
    (!clients::is_left_out(&client)).then(|| client.expect("the stock tool is installed"))
}

fn python(client: &Python, script: &str, args: &[&str], input: &str) -> Output {
    use std::io::Write;
    use std::process::Stdio;
    let mut command = Command::new(client.program("python"));
    command.arg("-c").arg(script).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("Python runs");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("sent");
    let output = child.wait_with_output().expect("Python ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Runs the stock tool as its users do; it must succeed.
fn command(client: &Python, what: [&str; 2], dir: &Path, flags: &[[OsString; 2]]) {
    let mut command = Command::new(client.program("model_signing"));
    let output =
        command.args(what).args(flags.iter().flatten()).arg(dir).output().expect("the stock tool runs");
    assert!(output.status.success(), "{what:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A tree of the seed's own: some files, some empty, in folders with names that sort in more than one way.
fn grow(dir: &Path, seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    };
    let words = ["a", "a-b", "a.b", "b", "B", "modèle", "日本語", "x y", "_", "0"];
    let mut made = BTreeSet::new();
    for _ in 0..1 + next(12) {
        let folders: Vec<&str> = (0..next(4)).map(|_| words[next(words.len())]).collect();
        let folder = folders.iter().fold(dir.to_owned(), |path, it| path.join(format!("d-{it}")));
        let file = folder.join(format!("{}-{}.json", words[next(words.len())], next(100)));
        // Names that differ in case only are refused, as some file systems know but one of them.
        if made.insert(file.to_string_lossy().to_lowercase()) && !clashes(&file, dir) {
            fs::create_dir_all(&folder).expect("a folder");
            let text = format!("[{}]", vec!["0"; next(2000)].join(","));
            fs::write(&file, if next(5) == 0 { String::new() } else { text }).expect("written");
        }
    }
}

/// Whether a folder on the way is there in another case.
fn clashes(file: &Path, dir: &Path) -> bool {
    let mut on_the_way = file.ancestors().skip(1).take_while(|it| it.starts_with(dir) && *it != dir);
    on_the_way.any(|folder| {
        let lower = folder.to_string_lossy().to_lowercase();
        let siblings = fs::read_dir(folder.parent().expect("below a folder")).into_iter().flatten().flatten();
        let same = |it: PathBuf| it != *folder && it.to_string_lossy().to_lowercase() == lower;
        siblings.map(|it| it.path()).any(same)
    })
}

#[test]
fn random_trees_verify_both_ways() {
    let Some(client) = stock() else { return };
    let count = if is_full() { 200 } else { 4 };
    let home = Home::new("A");
    home.key("me");
    let keys = home.path().join("stock");
    fs::create_dir_all(&keys).expect("a folder");
    python(&client, KEYS, &[&keys.to_string_lossy()], "");
    let ca = home.path().join("ca.pem");
    fs::write(&ca, home.run(["key", "export-ca", "me"]).ok().stdout()).expect("written");
    let mut trees = Vec::new();
    for seed in 0..count {
        let [dir, out] = ["tree", "out"].map(|it| home.path().join(format!("{it}-{seed}")));
        fs::create_dir_all(&dir).and_then(|()| fs::create_dir_all(&out)).expect("folders");
        grow(&dir, seed);
        let args = ["publish", &dir.to_string_lossy(), &format!("tree-{seed}"), "--key", "me", "--offline"];
        let reference = text(&home.json(args.map(str::to_owned))["reference"]);
        let ours = out.join("ours.sig");
        fs::write(&ours, home.run(["export-signature", &reference]).ok().stdout()).expect("written");
        trees.push((dir, out, ours));
    }
    let order = json!({
        "keys": keys, "ca": ca,
        "trees": trees.iter().map(|(dir, out, ours)| json!({"dir": dir, "out": out, "ours": ours})).collect::<Vec<_>>(),
    });
    let verified = python(&client, DRIVER, &[], &order.to_string());
    assert_eq!(
        String::from_utf8_lossy(&verified.stdout).lines().count(),
        trees.len(),
        "the stock tool takes ours"
    );
    let verify = |dir: &Path, bundle: &Path, flag: &str, by: &Path| {
        let args = [
            "verify".as_ref(),
            dir.as_os_str(),
            "--bundle".as_ref(),
            bundle.as_os_str(),
            flag.as_ref(),
            by.as_os_str(),
        ];
        home.run(args)
    };
    for (dir, out, ours) in &trees {
        verify(dir, &out.join("key.sig"), "--key", &keys.join("key.pub")).ok();
        verify(dir, &out.join("certificate.sig"), "--ca", &keys.join("ca.crt")).ok();
        verify(dir, ours, "--ca", &ca).ok();
    }
    // The command line takes a second to start: by default one of the trees goes that way.
    let by_command = if is_full() { trees.len() } else { 1 };
    let by_command_line = |(dir, out, ours): &(PathBuf, PathBuf, PathBuf)| {
        let flag = |name: &str, path: &Path| [name.into(), path.as_os_str().to_owned()];
        let flags = [flag("--signature", ours), flag("--certificate_chain", &ca)];
        command(&client, ["verify", "certificate"], dir, &flags);
        let sig = out.join("by-command.sig");
        let flags = [flag("--signature", &sig), flag("--private_key", &keys.join("key.pem"))];
        command(&client, ["sign", "key"], dir, &flags);
        verify(dir, &sig, "--key", &keys.join("key.pub")).ok();
    };
    std::thread::scope(|scope| {
        for part in trees[..by_command].chunks(by_command.div_ceil(2)) {
            scope.spawn(|| part.iter().for_each(by_command_line));
        }
    });
    let (dir, out, _) = &trees[0];
    verify(dir, &out.join("key.sig"), "--ca", &ca).failed(2, "made with a key");
    verify(dir, &out.join("certificate.sig"), "--ca", &ca).failed(4, "does not lead to the given authority");
    fs::create_dir_all(dir.join(".github")).expect("a folder");
    fs::write(dir.join(".github/x.py"), "import os").expect("written");
    verify(dir, &out.join("key.sig"), "--key", &keys.join("key.pub"))
        .failed(4, "\".github/x.py\" is not signed");
    println!("{count} trees, both ways, with both methods; {by_command} of them by the command line");
}

/// Envelopes and statements of ours by other people's code: securesystemslib and in-toto-attestation come with the stock tool.
#[test]
fn provenances_and_attestations_verify_with_the_dsse_code_of_securesystemslib() {
    const CHECK: &str = r#"
import json, sys
from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey
order = json.load(sys.stdin)
def key(public):
    return SSlibKey(order["keyid"], "ed25519", "ed25519", {"public": public})
envelope = Envelope.from_dict(order["envelope"])
print(list(envelope.verify([key(order["public"])], 1)))
statement = Statement.copy_from_pb(json_format.Parse(envelope.payload, statement_pb2.Statement()))
statement.validate()
print(statement.pb.type, statement.pb.subject[0].digest["sha256"], statement.pb.predicate_type)
for wrong in (key("00" * 31 + "01"), ):
    try:
        envelope.verify([wrong], 1)
        raise SystemExit("another key is accepted")
    except VerificationError:
        pass
envelope.payload += b" "
try:
    envelope.verify([key(order["public"])], 1)
    raise SystemExit("another payload is accepted")
except VerificationError:
    pass
"#;
    let Some(client) = stock() else { return };
    let home = Home::new("A");
    let publisher = home.key("me");
    home.key("scanner");
    let dir = home.path().join("model");
    model::generate(&dir, 2 << 20, 3);
    let daemon = Daemon::start(&home, ["--offline"]);
    let reference = home.publish(&dir, "tiny:v1", "me");
    let said = ["--kind", "scan", "--result", "pass", "--tool", "scan 1", "--key", "scanner"];
    home.run([&["attest", &reference][..], &said].concat()).ok();
    let manifest = text(&home.json(["info", &reference])["summary"]["manifest"]);
    let base = format!("{}/v2/{publisher}/tiny", http::base(&daemon));
    for (signer, artifact_type, predicate) in [
        ("me", "application/vnd.in-toto%2Bjson", "urn:reg:provenance:v1"),
        ("scanner", "application/vnd.reg.attestation.v1%2Bjson", "urn:reg:attestation:v1"),
    ] {
        let public = text(&home.json(["key", "show", signer])["public_key"]);
        let public = public.strip_prefix("ed25519:").expect("an ed25519 key").to_owned();
        let of_type = format!("{base}/referrers/{manifest}?artifactType={artifact_type}");
        let listed = http::get(&of_type, &[]).json();
        let referrer = text(&listed["manifests"][0]["digest"]);
        let referrer = http::get(&format!("{base}/manifests/{referrer}"), &[]).json();
        let envelope =
            http::get(&format!("{base}/blobs/{}", text(&referrer["layers"][0]["digest"])), &[]).json();
        let keyid = text(&envelope["signatures"][0]["keyid"]);
        let order = json!({ "envelope": envelope, "public": public, "keyid": keyid });
        let said = python(&client, CHECK, &[], &order.to_string());
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let expected = format!("https://in-toto.io/Statement/v1 {} {predicate}", &manifest[7..]);
        assert!(said.contains(&expected), "{said}");
    }
}

/// A directory that was signed with the stock tool is published under a key of ours, whole and nothing else.
#[test]
fn a_directory_that_the_stock_tool_has_signed_is_imported_as_it_was_signed() {
    let Some(client) = stock() else { return };
    let [home, puller] = ["A", "B"].map(Home::new);
    home.key("me");
    let keys = home.path().join("stock");
    fs::create_dir_all(&keys).expect("a folder");
    python(&client, KEYS, &[&keys.to_string_lossy()], "");
    let dir = home.path().join("tree");
    let write = |path: &str, text: &str| {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().expect("below a folder")).expect("a folder");
        fs::write(path, text).expect("written");
    };
    write("config.json", "{\"model_type\":\"tiny\"}");
    write("sub/README.md", "# tiny\n");
    let program = client.program("model_signing");
    let sign = |method: &str, flags: &[(&str, &Path)]| {
        let mut command = Command::new(&program);
        command.args(["sign", method]).arg(&dir);
        for (flag, path) in flags {
            command.arg(flag).arg(path);
        }
        let output = command.output().expect("the stock tool runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let bundle = dir.join("model.sig");
    let [key, public, leaf_key, leaf, ca] =
        ["key.pem", "key.pub", "leaf.pem", "leaf.crt", "ca.crt"].map(|it| keys.join(it));
    let import = |name: &str, flag: &str, by: &Path| {
        let [dir, bundle, by] = [&*dir, &*bundle, by].map(|it| it.to_string_lossy().into_owned());
        home.run(["import", &dir, name, "--key", "me", "--bundle", &bundle, flag, &by])
    };
    let files = |reference: &str| home.json(["info", reference])["summary"]["files"].clone();
    sign("key", &[("--signature", &bundle), ("--private_key", &key)]);
    let by_key = import("by-key", "--signer", &public).ok().stdout();
    // The bundle lies beside the files, so every puller of the model can check it too.
    assert_eq!(files(by_key.trim()), json!(3));
    let flags = [("--signature", &*bundle), ("--private_key", &leaf_key), ("--signing_certificate", &leaf)];
    sign("certificate", &[&flags[..], &[("--certificate_chain", &ca)]].concat());
    let by_certificate = import("by-certificate", "--ca", &ca).ok();
    assert!(by_certificate.stderr().contains("what CN=signer has signed"), "{}", by_certificate.stderr());
    let daemon = Daemon::start(&home, ["--dht", "off"]);
    let flags = ["--dht", "off", "--no-gossip", "--copy"];
    puller.pull(by_certificate.stdout().trim(), &[&daemon.address()], &flags).ok();
    let out = puller.path().join("out");
    let sig = out.join("model.sig");
    let [dir_text, sig, ca_text] = [&out, &sig, &ca].map(|it| it.to_string_lossy().into_owned());
    puller.run(["verify", &dir_text, "--bundle", &sig, "--ca", &ca_text]).ok();
    // What no given key or authority vouches for, what was changed and what is not signed is refused, under any name.
    let refused = |code: i32, what: &str, flag: &str, by: &Path| {
        import("refused", flag, by).failed(code, what);
    };
    refused(2, "made with a certificate", "--signer", &public);
    let own_ca = home.path().join("own.pem");
    fs::write(&own_ca, home.run(["key", "export-ca", "me"]).ok().stdout()).expect("written");
    refused(4, "does not lead to the given authority", "--ca", &own_ca);
    write(".github/x.py", "import os");
    refused(4, "\".github/x.py\" is not signed", "--ca", &ca);
    fs::remove_dir_all(dir.join(".github")).expect("ours");
    write("notes.txt", "not signed");
    let unsigned = ["--unsigned", "notes.txt"];
    let args =
        ["import", &dir.to_string_lossy(), "refused", "--key", "me", "--bundle", &bundle.to_string_lossy()]
            .map(str::to_owned);
    let args: Vec<String> =
        args.into_iter().chain(["--ca".to_owned(), ca.to_string_lossy().into_owned()]).collect();
    home.run(args.iter().map(String::as_str).chain(unsigned)).failed(4, "would be published with");
    fs::remove_file(dir.join("notes.txt")).expect("ours");
    write(".gitattributes", "*.bin filter=lfs");
    refused(4, "is not signed", "--ca", &ca);
    home.run(args.iter().map(String::as_str).chain(["--unsigned", ".gitattributes"])).ok();
    fs::remove_file(dir.join(".gitattributes")).expect("ours");
    write("config.json", "{}");
    refused(4, "config.json is not what was signed", "--ca", &ca);
    let listed = home.json(["ls"]).to_string();
    assert_eq!(listed.matches("\"refused\"").count(), 1, "{listed}");
    home.run(["import", &dir.to_string_lossy(), "x", "--key", "me"]).failed(2, "no signer of");
}
