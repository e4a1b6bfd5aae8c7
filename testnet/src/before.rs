//! Builds the `reg` before protocols `/2`, from its commit: tests run it beside the present one, and open its stores.
//!
//! The binary is built once and kept in the target directory. The dependencies of the two are nearly the same, so the
//! build starts with those that were compiled for this program, as hard links.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::process::{build, is_release, left_out, profile_dir, workspace};

/// The last commit that spoke protocols `/1` and kept `history`, `seen` and `reserved` for each tag.
pub const COMMIT: &str = "b374db3e3c4c812ac1ad2a5ea10b65290f6037a8";

/// Returns the path of the `reg` of [`COMMIT`]. Returns `None`, and prints what is left out, if this copy of the
/// repository lacks the commit.
///
/// # Panics
/// If the commit is there and cannot be built.
pub fn reg_before() -> Option<&'static Path> {
    static BINARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    BINARY.get_or_init(find_or_build).as_deref()
}

/// Returns whether the nodes of all tests run the binary of before (`REG_TEST_BEFORE=1`). It shows that a test can fail.
pub(crate) fn is_meant() -> bool {
    std::env::var_os("REG_TEST_BEFORE").is_some_and(|value| value != "0")
}

fn find_or_build() -> Option<PathBuf> {
    let profile_dir = profile_dir();
    let profile = profile_dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let kept = profile_dir.parent().expect("a profile lies in the target directory").join("before");
    let binary = kept.join(format!("reg-{}-{profile}{}", &COMMIT[..12], std::env::consts::EXE_SUFFIX));
    if binary.is_file() {
        return Some(binary);
    }
    fs::create_dir_all(&kept).expect("a folder in the target directory");
    // Test binaries run at the same time: one builds, the others wait for it.
    let lock = File::create(kept.join("lock")).expect("a lock file");
    lock.lock().expect("the lock");
    if binary.is_file() {
        return Some(binary);
    }
    if !has_commit() {
        let how = "fetch the whole history: git fetch --unshallow";
        left_out("the binary of before", "the repository lacks its commit, or git is not installed", how);
        return None;
    }
    let building = kept.join(format!("building-{profile}"));
    // An earlier build was interrupted.
    let _none_is_fine = fs::remove_dir_all(&building);
    let source = building.join("source");
    check_out(&source);
    take_over_features(&source);
    let target = building.join("target");
    if let Err(error) = share_dependencies(&profile_dir, &target.join(&profile)) {
        println!("dependencies are built anew: {error}");
    }
    let mut command = build(&source, &target, is_release(&profile_dir));
    // Built once and never debugged.
    command.env("CARGO_INCREMENTAL", "0").env("CARGO_PROFILE_DEV_DEBUG", "0");
    assert!(command.status().expect("cargo runs").success(), "commit {COMMIT} cannot be built");
    let built = target.join(&profile).join(format!("reg{}", std::env::consts::EXE_SUFFIX));
    fs::rename(built, &binary).expect("both lie in the target directory");
    fs::remove_dir_all(&building).expect("this program made it");
    Some(binary)
}

fn git(args: &[&str], index: &Path) -> io::Result<Output> {
    Command::new("git").args(args).current_dir(workspace()).env("GIT_INDEX_FILE", index).output()
}

fn has_commit() -> bool {
    let named = format!("{COMMIT}^{{commit}}");
    git(&["cat-file", "-e", &named], Path::new("unused")).is_ok_and(|output| output.status.success())
}

/// Writes the files of the commit to `source`. Changes nothing in the repository: the index is a file of its own.
fn check_out(source: &Path) {
    fs::create_dir_all(source).expect("a folder in the target directory");
    let index = source.with_extension("index");
    let prefix = format!("--prefix={}/", source.display());
    for args in [&["read-tree", COMMIT][..], &["checkout-index", "--all", &prefix]] {
        let output = git(args, &index).expect("git runs");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Lets the commit ask for the dependencies as this workspace does, so that those that are compiled already fit. Features
/// only add to a dependency; its version stays.
fn take_over_features(source: &Path) {
    let read = |dir: &Path| -> toml::Table {
        let text = fs::read_to_string(dir.join("Cargo.toml")).expect("a manifest");
        text.parse().expect("a manifest is TOML")
    };
    let (present, mut before) = (read(workspace()), read(source));
    let asked = &present["workspace"]["dependencies"];
    let dependencies = before["workspace"]["dependencies"].as_table_mut().expect("a table");
    for (name, dependency) in dependencies.iter_mut() {
        let version = |it: &toml::Value| it.get("version").or(Some(it)).cloned();
        match asked.get(name) {
            Some(now) if now.get("path").is_none() && version(now) == version(dependency) => {
                *dependency = now.clone();
            }
            _ => {}
        }
    }
    fs::write(source.join("Cargo.toml"), before.to_string()).expect("the file of the commit");
}

/// Gives a build in `to` the compiled dependencies of the build in `from`. Cargo takes those that it would build in the
/// same way, and builds the others.
fn share_dependencies(from: &Path, to: &Path) -> io::Result<()> {
    let link = |from: &Path, to: &Path| fs::hard_link(from, to).or_else(|_no_links| copy_with_time(from, to));
    for dir in ["deps", "build"] {
        copy_tree(&from.join(dir), &to.join(dir), &link)?;
    }
    // Cargo writes to these files in place, so they are copies; it compares their times.
    copy_tree(&from.join(".fingerprint"), &to.join(".fingerprint"), &copy_with_time)
}

fn copy_with_time(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    File::options().write(true).open(to)?.set_modified(from.metadata()?.modified()?)
}

/// Copies the files below a folder, except what was built of this workspace.
fn copy_tree(from: &Path, to: &Path, copy: &dyn Fn(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if is_of_this_workspace(&name.to_string_lossy()) {
            continue;
        }
        let (from, to) = (entry.path(), to.join(&name));
        if entry.file_type()?.is_dir() {
            copy_tree(&from, &to, copy)?;
        } else {
            match copy(&from, &to) {
                // Another build has finished with a file of its own.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                copied => copied?,
            }
        }
    }
    Ok(())
}

fn is_of_this_workspace(name: &str) -> bool {
    let name = name.strip_prefix("lib").unwrap_or(name);
    name.starts_with("reg-") || name.starts_with("reg_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_built_of_this_workspace_is_not_shared() {
        for name in
            ["reg-0123456789abcdef", "libreg_proto-0123456789abcdef.rmeta", "reg-node-0123456789abcdef"]
        {
            assert!(is_of_this_workspace(name), "{name}");
        }
        for name in ["libregex-0123456789abcdef.rlib", "regex-automata-0123456789abcdef", "region"] {
            assert!(!is_of_this_workspace(name), "{name}");
        }
    }
}
