//! Files beside the store in which a node keeps what it can learn again: strict JSON that names its version.
//!
//! Promise: a reader never takes more than the bytes that it allows, and never a part of a file for all of it. A writer replaces the
//! file as a whole: after a power cut it is the old one or the new one.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use reg_keys::durable;
use reg_proto::json::{self, JsonError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Why a file is not read.
#[derive(Debug, Error)]
pub enum StateFileError {
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    #[error("it has more than {max} bytes")]
    TooLarge { max: usize },
    #[error("another version of this program has written it (format {version})")]
    Version { version: u32 },
    #[error("it is damaged")]
    Damaged(#[from] JsonError),
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Reads a file of at most `max` bytes; `None` where there is none.
///
/// # Errors
/// See [`StateFileError`].
pub fn read<T: DeserializeOwned>(path: &Path, version: u32, max: usize) -> Result<Option<T>, StateFileError> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(max as u64 + 1).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    parse(&bytes, version, max).map(Some)
}

/// Reads the bytes of a file. What another version has written is not looked at further.
///
/// # Errors
/// See [`StateFileError`].
pub fn parse<T: DeserializeOwned>(bytes: &[u8], version: u32, max: usize) -> Result<T, StateFileError> {
    if bytes.len() > max {
        return Err(StateFileError::TooLarge { max });
    }
    let of: Versioned = json::from_slice(bytes, max)?;
    match of.version == version {
        true => Ok(json::from_slice(bytes, max)?),
        false => Err(StateFileError::Version { version: of.version }),
    }
}

/// Replaces a file. When this returns, the new one survives a power cut.
///
/// # Errors
/// The disk refuses. The file is then the old one.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    durable::replace(path, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        version: u32,
        count: u32,
    }

    #[test]
    fn a_file_is_read_as_a_whole_or_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.json");
        let read_up_to = |max| read::<Written>(&path, 1, max);
        assert!(read_up_to(99).expect("there is none").is_none());
        let bytes = br#"{"version":1,"count":7}"#;
        write(&path, bytes).expect("written");
        assert_eq!(read_up_to(bytes.len()).expect("read"), Some(Written { version: 1, count: 7 }));
        let large = read_up_to(bytes.len() - 1).expect_err("it is too large");
        assert!(matches!(large, StateFileError::TooLarge { .. }), "{large}");
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("a folder").count(),
            1,
            "nothing is left beside it"
        );
        for (bytes, is_of_another_version) in [
            (&br#"{"version":2,"later":7}"#[..], true),
            (br#"{"version":1,"later":7}"#, false),
            (br#"{"version":1,"count":7"#, false),
            (b"", false),
        ] {
            let error = parse::<Written>(bytes, 1, 99).expect_err("it is refused");
            assert_eq!(matches!(error, StateFileError::Version { version: 2 }), is_of_another_version);
            assert!(is_of_another_version || matches!(error, StateFileError::Damaged(_)), "{error}");
        }
    }
}
