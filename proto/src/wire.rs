//! The messages between peers: requests with one response, and frames on a long-lived blob stream.
//!
//! Each message is `u32 header length · u32 payload length · header · payload`, with big-endian lengths. The header is JSON
//! of bounded size, and the payload is raw bytes. Readers ignore unknown fields. [`crate::limits`] defines the limits.

use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::announcement::{Announcement, Holder};
use crate::bounded::Bounded;
use crate::catalogue::{Differing, ListingsPage, Questions, RootsPage, SampleQuestion};
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::equivocation::EquivocationClaim;
use crate::json::{self, JsonError};
use crate::lane::{LANE_PORTS_MAX, LaneToken};
use crate::limits::{
    ANCESTORS_PER_RESPONSE_MAX, DELEGATIONS_MAX, DOCUMENTS_BYTES_MAX, DOCUMENTS_PER_RESPONSE_MAX,
    FRAME_HEADER_BYTES_MAX, HEADS_PER_PAGE_MAX, HOLDERS_MAX, KEY_TEXTS_MAX, LISTINGS_BYTES_MAX,
    NEWS_RUNS_MAX, PEERS_TOLD_MAX, PROFILE_BYTES_MAX, PROOFS_PER_RESPONSE_MAX, QUESTIONS_BYTES_MAX,
    REFERRERS_MAX, REQUEST_BYTES_MAX, RESPONSE_DOCUMENT_BYTES_MAX, RESPONSE_HEADER_BYTES_MAX,
    REVOCATIONS_MAX, ROOTS_PAGE_BYTES_MAX, ROOTS_PER_PAGE_MAX, STATES_BYTES_MAX, TAGS_PER_RESPONSE_MAX,
    VOWS_PER_PAGE_MAX,
};
use crate::name::{ModelName, PublisherId, Tag};
use crate::piece::{BlobLayout, PIECE_LEN, PieceSet, PieceSetError};
use crate::swarm_state::{SwarmQuestion, SwarmState};

/// Length of the prefix in bytes: the lengths of header and payload.
pub const PREFIX_LEN: usize = 8;

/// Why some bytes are not the expected message.
#[derive(Debug, Error)]
pub enum WireError {
    #[error("message announces a header of {length} bytes, at most {max} are allowed")]
    HeaderTooLarge { length: usize, max: usize },
    #[error("message announces a payload of {length} bytes, at most {max} are allowed after this header")]
    PayloadTooLarge { length: usize, max: usize },
    #[error("message is shorter or longer than its prefix states")]
    Length,
    #[error("message header cannot be parsed")]
    Header(#[from] JsonError),
}

/// A request to a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// Asks for the publisher's tag records, and the key documents that verify them.
    GetRecords {
        publisher: PublisherId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<ModelName>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tag: Option<Tag>,
        /// Asks for the documents of one model too, so that the receiver need not ask for each. A peer of before ignores it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        documents: Option<DocumentsOf>,
    },
    /// Asks for the bytes of a manifest, a config or a referrer's layer.
    GetDocument { digest: Digest },
    /// Asks for the manifests that refer to this one.
    Referrers {
        subject: Digest,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        artifact_type: Option<String>,
    },
    /// Asks for the peers that are known to hold this model.
    GetHolders { manifest: Digest },
    /// Asks for the peers that the receiver is connected to.
    GetPeers,
    /// Asks for a page of known announcements: those with a digest above `after`.
    GetHeads {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Digest>,
    },
    /// Asks for a page of publishers' known revocations: publishers with an id above `after`.
    GetVows {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<PublisherId>,
    },
    /// Asks which of these publishers the receiver lists otherwise. This and the next two requests are new: a peer of before
    /// never sends them, and cannot read them. It closes the stream then, as for every message that it cannot read.
    CompareRoots(RootsPage),
    /// Asks for the listings of some publishers that differ from those of the sender.
    GetListings(Questions),
    /// Asks for listings of publishers that the receiver chooses.
    GetSample(SampleQuestion),
    /// Asks a member of a private swarm which copies it keeps. A peer of before closes the stream.
    GetSwarmState(SwarmQuestion),
}

/// Names a model to send the documents of, beside the records of its publisher.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentsOf {
    /// The manifest of the model. Without it, the newest record of the tag names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// A manifest that the asker has with all that belongs to it. Nothing is sent of this model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<Digest>,
    /// Whether the asker wants no document, but what [`ModelDocuments`] says of the model.
    #[serde(default, skip_serializing_if = "is_false")]
    pub brief: bool,
}

/// The response to a [`Request`].
#[expect(
    clippy::large_enum_variant,
    reason = "a response is moved a few times, and records are the usual one"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Response {
    /// The publisher's records.
    Records(Records),
    /// Carries the document as the payload.
    Document {
        #[serde(skip)]
        bytes: Vec<u8>,
    },
    /// Descriptors of the referrers.
    Referrers { manifests: Bounded<Descriptor, REFERRERS_MAX> },
    /// Peers that are known to hold the model.
    Holders { holders: Bounded<Holder, HOLDERS_MAX> },
    /// Peers that the sender is connected to.
    Peers { peers: Bounded<Holder, PEERS_TOLD_MAX> },
    /// A page of announcements, in the order of their digests.
    Heads { announcements: Bounded<Announcement, HEADS_PER_PAGE_MAX> },
    /// Declarations in the order of the publishers' ids.
    Vows { publishers: Bounded<PublisherVows, VOWS_PER_PAGE_MAX> },
    /// Says which of the publishers differ, in the payload.
    Differing(Differing),
    /// Carries listings as the payload.
    Listings(ListingsPage),
    /// Says which copies the sender keeps for a private swarm.
    SwarmState(SwarmState),
    /// The sender does not have what was requested.
    NotFound,
    /// The sender is busy. The receiver may repeat the request after `retry_ms` milliseconds, or ask another peer.
    Busy { retry_ms: u32 },
}

/// A peer's records of a publisher, as envelopes, byte for byte as they were signed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// Every key document from the first to the newest, in order, and then the inheritance list of the newest.
    pub key_documents: Bounded<String, KEY_TEXTS_MAX>,
    pub tags: Bounded<String, TAGS_PER_RESPONSE_MAX>,
    /// Peers that are known to hold the newest of these models.
    #[serde(default)]
    pub holders: Bounded<Holder, HOLDERS_MAX>,
    /// All known revocations of the publisher.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub revocations: Bounded<String, REVOCATIONS_MAX>,
    /// Delegations of the publisher.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub delegations: Bounded<String, DELEGATIONS_MAX>,
    /// What the publisher says of itself, as a signed [profile](crate::profile). A peer of before ignores it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileText>,
    /// Pairs of contradicting records of these tags.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub proofs: Bounded<EquivocationClaim, PROOFS_PER_RESPONSE_MAX>,
    /// Older records of the tag that was asked for, the newest first. The sender states that it holds their models whole.
    ///
    /// The receiver verifies each like a tag record. A signature proves that the publisher once moved the tag there, and
    /// the number proves that it was before the head. Only records on both sides of a `prev` link prove that the one
    /// follows the other: where the links between are missing, a receiver cannot see whether the publisher settled or
    /// replaced the older record in between. So an ancestor may stand in for the head, and is never taken as the head.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub ancestors: Bounded<String, ANCESTORS_PER_RESPONSE_MAX>,
    /// Key documents that part from `key_documents`, from the first on: evidence of two branches. Empty if none is known.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub branch: Bounded<String, KEY_TEXTS_MAX>,
    /// The documents of the model that was asked for. `None` if none were asked for, or if the sender does not have the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents: Option<ModelDocuments>,
}

/// Documents of one model: its manifest, its referrers, what these carry, and the piece states of its blobs. The receiver names
/// each by the digest that it computes, so a sender can leave some out and cannot replace any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelDocuments {
    pub manifest: Digest,
    /// Whether the sender states that it holds the model whole.
    pub whole: bool,
    /// The manifests that refer to this one and that the sender has, whether it sends them or not.
    pub referrers: Bounded<Digest, REFERRERS_MAX>,
    /// The lengths in bytes of the documents, in the order of the payload.
    pub lengths: Bounded<u32, DOCUMENTS_PER_RESPONSE_MAX>,
    /// The documents one after the other, which is the payload: at most [`DOCUMENTS_BYTES_MAX`].
    #[serde(skip)]
    pub bytes: Vec<u8>,
}

impl ModelDocuments {
    /// Returns statements about a model without a document.
    pub fn of(manifest: Digest, whole: bool, referrers: impl IntoIterator<Item = Digest>) -> Self {
        let (referrers, lengths) = (Bounded::first_of(referrers), Bounded::empty());
        Self { manifest, whole, referrers, lengths, bytes: Vec::new() }
    }

    /// Returns how many bytes the next document may have.
    pub fn room(&self) -> usize {
        let is_full = self.lengths.len() >= DOCUMENTS_PER_RESPONSE_MAX;
        if is_full { 0 } else { DOCUMENTS_BYTES_MAX.saturating_sub(self.bytes.len()) }
    }

    /// Adds those of the documents for which there is room.
    pub fn add(&mut self, documents: impl IntoIterator<Item = Vec<u8>>) {
        let mut lengths = std::mem::take(&mut self.lengths).into_vec();
        for document in documents {
            let has_room = self.bytes.len() + document.len() <= DOCUMENTS_BYTES_MAX;
            if has_room && lengths.len() < DOCUMENTS_PER_RESPONSE_MAX {
                lengths.push(u32::try_from(document.len()).unwrap_or(u32::MAX));
                self.bytes.extend(document);
            }
        }
        self.lengths = Bounded::first_of(lengths);
    }

    /// Returns each document that is whole in the payload.
    pub fn documents(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        self.lengths.iter().map_while(move |length| {
            let (document, after) = rest.split_at_checked(*length as usize)?;
            rest = after;
            Some(document)
        })
    }

    /// Returns the length of the payload in bytes, as the header states it.
    fn payload_len(&self) -> u64 {
        self.lengths.iter().map(|length| u64::from(*length)).sum()
    }
}

/// The envelope of a profile, of at most [`PROFILE_BYTES_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ProfileText(String);

impl ProfileText {
    /// Returns the text of an envelope; `None` if it is too long.
    pub fn new(text: String) -> Option<Self> {
        (text.len() <= PROFILE_BYTES_MAX).then_some(Self(text))
    }

    /// Returns the envelope.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ProfileText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).ok_or_else(|| {
            de::Error::custom(format_args!("a profile of more than {PROFILE_BYTES_MAX} bytes"))
        })
    }
}

/// A publisher's declarations: its revocations, and the keys that signed them, as envelopes, byte for byte as signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublisherVows {
    pub key_documents: Bounded<String, KEY_TEXTS_MAX>,
    pub revocations: Bounded<String, REVOCATIONS_MAX>,
}

fn is_empty<T>(list: &[T]) -> bool {
    list.is_empty()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A frame on a blob stream. The puller opens the stream and sends `Follow` to `WantLane`; the server sends the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
pub enum Frame {
    /// Asks which pieces of this blob the server holds, now and on every change.
    Follow { blob: Digest },
    /// Ends the subscription to news of this blob.
    Unfollow { blob: Digest },
    /// Asks for the piece states of this blob. The server computes them from the bytes if it has not stored them.
    GetStates { blob: Digest },
    /// Asks for `count` pieces from `first` on, in order, each in a frame of its own.
    Request { id: u32, blob: Digest, first: u32, count: u32 },
    /// Cancels the rest of a request.
    Cancel { id: u32 },
    /// Reports that a piece from the server does not match, so that it checks its copy.
    Complain { blob: Digest, piece: u32 },
    /// Asks for the offer of a lane.
    WantLane,

    /// States which pieces of this blob the server holds.
    Holds { blob: Digest, pieces: Held },
    /// States the pieces that the server has gained since its last report, as runs of first piece and count.
    Has { blob: Digest, runs: Bounded<(u32, u32), NEWS_RUNS_MAX> },
    /// Carries the piece states of this blob as the payload.
    States {
        blob: Digest,
        #[serde(skip)]
        bytes: Vec<u8>,
    },
    /// Carries this piece as the payload.
    Piece {
        id: u32,
        piece: u32,
        #[serde(skip)]
        bytes: Vec<u8>,
    },
    /// Refuses a request, or the rest of it.
    Reject { id: u32, reason: Rejection },
    /// States that the server has no states of this blob.
    NoStates { blob: Digest },
    /// Offers a lane. The puller connects to one of these ports, at the address by which it reaches the server, and sends
    /// the token within seconds.
    LaneOffer { ports: Bounded<u16, LANE_PORTS_MAX>, token: LaneToken },
    /// Refuses to offer a (further) lane.
    NoLane,
    /// Admits the puller, as the first frame on a lane.
    LaneOpen,
}

/// The pieces of a blob that a peer states to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    None,
    All,
    /// The bitmap of [`PieceSet::to_bytes`].
    Some(Bitmap),
}

/// Why the server refuses a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// Too many requests wait. The puller may repeat the request after this many milliseconds.
    Busy { retry_ms: u32 },
    /// The server does not hold these pieces.
    NotHere,
    /// The server's copy has changed since it was verified, and is being verified again.
    Unverified,
    /// The request is for no pieces, for too many, or for some beyond the blob's end.
    Malformed,
}

/// A bitmap on the wire, in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitmap(Vec<u8>);

impl Held {
    /// Returns the statement that a peer holds `pieces`.
    pub fn from_set(pieces: &PieceSet) -> Self {
        if pieces.is_full() {
            Self::All
        } else if pieces.is_empty() {
            Self::None
        } else {
            Self::Some(Bitmap(pieces.to_bytes()))
        }
    }

    /// Returns the runs of pieces in `self` that are not in `told`, or `None` if the peer must send a bitmap instead.
    ///
    /// A bitmap is needed if some pieces are gone, all pieces are held, or there are too many runs.
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

    /// Returns the pieces of a blob with this layout that the peer states to hold.
    ///
    /// # Errors
    /// If the bitmap has another length, or bits beyond the last piece.
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

/// A message that is sent as a header and a payload.
pub trait Message: Serialize + for<'de> Deserialize<'de> {
    /// Longest header in bytes.
    const HEADER_BYTES_MAX: usize;

    /// Returns the payload, which follows the header.
    fn payload(&self) -> &[u8];

    /// Returns the longest payload after this header in bytes; 0 if it has none.
    fn payload_max(&self) -> usize;

    /// Sets the payload to the bytes that followed the header.
    fn set_payload(&mut self, payload: Vec<u8>);

    /// Returns prefix and header. The sender sends [`Self::payload`] after them.
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
    /// If the header is too large. [`Self::from_header`] checks the payload's length.
    fn lengths(prefix: [u8; PREFIX_LEN]) -> Result<(usize, usize), WireError> {
        let [a, b, c, d, e, f, g, h] = prefix;
        let (header, payload) =
            (u32::from_be_bytes([a, b, c, d]) as usize, u32::from_be_bytes([e, f, g, h]) as usize);
        if header > Self::HEADER_BYTES_MAX {
            return Err(WireError::HeaderTooLarge { length: header, max: Self::HEADER_BYTES_MAX });
        }
        Ok((header, payload))
    }

    /// Parses a header, and checks that a payload of `payload` bytes may follow it.
    ///
    /// # Errors
    /// If the header cannot be parsed, or if its payload may not be as long.
    fn from_header(header: &[u8], payload: usize) -> Result<Self, WireError> {
        let message: Self = json::from_slice(header, Self::HEADER_BYTES_MAX)?;
        let max = message.payload_max();
        if payload > max { Err(WireError::PayloadTooLarge { length: payload, max }) } else { Ok(message) }
    }

    /// Parses a whole message.
    ///
    /// # Errors
    /// As for [`Self::lengths`] and [`Self::from_header`], and if bytes are missing or left over.
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
        match self {
            Self::CompareRoots(RootsPage { bytes }) | Self::GetListings(Questions { bytes }) => bytes,
            _ => &[],
        }
    }

    fn payload_max(&self) -> usize {
        match self {
            Self::CompareRoots(_) => ROOTS_PAGE_BYTES_MAX,
            Self::GetListings(_) => QUESTIONS_BYTES_MAX,
            _ => 0,
        }
    }

    fn set_payload(&mut self, payload: Vec<u8>) {
        if let Self::CompareRoots(RootsPage { bytes }) | Self::GetListings(Questions { bytes }) = self {
            *bytes = payload;
        }
    }
}

impl Message for Response {
    const HEADER_BYTES_MAX: usize = RESPONSE_HEADER_BYTES_MAX;

    fn payload(&self) -> &[u8] {
        match self {
            Self::Document { bytes }
            | Self::Differing(Differing { bytes })
            | Self::Listings(ListingsPage { bytes, .. })
            | Self::Records(Records { documents: Some(ModelDocuments { bytes, .. }), .. }) => bytes,
            _ => &[],
        }
    }

    fn payload_max(&self) -> usize {
        match self {
            Self::Document { .. } => RESPONSE_DOCUMENT_BYTES_MAX,
            Self::Differing(_) => ROOTS_PER_PAGE_MAX.div_ceil(8),
            Self::Listings(_) => LISTINGS_BYTES_MAX,
            Self::Records(Records { documents: Some(of), .. }) => {
                usize::try_from(of.payload_len()).unwrap_or(usize::MAX).min(DOCUMENTS_BYTES_MAX)
            }
            _ => 0,
        }
    }

    fn set_payload(&mut self, payload: Vec<u8>) {
        match self {
            Self::Document { bytes }
            | Self::Differing(Differing { bytes })
            | Self::Listings(ListingsPage { bytes, .. })
            | Self::Records(Records { documents: Some(ModelDocuments { bytes, .. }), .. }) => {
                *bytes = payload
            }
            _ => {}
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
    fn ancestors_are_bounded_and_absent_where_there_are_none() {
        let records = |count: usize| {
            let ancestors: Vec<String> = (0..count).map(|it| format!("a{it}")).collect();
            format!(
                r#"{{"answer":"records","key_documents":[],"tags":[],"ancestors":{}}}"#,
                String::from_utf8(json::to_vec(&ancestors)).unwrap()
            )
        };
        let read = |text: &str| Response::from_header(text.as_bytes(), 0);
        assert!(read(&records(ANCESTORS_PER_RESPONSE_MAX)).is_ok());
        assert!(read(&records(ANCESTORS_PER_RESPONSE_MAX + 1)).is_err());
        let text = String::from_utf8_lossy(&Response::Records(Records::default()).to_bytes()).into_owned();
        assert!(!text.contains("ancestors"), "a peer of before reads the same bytes");
        let Response::Records(read) = read(r#"{"answer":"records","key_documents":[],"tags":[]}"#).unwrap()
        else {
            unreachable!()
        };
        assert!(read.ancestors.is_empty());
    }

    #[test]
    fn a_profile_travels_with_the_records_and_is_bounded() {
        let records = |text: String| {
            Response::Records(Records { profile: Some(ProfileText(text)), ..Records::default() })
        };
        let response = records("x".repeat(PROFILE_BYTES_MAX));
        assert_eq!(Response::from_bytes(&response.to_bytes()).unwrap(), response);
        assert!(Response::from_bytes(&records("x".repeat(PROFILE_BYTES_MAX + 1)).to_bytes()).is_err());
        let without = String::from_utf8_lossy(&Response::Records(Records::default()).to_bytes()).into_owned();
        assert!(!without.contains("profile"), "a peer of before reads the same bytes");
    }

    #[test]
    fn documents_travel_with_the_records_and_are_bounded() {
        let manifest = Digest::of(b"{}");
        let mut of = ModelDocuments::of(manifest, true, [Digest::of(b"referrer")]);
        of.add([b"{}".to_vec(), vec![7; DOCUMENTS_BYTES_MAX], b"referrer".to_vec()]);
        assert_eq!(
            of.documents().collect::<Vec<_>>(),
            [&b"{}"[..], b"referrer"],
            "there is no room for the second one"
        );
        let response = Response::Records(Records { documents: Some(of.clone()), ..Records::default() });
        let bytes = response.to_bytes();
        assert_eq!(Response::from_bytes(&bytes).unwrap(), response);
        let longer = [bytes.as_slice(), b"more"].concat();
        assert!(Response::from_bytes(&longer).is_err());
        // A payload that is shorter than the header states ends with the last document that is whole.
        of.bytes.truncate(5);
        assert_eq!(of.documents().collect::<Vec<_>>(), [b"{}"]);
        of.lengths = Bounded::first_of([u32::MAX; DOCUMENTS_PER_RESPONSE_MAX]);
        assert_eq!(of.documents().count(), 0);
        let response = Response::Records(Records { documents: Some(of), ..Records::default() });
        assert_eq!(response.payload_max(), DOCUMENTS_BYTES_MAX);
    }

    #[test]
    fn a_peer_of_before_reads_a_question_for_documents_and_is_answered_without() {
        let ask = |documents| {
            let publisher = PublisherId::from_bytes([7; 32]);
            Request::GetRecords { publisher, model: None, tag: None, documents }
        };
        let [plain, asking] = [None, Some(DocumentsOf { brief: true, ..DocumentsOf::default() })]
            .map(|documents| String::from_utf8(ask(documents).head()[PREFIX_LEN..].to_vec()).unwrap());
        assert!(!plain.contains("documents"), "{plain}");
        assert_eq!(asking, plain.replace('}', r#","documents":{"brief":true}}"#));
        let text = String::from_utf8_lossy(&Response::Records(Records::default()).to_bytes()).into_owned();
        assert!(!text.contains(r#""documents""#), "{text}");
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
