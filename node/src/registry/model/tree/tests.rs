//! Tests of the choice of files: links, ignore files, names and secrets.

use super::*;

fn write(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, b"x").unwrap();
}

fn listing(root: &Path, ingest: &Ingest) -> Listing {
    list(root, ingest, Authors::User, &Cancel::default()).unwrap()
}

fn refused(root: &Path) -> TreeError {
    list(root, &Ingest::default(), Authors::User, &Cancel::default()).unwrap_err()
}

fn names(root: &Path) -> Vec<String> {
    taken(&listing(root, &Ingest::default()))
}

fn taken(listing: &Listing) -> Vec<String> {
    listing.files.iter().map(|it| it.path.to_string()).collect()
}

fn left_out(listing: &Listing) -> Vec<(&str, LeftOutReason)> {
    let mut all: Vec<_> = listing.left_out.entries.iter().map(|it| (it.path.as_str(), it.reason)).collect();
    all.sort_unstable();
    all
}

fn patterns(texts: &[&str]) -> Vec<reg_api::selection::Pattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn a_single_file_is_chosen_as_those_of_a_directory_are() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.gguf");
    write(&file);
    let of = |include: &[&str], exclude: &[&str]| {
        let ingest = Ingest { include: patterns(include), exclude: patterns(exclude), ..Ingest::default() };
        list(&file, &ingest, Authors::User, &Cancel::default())
    };
    assert_eq!(taken(&of(&["*.gguf"], &["*.bin"]).unwrap()), ["m.gguf"]);
    assert!(matches!(of(&[], &["*.gguf"]), Err(TreeError::AllLeftOut { .. })));
    assert!(matches!(of(&["*.bin"], &[]), Err(TreeError::NoMatch { .. })));
}

/// What another party signed is published whole.
#[test]
fn the_ignore_file_of_another_author_means_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["LICENSE", "model.gguf"] {
        write(&dir.path().join(name));
    }
    fs::write(dir.path().join(IGNORE_FILE), "LICENSE\n").unwrap();
    assert_eq!(names(dir.path()), ["model.gguf"]);
    assert!(taken(&listing(dir.path(), &Ingest::of_before())).contains(&"LICENSE".to_owned()));
}

#[test]
fn a_directory_is_looked_at_no_further_once_the_caller_has_gone() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a.txt"));
    let caller = crate::store::CancelOnDrop::default();
    let cancel = caller.cancel();
    drop(caller);
    for root in [dir.path().to_owned(), dir.path().join("a.txt")] {
        let ended = list(&root, &Ingest::default(), Authors::User, &cancel);
        assert!(matches!(ended, Err(TreeError::Cancelled { .. })), "{ended:?}");
    }
}

#[test]
fn leaves_out_what_is_written_down_and_what_is_hidden() {
    let dir = tempfile::tempdir().unwrap();
    for name in [
        "b",
        "a/c",
        "a-b",
        ".git/config",
        "x/__pycache__/y",
        "a~",
        "m.incomplete",
        ".hidden",
        ".venv/bin/python",
        ".env",
        "keys/id_rsa",
    ] {
        write(&dir.path().join(name));
    }
    let found = listing(dir.path(), &Ingest::default());
    assert_eq!(taken(&found), ["a-b", "a/c", "b"]);
    let (hidden, secret, never) = (LeftOutReason::Hidden, LeftOutReason::Secret, LeftOutReason::Never);
    assert_eq!(
        left_out(&found),
        [
            (".env", secret),
            (".git/", never),
            (".hidden", hidden),
            (".venv/", hidden),
            ("a~", never),
            ("keys/id_rsa", secret),
            ("m.incomplete", never),
            ("x/__pycache__/", never),
        ]
    );
    let hidden = listing(dir.path(), &Ingest { hidden: true, ..Ingest::default() });
    assert_eq!(taken(&hidden), [".hidden", ".venv/bin/python", "a-b", "a/c", "b"]);
    let by_name = listing(dir.path(), &Ingest { secrets: patterns(&[".env"]), ..Ingest::default() });
    assert_eq!(taken(&by_name), [".env", "a-b", "a/c", "b"]);
}

#[test]
fn a_token_in_a_text_is_found_and_can_be_wanted() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("config.json"));
    let token: String = ('A'..='Z').chain('a'..='h').collect();
    fs::write(dir.path().join("run.sh"), format!("#!/bin/sh\nexport HF_TOKEN=hf_{token}\n")).unwrap();
    // It is data: nothing is searched in it.
    let mut bytes = vec![0; 16];
    bytes.extend_from_slice(format!("hf_{token} ").as_bytes());
    fs::write(dir.path().join("model.bin"), bytes).unwrap();
    let found = listing(dir.path(), &Ingest::default());
    assert_eq!(taken(&found), ["config.json", "model.bin"]);
    assert_eq!(found.left_out.entries[0].found.as_deref(), Some("a Hugging Face token in line 2"));
    let wanted = listing(dir.path(), &Ingest { secrets: patterns(&["*.sh"]), ..Ingest::default() });
    assert_eq!(taken(&wanted), ["config.json", "model.bin", "run.sh"]);
}

#[test]
fn the_user_includes_and_excludes() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.gguf", "onnx/b.onnx", "onnx/old/c.onnx", "README.md"] {
        write(&dir.path().join(name));
    }
    let of = |include: &[&str], exclude: &[&str]| Ingest {
        include: patterns(include),
        exclude: patterns(exclude),
        ..Ingest::default()
    };
    assert_eq!(taken(&listing(dir.path(), &of(&["onnx/", "*.md"], &["old/"]))), ["README.md", "onnx/b.onnx"]);
    assert_eq!(taken(&listing(dir.path(), &of(&[], &["/onnx"]))), ["README.md", "a.gguf"]);
    let none = list(dir.path(), &of(&["*.md", "*.pt"], &[]), Authors::User, &Cancel::default());
    let none = none.expect_err("none of them");
    let hint = none.hint().expect("a hint");
    assert!(matches!(none, TreeError::NoMatch { pattern, .. } if pattern.as_str() == "*.pt"));
    assert!(hint.contains(".md"), "it says what there is: {hint}");
    let empty = list(dir.path(), &of(&[], &["*"]), Authors::User, &Cancel::default());
    let empty = empty.expect_err("nothing is left");
    let hint = empty.hint().expect("a hint");
    assert!(matches!(empty, TreeError::AllLeftOut { left_out, .. } if left_out.count() == 3));
    assert!(hint.contains("(excluded)"), "it says what and why: {hint}");
}

#[test]
fn ignore_files_count_for_their_directory_and_only_in_the_users_own() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.log", "keep.log", "sub/b.log", "sub/c.txt", "sub/deep/c.txt", "tmp/x", "x"] {
        write(&dir.path().join(name));
    }
    fs::write(dir.path().join(".regignore"), "# notes\n*.log\n!keep.log\n/tmp/\n").unwrap();
    fs::write(dir.path().join("sub/.regignore"), "!b.log\n/c.txt\n").unwrap();
    let found = listing(dir.path(), &Ingest::default());
    assert_eq!(taken(&found), ["keep.log", "sub/b.log", "sub/deep/c.txt", "x"]);
    let others = list(dir.path(), &Ingest::default(), Authors::Others, &Cancel::default()).unwrap();
    assert_eq!(others.files.len(), 7);
    fs::write(dir.path().join(".regignore"), "a\n[b\n").unwrap();
    assert!(matches!(refused(dir.path()), TreeError::Ignore { .. }));
}

#[test]
fn a_single_file_is_a_model_of_one_file() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("m.gguf"));
    assert_eq!(names(&dir.path().join("m.gguf")), ["m.gguf"]);
    assert!(matches!(refused(&dir.path().join("none")), TreeError::Read { .. }));
    fs::create_dir(dir.path().join("empty")).unwrap();
    assert!(matches!(refused(&dir.path().join("empty")), TreeError::Empty { .. }));
    write(&dir.path().join("id_ed25519"));
    assert!(matches!(refused(&dir.path().join("id_ed25519")), TreeError::Secret { .. }));
}

#[test]
fn what_is_over_a_bound_is_refused_by_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("huge.gguf");
    fs::File::create(&path).unwrap().set_len(BLOB_BYTES_MAX + 1).unwrap();
    for root in [dir.path(), &path] {
        let error = refused(root);
        assert!(error.to_string().contains("1 TiB") && error.hint().is_some(), "{error}");
    }
}

#[test]
fn names_in_another_normal_form_are_put_into_ours() {
    let dir = tempfile::tempdir().unwrap();
    let name = "mode\u{300}le/re\u{301}sume\u{301}.md";
    write(&dir.path().join(name));
    assert_eq!(names(dir.path()), ["mod\u{e8}le/r\u{e9}sum\u{e9}.md"]);
    write(&dir.path().join("mod\u{e8}le/r\u{e9}sum\u{e9}.md"));
    let error = refused(dir.path());
    assert!(matches!(&error, TreeError::Collision { .. }), "{error}");
}

#[test]
fn files_that_fall_together_are_named_as_the_user_sees_them() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["README.md", "readme.md"] {
        write(&dir.path().join(name));
    }
    if fs::read_dir(dir.path()).unwrap().count() < 2 {
        // This file system ignores case.
        return;
    }
    let text = refused(dir.path()).to_string();
    let named = ["README.md", "readme.md"].map(|name| dir.path().join(name).display().to_string());
    assert!(named.iter().all(|name| text.contains(name)), "{text}");
    assert!(refused(dir.path()).hint().is_some_and(|it| it.contains("--exclude")));
}

#[cfg(unix)]
mod links {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn lead_to_blobs_of_the_same_repository_only() {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("models--o--n");
        write(&repo.join("blobs/abc"));
        write(&dir.path().join("secret"));
        let snapshot = repo.join("snapshots/main");
        fs::create_dir_all(&snapshot).unwrap();
        symlink("../../blobs/abc", snapshot.join("model.safetensors")).unwrap();
        assert_eq!(names(&snapshot), ["model.safetensors"]);
        // The file alone keeps the name of the link.
        assert_eq!(names(&snapshot.join("model.safetensors")), ["model.safetensors"]);
        symlink("../../blobs", snapshot.join("all")).unwrap();
        assert!(matches!(refused(&snapshot), TreeError::LinkOutside { .. }));
        fs::remove_file(snapshot.join("all")).unwrap();
        symlink(dir.path().join("secret"), snapshot.join("leak")).unwrap();
        assert!(matches!(refused(&snapshot), TreeError::LinkOutside { .. }));
        let without = Ingest { exclude: patterns(&["leak"]), ..Ingest::default() };
        assert_eq!(taken(&listing(&snapshot, &without)), ["model.safetensors"]);
        symlink("nothing", snapshot.join("dead")).unwrap();
        fs::remove_file(snapshot.join("leak")).unwrap();
        assert!(matches!(refused(&snapshot), TreeError::LinkToNothing { .. }));
    }

    #[test]
    fn to_directories_are_followed_inside_and_loops_end() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("model");
        write(&root.join("fp16/model.bin"));
        symlink("fp16", root.join("default")).unwrap();
        symlink(".", root.join("again")).unwrap();
        symlink("../fp16", root.join("fp16/self")).unwrap();
        let found = listing(&root, &Ingest::default());
        assert_eq!(taken(&found), ["default/model.bin", "fp16/model.bin"]);
        let loops = ["again/", "default/self/", "fp16/self/"].map(|it| (it, LeftOutReason::Loop));
        assert_eq!(left_out(&found), loops);
        symlink(dir.path(), root.join("up")).unwrap();
        assert!(matches!(refused(&root), TreeError::LinkOutside { .. }));
    }

    #[test]
    fn to_what_is_left_out_are_left_out_too() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["x", ".env", ".git/config", ".ssh/known_hosts", ".h/y"] {
            write(&dir.path().join(name));
        }
        for (name, target) in [("notes.txt", ".env"), ("data", ".git"), ("s", ".ssh"), ("h", ".h/y")] {
            symlink(target, dir.path().join(name)).unwrap();
        }
        let found = listing(dir.path(), &Ingest::default());
        assert_eq!(taken(&found), ["x"]);
        let (secret, hidden) = (LeftOutReason::Secret, LeftOutReason::Hidden);
        let links = [("data/", LeftOutReason::Never), ("h", hidden), ("notes.txt", secret), ("s/", secret)];
        assert!(links.iter().all(|it| left_out(&found).contains(it)), "{:?}", found.left_out);
    }

    /// Each level doubles what the walk sees: 2^30 directories in all.
    #[test]
    fn that_multiply_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for level in 0..30 {
            let own = root.join(format!("level-{level}"));
            fs::create_dir(&own).unwrap();
            for name in ["left", "right"] {
                symlink(format!("../level-{}", level + 1), own.join(name)).unwrap();
            }
        }
        write(&root.join("level-30/x"));
        let error = refused(&root);
        assert!(matches!(error, TreeError::TooManyDirectories { .. } | TreeError::TooMany { .. }), "{error}");
    }
}

#[test]
fn files_of_a_repository_are_judged_by_their_paths() {
    let judged = |path: &str, ingest: &Ingest| judge_path(&path.parse().unwrap(), ingest);
    let plain = Ingest::default();
    assert_eq!(judged("a/config.json", &plain), None);
    assert_eq!(judged("a/.gitattributes", &plain), Some(LeftOutReason::Never));
    assert_eq!(judged(".eval/x", &plain), Some(LeftOutReason::Hidden));
    assert_eq!(judged("a/.env", &plain), Some(LeftOutReason::Secret));
    let all = Ingest { hidden: true, secrets: patterns(&[".env"]), ..Ingest::default() };
    assert_eq!((judged(".eval/x", &all), judged("a/.env", &all)), (None, None));
    let some = Ingest { include: patterns(&["*.md"]), exclude: patterns(&["b*"]), ..Ingest::default() };
    assert_eq!(judged("a.md", &some), None);
    assert_eq!(judged("b.md", &some), Some(LeftOutReason::Excluded));
    assert_eq!(judged("a.bin", &some), Some(LeftOutReason::NotIncluded));
}
