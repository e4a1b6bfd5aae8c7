//! The form of the counts on the disk: strict, versioned JSON. The file may be lost: then the counts begin anew.

use std::collections::BTreeMap;
use std::path::Path;

use reg_commons::{Audits, Copies, Health as Observations, Moment, Observed};
use reg_proto::digest::Digest;
use reg_proto::json;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::state_file::{self, StateFileError};

/// The version that is written.
const VERSION: u32 = 1;
/// Bytes of the file: as many models as are kept, with as many copies each, take less. Three copies of 1,000 models take 2 MB.
const FILE_BYTES_MAX: usize = 128 << 20;

/// Why a file is not read.
#[derive(Debug, Error)]
pub(super) enum WrittenError {
    #[error(transparent)]
    File(#[from] StateFileError),
    #[error("it was counted at another pace ({pace})")]
    Pace { pace: u32 },
}

/// What a node keeps of its audits.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    version: u32,
    /// The pace of the moments in this file.
    pace: u32,
    pub(super) saved: Moment,
    pub(super) copies: BTreeMap<Digest, Copies>,
    pub(super) observed: BTreeMap<Digest, Observed>,
}

impl Written {
    /// Returns what is kept of these models.
    pub(super) fn of<'a>(
        audits: &Audits,
        observations: &Observations,
        models: impl Iterator<Item = &'a Digest>,
        pace: u32,
        saved: Moment,
    ) -> Self {
        let mut written = Self { version: VERSION, pace, saved, ..Self::default() };
        for model in models {
            written.copies.extend(audits.copies(model).map(|it| (*model, it.clone())));
            written.observed.extend(observations.get(model).map(|it| (*model, it.clone())));
        }
        written
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        json::to_vec(self)
    }

    /// Reads a file; `None` where there is none. Blocks.
    ///
    /// # Errors
    /// See [`WrittenError`].
    pub(super) fn read(path: &Path, pace: u32) -> Result<Option<Self>, WrittenError> {
        match state_file::read::<Self>(path, VERSION, FILE_BYTES_MAX)? {
            Some(written) if written.pace != pace => Err(WrittenError::Pace { pace: written.pace }),
            written => Ok(written),
        }
    }
}

#[cfg(test)]
mod tests {
    use reg_commons::{HOUR, Zone};
    use reg_proto::peer::PeerId;

    use super::*;

    fn written() -> Written {
        let (mut audits, mut observations) = (Audits::default(), Observations::default());
        let (model, peer) = (Digest::of(b"model"), PeerId::from_public_key([7; 32]));
        let at = |hour: u32| Moment::from_seconds(1_700_000_000) + HOUR * hour;
        audits.add(model, peer, Zone::V4([192, 0, 2]), at(0));
        (0..8).for_each(|hour| audits.passed(&model, &peer, 1 << 20, at(hour)));
        observations.observe(model, 1, 3, at(8));
        Written::of(&audits, &observations, [model, Digest::of(b"another")].iter(), 1, at(9))
    }

    #[test]
    fn what_is_written_is_read() {
        let written = written();
        assert_eq!((written.copies.len(), written.observed.len()), (1, 1));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("health.json");
        assert!(Written::read(&path, 1).unwrap().is_none());
        std::fs::write(&path, written.to_bytes()).unwrap();
        assert_eq!(Written::read(&path, 1).unwrap(), Some(written));
        assert!(matches!(Written::read(&path, 60), Err(WrittenError::Pace { pace: 1 })));
    }

    #[test]
    fn rubbish_is_refused() {
        let bytes = written().to_bytes();
        let text = String::from_utf8(bytes.clone()).unwrap();
        let changed = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1).into_bytes()
        };
        for damaged in [
            Vec::new(),
            b"rubbish".to_vec(),
            vec![0; 4096],
            bytes[..bytes.len() / 2].to_vec(),
            [bytes.as_slice(), b"}"].concat(),
            changed("\"version\":1", "\"version\":2"),
            changed("v4:c00002", "v4:c0000"),
            changed("\"saved\":", "\"when\":"),
        ] {
            let read = state_file::parse::<Written>(&damaged, VERSION, FILE_BYTES_MAX);
            assert!(read.is_err(), "{}", String::from_utf8_lossy(&damaged));
        }
    }
}
