//! Parses values that a user may also type as a ticket: a model, a follow, a peer, a publisher, an entry of a
//! collection.

use std::str::FromStr;

use reg_api::follow::Followed;
use reg_api::request::TicketRequest;
use reg_proto::catalogue::Collected;
use reg_proto::name::{Publisher, PublisherId, Reference};
use reg_proto::peer::Address;
use reg_proto::ticket::Ticket;

use crate::args::Global;
use crate::error::CliError;
use crate::last_search;

/// How a repository of Hugging Face begins, which `reg import` takes.
const REPOSITORY: &str = "hf:";

/// Digits of the number of a result, at most: a text of more digits is no number of a list.
const NUMBER_DIGITS_MAX: usize = 6;

/// What a command is about: a model, or a result of the last search.
#[derive(Debug, Clone)]
pub enum ModelArg {
    Model(Box<ModelSource>),
    Result(usize),
}

impl FromStr for ModelArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_number = text.len() <= NUMBER_DIGITS_MAX && text.bytes().all(|it| it.is_ascii_digit());
        match text.parse() {
            Ok(number) if is_number => Ok(Self::Result(number)),
            _ => text.parse().map(|source| Self::Model(Box::new(source))),
        }
    }
}

impl ModelArg {
    /// Returns the model: that of the result, where the number of one was typed.
    ///
    /// # Errors
    /// There is no result with this number.
    pub fn model(self, global: &Global) -> Result<ModelSource, CliError> {
        match self {
            Self::Model(source) => Ok(*source),
            Self::Result(number) => {
                let reference = last_search::numbered(global, number)?;
                Ok(ModelSource { typed: reference.to_string(), reference, ticket: None })
            }
        }
    }
}

/// A tag, by its model's reference or the number of a result of the last search.
#[derive(Debug, Clone)]
pub struct TagArg(ModelArg);

impl FromStr for TagArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

impl TagArg {
    /// Returns the reference: that of the tag under which the result was shown, where the number of one was typed.
    ///
    /// # Errors
    /// There is no result with this number.
    pub fn reference(self, global: &Global) -> Result<Reference, CliError> {
        match self.0 {
            ModelArg::Model(source) => Ok(source.reference),
            ModelArg::Result(number) => last_search::numbered_tag(global, number),
        }
    }
}

/// A model, by its reference or by a ticket.
#[derive(Debug, Clone)]
pub struct ModelSource {
    /// The reference or the ticket, as it was typed.
    pub typed: String,
    pub reference: Reference,
    /// What else the ticket says.
    pub ticket: Option<TicketRequest>,
}

impl FromStr for ModelSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(REPOSITORY) {
            return Err(format!(
                "no publisher has signed a repository that is elsewhere: `reg import {text} --key NAME` publishes it under your key"
            ));
        }
        if !Ticket::is_meant(text) {
            let reference = text.parse().map_err(|error| format!("{error}"))?;
            return Ok(Self { typed: text.to_owned(), reference, ticket: None });
        }
        let typed = text.trim().to_owned();
        let ticket: Ticket = typed.parse().map_err(|error| format!("{error}"))?;
        let reference = ticket.reference().ok_or(match ticket.publisher() {
            Some(_) => {
                "the ticket names a publisher and no model: `reg trust add NAME TICKET` gives it a name"
            }
            None => "the ticket names a node and no model: `reg peers add TICKET` keeps the node as a peer",
        })?;
        Ok(Self { typed, reference, ticket: Some(TicketRequest::of(&ticket)) })
    }
}

/// What is to be followed, by its name or by a ticket.
#[derive(Debug, Clone)]
pub struct FollowSource {
    pub followed: Followed,
    /// What else the ticket says.
    pub ticket: Option<TicketRequest>,
}

impl FromStr for FollowSource {
    type Err = String;

    /// Takes the model of a ticket, or all models of its publisher where it names none.
    fn from_str(text: &str) -> Result<Self, String> {
        let ticket: Ticket = text.trim().parse().map_err(|error| format!("{error}"))?;
        let publisher = ticket.publisher().ok_or(
            "the ticket names a node and no publisher: `reg peers add TICKET` keeps the node as a peer",
        )?;
        let models = ticket.reference().map_or_else(|| "*".to_owned(), |it| it.model.to_string());
        let models = models.parse().map_err(|error| format!("{error}"))?;
        let followed = Followed { publisher: Publisher::Id(publisher), models };
        Ok(Self { followed, ticket: Some(TicketRequest::of(&ticket)) })
    }
}

/// An entry of a collection, as it is typed: a model, a publisher, or the number of one that was listed.
#[derive(Debug, Clone)]
pub enum CollectedArg {
    Number(usize),
    Publisher(Publisher),
    Model(Reference),
}

impl FromStr for CollectedArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if Ticket::is_meant(text) {
            let ticket: Ticket = text.trim().parse().map_err(|error| format!("{error}"))?;
            return match (ticket.reference(), ticket.publisher()) {
                (Some(model), _) => Ok(Self::of(model)),
                (None, Some(publisher)) => Ok(Self::Publisher(Publisher::Id(publisher))),
                (None, None) => {
                    Err("the ticket names a node, and neither a model nor a publisher".to_owned())
                }
            };
        }
        if let Ok(ModelArg::Result(number)) = text.parse() {
            return Ok(Self::Number(number));
        }
        match text.strip_suffix("/*").unwrap_or(text) {
            model if model.contains('/') => {
                let reference: Reference = model.parse().map_err(|error| format!("{error}"))?;
                match (&reference.tag, &reference.digest) {
                    (Some(_), Some(_)) => Err("an entry names a tag or a digest, not both".to_owned()),
                    _ => Ok(Self::Model(reference)),
                }
            }
            publisher => publisher.parse().map(Self::Publisher).map_err(|error| format!("{error}")),
        }
    }
}

impl CollectedArg {
    /// Returns a model as an entry: by its digest, where it has one.
    pub fn of(mut reference: Reference) -> Self {
        if reference.digest.is_some() {
            reference.tag = None;
        }
        Self::Model(reference)
    }

    /// Returns the publisher that was typed.
    pub const fn publisher(&self) -> Option<&Publisher> {
        match self {
            Self::Number(_) => None,
            Self::Publisher(publisher) | Self::Model(Reference { publisher, .. }) => Some(publisher),
        }
    }

    /// Returns the entry, with the publisher's id in the place of a name.
    ///
    /// # Errors
    /// The name is not known, or it is a number, which the caller has to look up.
    pub fn collected(
        self,
        id_of: impl Fn(&Publisher) -> Result<PublisherId, CliError>,
    ) -> Result<Collected, CliError> {
        match self {
            Self::Number(number) => {
                Err(CliError::new("invalid", format_args!("{number} is the number of no entry")))
            }
            Self::Publisher(publisher) => Ok(Collected::Publisher(id_of(&publisher)?)),
            Self::Model(Reference { publisher, model, tag, digest }) => {
                let publisher = id_of(&publisher)?;
                Ok(match (tag, digest) {
                    (_, Some(digest)) => Collected::Manifest(publisher, model, digest),
                    (Some(tag), None) => Collected::Tag(publisher, model, tag),
                    (None, None) => Collected::Model(publisher, model),
                })
            }
        }
    }
}

/// The addresses of a peer: one that was typed, or those of a ticket.
#[derive(Debug, Clone)]
pub struct PeerSource(pub Vec<Address>);

impl FromStr for PeerSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !Ticket::is_meant(text) {
            return Ok(Self(vec![text.parse().map_err(|error| format!("{error}"))?]));
        }
        let ticket: Ticket = text.trim().parse().map_err(|error| format!("{error}"))?;
        match ticket.addresses() {
            none if none.is_empty() => Err("the ticket names no peer".to_owned()),
            addresses => Ok(Self(addresses)),
        }
    }
}

/// Parses a new petname, or a domain. Refuses a publisher's id: then the user has swapped the two arguments.
pub fn name(text: &str) -> Result<Publisher, String> {
    if Ticket::is_meant(text) || text.parse::<PublisherId>().is_ok() {
        return Err("the name comes first: reg trust add NAME ID".to_owned());
    }
    text.parse().map_err(|error| format!("{error}"))
}

/// Parses a publisher's id, or takes it from a ticket.
pub fn publisher(text: &str) -> Result<PublisherId, String> {
    if !Ticket::is_meant(text) {
        return text.parse().map_err(|error| format!("{error}"));
    }
    let ticket: Ticket = text.trim().parse().map_err(|error| format!("{error}"))?;
    ticket.publisher().ok_or_else(|| "the ticket names no publisher".to_owned())
}

#[cfg(test)]
mod tests {
    use reg_proto::bounded::Bounded;
    use reg_proto::peer::PeerId;
    use reg_proto::ticket::{About, TicketAddress, TicketPeer};

    use super::*;

    #[test]
    fn a_ticket_stands_for_what_it_names() {
        let (peer, publisher_id) = (PeerId::from_public_key([1; 32]), PublisherId::from_bytes([7; 32]));
        let at =
            TicketAddress::of(&"/ip4/45.1.0.1/tcp/1".parse().expect("an address"), peer).expect("a form");
        let peers = Bounded::first_of([TicketPeer { peer, addresses: Bounded::first_of([at]) }]);
        let node = Ticket { about: About::Peers, peers: peers.clone() }.to_string();
        let of_publisher =
            Ticket { about: About::Publisher(publisher_id), peers: Bounded::empty() }.to_string();
        let model = "tiny".parse().expect("a name");
        let about = About::Model { publisher: publisher_id, model, tag: None, digest: None };
        let of_model = Ticket { about, peers }.to_upper_case();
        let source: ModelSource = of_model.parse().expect("it names a model");
        assert_eq!(source.reference.to_string(), format!("{publisher_id}/tiny"));
        assert_eq!(source.ticket.map(|it| it.peers.len()), Some(1));
        let follow: FollowSource = of_model.parse().expect("it names a model");
        assert_eq!(follow.followed.models.to_string(), "tiny");
        assert_eq!(follow.ticket.map(|it| it.peers.len()), Some(1));
        assert_eq!(
            of_publisher.parse::<FollowSource>().map(|it| it.followed.models.to_string()),
            Ok("*".into())
        );
        assert!(node.parse::<FollowSource>().unwrap_err().contains("reg peers add"));
        assert!("hf:acme/tiny".parse::<ModelSource>().unwrap_err().contains("reg import hf:acme/tiny"));
        assert!(name(&publisher_id.to_string()).unwrap_err().contains("comes first"));
        assert!(name("acme").is_ok());
        assert!(node.parse::<ModelSource>().unwrap_err().contains("reg peers add"));
        assert!(of_publisher.parse::<ModelSource>().unwrap_err().contains("reg trust add"));
        assert_eq!(node.parse::<PeerSource>().map(|it| it.0.len()), Ok(1));
        assert!(of_publisher.parse::<PeerSource>().is_err());
        assert_eq!(publisher(&of_model), Ok(publisher_id));
        assert!(publisher(&node).is_err() && publisher("acme").is_err());
        assert!("acme/tiny:v1".parse::<ModelSource>().is_ok());
        let entry = |text: &str| text.parse::<CollectedArg>().map(|it| format!("{it:?}"));
        let id_of = |_: &Publisher| Ok(publisher_id);
        for (text, expected) in [
            ("acme", publisher_id.to_string()),
            ("acme/*", publisher_id.to_string()),
            ("acme/tiny:v1", format!("{publisher_id}/tiny:v1")),
            (&of_publisher, publisher_id.to_string()),
            (&of_model, format!("{publisher_id}/tiny")),
        ] {
            let typed: CollectedArg = text.parse().expect("an entry");
            assert_eq!(typed.collected(id_of).expect("it is named").to_string(), expected, "{text}");
        }
        assert!(matches!("12".parse(), Ok(CollectedArg::Number(12))));
        assert!(entry(&node).is_err() && entry("acme/").is_err() && entry("a/b/c").is_err());
    }
}
