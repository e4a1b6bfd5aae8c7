//! The form of what is known of the members on the disk: strict, versioned JSON. The file may be lost: then the members are asked
//! anew, and one that is away counts as gone.

use std::path::Path;

use reg_proto::json;
use serde::{Deserialize, Serialize};

use super::state::State;
use crate::registry::limits::SPREAD_FILE_BYTES_MAX;
use crate::state_file::{self, StateFileError};

/// The version that is written.
const VERSION: u32 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "version")]
    _version: u32,
    state: State,
}

#[derive(Serialize)]
struct Writing<'a> {
    version: u32,
    state: &'a State,
}

/// Returns the bytes of the file.
pub(super) fn to_bytes(state: &State) -> Vec<u8> {
    json::to_vec(&Writing { version: VERSION, state })
}

/// Reads a file; `None` where there is none.
///
/// # Errors
/// See [`StateFileError`].
pub(super) fn read_file(path: &Path) -> Result<Option<State>, StateFileError> {
    let written = state_file::read::<Written>(path, VERSION, SPREAD_FILE_BYTES_MAX)?;
    Ok(written.map(|it| it.state))
}

#[cfg(test)]
mod tests {
    use reg_commons::{Moment, Zone};
    use reg_proto::peer::PeerId;

    use super::super::own::tests::model;
    use super::super::state::{Probed, key_of};
    use super::*;

    fn state() -> State {
        let (mut state, now, peer) =
            (State::default(), Moment::from_seconds(5), PeerId::from_public_key([1; 32]));
        state.meet(peer, Zone::V4([10, 0, 1]), now);
        let models = [(key_of(&model(1)), model(1))];
        state.members.get_mut(&peer).expect("a member").models = models.into();
        state.note(peer, model(1).manifest, Probed::Given, now);
        state.note_count(&key_of(&model(1)), 1, 3, now);
        state
    }

    #[test]
    fn what_is_written_is_read_and_rubbish_is_refused() {
        let bytes = to_bytes(&state());
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("swarm-0.json");
        assert!(read_file(&path).expect("none").is_none());
        let read = |bytes: &[u8]| {
            state_file::write(&path, bytes).expect("written");
            read_file(&path)
        };
        assert_eq!(read(&bytes).expect("it is read"), Some(state()));
        let text = String::from_utf8(bytes.clone()).expect("text");
        for damaged in [
            Vec::new(),
            b"rubbish".to_vec(),
            bytes[..bytes.len() / 2].to_vec(),
            [bytes.as_slice(), b"}"].concat(),
            text.replacen("\"version\":1", "\"version\":2", 1).into_bytes(),
            text.replacen("v4:0a0001", "v4:0a", 1).into_bytes(),
            text.replacen("\"members\":", "\"member\":", 1).into_bytes(),
        ] {
            assert!(read(&damaged).is_err(), "{}", String::from_utf8_lossy(&damaged));
        }
    }
}
