//! What peers say to each other: questions with one answer, and frames on a long-lived blob stream.
//!
//! Both are a JSON header of bounded size, and after it raw bytes whose length the header's frame states:
//! `u32 header length · u32 payload length · header · payload`, lengths big-endian. Fields that a reader does not know
//! are ignored; the limits stand in [`crate::limits`].

use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::announcement::{Announcement, Holder};
use crate::bounded::Bounded;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::equivocation::EquivocationClaim;
use crate::json::{self, JsonError};
use crate::lane::{LANE_PORTS_MAX, LaneToken};
use crate::limits::{
    DELEGATIONS_MAX, FRAME_HEADER_BYTES_MAX, HEADS_PER_PAGE_MAX, HOLDERS_MAX, KEY_DOCUMENTS_MAX,
    NEWS_RUNS_MAX, PEERS_TOLD_MAX, PROOFS_PER_RESPONSE_MAX, REFERRERS_MAX, REQUEST_BYTES_MAX,
    RESPONSE_DOCUMENT_BYTES_MAX, RESPONSE_HEADER_BYTES_MAX, REVOCATIONS_MAX, STATES_BYTES_MAX,
    TAGS_PER_RESPONSE_MAX, VOWS_PER_PAGE_MAX,
};
use crate::name::{ModelName, PublisherId, Tag};
use crate::piece::{BlobLayout, PIECE_LEN, PieceSet, PieceSetError};

/// Bytes before every header: its length and the payload's.
pub const PREFIX_LEN: usize = 8;

/// Why some bytes are not the message they should be.
#[derive(Debug, Error)]
pub enum WireError {
    #[error("message announces a header of {length} bytes, at most {max} are allowed")]
    HeaderTooLarge { length: usize, max: usize },
    #[error("message announces a payload of {length} bytes where at most {max} may follow")]
    PayloadTooLarge { length: usize, max: usize },
    #[error("message ends early or goes on after its end")]
    Length,
    #[error("message header is not understood")]
    Header(#[from] JsonError),
}

/// A question to a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// Which tag records do you hold of this publisher, and the key documents that validate them?
    GetRecords {
        publisher: PublisherId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<ModelName>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tag: Option<Tag>,
    },
    /// The bytes of a manifest, a config or a referrer's layer.
    GetDocument { digest: Digest },
    /// Which manifests refer to this one?
    Referrers {
        subject: Digest,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        artifact_type: Option<String>,
    },
    /// Which peers do you know that hold this model?
    GetHolders { manifest: Digest },
    /// Whom are you connected to?
    GetPeers,
    /// A page of the announcements you know, those whose digest is above `after`.
    GetHeads {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Digest>,
    },
    /// What have publishers revoked that you know? Of those whose id is above `after`.
    GetVows {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<PublisherId>,
    },
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Response {
    Records(Records),
    /// The payload holds the document.
    Document {
        #[serde(skip)]
        bytes: Vec<u8>,
    },
    Referrers {
        manifests: Bounded<Descriptor, REFERRERS_MAX>,
    },
    Holders {
        holders: Bounded<Holder, HOLDERS_MAX>,
    },
    Peers {
        peers: Bounded<Holder, PEERS_TOLD_MAX>,
    },
    Heads {
        announcements: Bounded<Announcement, HEADS_PER_PAGE_MAX>,
    },
    /// In the order of the publishers' ids.
    Vows {
        publishers: Bounded<PublisherVows, VOWS_PER_PAGE_MAX>,
    },
    NotFound,
    /// Ask again after this many milliseconds, or ask somebody else.
    Busy {
        retry_ms: u32,
    },
}

/// What a peer holds of a publisher: envelopes, byte for byte as they were signed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// Every key document from the first to the newest, in order.
    pub key_documents: Bounded<String, KEY_DOCUMENTS_MAX>,
    pub tags: Bounded<String, TAGS_PER_RESPONSE_MAX>,
    /// Peers known to hold the newest of these models.
    #[serde(default)]
    pub holders: Bounded<Holder, HOLDERS_MAX>,
    /// Everything the publisher has revoked.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub revocations: Bounded<String, REVOCATIONS_MAX>,
    /// Who speaks for models of this publisher.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub delegations: Bounded<String, DELEGATIONS_MAX>,
    /// Records of these tags that contradict each other.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub proofs: Bounded<EquivocationClaim, PROOFS_PER_RESPONSE_MAX>,
}

/// What a publisher has revoked, with the keys that say so: envelopes, byte for byte as they were signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublisherVows {
    pub key_documents: Bounded<String, KEY_DOCUMENTS_MAX>,
    pub revocations: Bounded<String, REVOCATIONS_MAX>,
}

fn is_empty<T>(list: &[T]) -> bool {
    list.is_empty()
}

/// A frame on a blob stream. The puller opens the stream and sends the first group; the server sends the second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
pub enum Frame {
    /// Tell me which pieces of this blob you hold, now and whenever there are more.
    Follow { blob: Digest },
    /// I need no more news of this blob.
    Unfollow { blob: Digest },
    /// Send me the piece states of this blob, computed from the bytes if need be.
    GetStates { blob: Digest },
    /// Send me `count` pieces from `first` on, in order, each in a frame of its own.
    Request { id: u32, blob: Digest, first: u32, count: u32 },
    /// Send me no more of that request.
    Cancel { id: u32 },
    /// The piece you sent does not match: look at your copy.
    Complain { blob: Digest, piece: u32 },
    /// I take pieces over a lane as well: offer me one.
    WantLane,

    /// What I hold of this blob.
    Holds { blob: Digest, pieces: Held },
    /// What I hold of this blob beside what I told of it last: runs, as first piece and count.
    Has { blob: Digest, runs: Bounded<(u32, u32), NEWS_RUNS_MAX> },
    /// The payload holds the piece states of this blob.
    States {
        blob: Digest,
        #[serde(skip)]
        bytes: Vec<u8>,
    },
    /// The payload holds this piece.
    Piece {
        id: u32,
        piece: u32,
        #[serde(skip)]
        bytes: Vec<u8>,
    },
    /// I do not send (the rest of) that request.
    Reject { id: u32, reason: Rejection },
    /// I have no states of this blob.
    NoStates { blob: Digest },
    /// Connect to one of these ports, at the address by which you reach me, and show the token within seconds.
    LaneOffer { ports: Bounded<u16, LANE_PORTS_MAX>, token: LaneToken },
    /// I offer no (further) lane.
    NoLane,
    /// The first frame on a lane: you are admitted.
    LaneOpen,
}

/// Which pieces of a blob a peer holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    None,
    All,
    /// A bitmap as [`PieceSet::to_bytes`] writes it.
    Some(Bitmap),
}

/// Why a request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// Too much is waiting: ask again after this many milliseconds.
    Busy { retry_ms: u32 },
    /// These pieces are not here.
    NotHere,
    /// The copy here has changed since it was verified, and is being looked at.
    Unverified,
    /// The request is for no piece, too many, or beyond the blob's end.
    Malformed,
}

/// A bitmap on the wire, in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitmap(Vec<u8>);

impl Held {
    /// Returns how a peer says that it holds `pieces`.
    pub fn from_set(pieces: &PieceSet) -> Self {
        if pieces.is_full() {
            Self::All
        } else if pieces.is_empty() {
            Self::None
        } else {
            Self::Some(Bitmap(pieces.to_bytes()))
        }
    }

    /// Returns the runs of pieces that are held beside what was told before; `None` where that is told better by a bitmap:
    /// where some are gone, all are held, or there are too many runs.
    pub fn gained_since(&self, told: &Self) -> Option<Bounded<(u32, u32), NEWS_RUNS_MAX>> {
        let (Self::Some(Bitmap(now)), Self::Some(Bitmap(before))) = (self, told) else { return None };
        if now.len() != before.len() || now.iter().zip(before).any(|(now, before)| before & !now != 0) {
            return None;
        }
        let bits = now.iter().zip(before).flat_map(|(now, before)| {
            let new = now & !before;
            (0..8).map(move |bit| new >> bit & 1 == 1)
        });
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for (piece, _) in (0u32..).zip(bits).filter(|(_, is_new)| *is_new) {
            match runs.last_mut() {
                Some((first, count)) if *first + *count == piece => *count += 1,
                _ => runs.push((piece, 1)),
            }
        }
        runs.try_into().ok()
    }

    /// Returns the pieces of a blob with this layout that the peer says it holds.
    ///
    /// # Errors
    /// A bitmap of another length, or with bits beyond the last piece.
    pub fn to_set(&self, layout: BlobLayout) -> Result<PieceSet, PieceSetError> {
        match self {
            Self::None => Ok(PieceSet::new(layout.piece_count())),
            Self::All => Ok(PieceSet::full(layout.piece_count())),
            Self::Some(Bitmap(bytes)) => PieceSet::from_bytes(layout.piece_count(), bytes),
        }
    }
}

impl Serialize for Bitmap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bitmap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map(Self).map_err(de::Error::custom)
    }
}

/// A message that travels as a header and a payload.
pub trait Message: Serialize + for<'de> Deserialize<'de> {
    /// Bytes that a header may have.
    const HEADER_BYTES_MAX: usize;

    /// Returns the bytes that follow the header.
    fn payload(&self) -> &[u8];

    /// Returns how many bytes may follow this header, 0 where none belong to it.
    fn payload_max(&self) -> usize;

    /// Takes the bytes that followed the header.
    fn set_payload(&mut self, payload: Vec<u8>);

    /// Returns the prefix and the header, after which [`Self::payload`] is to be sent.
    fn head(&self) -> Vec<u8> {
        let header = json::to_vec(self);
        let mut bytes = Vec::with_capacity(PREFIX_LEN + header.len());
        for length in [header.len(), self.payload().len()] {
            bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        }
        bytes.extend(header);
        bytes
    }

    /// Returns the lengths of header and payload that a prefix announces.
    ///
    /// # Errors
    /// A header that is too large; the payload is judged when the header is known.
    fn lengths(prefix: [u8; PREFIX_LEN]) -> Result<(usize, usize), WireError> {
        let [a, b, c, d, e, f, g, h] = prefix;
        let (header, payload) =
            (u32::from_be_bytes([a, b, c, d]) as usize, u32::from_be_bytes([e, f, g, h]) as usize);
        if header > Self::HEADER_BYTES_MAX {
            return Err(WireError::HeaderTooLarge { length: header, max: Self::HEADER_BYTES_MAX });
        }
        Ok((header, payload))
    }

    /// Reads a header, and tells whether a payload of `payload` bytes may follow it.
    ///
    /// # Errors
    /// A header that is not understood, or one to which no payload of that length belongs.
    fn from_header(header: &[u8], payload: usize) -> Result<Self, WireError> {
        let message: Self = json::from_slice(header, Self::HEADER_BYTES_MAX)?;
        let max = message.payload_max();
        if payload > max { Err(WireError::PayloadTooLarge { length: payload, max }) } else { Ok(message) }
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// As [`Self::lengths`] and [`Self::from_header`], and bytes that are missing or left over.
    fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let (prefix, rest) = bytes.split_first_chunk().ok_or(WireError::Length)?;
        let (header, payload) = Self::lengths(*prefix)?;
        if rest.len() as u64 != header as u64 + payload as u64 {
            return Err(WireError::Length);
        }
        let (header, payload) = rest.split_at(header);
        let mut message = Self::from_header(header, payload.len())?;
        message.set_payload(payload.to_vec());
        Ok(message)
    }

    /// Returns the whole message.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        bytes.extend(self.payload());
        bytes
    }
}

impl Message for Request {
    const HEADER_BYTES_MAX: usize = REQUEST_BYTES_MAX;

    fn payload(&self) -> &[u8] {
        &[]
    }

    fn payload_max(&self) -> usize {
        0
    }

    fn set_payload(&mut self, _: Vec<u8>) {}
}

impl Message for Response {
    const HEADER_BYTES_MAX: usize = RESPONSE_HEADER_BYTES_MAX;

    fn payload(&self) -> &[u8] {
        match self {
            Self::Document { bytes } => bytes,
            _ => &[],
        }
    }

    fn payload_max(&self) -> usize {
        match self {
            Self::Document { .. } => RESPONSE_DOCUMENT_BYTES_MAX,
            _ => 0,
        }
    }

    fn set_payload(&mut self, payload: Vec<u8>) {
        if let Self::Document { bytes } = self {
            *bytes = payload;
        }
    }
}

impl Message for Frame {
    const HEADER_BYTES_MAX: usize = FRAME_HEADER_BYTES_MAX;

    fn payload(&self) -> &[u8] {
        match self {
            Self::Piece { bytes, .. } | Self::States { bytes, .. } => bytes,
            _ => &[],
        }
    }

    fn payload_max(&self) -> usize {
        match self {
            Self::Piece { .. } => PIECE_LEN as usize,
            Self::States { .. } => STATES_BYTES_MAX as usize,
            _ => 0,
        }
    }

    fn set_payload(&mut self, payload: Vec<u8>) {
        match self {
            Self::Piece { bytes, .. } | Self::States { bytes, .. } => *bytes = payload,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_back_what_it_writes() {
        let frame = Frame::Piece { id: 7, piece: 3, bytes: b"piece".to_vec() };
        assert_eq!(Frame::from_bytes(&frame.to_bytes()).unwrap(), frame);
        let response = Response::Document { bytes: b"{}".to_vec() };
        assert_eq!(Response::from_bytes(&response.to_bytes()).unwrap(), response);
        let request = Request::GetHeads { after: None };
        assert_eq!(Request::from_bytes(&request.to_bytes()).unwrap(), request);
    }

    #[test]
    fn a_payload_must_belong_to_its_header() {
        let mut bytes = Frame::Cancel { id: 1 }.to_bytes();
        bytes[7] = 1;
        bytes.push(0);
        assert!(matches!(Frame::from_bytes(&bytes), Err(WireError::PayloadTooLarge { length: 1, max: 0 })));
        let huge = [0xff; PREFIX_LEN];
        assert!(matches!(Frame::lengths(huge), Err(WireError::HeaderTooLarge { .. })));
    }

    #[test]
    fn unknown_fields_are_ignored_and_unknown_messages_are_not() {
        let read = |text: &str| Request::from_header(text.as_bytes(), 0);
        assert!(read(r#"{"ask":"get_heads","hop":3}"#).is_ok());
        assert!(read(r#"{"ask":"get_everything"}"#).is_err());
        assert!(read(r#"{"ask":"get_heads","ask":"get_heads"}"#).is_err());
    }

    #[test]
    fn an_offer_of_a_lane_reads_back_and_is_bounded() {
        let token = LaneToken::from_bytes([0xab; 16]);
        let offer = Frame::LaneOffer { ports: Bounded::first_of([4601, 4602]), token };
        let text = String::from_utf8(offer.head()[PREFIX_LEN..].to_vec()).unwrap();
        assert_eq!(
            text,
            format!(r#"{{"frame":"lane_offer","ports":[4601,4602],"token":"{}"}}"#, "ab".repeat(16))
        );
        for frame in [offer.clone(), Frame::WantLane, Frame::NoLane, Frame::LaneOpen] {
            assert_eq!(Frame::from_bytes(&frame.to_bytes()).unwrap(), frame);
        }
        for wrong in
            [text.replace("4602", "4602,1,2,3"), text.replace("abab", "ab"), text.replace("4601", "65536")]
        {
            assert!(Frame::from_header(wrong.as_bytes(), 0).is_err(), "{wrong}");
        }
        assert!(!format!("{offer:?}").contains("abab"), "a token is not logged");
    }

    #[test]
    fn news_are_what_is_new() {
        let held = |pieces: &[u32]| {
            let mut set = PieceSet::new(1000);
            for index in pieces {
                set.insert(set.piece(*index).unwrap());
            }
            Held::from_set(&set)
        };
        let told = held(&[0, 9]);
        let gained = held(&[0, 3, 4, 9, 999]).gained_since(&told).unwrap();
        assert_eq!(gained.into_vec(), [(3, 2), (999, 1)]);
        assert_eq!(held(&[9, 10]).gained_since(&told), None, "a piece is gone");
        assert_eq!(Held::All.gained_since(&told), None);
        let many: Vec<u32> = (0..500).map(|n| n * 2).chain([9]).collect();
        assert_eq!(held(&many).gained_since(&told), None, "too many runs");
        let frame = Frame::Has { blob: Digest::of(b""), runs: Bounded::first_of([(3, 2)]) };
        assert_eq!(Frame::from_bytes(&frame.to_bytes()).unwrap(), frame);
    }

    #[test]
    fn a_bitmap_fits_the_largest_blob() {
        let layout = BlobLayout::new(crate::limits::BLOB_BYTES_MAX).unwrap();
        let mut set = PieceSet::full(layout.piece_count());
        set.remove(layout.last());
        let frame = Frame::Holds { blob: Digest::of(b""), pieces: Held::from_set(&set) };
        assert!(frame.head().len() <= FRAME_HEADER_BYTES_MAX);
        let Frame::Holds { pieces, .. } = Frame::from_bytes(&frame.to_bytes()).unwrap() else {
            unreachable!()
        };
        assert_eq!(pieces.to_set(layout), Ok(set));
    }
}
