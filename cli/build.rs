//! Tells the binary its commit and target, and which guides `reg help` prints.
//!
//! The commit is that of `REG_COMMIT`, else that of a Git checkout, else unknown. Only this crate is built again for a new commit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let root = here.parent().expect("the crate lies in a workspace");
    println!("cargo::rustc-env=REG_COMMIT={}", commit(root).unwrap_or_else(|| "unknown".to_owned()));
    println!("cargo::rustc-env=REG_TARGET={}", std::env::var("TARGET").expect("cargo sets it"));
    println!("cargo::rerun-if-env-changed=REG_COMMIT");
    guides(&root.join("docs/guide"));
}

/// Returns the commit that is built; `None` outside a checkout.
fn commit(root: &Path) -> Option<String> {
    if let Some(told) = std::env::var("REG_COMMIT").ok().filter(|it| !it.is_empty()) {
        return Some(told);
    }
    if !root.join(".git").exists() {
        return None;
    }
    // Each commit and each checkout is a line of the log of HEAD.
    for file in ["HEAD", "logs/HEAD"] {
        let path = git(root, &["rev-parse", "--path-format=absolute", "--git-path", file])?;
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(root, &["rev-parse", "--short=12", "HEAD"])
}

fn git(root: &Path, args: &[&str]) -> Option<String> {
    let ran = Command::new("git").arg("-C").arg(root).args(args).output().ok()?;
    let text = String::from_utf8(ran.stdout).ok()?.trim().to_owned();
    (ran.status.success() && !text.is_empty()).then_some(text)
}

/// Writes the list of the guides, each with its text, by name.
fn guides(folder: &Path) {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the guides lie there")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|it| it == "md") && !path.ends_with("README.md"))
        .collect();
    paths.sort();
    let mut list = String::from("&[\n");
    for path in &paths {
        let name = path.file_stem().and_then(|it| it.to_str()).expect("names of guides are ASCII");
        list.push_str(&format!("    ({name:?}, include_str!({path:?})),\n"));
    }
    list.push_str("]\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it")).join("guides.rs");
    fs::write(out, list).expect("cargo has made the folder");
}
