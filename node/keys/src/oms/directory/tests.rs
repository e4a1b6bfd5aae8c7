//! Tests of signed directories: bundles of the stock tool over four files, and changes to the bundles and the files.

use p256::ecdsa::signature::Signer;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::{EncodePublicKey, LineEnding};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// Made by model-signing 1.1.1 with the key method.
const BY_KEY: &str = include_str!("../../../tests/golden/stock-key.sig");
/// A bundle with the certificate method that model-signing 1.1.1 accepts, and its authority.
const BY_CERTIFICATE: &str = include_str!("../../../tests/golden/stock-certificate.sig");

/// A time in the middle of the certificates' validity.
const NOW: u64 = 1_800_000_000;

struct World {
    dir: TempDir,
    bundle: PathBuf,
}

fn world(bundle: &str) -> World {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("m");
    fs::create_dir_all(model.join("sub")).unwrap();
    for (name, text) in [("a.bin", "hello"), ("sub/b.bin", "world"), ("empty", ""), ("a-config.json", "{}")] {
        fs::write(model.join(name), text).unwrap();
    }
    let path = dir.path().join("model.sig");
    fs::write(&path, bundle).unwrap();
    World { dir, bundle: path }
}

impl World {
    fn model(&self) -> PathBuf {
        self.dir.path().join("m")
    }

    fn judge(&self, authority: &Authority) -> Result<SignedDirectory, SignedDirectoryError> {
        verify_directory(&self.model(), &self.bundle, authority, NOW, &[])
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn by_key() -> Authority {
    Authority::key(&golden("stock-key.pub")).unwrap()
}

fn by_certificate() -> Authority {
    Authority::certificates(&golden("stock-certificate.pem")).unwrap()
}

/// Returns a key of the test, to sign statements that the stock tool's key did not sign.
fn own() -> (SigningKey, Authority) {
    let key = SigningKey::from_slice(&[7; 32]).unwrap();
    let text = key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    let der = pem::parse(text).unwrap().contents().to_vec();
    (key, Authority::Key(der))
}

fn payload() -> String {
    let bundle: Value = serde_json::from_str(BY_KEY).unwrap();
    let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
    String::from_utf8(BASE64.decode(payload.as_bytes()).unwrap()).unwrap()
}

/// Returns a bundle with the test's signature over this statement.
fn sign(payload: &str) -> Value {
    let signature: DerSignature = own().0.sign(&pae(STATEMENT_PAYLOAD_TYPE, payload.as_bytes()));
    let mut bundle: Value = serde_json::from_str(BY_KEY).unwrap();
    bundle["dsseEnvelope"]["payload"] = BASE64.encode(payload.as_bytes()).into();
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = BASE64.encode(signature.as_bytes()).into();
    bundle
}

/// Returns such a bundle over a changed statement, in which the digest of the list is correct again.
fn signed_with(change: impl FnOnce(&mut Value)) -> String {
    let mut statement: Value = serde_json::from_str(&payload()).unwrap();
    change(&mut statement);
    let resources = statement["predicate"]["resources"].as_array().unwrap();
    let digests: Vec<u8> = resources
        .iter()
        .flat_map(|it| data_encoding::HEXLOWER.decode(it["digest"].as_str().unwrap().as_bytes()).unwrap())
        .collect();
    statement["subject"][0]["digest"]["sha256"] = Digest::of(&digests).hex().into();
    sign(&statement.to_string()).to_string()
}

#[test]
fn takes_what_the_stock_tool_signs_with_either_method() {
    let found = world(BY_KEY).judge(&by_key()).unwrap();
    assert_eq!((found.files, found.bytes, found.certificate), (4, 12, None));
    assert_eq!(found.root.hex(), "b1228d5cd1bf67fd6d16caef8e5bf890b24bcd8da98061494f0c9b964c8f14c2");
    let found = world(BY_CERTIFICATE).judge(&by_certificate()).unwrap();
    assert!(found.certificate.is_some());
    assert!(matches!(
        world(BY_KEY).judge(&by_certificate()),
        Err(SignedDirectoryError::Method { found: "a key", .. })
    ));
    assert!(matches!(
        world(BY_CERTIFICATE).judge(&by_key()),
        Err(SignedDirectoryError::Method { found: "a certificate", .. })
    ));
    assert!(matches!(world(BY_KEY).judge(&own().1), Err(SignedDirectoryError::Signature)));
    let other = Authority::certificates(&golden("authority.pem")).unwrap();
    assert!(matches!(world(BY_CERTIFICATE).judge(&other), Err(SignedDirectoryError::Chain(_))));
}

/// Each of the eight cases was tried with model-signing 1.1.1, which accepts it.
#[test]
fn refuses_what_the_stock_tool_wrongly_accepts() {
    let own = own().1;
    assert!(world(&signed_with(|_| {})).judge(&own).is_ok());
    // 1. A name twice, the false digest first.
    let twice = signed_with(|it| {
        let resources = it["predicate"]["resources"].as_array_mut().unwrap();
        let mut evil = resources[1].clone();
        evil["digest"] = Digest::of(b"evil").hex().into();
        resources.insert(0, evil);
    });
    assert!(matches!(world(&twice).judge(&own), Err(SignedDirectoryError::Twice { .. })));
    // 2. A key of the JSON twice.
    let text = payload().replacen("\"resources\"", "\"resources\": [], \"resources\"", 1);
    let world_of = world(&sign(&text).to_string());
    assert!(matches!(world_of.judge(&own), Err(SignedDirectoryError::Json(_))));
    // 3. A second signature, which the stock tool does not check.
    let mut bundle = sign(&payload());
    let signatures = bundle["dsseEnvelope"]["signatures"].as_array_mut().unwrap();
    signatures.push(json!({ "sig": "AAAA", "keyid": "" }));
    assert!(matches!(
        world(&bundle.to_string()).judge(&own),
        Err(SignedDirectoryError::Signatures { count: 2 })
    ));
    // 4. A folder that the signed statement says to ignore.
    let ignoring = world(&signed_with(|it| {
        it["predicate"]["serialization"]["ignore_paths"] = json!(["extra"]);
    }));
    fs::create_dir_all(ignoring.model().join("extra")).unwrap();
    fs::write(ignoring.model().join("extra/run.py"), "import os").unwrap();
    assert!(
        matches!(ignoring.judge(&own), Err(SignedDirectoryError::Unsigned { path }) if path == "extra/run.py")
    );
    // 5. Files that git uses, added after signing.
    for name in [".github/x.py", ".gitattributes", ".git/hooks/post-checkout"] {
        let added = world(BY_KEY);
        let path = added.model().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        assert!(
            matches!(added.judge(&by_key()), Err(SignedDirectoryError::Unsigned { path }) if path == name)
        );
        let top = name.split('/').next().unwrap().to_owned();
        let leave = [top];
        let found = verify_directory(&added.model(), &added.bundle, &by_key(), NOW, &leave).unwrap();
        assert_eq!(found.unsigned, [name.to_owned()]);
    }
    // 6. and 7. A certificate that is no longer, or not yet, valid.
    for now in [1, 5_000_000_000] {
        let world = world(BY_CERTIFICATE);
        let found = verify_directory(&world.model(), &world.bundle, &by_certificate(), now, &[]);
        assert!(matches!(found, Err(SignedDirectoryError::Chain(_))), "{now}");
    }
    // 8. A folder behind a link, which the stock tool signs as if it were not there.
    #[cfg(unix)]
    {
        let linked = world(BY_KEY);
        std::os::unix::fs::symlink(linked.dir.path(), linked.model().join("link")).unwrap();
        assert!(matches!(linked.judge(&by_key()), Err(SignedDirectoryError::NoFile { .. })));
    }
    // The stock tool's older way to sign: the signed bytes are not those of the specification.
    let mut bundle = sign(&payload());
    let legacy = format!("DSSEV1 28 {STATEMENT_PAYLOAD_TYPE} {} b'{}'", payload().len(), payload());
    let signature: DerSignature = self::own().0.sign(legacy.as_bytes());
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = BASE64.encode(signature.as_bytes()).into();
    assert!(matches!(world(&bundle.to_string()).judge(&own), Err(SignedDirectoryError::Signature)));
}

#[test]
fn a_changed_missing_or_strange_file_is_named() {
    let by_key = by_key();
    let changed = world(BY_KEY);
    fs::write(changed.model().join("a.bin"), "Hello").unwrap();
    assert!(
        matches!(changed.judge(&by_key), Err(SignedDirectoryError::Changed { path }) if path.as_str() == "a.bin")
    );
    let missing = world(BY_KEY);
    fs::remove_file(missing.model().join("empty")).unwrap();
    assert!(
        matches!(missing.judge(&by_key), Err(SignedDirectoryError::Missing { path }) if path.as_str() == "empty")
    );
    let inside = world(BY_KEY);
    let path = inside.model().join("model.sig");
    fs::rename(&inside.bundle, &path).unwrap();
    assert!(
        verify_directory(&inside.model(), &path, &by_key, NOW, &[]).is_ok(),
        "its own file is not signed"
    );
    let own = own().1;
    for name in ["../a.bin", "/a.bin", "a\\b", "sub//b.bin", "", "a.bin\0"] {
        let hostile = signed_with(|it| it["predicate"]["resources"][0]["name"] = name.into());
        assert!(matches!(world(&hostile).judge(&own), Err(SignedDirectoryError::Name { .. })), "{name:?}");
    }
    let reversed = signed_with(|it| it["predicate"]["resources"].as_array_mut().unwrap().reverse());
    assert!(world(&reversed).judge(&own).is_ok(), "any order, with the digest of that order");
    let mut statement: Value = serde_json::from_str(&payload()).unwrap();
    statement["predicate"]["resources"].as_array_mut().unwrap().reverse();
    let stale = sign(&statement.to_string()).to_string();
    assert!(matches!(world(&stale).judge(&own), Err(SignedDirectoryError::Root { .. })));
    let shards = signed_with(|it| it["predicate"]["serialization"]["method"] = "shards".into());
    assert!(matches!(world(&shards).judge(&own), Err(SignedDirectoryError::Serialization { .. })));
}

proptest! {
    /// A changed bundle is refused, or the change does not alter what it says. None causes a panic.
    #[test]
    fn no_changed_bundle_vouches(at in any::<prop::sample::Index>(), byte: u8) {
        for (bundle, authority) in [(BY_KEY, by_key()), (BY_CERTIFICATE, by_certificate())] {
            let mut changed = bundle.as_bytes().to_vec();
            let at = at.index(changed.len());
            changed[at] = byte;
            let before = verify_bundle(bundle.as_bytes(), &authority, NOW).unwrap();
            if let Ok(after) = verify_bundle(&changed, &authority, NOW) {
                prop_assert_eq!(after, before);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(verify_bundle(&bytes, &by_key(), NOW).is_err());
        prop_assert!(check_statement(&bytes).is_err());
    }
}
