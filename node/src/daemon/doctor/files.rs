//! Examines the files of a node: the configuration, the rules, the folders, the keys and tokens, and the store.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use reg_api::doctor::{Finding, Subject};
use reg_api::fault::{FaultKind, chain, disk_hint};

use crate::daemon::config::Config;
use crate::daemon::home::Home;
use crate::gateway::Signer;
use crate::registry::trust::TrustFile;
use crate::store::StoreLook;

/// Keys that are looked at: more are rare, and one line names the first of them.
const KEYS_MAX: usize = 1000;

/// Examines them all. `refused` says why the configuration is refused.
pub(super) fn all(home: &Home, config: &Config, refused: Option<String>, has_daemon: bool) -> Vec<Finding> {
    let mut found = vec![configuration(home, refused)];
    found.extend(rules(home));
    found.push(folder(home));
    found.extend(secrets(home));
    found.extend(store(home, has_daemon));
    found.extend(signer(home, config));
    found
}

fn configuration(home: &Home, refused: Option<String>) -> Finding {
    let path = home.config();
    match refused {
        Some(why) => Finding::fault(
            Subject::Configuration,
            FaultKind::Invalid,
            format!("the configuration is refused: {}", why.split_whitespace().collect::<Vec<_>>().join(" ")),
            "mend the line that is named; a daemon that runs keeps the values before",
        )
        .try_with("reg config check"),
        None if path.exists() => Finding::ok(Subject::Configuration, format!("{} is valid", path.display())),
        None => Finding::ok(Subject::Configuration, "there is no file, so the defaults count"),
    }
}

fn rules(home: &Home) -> Option<Finding> {
    let error = TrustFile::open(home.trust()).load().err()?;
    Some(
        Finding::fault(
            Subject::Configuration,
            FaultKind::Invalid,
            format!(
                "{} cannot be read, so every model is refused: {}",
                home.trust().display(),
                chain(&error)
            ),
            "mend it, or move it away and give the names and rules again",
        )
        .try_with("reg trust show"),
    )
}

/// Tries to make a file in the folder of the node's files, or in the nearest one above it that is there.
fn folder(home: &Home) -> Finding {
    let dir = &home.data_dir;
    let Some(there) = dir.ancestors().find(|it| it.exists()) else {
        return Finding::ok(Subject::Folder, format!("{} is made at the first start", dir.display()));
    };
    match tempfile::Builder::new().prefix(".doctor-").tempfile_in(there) {
        Ok(_) => Finding::ok(Subject::Folder, format!("{} can be written to", there.display())),
        Err(error) => {
            let (kind, remedy) = not_written(&error);
            Finding::fault(
                Subject::Folder,
                kind,
                format!("{} cannot be written to: {error}", there.display()),
                remedy,
            )
        }
    }
}

fn not_written(error: &io::Error) -> (FaultKind, String) {
    let remedy = match error.kind() {
        ErrorKind::PermissionDenied => {
            Some("run it as the owner of that folder, or name one of your own with --home DIR".to_owned())
        }
        _ => disk_hint(error).map(|it| it.to_string()),
    };
    (FaultKind::of_path(error), remedy.unwrap_or_else(|| "name another folder with --home DIR".to_owned()))
}

/// Examines which users may read keys and tokens, and whether the node's own are whole.
fn secrets(home: &Home) -> Vec<Finding> {
    let mut found = Vec::new();
    for path in [home.identity(), home.token()] {
        match fs::read_to_string(&path) {
            Ok(text) if text.trim().is_empty() || is_secret(text.trim()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Ok(_) => found.push(damaged(&path, "it does not hold 64 hex digits")),
            Err(error) => found.push(damaged(&path, &error.to_string())),
        }
    }
    let keys = fs::read_dir(home.keys()).into_iter().flatten().flatten().map(|it| it.path());
    let keys = keys.filter(|it| it.extension().is_some_and(|it| it == "pem")).take(KEYS_MAX);
    let open: Vec<(PathBuf, u32)> = [home.identity(), home.token()]
        .into_iter()
        .chain(keys)
        .filter_map(|path| mode_of_others(&path).map(|mode| (path, mode)))
        .collect();
    if let Some((path, mode)) = open.iter().find(|(_, mode)| mode & 0o007 != 0).or_else(|| open.first()) {
        found.push(readable(path, *mode, open.len() - 1));
    }
    if found.is_empty() {
        found.push(Finding::ok(Subject::Secrets, "only you may read the keys and the token"));
    }
    found
}

fn is_secret(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|it| it.is_ascii_hexdigit())
}

fn damaged(path: &Path, why: &str) -> Finding {
    Finding::fault(
        Subject::Secrets,
        FaultKind::Internal,
        format!("{} cannot be used: {why}", path.display()),
        "move it away: the next start makes a new one. With another node.key, the node has another peer id",
    )
    .try_with(format!("mv '{0}' '{0}.old'", path.display()))
}

/// Returns what the group and others may do with a file, where that is anything.
fn mode_of_others(path: &Path) -> Option<u32> {
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).ok()?.permissions());
        (mode & 0o077 != 0).then_some(mode & 0o777)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

fn readable(path: &Path, mode: u32, more: usize) -> Finding {
    let more = if more > 0 { format!(", and so it is with {more} more") } else { String::new() };
    let what = |users: &str| format!("{} is open to {users} (mode {mode:04o}){more}", path.display());
    let remedy = "take the rights of others away; if others may have read it, make a new one";
    let finding = if mode & 0o007 != 0 {
        Finding::fault(Subject::Secrets, FaultKind::Denied, what("every user of this machine"), remedy)
    } else {
        Finding::warning(Subject::Secrets, what("its group"), remedy)
    };
    finding.try_with(format!("chmod 600 '{}'", path.display()))
}

fn store(home: &Home, has_daemon: bool) -> Vec<Finding> {
    let root = home.store();
    let look = match StoreLook::at(&root) {
        Ok(look) => look,
        Err(error) => {
            let (kind, remedy) = not_written(&error);
            let what = format!("the store in {} cannot be read: {error}", root.display());
            return vec![Finding::fault(Subject::Store, kind, what, remedy)];
        }
    };
    let mut found = Vec::new();
    if let Some(version) = &look.unknown_version {
        let what = format!("the store in {} says version {version:?}", root.display());
        let remedy = if look.is_newer {
            "a newer `reg` has written it: use that one, or another folder with --home DIR"
        } else {
            "if this folder is one of reg, empty its file VERSION: the next start finds the version out; if not, name \
             another folder with --home DIR"
        };
        found.push(Finding::fault(Subject::Store, FaultKind::Internal, what, remedy));
    }
    if look.is_in_use && !has_daemon {
        found.push(Finding::fault(
            Subject::Store,
            FaultKind::RetryLater,
            format!("the store in {} is in use, and no daemon answers", root.display()),
            "another `reg` command runs, or a daemon starts or hangs: wait until it ends, or end it",
        ));
    }
    if let Some(aside) = look.aside.last() {
        found.push(
            Finding::warning(
                Subject::Store,
                format!("an index was damaged, was rebuilt, and lies in {}", aside.display()),
                "look for the cause: a full disk, a power cut, a bad disk. Then remove it",
            )
            .try_with("reg verify"),
        );
    }
    if found.is_empty() {
        let what = if look.is_there { "its version is known" } else { "there is none yet" };
        found.push(Finding::ok(Subject::Store, what));
    }
    found
}

/// Examines the key that signs uploads.
fn signer(home: &Home, config: &Config) -> Option<Finding> {
    let name = config.publish_key.clone()?;
    let shown = format!("uploads are signed by the key {name}");
    Some(match Signer::new(name.clone(), home.keyring()) {
        Ok(_) => Finding::ok(Subject::Gateways, shown),
        Err(error) => Finding::fault(
            Subject::Gateways,
            FaultKind::NotFound,
            format!("{shown}, which cannot be used: {}", chain(&error)),
            "name another key in gateway.publish_key, or make this one",
        )
        .try_with(format!("reg key new {name}")),
    })
}

#[cfg(test)]
mod tests {
    use reg_api::doctor::Verdict;

    use super::*;

    #[test]
    fn a_token_that_others_may_read_is_worse_than_one_of_a_group() {
        let path = Path::new("/srv/reg/admin.token");
        let verdict = |mode| readable(path, mode, 0).verdict;
        assert_eq!((verdict(0o644), verdict(0o640)), (Verdict::Fault, Verdict::Warning));
        let shown = readable(path, 0o604, 2);
        assert!(shown.what.contains("mode 0604") && shown.what.contains("2 more"), "{shown:?}");
        assert!(is_secret(&"0f".repeat(32)) && !is_secret("0f") && !is_secret(&"xy".repeat(32)));
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_says_why() {
        for (kind, fault, words) in [
            (ErrorKind::PermissionDenied, FaultKind::Denied, "owner"),
            (ErrorKind::ReadOnlyFilesystem, FaultKind::Internal, "read-only"),
            (ErrorKind::StorageFull, FaultKind::DiskFull, "free some space"),
        ] {
            let (found, remedy) = not_written(&io::Error::from(kind));
            assert!(found == fault && remedy.contains(words), "{kind:?}: {found:?} {remedy}");
        }
    }
}
