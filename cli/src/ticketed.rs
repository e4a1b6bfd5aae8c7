//! What may be typed as a ticket instead: a model, a follow, a peer, a publisher.

use std::str::FromStr;

use reg_api::follow::Followed;
use reg_api::request::TicketRequest;
use reg_proto::name::{Publisher, PublisherId, Reference};
use reg_proto::peer::Address;
use reg_proto::ticket::Ticket;

/// How a repository of Hugging Face begins, which `reg import` takes.
const REPOSITORY: &str = "hf:";

/// The model that a command is about, by its reference or by a ticket.
#[derive(Debug, Clone)]
pub struct ModelSource {
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
            return Ok(Self { reference, ticket: None });
        }
        let ticket: Ticket = text.trim().parse().map_err(|error| format!("{error}"))?;
        let reference = ticket.reference().ok_or(match ticket.publisher() {
            Some(_) => {
                "the ticket names a publisher and no model: `reg trust add NAME TICKET` gives it a name"
            }
            None => "the ticket names a node and no model: `reg peers add TICKET` keeps the node as a peer",
        })?;
        Ok(Self { reference, ticket: Some(TicketRequest::of(&ticket)) })
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

/// Parses a petname that is to be given, or a domain. A publisher's id in its place shows that the order was meant otherwise.
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
    }
}
