//! Reads paths as users write them, and says what is strange about the folder of a node.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use reg_node::daemon::{self, Strange, strange};

/// Returns a path in which `~` at the beginning is the user's home directory.
pub fn expanded(path: impl AsRef<Path>) -> PathBuf {
    daemon::expanded(path.as_ref())
}

/// Returns a word of the command line in which the `~` of `--flag=~/path` is the user's home directory: shells leave it there.
pub fn expanded_word(word: OsString) -> OsString {
    match word.to_str().and_then(|it| it.split_once("=~")) {
        Some((flag, rest)) if flag.starts_with("--") && (rest.is_empty() || rest.starts_with('/')) => {
            let mut whole = OsString::from(format!("{flag}="));
            whole.push(expanded(format!("~{rest}")));
            whole
        }
        _ => word,
    }
}

/// Returns what a user should know of the folder of a node, in words.
pub fn warnings(folder: &Path) -> Vec<String> {
    strange(folder).into_iter().map(warning).collect()
}

fn warning(strange: Strange) -> String {
    match strange {
        Strange::OfAnotherUser { path, owner } => format!(
            "warning: root runs in {}, which belongs to user {owner}: its new files will be root's, and that user cannot change \
             them; leave `sudo` out, or name another folder with --home DIR",
            path.display()
        ),
        Strange::Remote { path, kind } => format!(
            "warning: {} is on another machine ({kind}): only one machine at a time may use it, its locks must work, and it is \
             slow; --home DIR names a folder of a disk here",
            path.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_behind_a_flag_is_the_home_directory() {
        let word = |text: &str| expanded_word(text.into()).to_string_lossy().into_owned();
        let home = expanded("~").to_string_lossy().into_owned();
        assert_eq!(word("--home=~/x y"), format!("--home={home}/x y"));
        assert_eq!(word("--home=~"), format!("--home={home}"));
        for same in ["--title=~5 models", "x=~/y", "~/x", "--home=/~/x"] {
            assert_eq!(word(same), same);
        }
    }

    #[test]
    fn each_strange_place_says_what_to_do() {
        let of_user = warning(Strange::OfAnotherUser { path: "/home/me".into(), owner: 1000 });
        let remote = warning(Strange::Remote { path: "/home/me".into(), kind: "NFS" });
        for (text, words) in
            [(of_user, ["user 1000", "sudo", "--home"]), (remote, ["NFS", "one machine", "--home"])]
        {
            assert!(words.iter().all(|it| text.contains(it)), "{text}");
        }
    }
}
