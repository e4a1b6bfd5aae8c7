//! [`Home`]: the directories and files of a node.
//!
//! `REG_HOME` puts all of them under one directory; without it the XDG directories are used.

use std::fs;
use std::path::{Path, PathBuf};

use directories::ProjectDirs;
use reg_keys::key_file::Passphrases;
use reg_keys::keyring::Keyring;
use reg_proto::digest::Digest;
use thiserror::Error;

/// What is hashed before the secret and the key of a private swarm, so that the digest is that of nothing else.
const REMEMBERED_MARK: &[u8] = b"reg remembered peers\0";
/// The same for the file of the members of a private swarm.
const MEMBERS_MARK: &[u8] = b"reg swarm members\0";

/// Bytes of a Unix socket's path: the smallest common limit is that of macOS.
const SOCKET_PATH_MAX: usize = 100;

/// The directories and files of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// `config.toml`, `trust.toml`.
    pub config_dir: PathBuf,
    /// The store, the keys, the node's identity, and the token of the local API.
    pub data_dir: PathBuf,
    runtime_dir: PathBuf,
}

/// Why a node has no directory.
#[derive(Debug, Error)]
pub enum HomeError {
    #[error("no home directory is known: set REG_HOME to a folder")]
    NoHome,
    #[error("{path} cannot be created")]
    Make { path: PathBuf, source: std::io::Error },
}

impl Home {
    /// Returns the directories: under `reg_home` if given, else the XDG ones.
    ///
    /// # Errors
    /// Fails where the user has no home directory.
    pub fn find(reg_home: Option<&Path>) -> Result<Self, HomeError> {
        if let Some(root) = reg_home {
            // Without a slash at the end, so that the files have the same names however the folder is written.
            let root: PathBuf = expanded(root).components().collect();
            let root = std::path::absolute(&root).unwrap_or(root);
            return Ok(Self { config_dir: root.clone(), data_dir: root.clone(), runtime_dir: root });
        }
        let dirs = ProjectDirs::from("", "", "reg").ok_or(HomeError::NoHome)?;
        let runtime = dirs.runtime_dir().unwrap_or_else(|| dirs.data_dir());
        Ok(Self {
            config_dir: dirs.config_dir().to_owned(),
            data_dir: dirs.data_dir().to_owned(),
            runtime_dir: runtime.to_owned(),
        })
    }

    /// Creates the directories, readable by their owner only.
    ///
    /// # Errors
    /// Fails where a directory cannot be created.
    pub fn make(&self) -> Result<(), HomeError> {
        let socket = self.socket();
        let dirs = [Some(self.config_dir.as_path()), Some(self.data_dir.as_path()), socket.parent()];
        for dir in dirs.into_iter().flatten() {
            make_private(dir).map_err(|source| HomeError::Make { path: dir.to_owned(), source })?;
        }
        Ok(())
    }

    /// Returns the path of the configuration.
    pub fn config(&self) -> PathBuf {
        self.config_dir.join("config.toml")
    }

    /// Returns the path of the trust file.
    pub fn trust(&self) -> PathBuf {
        self.config_dir.join("trust.toml")
    }

    /// Returns the keyring of publisher keys. It takes passphrases from the file in `REG_KEY_PASSPHRASE_FILE`, and uses
    /// the ssh-agent in `SSH_AUTH_SOCK`.
    pub fn keyring(&self) -> Keyring {
        let file = std::env::var_os("REG_KEY_PASSPHRASE_FILE").filter(|it| !it.is_empty());
        let passphrases = file.map_or(Passphrases::Nowhere, |file| Passphrases::File(file.into()));
        let agent = std::env::var_os("SSH_AUTH_SOCK").filter(|it| !it.is_empty());
        Keyring::open(self.keys()).with_passphrases(passphrases).with_agent(agent.map(PathBuf::from))
    }

    /// Returns the directory of publisher keys.
    pub fn keys(&self) -> PathBuf {
        self.data_dir.join("keys")
    }

    /// Returns the directory of the store.
    pub fn store(&self) -> PathBuf {
        self.data_dir.join("store")
    }

    /// Returns the path of the node's own key.
    pub fn identity(&self) -> PathBuf {
        self.data_dir.join("node.key")
    }

    /// Returns the path of the file of remembered peers. Each private swarm has one of its own. Its name is derived from the
    /// swarm's key and from the node's secret, so that the key cannot be guessed by the name.
    pub fn remembered_peers(&self, secret: &[u8; 32], swarm_key: Option<&str>) -> PathBuf {
        self.of_swarm("peers", secret, swarm_key)
    }

    /// Returns the path of the file with the counts of replicas, which can be lost. Each private swarm has one of its own, named
    /// like that of its peers.
    pub fn health(&self, secret: &[u8; 32], swarm_key: Option<&str>) -> PathBuf {
        self.of_swarm("health", secret, swarm_key)
    }

    fn of_swarm(&self, what: &str, secret: &[u8; 32], swarm_key: Option<&str>) -> PathBuf {
        let name = swarm_key.map_or_else(
            || format!("{what}.json"),
            |key| {
                let digest = Digest::of(&[REMEMBERED_MARK, secret, key.as_bytes()].concat());
                format!("{what}-{}.json", &digest.hex()[..16])
            },
        );
        self.data_dir.join(name)
    }

    /// Returns the path of the file of what is known of the members of a private swarm, which can be lost. It is named like
    /// [`Self::remembered_peers`].
    pub fn swarm_members(&self, secret: &[u8; 32], swarm_key: &str) -> PathBuf {
        let digest = Digest::of(&[MEMBERS_MARK, secret, swarm_key.as_bytes()].concat());
        self.data_dir.join(format!("swarm-{}.json", &digest.hex()[..16]))
    }

    /// Returns the path of the token of the local API.
    pub fn token(&self) -> PathBuf {
        self.data_dir.join("admin.token")
    }

    /// Returns the path of the file with the results of the last search, by number.
    pub fn last_search(&self) -> PathBuf {
        self.data_dir.join("last-search.json")
    }

    /// Returns the directory of the catalogue, which can be lost.
    pub fn catalogue(&self) -> PathBuf {
        self.data_dir.join("catalogue")
    }

    /// Returns the path of the file with the address of the running daemon's gateways.
    pub fn gateway(&self) -> PathBuf {
        self.data_dir.join("gateway")
    }

    /// Returns the directory of the file with which container tools log in.
    pub fn login(&self) -> PathBuf {
        self.data_dir.join("login")
    }

    /// Returns the path of the daemon's socket. Where a path beside the other files is too long for a socket, it is one
    /// in the temporary directory, under a name that only this home has.
    pub fn socket(&self) -> PathBuf {
        let path = self.runtime_dir.join("reg.sock");
        if path.as_os_str().len() <= SOCKET_PATH_MAX {
            return path;
        }
        let name = Digest::of(path.as_os_str().as_encoded_bytes()).hex();
        std::env::temp_dir().join(format!("reg-{}", &name[..16])).join("reg.sock")
    }
}

/// Returns a path in which `~` at the beginning is the user's home directory, as shells read it where they do.
pub fn expanded(path: &Path) -> PathBuf {
    let home = || directories::BaseDirs::new().map(|it| it.home_dir().to_owned());
    match path.strip_prefix("~") {
        Ok(rest) => home().map_or_else(|| path.to_owned(), |home| home.join(rest).components().collect()),
        Err(_) => path.to_owned(),
    }
}

/// Creates a directory that only its owner can read; leaves an existing one as it is.
fn make_private(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_the_same_files_however_it_is_written() {
        let home = |text: &str| Home::find(Some(Path::new(text))).expect("a folder");
        for same in ["/srv/my reg/", "/srv//my reg", "/srv/./my reg/."] {
            assert_eq!(home(same), home("/srv/my reg"), "{same}");
            assert_eq!(home(same).socket(), Path::new("/srv/my reg/reg.sock"));
        }
        let own = directories::BaseDirs::new().expect("a user has a home").home_dir().to_owned();
        assert_eq!(home("~/reg"), home(&own.join("reg").to_string_lossy()));
        assert_eq!(expanded(Path::new("~")), own);
        assert_eq!(expanded(Path::new("/srv/~/reg")), Path::new("/srv/~/reg"));
    }

    #[test]
    fn one_folder_holds_all_and_a_socket_fits() {
        let home = Home::find(Some(Path::new("/srv/reg"))).unwrap();
        assert_eq!(home.config(), Path::new("/srv/reg/config.toml"));
        assert_eq!(home.socket(), Path::new("/srv/reg/reg.sock"));
        let long = Home::find(Some(Path::new(&format!("/srv/{}", "x".repeat(120))))).unwrap();
        assert!(long.socket().as_os_str().len() <= SOCKET_PATH_MAX);
        assert_ne!(
            long.socket(),
            Home::find(Some(Path::new(&format!("/srv/{}", "y".repeat(120))))).unwrap().socket()
        );
    }

    #[test]
    fn the_name_of_a_file_of_peers_does_not_give_a_swarms_key_away() {
        let home = Home::find(Some(Path::new("/srv/reg"))).unwrap();
        let path = |secret: u8, key| home.remembered_peers(&[secret; 32], key);
        assert_eq!(path(1, None), Path::new("/srv/reg/peers.json"));
        let lab = path(1, Some("lab"));
        assert_eq!(lab, path(1, Some("lab")));
        // Another node's file has another name: no table of names and keys helps.
        assert_ne!(lab, path(2, Some("lab")));
        assert_ne!(lab, path(1, Some("lab2")));
        assert!(!lab.to_string_lossy().contains("lab"));
    }
}
