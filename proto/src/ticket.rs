//! [`Ticket`]: one word that names a model or a node, and where to find it: `reg:…`, which people send to each other.
//!
//! It names a publisher by id, and never by a petname. It proves nothing: what it leads to is verified like everything else.
//! Its digits are those of bech32 (BIP 173), which has none that look alike. They stand for bytes: version, fields, and
//! a checksum. Each ticket has one spelling, but for the case of all its letters: in upper case it makes a smaller QR code.

use std::fmt;
use std::str::FromStr;

use data_encoding::{Encoding, Specification};
use thiserror::Error;

use crate::bounded::Bounded;
use crate::digest::Digest;
use crate::limits::{TICKET_ADDRESSES_MAX, TICKET_CHARS_MAX, TICKET_PEERS_MAX};
use crate::name::{ModelName, Publisher, PublisherId, Reference, Tag};
use crate::peer::{Address, PeerId};

mod address;
mod read;

pub use self::address::{Host, TicketAddress, Transport};
use self::read::Reader;

/// What every ticket begins with.
pub const PREFIX: &str = "reg:";

/// The version that is written.
const VERSION: u8 = 1;
/// Digits of bech32.
const DIGITS: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
/// What is hashed before the bytes of a ticket, so that the checksum is that of nothing else.
const MARK: &[u8] = b"reg ticket\0";
/// Bytes of the checksum: of four billion damaged tickets, one passes.
const CHECKSUM_LEN: usize = 4;

/// Bits of the second byte: which fields follow.
const HAS_PUBLISHER: u8 = 1;
const HAS_MODEL: u8 = 2;
const HAS_TAG: u8 = 4;
const HAS_DIGEST: u8 = 8;

/// What a ticket is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// Its peers alone.
    Peers,
    Publisher(PublisherId),
    Model {
        publisher: PublisherId,
        model: ModelName,
        tag: Option<Tag>,
        /// The version that the maker of the ticket has seen. The tag may have moved since.
        digest: Option<Digest>,
    },
}

/// A peer of a ticket, and where it may be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketPeer {
    pub peer: PeerId,
    pub addresses: Bounded<TicketAddress, TICKET_ADDRESSES_MAX>,
}

/// A ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    pub about: About,
    pub peers: Bounded<TicketPeer, TICKET_PEERS_MAX>,
}

/// Why a text is not a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TicketError {
    #[error("a ticket begins with {PREFIX}")]
    Prefix,
    #[error("ticket has {length} characters, at most {TICKET_CHARS_MAX} are allowed")]
    TooLong { length: usize },
    #[error("ticket has letters of both cases, so it was changed on its way: copy it again")]
    Case,
    #[error(
        "ticket has {character:?} as character {place}, which no ticket has: copy it again, without spaces"
    )]
    Character { character: char, place: usize },
    #[error("ticket is cut off or was changed on its way: copy all of it again")]
    Damaged,
    #[error("ticket was made by a later version of this program (format {version}): upgrade to use it")]
    Version { version: u8 },
    #[error("ticket is malformed: {field} cannot be read")]
    Malformed { field: &'static str },
}

fn digits() -> Encoding {
    let mut digits = Specification::new();
    digits.symbols.push_str(DIGITS);
    digits.encoding().expect("32 different digits are an encoding")
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let digest = Digest::of(&[MARK, bytes].concat());
    let [a, b, c, d, ..] = *digest.as_bytes();
    [a, b, c, d]
}

impl Ticket {
    /// Returns whether a text is meant as a ticket.
    pub fn is_meant(text: &str) -> bool {
        text.get(..PREFIX.len()).is_some_and(|it| it.eq_ignore_ascii_case(PREFIX))
    }

    /// Returns the publisher that the ticket names.
    pub const fn publisher(&self) -> Option<PublisherId> {
        match &self.about {
            About::Peers => None,
            About::Publisher(publisher) | About::Model { publisher, .. } => Some(*publisher),
        }
    }

    /// Returns the model that the ticket names, by its tag if it names one, else by its digest.
    pub fn reference(&self) -> Option<Reference> {
        let About::Model { publisher, model, tag, digest } = &self.about else { return None };
        Some(Reference {
            publisher: Publisher::Id(*publisher),
            model: model.clone(),
            tag: tag.clone(),
            digest: digest.filter(|_| tag.is_none()),
        })
    }

    /// Returns the version of the model that the maker of the ticket has seen.
    pub const fn seen(&self) -> Option<Digest> {
        match &self.about {
            About::Model { digest, .. } => *digest,
            About::Peers | About::Publisher(_) => None,
        }
    }

    /// Returns the addresses of all peers, each with the id of its peer.
    pub fn addresses(&self) -> Vec<Address> {
        let of = |it: &TicketPeer| it.addresses.iter().map(|at| at.to_address(it.peer)).collect::<Vec<_>>();
        self.peers.iter().flat_map(of).collect()
    }

    /// Returns the ticket in upper case, which a QR code holds in less room.
    pub fn to_upper_case(&self) -> String {
        self.to_string().to_ascii_uppercase()
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.push(u8::try_from(text.len()).expect("names and tags have at most 128 characters"));
            bytes.extend(text.as_bytes());
        };
        match &self.about {
            About::Peers => bytes.push(0),
            About::Publisher(publisher) => {
                bytes.push(HAS_PUBLISHER);
                bytes.extend(publisher.as_bytes());
            }
            About::Model { publisher, model, tag, digest } => {
                let fields = tag.as_ref().map_or(0, |_| HAS_TAG) | digest.map_or(0, |_| HAS_DIGEST);
                bytes.push(HAS_PUBLISHER | HAS_MODEL | fields);
                bytes.extend(publisher.as_bytes());
                text(&mut bytes, model.as_str());
                tag.iter().for_each(|tag| text(&mut bytes, tag.as_str()));
                digest.iter().for_each(|digest| bytes.extend(digest.as_bytes()));
            }
        }
        bytes.push(u8::try_from(self.peers.len()).expect("the type holds a few"));
        for TicketPeer { peer, addresses } in self.peers.iter() {
            bytes.extend(peer.public_key());
            bytes.push(u8::try_from(addresses.len()).expect("the type holds a few"));
            addresses.iter().for_each(|it| it.write(&mut bytes));
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, TicketError> {
        let mut reader = Reader::new(bytes);
        let version = reader.byte("the version")?;
        if version != VERSION {
            return Err(TicketError::Version { version });
        }
        let about = read_about(&mut reader)?;
        let mut peers = Vec::new();
        for _ in 0..reader.count("the number of peers", TICKET_PEERS_MAX)? {
            let peer = PeerId::from_public_key(reader.array("a peer")?);
            let count = reader.count("the number of addresses", TICKET_ADDRESSES_MAX)?;
            let addresses =
                (0..count).map(|_| TicketAddress::read(&mut reader)).collect::<Result<Vec<_>, _>>()?;
            peers.push(TicketPeer { peer, addresses: Bounded::first_of(addresses) });
        }
        reader.end()?;
        Ok(Self { about, peers: Bounded::first_of(peers) })
    }
}

fn read_about(reader: &mut Reader<'_>) -> Result<About, TicketError> {
    let malformed = |field| TicketError::Malformed { field };
    let fields = reader.byte("the list of fields")?;
    if fields == 0 {
        return Ok(About::Peers);
    }
    if fields & HAS_PUBLISHER == 0 || fields > HAS_PUBLISHER | HAS_MODEL | HAS_TAG | HAS_DIGEST {
        return Err(malformed("the list of fields"));
    }
    let publisher = PublisherId::from_bytes(reader.array("the publisher")?);
    if fields == HAS_PUBLISHER {
        return Ok(About::Publisher(publisher));
    }
    if fields & HAS_MODEL == 0 {
        return Err(malformed("the list of fields"));
    }
    let model = reader.text("the model")?.parse().map_err(|_| malformed("the model"))?;
    let tag = match fields & HAS_TAG {
        0 => None,
        _ => Some(reader.text("the tag")?.parse().map_err(|_| malformed("the tag"))?),
    };
    let digest = match fields & HAS_DIGEST {
        0 => None,
        _ => Some(Digest::from_bytes(reader.array("the digest")?)),
    };
    Ok(About::Model { publisher, model, tag, digest })
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.to_bytes();
        bytes.extend(checksum(&bytes));
        write!(f, "{PREFIX}{}", digits().encode(&bytes))
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        if text.len() > TICKET_CHARS_MAX {
            return Err(TicketError::TooLong { length: text.len() });
        }
        if !Self::is_meant(text) {
            return Err(TicketError::Prefix);
        }
        if text.bytes().any(|it| it.is_ascii_lowercase()) && text.bytes().any(|it| it.is_ascii_uppercase()) {
            return Err(TicketError::Case);
        }
        let lower = text.to_ascii_lowercase();
        let places = lower.chars().enumerate().skip(PREFIX.len());
        if let Some((at, character)) = places.into_iter().find(|(_, it)| !DIGITS.contains(*it)) {
            return Err(TicketError::Character { character, place: at + 1 });
        }
        let bytes = digits().decode(&lower.as_bytes()[PREFIX.len()..]).map_err(|_| TicketError::Damaged)?;
        let (bytes, sum) = bytes.split_last_chunk::<CHECKSUM_LEN>().ok_or(TicketError::Damaged)?;
        if checksum(bytes) != *sum {
            return Err(TicketError::Damaged);
        }
        Self::from_bytes(bytes)
    }
}
