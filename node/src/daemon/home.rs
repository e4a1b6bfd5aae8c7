//! [`Home`]: where a node keeps its things.
//!
//! `REG_HOME` puts all of it under one folder; without it the XDG directories are used.

use std::fs;
use std::path::{Path, PathBuf};

use directories::ProjectDirs;
use reg_proto::digest::Digest;
use thiserror::Error;

use crate::registry::key_file::Passphrases;
use crate::registry::keyring::Keyring;

/// Bytes of a Unix socket's path, as the smallest common limit (macOS) has it.
const SOCKET_PATH_MAX: usize = 100;

/// The folders and files of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// `config.toml`, `trust.toml`
    pub config_dir: PathBuf,
    /// The store, the keys, the node's identity, the admin token.
    pub data_dir: PathBuf,
    runtime_dir: PathBuf,
}

/// Why there is no place for a node's things.
#[derive(Debug, Error)]
pub enum HomeError {
    #[error("no home directory is known: set REG_HOME to a folder")]
    NoHome,
    #[error("{path} cannot be made")]
    Make { path: PathBuf, source: std::io::Error },
}

impl Home {
    /// Finds the folders: under `reg_home` if given, else the XDG ones.
    ///
    /// # Errors
    /// No home directory is known.
    pub fn find(reg_home: Option<&Path>) -> Result<Self, HomeError> {
        if let Some(root) = reg_home {
            let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
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

    /// Makes the folders, readable by their owner only.
    ///
    /// # Errors
    /// A folder cannot be made.
    pub fn make(&self) -> Result<(), HomeError> {
        let socket = self.socket();
        let dirs = [Some(self.config_dir.as_path()), Some(self.data_dir.as_path()), socket.parent()];
        for dir in dirs.into_iter().flatten() {
            make_private(dir).map_err(|source| HomeError::Make { path: dir.to_owned(), source })?;
        }
        Ok(())
    }

    /// Returns where the configuration is.
    pub fn config(&self) -> PathBuf {
        self.config_dir.join("config.toml")
    }

    /// Returns where the petnames are.
    pub fn trust(&self) -> PathBuf {
        self.config_dir.join("trust.toml")
    }

    /// Returns the ring of publisher keys, with passphrases from the file that `REG_KEY_PASSPHRASE_FILE` names, and
    /// with the ssh-agent that `SSH_AUTH_SOCK` names.
    pub fn keyring(&self) -> Keyring {
        let file = std::env::var_os("REG_KEY_PASSPHRASE_FILE").filter(|it| !it.is_empty());
        let passphrases = file.map_or(Passphrases::Nowhere, |file| Passphrases::File(file.into()));
        let agent = std::env::var_os("SSH_AUTH_SOCK").filter(|it| !it.is_empty());
        Keyring::open(self.keys()).with_passphrases(passphrases).with_agent(agent.map(PathBuf::from))
    }

    /// Returns where the publisher keys are.
    pub fn keys(&self) -> PathBuf {
        self.data_dir.join("keys")
    }

    /// Returns where models are kept.
    pub fn store(&self) -> PathBuf {
        self.data_dir.join("store")
    }

    /// Returns where the node's own key is.
    pub fn identity(&self) -> PathBuf {
        self.data_dir.join("node.key")
    }

    /// Returns where the token of the admin API is.
    pub fn token(&self) -> PathBuf {
        self.data_dir.join("admin.token")
    }

    /// Returns the file that says where the running daemon serves its gateways.
    pub fn gateway(&self) -> PathBuf {
        self.data_dir.join("gateway")
    }

    /// Returns the folder of the file by which tools of containers log in.
    pub fn login(&self) -> PathBuf {
        self.data_dir.join("login")
    }

    /// Returns where the daemon's socket is: beside the rest, or, where that path is too long for a socket, in the
    /// temporary folder under a name that only this home has.
    pub fn socket(&self) -> PathBuf {
        let path = self.runtime_dir.join("reg.sock");
        if path.as_os_str().len() <= SOCKET_PATH_MAX {
            return path;
        }
        let name = Digest::of(path.as_os_str().as_encoded_bytes()).hex();
        std::env::temp_dir().join(format!("reg-{}", &name[..16])).join("reg.sock")
    }
}

/// Makes a folder that only its owner may look into; one that is there stays as it is.
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
}
