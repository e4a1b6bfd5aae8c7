//! Tests of what a keyring promises, each with the case that could break it.

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{EncodePrivateKey, KeypairBytes};
use reg_api::fault::{Fault, FaultKind};
use reg_proto::key::{Inheritance, Next, NextKeys};
use tempfile::TempDir;

use super::*;
use crate::key_changes::{self, KeySet};
use crate::signing_file::SigningFile;

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

/// Begins version 2 of `me`, committed to two next keys.
fn begun(keyring: &Keyring, history: &KeyHistory) -> Pending {
    let made = keyring.generate_next(&name("me"), 2, None).unwrap();
    let next: Vec<PublicKey> = made.iter().map(UnwrittenKey::public_key).collect();
    let key_set = KeySet {
        keys: history.newest().keys.clone(),
        threshold: 1,
        next: Next::Keys(NextKeys::of(&next, 1)),
        floor: None,
    };
    let file = key_changes::rotate(history, key_set, Inheritance::default());
    keyring.begin(&name("me"), file, &made, None).unwrap()
}

#[test]
fn next_keys_and_keys_of_a_rotation_are_no_publishers() {
    let (_home, keyring) = keyring();
    keyring.create(&name("me")).unwrap();
    let me = keyring.load(&name("me")).unwrap();
    keyring.keep_documents(&name("me"), me.history()).unwrap();
    for key in ["me.next-1", "me.key-2", "me.next-x", "me.2"] {
        keyring.create(&name(key)).unwrap();
    }
    let names = |list: KeyList| list.keys.iter().map(|it| it.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(keyring.list().unwrap()), ["me", "me.2", "me.next-x"]);
    assert_eq!(keyring.files().unwrap().keys.len(), 5);
    // Earlier versions named the key of a rotation so. It is one if the documents of `me` name it.
    let old = keyring.load(&name("me")).unwrap();
    let key_set = KeySet {
        keys: vec![keyring.info(&name("me.2")).unwrap().public_key],
        threshold: 1,
        next: Next::Open,
        floor: None,
    };
    let mut file = key_changes::rotate(old.history(), key_set, Inheritance::default());
    for key in ["me", "me.2"] {
        file.sign(&keyring.secret(&name(key)).unwrap()).unwrap();
    }
    keyring.keep_documents(&name("me"), &file.declarations().unwrap().0).unwrap();
    assert_eq!(names(keyring.list().unwrap()), ["me", "me.next-x"]);
    // A publisher with documents alone is one, too.
    keyring.keep_documents(&name("board"), &file.declarations().unwrap().0).unwrap();
    assert_eq!(names(keyring.list().unwrap()), ["board", "me", "me.next-x"]);
    assert_eq!(keyring.info(&name("board")).unwrap().protection, Protection::Elsewhere);
}

#[test]
fn a_begun_document_is_finished_or_given_up() {
    let (_home, keyring) = keyring();
    keyring.create(&name("me")).unwrap();
    let history = keyring.load(&name("me")).unwrap().history().clone();
    let pending = begun(&keyring, &history);
    assert_eq!(keyring.pending(&name("me")).unwrap().unwrap().made, pending.made);
    assert!(keyring.load(&name("me")).is_ok(), "nothing is signed");
    // Nothing was signed with it, so the keys that were made for it are removed.
    keyring.give_up(&name("me"), &pending).unwrap();
    assert_eq!(keyring.files().unwrap().keys.len(), 1);
    assert!(keyring.pending(&name("me")).unwrap().is_none());
    // A document that is signed hinders what its keys would sign, until it is in effect.
    let mut pending = begun(&keyring, &history);
    let key = keyring.secret(&name("me")).unwrap();
    pending.file.sign(&key).unwrap();
    keyring.keep_pending(&name("me"), &pending).unwrap();
    assert!(matches!(keyring.load(&name("me")), Err(KeyringError::Unfinished { .. })));
    keyring.keep_documents(&name("me"), &pending.file.declarations().unwrap().0).unwrap();
    keyring.forget_pending(&name("me")).unwrap();
    assert_eq!(keyring.load(&name("me")).unwrap().history().version(), 2);
    let info = keyring.info_with_next(&name("me")).unwrap();
    assert_eq!((info.next.len(), info.next_threshold), (2, 1));
    assert!(info.next.iter().all(|it| it.is_available));
}

#[test]
fn next_keys_lie_where_the_user_wants_and_are_fetched_from_there() {
    let (home, keyring) = keyring();
    let stick = home.path().join("stick");
    fs::create_dir(&stick).unwrap();
    let made = keyring.generate_next(&name("me"), 2, Some(&stick)).unwrap();
    let keys: Vec<PublicKey> = made.iter().map(UnwrittenKey::public_key).collect();
    let next = NextKeys::of(&keys, 1);
    for key in &made {
        keyring.write_made(key, Some("correct horse")).unwrap();
    }
    assert!(keyring.files().unwrap().keys.is_empty(), "the key directory has the public halves alone");
    assert_eq!(keyring.public_key(&name("me.next-1")).unwrap(), keys[0]);
    let known = keyring.next_keys(&name("me"), &next);
    assert_eq!(known[1].path.as_deref(), Some(&*fs::canonicalize(&stick).unwrap().join("me.next-2.pem")));
    fs::remove_file(stick.join("me.next-2.pem")).unwrap();
    let known = keyring.next_keys(&name("me"), &next);
    assert_eq!((known[0].is_available, known[1].is_available), (true, false));
    assert_eq!(keyring.fetch_next(&name("me"), &next, &stick).unwrap(), 1);
    let files = keyring.files().unwrap().keys;
    assert_eq!((files.len(), files[0].public_key, files[0].protection), (1, keys[0], Protection::Passphrase));
    assert_eq!(keyring.generate_next(&name("me"), 1, None).unwrap()[0].made().name, name("me.next-3"));
}

#[test]
fn names_of_next_keys_are_told_from_others() {
    let of = |text: &str| text.parse::<KeyName>().ok().and_then(|it| it.publisher()).map(|it| it.to_string());
    assert_eq!(of("me.next-1").as_deref(), Some("me"));
    assert_eq!(of("me.key-12").as_deref(), Some("me"));
    assert_eq!(of(&format!("{}.next-9", "a".repeat(32))), Some("a".repeat(32)));
    for other in ["me", "me.next-0", "me.next-", "me.next-12345", "me.next-x", "next-1"] {
        assert_eq!(of(other), None, "{other}");
    }
    assert!(format!("{}.next-9", "a".repeat(33)).parse::<KeyName>().is_err());
}

/// Returns the key document after `history`, to be signed.
fn following(history: &KeyHistory, keys: &[PublicKey], next: &PublicKey) -> SigningFile {
    let next = Next::Keys(NextKeys::of(&[*next], 1));
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    let key_set = KeySet { threshold: keys.len(), keys, next, floor: None };
    key_changes::rotate(history, key_set, Inheritance::default())
}

/// Every set of files that a command about keys can leave, with what the next command does about it.
#[test]
fn every_set_of_files_that_is_left_over_says_what_goes_on() {
    let (_home, keyring) = keyring();
    let me = name("me");
    keyring.create(&me).unwrap();
    keyring.create(&name("other")).unwrap();
    let key = |text: &str| keyring.secret(&name(text)).unwrap();
    let history = keyring.load(&me).unwrap().history().clone();
    let stage = || keyring.begun(&me).unwrap().map(|(_, stage)| stage);
    let leave = |file: &SigningFile| {
        keyring
            .keep_pending(&me, &Pending { file: file.clone(), made: Vec::new(), handed_out: false })
            .unwrap();
    };
    assert_eq!(stage(), None);
    // Begun, with all of the keys that were made for it, and with one of them.
    let mut pending = begun(&keyring, &history);
    assert_eq!(stage(), Some(Stage::Unsigned));
    fs::remove_file(&pending.made[1].path).unwrap();
    assert_eq!(stage(), Some(Stage::Unsigned));
    assert!(keyring.load(&me).is_ok());
    // Other machines have it, and may sign it without this one: the keys that were made for it are needed then.
    keyring.keep_pending(&me, &Pending { handed_out: true, ..pending.clone() }).unwrap();
    assert_eq!(stage(), Some(Stage::Waiting));
    // Signed, and not among the documents.
    pending.file.sign(&key("me")).unwrap();
    leave(&pending.file);
    assert_eq!(stage(), Some(Stage::Signed));
    let refused = keyring.load(&me).unwrap_err();
    assert!(refused.hint().unwrap().ends_with("reg key rotate me"), "{refused}");
    // Among the documents, and perhaps not known to the node.
    let second = pending.file.declarations().unwrap().0;
    keyring.keep_documents(&me, &second).unwrap();
    assert_eq!(stage(), Some(Stage::Kept));
    assert!(matches!(keyring.load(&me), Err(KeyringError::Unfinished { version: 2, .. })));
    // The third one needs a second key too, which another machine may have.
    let (next, other) = (key("me.next-1"), key("other"));
    let mut third = following(&second, &[next.public_key(), other.public_key()], &other.public_key());
    third.sign(&next).unwrap();
    leave(&third);
    assert_eq!(stage(), Some(Stage::Waiting));
    assert_eq!(keyring.load(&me).unwrap().history().version(), 2);
    // That machine has signed and finished it: it is in effect, although this machine lacks a signature.
    let mut finished = third.clone();
    finished.sign(&other).unwrap();
    keyring.keep_documents(&me, &finished.declarations().unwrap().0).unwrap();
    assert_eq!(stage(), Some(Stage::Kept));
    assert_eq!(keyring.load(&me).unwrap().history().version(), 3);
    // That machine has finished another one.
    let mut others = following(&second, &[next.public_key()], &other.public_key());
    others.sign(&next).unwrap();
    keyring.keep_documents(&me, &others.declarations().unwrap().0).unwrap();
    assert_eq!(stage(), Some(Stage::Superseded));
    leave(&finished);
    assert_eq!(stage(), Some(Stage::Superseded));
    assert_eq!(keyring.load(&me).unwrap().history().version(), 3);
    keyring.forget_pending(&me).unwrap();
    assert_eq!(stage(), None);
}

#[test]
fn the_key_of_a_rotation_takes_a_name_that_is_free() {
    let (_home, keyring) = keyring();
    let made = |version| keyring.generate_successor(&name("me"), version).unwrap().made().name;
    assert_eq!(made(2), name("me.key-2"));
    keyring.create(&name("me.key-2")).unwrap();
    assert_eq!(made(2), name("me.key-3"));
}
