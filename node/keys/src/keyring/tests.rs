//! Tests of what a keyring promises, each with the case that could break it.

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{EncodePrivateKey, KeypairBytes};
use reg_api::fault::{Fault, FaultKind};
use tempfile::TempDir;

use super::*;

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

fn keyring() -> (TempDir, Keyring) {
    let home = tempfile::tempdir().unwrap();
    let keyring = Keyring::open(home.path().join("state/keys"));
    (home, keyring)
}

#[test]
fn a_key_is_made_once_and_found_again() {
    let (_home, keyring) = keyring();
    assert!(keyring.list().unwrap().keys.is_empty());
    let made = keyring.create(&name("main")).unwrap();
    let before = fs::read(&made.path).unwrap();
    assert!(matches!(keyring.create(&name("main")), Err(KeyringError::Exists { .. })));
    assert_eq!(fs::read(&made.path).unwrap(), before);
    let other = keyring.create(&name("a-other")).unwrap();
    assert_ne!(made.publisher, other.publisher);
    assert_eq!(keyring.list().unwrap().keys, [other, made.clone()]);
    let loaded = keyring.load(&name("main")).unwrap();
    assert_eq!((loaded.publisher_id(), loaded.public_key()), (made.publisher, made.public_key));
}

#[test]
fn a_missing_key_is_told_with_those_that_are_there() {
    let (_home, keyring) = keyring();
    let hint = |wanted: &str| keyring.load(&name(wanted)).unwrap_err().hint().unwrap();
    assert_eq!(hint("main"), "make it: reg key new main");
    keyring.create(&name("one")).unwrap();
    keyring.create(&name("two")).unwrap();
    assert_eq!(hint("main"), "there are: one, two; or make it: reg key new main");
}

#[test]
fn what_is_not_a_key_hides_no_key() {
    let (_home, keyring) = keyring();
    keyring.create(&name("good")).unwrap();
    let file = |name: &str, bytes: &[u8]| durable::create(&keyring.directory.join(name), bytes).unwrap();
    file("empty.pem", b"");
    file("latin.pem", b"\xff");
    file("Upper.pem", b"");
    file("large.pem", &[b'#'; KEY_FILE_BYTES_MAX + 1]);
    file("notes.txt", b"");
    let list = keyring.list().unwrap();
    assert_eq!((list.keys.len(), list.refused.len()), (1, 4), "{:?}", list.refused);
    assert!(matches!(keyring.load(&name("empty")), Err(KeyringError::NotAKey { .. })));
    assert!(matches!(keyring.load(&name("latin")), Err(KeyringError::NotText { .. })));
    assert!(matches!(keyring.load(&name("large")), Err(KeyringError::Read { .. })));
}

/// Keys with and without the public half, as `openssl genpkey` and other tools write them.
#[test]
fn takes_the_keys_of_other_tools() {
    let (_home, keyring) = keyring();
    let made = keyring.create_from_seed(&name("ours"), &[7; 32], None).unwrap();
    let openssl = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n\
        -----END PRIVATE KEY-----\n";
    assert_eq!(fs::read_to_string(&made.path).unwrap(), openssl);
    let with_public = SigningKey::from_bytes(&[7; 32]).to_pkcs8_pem(LineEnding::CRLF).unwrap();
    durable::create(&keyring.path(&name("theirs"), EXTENSION), with_public.as_bytes()).unwrap();
    assert_eq!(keyring.load(&name("theirs")).unwrap().publisher_id(), made.publisher);
    let mixed = KeypairBytes {
        secret_key: [7; 32],
        public_key: KeypairBytes::from(&SigningKey::from_bytes(&[8; 32])).public_key,
    };
    let mixed = mixed.to_pkcs8_pem(LineEnding::LF).unwrap();
    durable::create(&keyring.path(&name("mixed"), EXTENSION), mixed.as_bytes()).unwrap();
    assert!(matches!(keyring.load(&name("mixed")), Err(KeyringError::NotAKey { .. })));
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_a_key() {
    use std::os::unix::fs::PermissionsExt;
    let (_home, keyring) = keyring();
    let made = keyring.create(&name("main")).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!((mode(&made.path), mode(&keyring.directory)), (0o600, 0o700));
    for open in [0o640, 0o604, 0o660, 0o644, 0o610] {
        set(&made.path, open);
        let refused = keyring.load(&name("main")).unwrap_err();
        assert_eq!(refused.hint().unwrap(), format!("chmod 600 '{}'", made.path.display()));
        assert_eq!(refused.kind(), FaultKind::Denied);
        assert_eq!(keyring.list().unwrap().refused.len(), 1);
    }
    set(&made.path, 0o400);
    assert!(keyring.load(&name("main")).is_ok());
    set(&keyring.directory, 0o777);
    assert!(matches!(keyring.load(&name("main")), Err(KeyringError::DirectoryExposed { .. })));
    assert!(matches!(keyring.create(&name("new")), Err(KeyringError::DirectoryExposed { .. })));
    set(&keyring.directory, 0o755);
    assert!(keyring.load(&name("main")).is_ok());
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_that_has_loaded_a_key_dumps_no_core() {
    use rustix::process::{DumpableBehavior, dumpable_behavior};
    let (_home, keyring) = keyring();
    keyring.create(&name("main")).unwrap();
    keyring.load(&name("main")).unwrap();
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
}

#[test]
fn names_are_file_names_everywhere() {
    for refused in ["", ".", "..", "a/b", "../a", "A", "a b", "con", "nul", "com1", "-a", &"a".repeat(33)] {
        assert!(refused.parse::<KeyName>().is_err(), "{refused:?}");
    }
    for taken in ["main", "acme-2026", "a.b_c", &"a".repeat(32)] {
        assert!(taken.parse::<KeyName>().is_ok(), "{taken:?}");
    }
}
