//! Lists the files of a directory that form a model, in the order of their names. A fixed list says what is left out.

use std::fs;
use std::path::{Path, PathBuf};

use reg_proto::limits::FILES_MAX;
use reg_proto::path::{PathError, SafePath};
use thiserror::Error;

/// Names that are never part of a model: version control, caches, and files that editors and systems leave behind. The
/// list decides which files a manifest names, so a change of it changes digests.
pub const LEFT_OUT: [&str; 16] = [
    ".git",
    ".gitattributes",
    ".gitignore",
    ".hg",
    ".svn",
    ".bzr",
    ".cache",
    ".huggingface",
    "__pycache__",
    ".ipynb_checkpoints",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    ".idea",
    ".vscode",
    ".reg",
];

/// Endings of names that are left out: editors' backups and unfinished downloads.
pub const LEFT_OUT_ENDINGS: [&str; 6] = ["~", ".swp", ".swo", ".tmp", ".incomplete", ".part"];

/// Levels of directories that the walk enters. It is deeper than a path may be, so that the check of the path reports
/// the error.
const DEPTH_MAX: usize = 40;

/// A file to publish: its name in the model, and the path of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    pub path: SafePath,
    pub source: PathBuf,
    pub size: u64,
}

/// Why a directory is not a model.
#[derive(Debug, Error)]
pub enum TreeError {
    #[error("{path} cannot be read")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is neither a file nor a directory")]
    Special { path: PathBuf },
    #[error("{path} points to {target}, outside of what is published")]
    LinkOutside { path: PathBuf, target: PathBuf },
    #[error("{path} has a name that is not UTF-8")]
    NotUtf8 { path: PathBuf },
    #[error("{path} has a name that is refused")]
    Name { path: PathBuf, source: PathError },
    #[error("{path} holds more than {FILES_MAX} files")]
    TooMany { path: PathBuf },
    #[error("{path} holds no files that could be published")]
    Empty { path: PathBuf },
    #[error("{path} is nested deeper than {DEPTH_MAX} directories")]
    TooDeep { path: PathBuf },
}

/// Lists the files of the model at `root`, a directory or a single file, in the order of their names.
///
/// A symbolic link may lead to a file inside `root`, or, in a snapshot of a Hugging Face cache, to a blob of the same
/// repository. Any other link is an error.
pub fn list(root: &Path) -> Result<Vec<SourceFile>, TreeError> {
    let read = |source| TreeError::Read { path: root.to_owned(), source };
    let real = root.canonicalize().map_err(read)?;
    let mut files = Vec::new();
    if real.is_file() {
        let name = root.file_name().unwrap_or(real.as_os_str());
        push(&mut files, root, name.to_str().map(str::to_owned), real.clone())?;
    } else {
        walk(&real, &real, "", 0, &mut files)?;
    }
    if files.is_empty() {
        return Err(TreeError::Empty { path: root.to_owned() });
    }
    files.sort_by(|one, two| one.path.cmp(&two.path));
    Ok(files)
}

fn walk(
    root: &Path,
    dir: &Path,
    prefix: &str,
    depth: usize,
    files: &mut Vec<SourceFile>,
) -> Result<(), TreeError> {
    if depth > DEPTH_MAX {
        return Err(TreeError::TooDeep { path: dir.to_owned() });
    }
    let read = |source| TreeError::Read { path: dir.to_owned(), source };
    for entry in fs::read_dir(dir).map_err(read)? {
        let entry = entry.map_err(read)?;
        let path = entry.path();
        let name = entry.file_name();
        let Some(name) = name.to_str() else { return Err(TreeError::NotUtf8 { path }) };
        if is_left_out(name) {
            continue;
        }
        let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        let kind = entry.file_type().map_err(read)?;
        if kind.is_dir() {
            walk(root, &path, &name, depth + 1, files)?;
        } else if kind.is_file() {
            push(files, &path, Some(name), path.clone())?;
        } else if kind.is_symlink() {
            let target = follow(root, &path)?;
            push(files, &path, Some(name), target)?;
        } else {
            return Err(TreeError::Special { path });
        }
        if files.len() > FILES_MAX {
            return Err(TreeError::TooMany { path: root.to_owned() });
        }
    }
    Ok(())
}

fn push(
    files: &mut Vec<SourceFile>,
    shown: &Path,
    name: Option<String>,
    source: PathBuf,
) -> Result<(), TreeError> {
    let path = name.ok_or_else(|| TreeError::NotUtf8 { path: shown.to_owned() })?;
    let path = path.parse().map_err(|source| TreeError::Name { path: shown.to_owned(), source })?;
    let size =
        fs::metadata(&source).map_err(|source| TreeError::Read { path: shown.to_owned(), source })?.len();
    files.push(SourceFile { path, source, size });
    Ok(())
}

/// Tells whether a file or directory of this name is never part of a model.
pub fn is_left_out(name: &str) -> bool {
    LEFT_OUT.contains(&name) || LEFT_OUT_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Follows a link to a file inside `root`, or inside the `blobs` beside the `snapshots` that contains `root`.
fn follow(root: &Path, link: &Path) -> Result<PathBuf, TreeError> {
    let target = link.canonicalize().map_err(|source| TreeError::Read { path: link.to_owned(), source })?;
    let blobs = hugging_face_blobs(root);
    let inside = target.starts_with(root) || blobs.is_some_and(|blobs| target.starts_with(blobs));
    if !inside {
        return Err(TreeError::LinkOutside { path: link.to_owned(), target });
    }
    if !target.is_file() {
        return Err(TreeError::Special { path: link.to_owned() });
    }
    Ok(target)
}

/// Returns the folder of blobs: `models--org--name/snapshots/<commit>` → `models--org--name/blobs`.
fn hugging_face_blobs(root: &Path) -> Option<PathBuf> {
    let snapshots = root.parent().filter(|it| it.file_name().is_some_and(|name| name == "snapshots"))?;
    Some(snapshots.parent()?.join("blobs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"x").unwrap();
    }

    fn names(root: &Path) -> Vec<String> {
        list(root).unwrap().iter().map(|it| it.path.to_string()).collect()
    }

    #[test]
    fn leaves_out_what_is_written_down_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b", "a/c", "a-b", ".git/config", "x/__pycache__/y", "a~", "m.incomplete", ".env"] {
            write(&dir.path().join(name));
        }
        assert_eq!(names(dir.path()), [".env", "a-b", "a/c", "b"]);
    }

    #[test]
    fn a_single_file_is_a_model_of_one_file() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("m.gguf"));
        assert_eq!(names(&dir.path().join("m.gguf")), ["m.gguf"]);
        assert!(matches!(list(&dir.path().join("none")), Err(TreeError::Read { .. })));
        fs::create_dir(dir.path().join("empty")).unwrap();
        assert!(matches!(list(&dir.path().join("empty")), Err(TreeError::Empty { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_inside_only() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("models--o--n");
        write(&repo.join("blobs/abc"));
        write(&dir.path().join("secret"));
        let snapshot = repo.join("snapshots/main");
        fs::create_dir_all(&snapshot).unwrap();
        symlink("../../blobs/abc", snapshot.join("model.safetensors")).unwrap();
        assert_eq!(names(&snapshot), ["model.safetensors"]);
        symlink(dir.path().join("secret"), snapshot.join("leak")).unwrap();
        assert!(matches!(list(&snapshot), Err(TreeError::LinkOutside { .. })));
    }
}
