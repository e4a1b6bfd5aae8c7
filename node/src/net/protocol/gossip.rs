//! Gossips announcements of signed tag records, over gossipsub. An announcement is a hint: the registry verifies it.
//!
//! Messages are signed (strict validation), and a message's id is the hash of its content. A message is passed on only
//! after the registry has accepted it. What gossip loses is repaired when peers connect and exchange their heads.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use libp2p::gossipsub::{
    self, ConfigBuilder, Event, IdentTopic, MessageAcceptance, MessageAuthenticity, MessageId,
    PeerScoreParams, PeerScoreThresholds, PublishError, ValidationMode,
};
use libp2p::identity::Keypair;
use reg_proto::announcement::Announcement;
use reg_proto::digest::Digest;
use reg_proto::limits::ANNOUNCEMENT_BYTES_MAX;
use reg_proto::swarm::Protocols;
use tokio::sync::mpsc;

use crate::net::error::StartError;
use crate::net::inbound::{InboundAnnouncement, Responder, Verdict};
use crate::net::limits::{ANNOUNCEMENTS_PER_MINUTE, ANNOUNCEMENTS_WAITING_MAX, PEERS_MAX, VERDICTS_MAX};
use crate::net::links::from_libp2p;

/// A message that the registry has judged, with the peer that passed it on.
type Judged = (MessageId, libp2p::PeerId, Verdict);

/// The state of the protocol.
pub(in crate::net) struct Gossip {
    inbound: mpsc::Sender<InboundAnnouncement>,
    pub(in crate::net) judging: FuturesUnordered<BoxFuture<'static, Judged>>,
    /// Own announcements that wait for a peer that subscribes.
    waiting: VecDeque<Vec<u8>>,
    /// Announcements that each peer has passed on in the present minute.
    heard: BTreeMap<libp2p::PeerId, u32>,
    minute: Instant,
    topic: IdentTopic,
}

/// Returns the behaviour of the protocol.
pub(in crate::net) fn behaviour(
    keypair: &Keypair,
    names: &Protocols,
) -> Result<gossipsub::Behaviour, StartError> {
    /// Bytes of a message around the announcement: its signature, key, source and topic.
    const ENVELOPE_BYTES: usize = 1024;
    let refused = |error: String| StartError::Gossip(error.into());
    let config = ConfigBuilder::default()
        .protocol_id_prefix(names.gossip.clone())
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .max_transmit_size(ANNOUNCEMENT_BYTES_MAX + ENVELOPE_BYTES)
        .message_id_fn(|message| MessageId::new(Digest::of(&message.data).as_bytes()))
        .build()
        .map_err(|error| refused(error.to_string()))?;
    let mut behaviour = gossipsub::Behaviour::new(MessageAuthenticity::Signed(keypair.clone()), config)
        .map_err(|error| refused(error.to_owned()))?;
    let loopback = [[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()];
    let scores = PeerScoreParams {
        ip_colocation_factor_whitelist: loopback.into_iter().collect(),
        ..PeerScoreParams::default()
    };
    behaviour.with_peer_score(scores, PeerScoreThresholds::default()).map_err(refused)?;
    behaviour.subscribe(&IdentTopic::new(&names.tags_topic)).map_err(|error| refused(error.to_string()))?;
    Ok(behaviour)
}

impl Gossip {
    pub(in crate::net) fn new(inbound: mpsc::Sender<InboundAnnouncement>, names: &Protocols) -> Self {
        Self {
            inbound,
            judging: FuturesUnordered::new(),
            waiting: VecDeque::new(),
            heard: BTreeMap::new(),
            minute: Instant::now(),
            topic: IdentTopic::new(&names.tags_topic),
        }
    }

    /// Publishes an announcement; where no peer has subscribed yet, once the first one does.
    pub(in crate::net) fn announce(
        &mut self,
        behaviour: &mut gossipsub::Behaviour,
        announcement: &Announcement,
    ) {
        self.publish(behaviour, announcement.to_bytes());
    }

    fn publish(&mut self, behaviour: &mut gossipsub::Behaviour, bytes: Vec<u8>) {
        match behaviour.publish(self.topic.clone(), bytes.clone()) {
            Ok(_) | Err(PublishError::Duplicate) => {}
            Err(PublishError::NoPeersSubscribedToTopic) => {
                if self.waiting.len() >= ANNOUNCEMENTS_WAITING_MAX {
                    self.waiting.pop_front();
                }
                self.waiting.push_back(bytes);
            }
            Err(error) => tracing::warn!(%error, "an announcement was not gossiped"),
        }
    }

    pub(in crate::net) fn on_event(&mut self, behaviour: &mut gossipsub::Behaviour, event: Event) {
        match event {
            Event::Message { propagation_source, message_id, message } => {
                let verdict = self.judge(propagation_source, &message_id, &message.data);
                if let Some(verdict) = verdict {
                    Self::judged(behaviour, (message_id, propagation_source, verdict));
                }
            }
            Event::Subscribed { .. } => {
                for bytes in std::mem::take(&mut self.waiting) {
                    self.publish(behaviour, bytes);
                }
            }
            _ => {}
        }
    }

    /// Hands an announcement to the registry, or returns a verdict at once where it is malformed or beyond a bound.
    fn judge(&mut self, source: libp2p::PeerId, id: &MessageId, data: &[u8]) -> Option<Verdict> {
        if self.minute.elapsed() > Duration::from_secs(60) || self.heard.len() > PEERS_MAX {
            self.heard.clear();
            self.minute = Instant::now();
        }
        let heard = self.heard.entry(source).or_default();
        *heard += 1;
        if *heard > ANNOUNCEMENTS_PER_MINUTE || self.judging.len() >= VERDICTS_MAX {
            return Some(Verdict::Ignore);
        }
        let Some(from) = from_libp2p(&source) else { return Some(Verdict::Reject) };
        let Ok(announcement) = Announcement::from_bytes(data) else { return Some(Verdict::Reject) };
        let (verdict, judged) = Responder::new();
        if self.inbound.try_send(InboundAnnouncement { from, announcement, verdict }).is_err() {
            return Some(Verdict::Ignore);
        }
        let id = id.clone();
        self.judging.push(Box::pin(async move { (id, source, judged.await.unwrap_or(Verdict::Ignore)) }));
        None
    }

    /// Passes a message on, or drops it.
    pub(in crate::net) fn judged(behaviour: &mut gossipsub::Behaviour, (id, source, verdict): Judged) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => MessageAcceptance::Reject,
        };
        behaviour.report_message_validation_result(&id, &source, acceptance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_announcements_of_one_peer_are_looked_at_in_a_minute_and_no_more() {
        let (inbound, _announcements) = mpsc::channel(1);
        let mut gossip = Gossip::new(inbound, &Protocols::public());
        let [loud, quiet] =
            [1, 2].map(|seed| Keypair::ed25519_from_bytes([seed; 32]).unwrap().public().to_peer_id());
        let mut judge = |peer| gossip.judge(peer, &MessageId::new(b"a message"), b"no announcement");
        for n in 0..ANNOUNCEMENTS_PER_MINUTE {
            assert_eq!(judge(loud), Some(Verdict::Reject), "number {n} is looked at");
        }
        assert_eq!(judge(loud), Some(Verdict::Ignore), "one more is not");
        assert_eq!(judge(quiet), Some(Verdict::Reject), "that of another peer is");
    }
}
