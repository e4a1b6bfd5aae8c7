//! Lanes: what two nodes agree on before bulk bytes go over a connection of their own, beside the control stream.
//!
//! A puller asks on its blob stream for a lane, the server answers with ports and a one-time token, and the puller connects
//! by TCP and TLS 1.3, at the address by which it is connected already. Both ends prove their peer id by libp2p's
//! certificate. The first record of the puller is the token; from then on only the server sends: frames as on a blob
//! stream, the header in a record of its own, the payload in records that hold nothing else.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The protocol that both ends of a lane name in their handshake (ALPN).
pub const LANE_PROTOCOL: &[u8] = b"reg-lane/1";
/// Ports that one offer names: IPv4 and IPv6, and some to spare.
pub const LANE_PORTS_MAX: usize = 4;
/// Bytes of a token: nobody guesses 128 bits within its seconds.
pub const LANE_TOKEN_LEN: usize = 16;

/// Admits one connection, once, of the peer that it was given to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneToken([u8; LANE_TOKEN_LEN]);

impl LaneToken {
    /// Returns the token of these bytes, which are to be random.
    pub const fn from_bytes(bytes: [u8; LANE_TOKEN_LEN]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, as they are sent.
    pub const fn as_bytes(&self) -> &[u8; LANE_TOKEN_LEN] {
        &self.0
    }
}

/// A token is a secret for as long as it lives.
impl fmt::Debug for LaneToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LaneToken(…)")
    }
}

impl Serialize for LaneToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for LaneToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(de::Error::custom)?;
        let length = bytes.len();
        let wrong = |_| de::Error::custom(format_args!("token of {length} bytes, not {LANE_TOKEN_LEN}"));
        bytes.try_into().map(Self).map_err(wrong)
    }
}
