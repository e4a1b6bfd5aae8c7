//! Lanes: the protocol by which two nodes open a separate connection for pieces, beside the control stream.
//!
//! 1. The puller asks for a lane on its blob stream. The server answers with ports and a one-time token.
//! 2. The puller connects by TCP and TLS 1.3, to the address at which it has already reached the server. Both ends prove
//!    their peer id with libp2p's certificate.
//! 3. The puller sends the token as its first record.
//! 4. From then on only the server sends: frames as on a blob stream. The header has a record of its own, and the payload
//!    has records that hold nothing else.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Name of the protocol in the TLS handshake of a lane (ALPN).
pub const LANE_PROTOCOL: &[u8] = b"reg-lane/1";
/// Most ports in one offer: one each for IPv4 and IPv6, and two spare.
pub const LANE_PORTS_MAX: usize = 4;
/// Length of a token in bytes. An attacker cannot guess 128 bits in the seconds that a token is valid.
pub const LANE_TOKEN_LEN: usize = 16;

/// A one-time token that admits one connection of the peer that received it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneToken([u8; LANE_TOKEN_LEN]);

impl LaneToken {
    /// Returns the token with these bytes, which must be random.
    pub const fn from_bytes(bytes: [u8; LANE_TOKEN_LEN]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes as the puller sends them.
    pub const fn as_bytes(&self) -> &[u8; LANE_TOKEN_LEN] {
        &self.0
    }
}

/// Hides the token, which is a secret while it is valid.
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
