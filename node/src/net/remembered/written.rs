//! The form of the remembered peers on the disk: strict, versioned JSON.

use std::collections::BTreeMap;

use reg_proto::bounded::Bounded;
use reg_proto::json::{self, JsonError};
use reg_proto::peer::{Address, PeerId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::known_peers::{KnownPeers, Met};
use crate::net::limits::{
    ADDRESSES_REMEMBERED_MAX, NAMED_PEERS_MAX, REMEMBERED_FILE_BYTES_MAX, REMEMBERED_MAX,
};

/// The version that is written.
const VERSION: u32 = 1;

/// Why a file is not read.
#[derive(Debug, Error)]
pub(super) enum WrittenError {
    #[error("a later version of this program has written it (format {version})")]
    Later { version: u32 },
    #[error("it is damaged")]
    Damaged(#[source] JsonError),
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBook {
    version: u32,
    named: Bounded<Address, NAMED_PEERS_MAX>,
    peers: Bounded<RawPeer, REMEMBERED_MAX>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPeer {
    peer: PeerId,
    addresses: Bounded<Address, ADDRESSES_REMEMBERED_MAX>,
    claimed: bool,
    days: u32,
    success: u64,
    used: Option<u64>,
    failures: u32,
}

/// Returns a known as the bytes of its file.
pub(super) fn to_bytes(known: &KnownPeers) -> Vec<u8> {
    let peers = known.peers().iter().map(|(peer, met)| RawPeer {
        peer: *peer,
        addresses: Bounded::first_of(met.addresses.iter().cloned()),
        claimed: met.is_claimed,
        days: met.days,
        success: met.success,
        used: met.used,
        failures: met.failures,
    });
    let named = Bounded::first_of(known.named().iter().cloned());
    json::to_vec(&RawBook { version: VERSION, named, peers: Bounded::first_of(peers) })
}

/// Reads the bytes of a file at `now`.
///
/// # Errors
/// See [`WrittenError`].
pub(super) fn read(bytes: &[u8], now: u64) -> Result<KnownPeers, WrittenError> {
    let of: Versioned = json::from_slice(bytes, REMEMBERED_FILE_BYTES_MAX).map_err(WrittenError::Damaged)?;
    if of.version > VERSION {
        return Err(WrittenError::Later { version: of.version });
    }
    let RawBook { version: _, named, peers } =
        json::from_slice(bytes, REMEMBERED_FILE_BYTES_MAX).map_err(WrittenError::Damaged)?;
    let peers = peers.into_vec().into_iter().map(|raw| {
        let met = Met {
            addresses: raw.addresses.into_vec(),
            is_claimed: raw.claimed,
            days: raw.days,
            success: raw.success,
            used: raw.used,
            failures: raw.failures,
        };
        (raw.peer, met)
    });
    Ok(KnownPeers::new(peers.collect::<BTreeMap<_, _>>(), named.into_vec(), now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";

    #[test]
    fn the_form_is_what_it_was() {
        let text = format!(
            r#"{{"version":1,"named":["/ip4/10.0.0.1/tcp/4600"],"peers":[{{"peer":"{PEER}","addresses":["/ip4/45.1.1.1/tcp/4600"],"claimed":false,"days":3,"success":1790000000,"used":1790000000,"failures":0}}]}}"#
        );
        let known = read(text.as_bytes(), 1_800_000_000).unwrap();
        assert_eq!(known.peers()[&PEER.parse::<PeerId>().unwrap()].days, 3);
        assert_eq!(String::from_utf8(to_bytes(&known)).unwrap(), text);
        let early = read(text.as_bytes(), 1000).unwrap();
        assert!(early.peers().values().all(|it| it.success == 1000), "no success lies in the future");
    }

    #[test]
    fn other_forms_are_refused() {
        assert!(matches!(
            read(br#"{"version":2,"peers":{},"new":1}"#, 0),
            Err(WrittenError::Later { version: 2 })
        ));
        for text in [
            "",
            "{}",
            "not JSON",
            r#"{"version":1,"named":[],"peers":[]"#,
            r#"{"version":1,"named":[],"peers":[],"more":1}"#,
            r#"{"version":1,"named":[],"named":[],"peers":[]}"#,
            r#"{"version":1,"named":["no address"],"peers":[]}"#,
        ] {
            assert!(matches!(read(text.as_bytes(), 0), Err(WrittenError::Damaged(_))), "{text}");
        }
        let many = vec![r#""/ip4/10.0.0.1/tcp/1""#; NAMED_PEERS_MAX + 1].join(",");
        let text = format!(r#"{{"version":1,"named":[{many}],"peers":[]}}"#);
        assert!(matches!(read(text.as_bytes(), 0), Err(WrittenError::Damaged(_))));
    }

    #[test]
    fn the_largest_book_has_room_in_its_file() {
        let long: Address = format!("/dns4/{}/tcp/4600", "x".repeat(256 - 15)).parse().unwrap();
        let met = Met {
            addresses: vec![long.clone(); ADDRESSES_REMEMBERED_MAX],
            is_claimed: false,
            days: u32::MAX,
            success: u64::MAX,
            used: Some(u64::MAX),
            failures: u32::MAX,
        };
        let one = RawPeer {
            peer: PEER.parse().unwrap(),
            addresses: Bounded::first_of(met.addresses),
            claimed: met.is_claimed,
            days: met.days,
            success: met.success,
            used: met.used,
            failures: met.failures,
        };
        let bytes = json::to_vec(&one).len() * REMEMBERED_MAX + 300 * NAMED_PEERS_MAX;
        assert!(bytes < REMEMBERED_FILE_BYTES_MAX, "{bytes}");
    }
}
