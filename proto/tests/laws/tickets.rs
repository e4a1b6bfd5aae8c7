//! Tickets: frozen spellings, one spelling for each ticket, and 10,000 damaged ones, all refused.

use proptest::prelude::*;
use reg_proto::bounded::Bounded;
use reg_proto::digest::Digest;
use reg_proto::limits::{TICKET_ADDRESSES_MAX, TICKET_CHARS_MAX, TICKET_HOST_CHARS_MAX, TICKET_PEERS_MAX};
use reg_proto::name::PublisherId;
use reg_proto::peer::{Address, PeerId};
use reg_proto::ticket::{About, Host, Ticket, TicketAddress, TicketError, TicketPeer, Transport};

/// The digits of bech32.
const DIGITS: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

fn peer(byte: u8) -> PeerId {
    PeerId::from_public_key([byte; 32])
}

fn at(text: &str, of: PeerId) -> TicketAddress {
    TicketAddress::of(&text.parse().expect("an address"), of).expect("a form that tickets have")
}

fn model() -> Ticket {
    let (one, two) = (peer(1), peer(2));
    let addresses = [at("/ip4/45.1.0.1/tcp/4600", one), at("/ip6/2606:4700::1/udp/4600/quic-v1", one)];
    let relayed = at(&format!("/dns4/relay.example.org/tcp/4600/p2p/{}/p2p-circuit", peer(3)), two);
    Ticket {
        about: About::Model {
            publisher: PublisherId::from_bytes([7; 32]),
            model: "Llama-3-8B".parse().expect("a name"),
            tag: Some("v1".parse().expect("a tag")),
            digest: Some(Digest::from_bytes([9; 32])),
        },
        peers: Bounded::first_of([
            TicketPeer { peer: one, addresses: Bounded::first_of(addresses) },
            TicketPeer { peer: two, addresses: Bounded::first_of([relayed]) },
        ]),
    }
}

/// What version 1 writes is read for ever.
#[test]
fn the_spelling_is_frozen() {
    let publisher =
        Ticket { about: About::Publisher(PublisherId::from_bytes([7; 32])), peers: Bounded::empty() };
    let node = Ticket {
        about: About::Peers,
        peers: Bounded::first_of([TicketPeer {
            peer: peer(1),
            addresses: Bounded::first_of([at("/ip4/45.1.0.1/tcp/4600", peer(1))]),
        }]),
    };
    for (ticket, spelling) in [(publisher, PUBLISHER), (node, NODE), (model(), MODEL)] {
        assert_eq!(ticket.to_string(), spelling);
        assert_eq!(spelling.parse(), Ok(ticket.clone()));
        assert_eq!(ticket.to_upper_case().parse(), Ok(ticket));
    }
}

const PUBLISHER: &str = "reg:qyqswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurswpcqc50fr9s";
const NODE: &str = "reg:qyqqzqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqz6qgqqyglsa2crjas";
const MODEL: &str = "reg:qy8swpc8qurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurswpc2f3kxzmtp95ej6wzzqfmrzzgfpyysjzgfpyysjzgf\
    pyysjzgfpyysjzgfpyysjzgfpyysjzgfqgqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqsq95qsqqg3lqgj\
    vpj8qqqqqqqqqqqqqqqqqqqqzy0cqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqzgc3wfjkccte9ejhsctd\
    wpkx2tn0wfn3r7qrqvpsxqcrqvpsxqcrqvpsxqcrqvpsxqcrqvpsxqcrqvpsxqcrqvjwq9pw";

#[test]
fn a_ticket_says_what_to_pull_and_where() {
    let ticket = model();
    let reference = ticket.reference().expect("it names a model").to_string();
    assert!(reference.ends_with("/Llama-3-8B:v1"), "{reference}");
    assert_eq!(ticket.seen(), Some(Digest::from_bytes([9; 32])));
    let expected = [
        format!("/ip4/45.1.0.1/tcp/4600/p2p/{}", peer(1)),
        format!("/ip6/2606:4700::1/udp/4600/quic-v1/p2p/{}", peer(1)),
        format!("/dns4/relay.example.org/tcp/4600/p2p/{}/p2p-circuit/p2p/{}", peer(3), peer(2)),
    ];
    assert_eq!(ticket.addresses().iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    let Ticket { about: About::Model { publisher, model, digest, .. }, peers } = ticket else { panic!() };
    let untagged = Ticket { about: About::Model { publisher, model, tag: None, digest }, peers };
    let reference = untagged.reference().expect("it names a model");
    assert_eq!(reference.digest, digest, "without a tag, the digest is what is meant");
}

#[test]
fn addresses_of_other_forms_and_of_other_peers_have_no_place() {
    let stranger = format!("/ip4/45.1.0.1/tcp/4600/p2p/{}", peer(2));
    let long = format!("/dns4/{}/tcp/1", "a".repeat(TICKET_HOST_CHARS_MAX + 1));
    for text in [
        "/ip4/45.1.0.1",
        "/ip4/45.1.0.1/tcp/66000",
        "/ip4/45.1.0.1/tcp/1/ws",
        "/ip4/45.1.0.1/udp/1",
        "/ip4/45.1.0.1/udp/1/quic",
        "/ip4/45.1.0/tcp/1",
        "/dns4//tcp/1",
        "/dns4/a b/tcp/1",
        "/unix/x",
        &stranger,
        &long,
    ] {
        if let Ok(address) = text.parse::<Address>() {
            assert_eq!(TicketAddress::of(&address, peer(1)), None, "{text}");
        }
    }
}

#[test]
fn what_is_no_ticket_is_refused_with_a_reason() {
    for (text, expected) in [
        ("", TicketError::Prefix),
        ("acme/model", TicketError::Prefix),
        ("reg", TicketError::Prefix),
        ("réG:", TicketError::Prefix),
        ("reg:", TicketError::Damaged),
        ("reg:qqqq", TicketError::Damaged),
        ("reg:qQqq", TicketError::Case),
        ("reg:qqbq", TicketError::Character { character: 'b', place: 7 }),
        ("reg:qq qq", TicketError::Character { character: ' ', place: 7 }),
        ("reg:qq\u{202e}", TicketError::Character { character: '\u{202e}', place: 7 }),
    ] {
        assert_eq!(text.parse::<Ticket>(), Err(expected), "{text:?}");
    }
    let long = format!("reg:{}", "q".repeat(TICKET_CHARS_MAX));
    assert_eq!(long.parse::<Ticket>(), Err(TicketError::TooLong { length: TICKET_CHARS_MAX + 4 }));
    assert!(matches!(sealed(&[2, 0, 0]).parse::<Ticket>(), Err(TicketError::Version { version: 2 })));
    assert!(sealed(&[1, 0, 0]).parse::<Ticket>().is_ok());
    for more in [&[0][..], &[1, 0], &[7; 40]] {
        let longer = sealed(&[&[1, 0, 0], more].concat());
        assert!(matches!(longer.parse::<Ticket>(), Err(TicketError::Malformed { .. })), "{more:?}");
    }
}

/// Returns bytes as a ticket with a right checksum.
fn sealed(bytes: &[u8]) -> String {
    let digest = Digest::of(&[b"reg ticket\0", bytes].concat());
    let bytes = [bytes, &digest.as_bytes()[..4]].concat();
    let mut bits = String::new();
    bytes.iter().for_each(|byte| bits.push_str(&format!("{byte:08b}")));
    while !bits.len().is_multiple_of(5) {
        bits.push('0');
    }
    let digit = |at: usize| DIGITS[usize::from_str_radix(&bits[at..at + 5], 2).expect("bits")];
    let digits: Vec<u8> = (0..bits.len()).step_by(5).map(digit).collect();
    format!("reg:{}", String::from_utf8(digits).expect("ASCII"))
}

/// Numbers that are the same in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Changes, swaps, cuts or inserts one to three characters.
fn damaged(ticket: &str, chance: &mut Chance) -> String {
    let mut text: Vec<u8> = ticket.as_bytes().to_vec();
    for _ in 0..=chance.below(3) {
        let at = 4 + chance.below(text.len() - 5);
        let digit = DIGITS[chance.below(32)];
        match chance.below(5) {
            0 | 1 => text[at] = digit,
            2 => text.swap(at, at + 1),
            3 => drop(text.remove(at)),
            _ => text.insert(at, digit),
        }
    }
    if chance.below(20) == 0 {
        text.truncate(4 + chance.below(text.len() - 4));
    }
    String::from_utf8(text).expect("ASCII")
}

#[test]
fn ten_thousand_damaged_tickets_are_refused() {
    let tickets = [PUBLISHER, NODE, MODEL];
    let (mut chance, mut tried) = (Chance(0x9e37_79b9_7f4a_7c15), 0);
    while tried < 10_000 {
        let ticket = tickets[chance.below(tickets.len())];
        let text = damaged(ticket, &mut chance);
        if text == ticket {
            continue;
        }
        tried += 1;
        assert_eq!(text.parse::<Ticket>(), Err(TicketError::Damaged), "{text} was {ticket}");
    }
}

fn any_address() -> impl Strategy<Value = TicketAddress> {
    let name = "[a-z0-9-]{1,20}(\\.[a-z]{2,8}){0,2}";
    let host = prop_oneof![
        any::<[u8; 4]>().prop_map(|ip| Host::Ip4(ip.into())),
        any::<[u8; 16]>().prop_map(|ip| Host::Ip6(ip.into())),
        name.prop_map(Host::Dns),
        name.prop_map(Host::Dns4),
        name.prop_map(Host::Dns6),
    ];
    let transport =
        prop_oneof![any::<u16>().prop_map(Transport::Tcp), any::<u16>().prop_map(Transport::Quic)];
    let relay = prop::option::of(any::<[u8; 32]>().prop_map(PeerId::from_public_key));
    (host, transport, relay).prop_map(|(host, transport, relay)| TicketAddress { host, transport, relay })
}

fn any_ticket() -> impl Strategy<Value = Ticket> {
    let publisher = || any::<[u8; 32]>().prop_map(PublisherId::from_bytes);
    let tag =
        prop::option::of("[a-zA-Z0-9_][a-zA-Z0-9._-]{0,30}".prop_filter_map("a tag", |it| it.parse().ok()));
    let digest = prop::option::of(any::<[u8; 32]>().prop_map(Digest::from_bytes));
    let model = "[a-zA-Z0-9]{1,96}".prop_filter_map("a name", |it| it.parse().ok());
    let about = prop_oneof![
        Just(About::Peers),
        publisher().prop_map(About::Publisher),
        (publisher(), model, tag, digest).prop_map(|(publisher, model, tag, digest)| About::Model {
            publisher,
            model,
            tag,
            digest
        }),
    ];
    let addresses = prop::collection::vec(any_address(), 0..=TICKET_ADDRESSES_MAX);
    let peer = (any::<[u8; 32]>(), addresses).prop_map(|(key, addresses)| TicketPeer {
        peer: PeerId::from_public_key(key),
        addresses: Bounded::first_of(addresses),
    });
    let peers = prop::collection::vec(peer, 0..=TICKET_PEERS_MAX);
    (about, peers).prop_map(|(about, peers)| Ticket { about, peers: Bounded::first_of(peers) })
}

proptest! {
    #[test]
    fn a_ticket_reads_back_in_both_cases(ticket in any_ticket()) {
        let text = ticket.to_string();
        prop_assert!(text.len() <= TICKET_CHARS_MAX);
        prop_assert!(text[4..].bytes().all(|it| DIGITS.contains(&it)));
        prop_assert_eq!(text.parse::<Ticket>(), Ok(ticket.clone()));
        prop_assert_eq!(ticket.to_upper_case().parse::<Ticket>(), Ok(ticket.clone()));
        for TicketPeer { peer, addresses } in ticket.peers.iter() {
            for address in addresses.iter() {
                let text = address.to_address(*peer);
                prop_assert_eq!(TicketAddress::of(&text, *peer), Some(address.clone()), "{}", text);
            }
        }
    }

    /// Bytes of an enemy with a right checksum: they are refused, or are the one spelling of what they say.
    #[test]
    fn hostile_bytes_are_refused_or_have_one_spelling(
        bytes in prop::collection::vec(any::<u8>(), 0..200), fields in 0..16_u8, is_changed: bool,
        ticket in any_ticket(), at: prop::sample::Index, byte: u8,
    ) {
        let text = if is_changed {
            // A ticket of ours, with one byte that is another.
            let digits = ticket.to_string();
            let mut own = decoded(&digits[4..]);
            own.truncate(own.len() - 4);
            let at = at.index(own.len());
            own[at] = byte;
            sealed(&own)
        } else {
            sealed(&[&[1, fields], &bytes[..]].concat())
        };
        if let Ok(read) = text.parse::<Ticket>() {
            prop_assert_eq!(read.to_string(), text);
        }
    }
}

/// Returns the whole bytes that digits stand for.
fn decoded(digits: &str) -> Vec<u8> {
    let mut bits = String::new();
    for digit in digits.bytes() {
        let value = DIGITS.iter().position(|it| *it == digit).expect("a digit");
        bits.push_str(&format!("{value:05b}"));
    }
    let byte = |at: usize| u8::from_str_radix(&bits[at..at + 8], 2).expect("bits");
    (0..bits.len() / 8).map(|at| byte(at * 8)).collect()
}

#[test]
fn the_longest_ticket_has_room() {
    let host = Host::Dns4("a".repeat(TICKET_HOST_CHARS_MAX));
    let address = TicketAddress { host, transport: Transport::Quic(u16::MAX), relay: Some(peer(9)) };
    let addresses = Bounded::first_of(vec![address; TICKET_ADDRESSES_MAX]);
    let peers = Bounded::first_of(vec![TicketPeer { peer: peer(1), addresses }; TICKET_PEERS_MAX]);
    let about = About::Model {
        publisher: PublisherId::from_bytes([0xff; 32]),
        model: "m".repeat(96).parse().expect("a name"),
        tag: Some("t".repeat(128).parse().expect("a tag")),
        digest: Some(Digest::from_bytes([0xff; 32])),
    };
    let ticket = Ticket { about, peers };
    let text = ticket.to_string();
    assert!(text.len() <= TICKET_CHARS_MAX && text.len() > TICKET_CHARS_MAX - 50, "{}", text.len());
    assert_eq!(text.parse(), Ok(ticket.clone()));
    assert_eq!(ticket.addresses().len(), TICKET_PEERS_MAX * TICKET_ADDRESSES_MAX);
}
