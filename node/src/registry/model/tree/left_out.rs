//! Names that are never part of a model, and hidden ones.

/// Names that are never part of a model: version control, caches, and files that editors and systems leave behind.
const LEFT_OUT: [&str; 17] = [
    ".git",
    ".gitattributes",
    ".gitignore",
    ".regignore",
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
const LEFT_OUT_ENDINGS: [&str; 6] = ["~", ".swp", ".swo", ".tmp", ".incomplete", ".part"];

/// Tells whether a file or directory of this name is never part of a model.
pub fn is_left_out(name: &str) -> bool {
    LEFT_OUT.contains(&name) || LEFT_OUT_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Tells whether a file or directory of this name is hidden.
pub fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}
