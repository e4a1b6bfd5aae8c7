//! [`Protocols`]: the protocol names of a swarm.
//!
//! A private swarm derives its names from its key, so its nodes share no protocol with nodes of other swarms. That is
//! separation, not secrecy. Each peer that connects learns the names, though not the key, and could use them. The list of
//! allowed peers decides which peers a node talks to.
//!
//! The names end with the version of the protocols, 2; gossip is libp2p's own protocol, so its topic carries ours. A peer that speaks version 1 alone shares no protocol with this
//! node, and is recognised by what it sends to identify ([`Protocols::is_of_before`]).

use data_encoding::HEXLOWER;

use crate::digest::Digest;

/// Names of the protocols of one swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocols {
    /// Requests with one response.
    pub records: String,
    /// Blob streams.
    pub blobs: String,
    /// The DHT, with the record store of this project.
    pub dht: String,
    /// Gossip, as a prefix of its versions' names.
    pub gossip: String,
    /// Gossip topic of signed tags.
    pub tags_topic: String,
    /// The protocol version that identify reports.
    pub identify: String,
    /// The protocol version that a node of version 1 reports.
    identify_before: String,
}

impl Protocols {
    /// Returns the names of the public swarm.
    pub fn public() -> Self {
        Self::named("reg", "meshsub")
    }

    /// Returns the names of the swarm with this key, a word or a secret of any length.
    pub fn of_swarm(key: &str) -> Self {
        let digest = Digest::of(&[b"reg/swarm/1\0", key.as_bytes()].concat());
        let name = format!("reg-{}", HEXLOWER.encode(&digest.as_bytes()[..8]));
        Self::named(&name, &format!("{name}/meshsub"))
    }

    fn named(name: &str, gossip: &str) -> Self {
        Self {
            records: format!("/{name}/records/2"),
            blobs: format!("/{name}/blob/2"),
            dht: format!("/{name}/kad/2"),
            gossip: format!("/{gossip}"),
            tags_topic: format!("{name}/tags/2"),
            identify: format!("{name}/2"),
            identify_before: format!("{name}/1"),
        }
    }

    /// Returns whether a peer that reports this protocol version belongs to the swarm, but speaks version 1 of its
    /// protocols only.
    pub fn is_of_before(&self, identify: &str) -> bool {
        identify == self.identify_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swarms_share_no_name_and_the_public_ones_stay_what_they_are() {
        let public = Protocols::public();
        assert_eq!(
            [
                public.records.as_str(),
                &public.blobs,
                &public.dht,
                &public.gossip,
                &public.tags_topic,
                &public.identify
            ],
            ["/reg/records/2", "/reg/blob/2", "/reg/kad/2", "/meshsub", "reg/tags/2", "reg/2"]
        );
        let lab = Protocols::of_swarm("lab");
        assert_eq!(lab.records, "/reg-c26221ecb18e4952/records/2");
        assert_eq!(lab, Protocols::of_swarm("lab"));
        let other = Protocols::of_swarm("lab2");
        assert!(public.is_of_before("reg/1") && !public.is_of_before("reg/2"));
        assert!(lab.is_of_before("reg-c26221ecb18e4952/1") && !lab.is_of_before("reg/1"));
        for names in [public, other] {
            assert!(names.records != lab.records && names.blobs != lab.blobs && names.dht != lab.dht);
            assert!(
                names.tags_topic != lab.tags_topic
                    && names.identify != lab.identify
                    && names.gossip != lab.gossip
            );
        }
    }
}
