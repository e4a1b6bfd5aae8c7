//! [`Protocols`]: the protocol names of a swarm.
//!
//! A private swarm derives its names from its key, so its nodes share no protocol with nodes of other swarms. That is
//! separation, not secrecy. Each peer that connects learns the names, though not the key, and could use them. The list of
//! allowed peers decides which peers a node talks to.
//!
//! The names end with the version of the protocols, 2. Two kinds do not: gossip is libp2p's own protocol, so its topic
//! carries the version; and what identify reports names the family of protocols. So a node of version 1 does not turn away
//! from this one: it asks its question, and is answered that it must be upgraded ([`Protocols::records_before`]).

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
    /// The family of protocols that identify reports.
    pub identify: String,
    /// Requests of nodes that speak version 1 only. Each is answered by the one thing to say.
    pub records_before: String,
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
            identify: format!("{name}/1"),
            records_before: format!("/{name}/records/1"),
        }
    }

    /// Tells whether a name that identify reports is of this family of protocols, in whichever swarm.
    pub fn are_of_family(identify: &str) -> bool {
        identify.strip_suffix("/1").is_some_and(|name| name == "reg" || name.starts_with("reg-"))
    }

    /// Returns whether a peer with these protocols speaks version 1 of them only.
    pub fn is_of_before<'a>(&self, protocols: impl Iterator<Item = &'a str> + Clone) -> bool {
        let mut speaks = protocols.clone();
        speaks.any(|it| it == self.records_before) && !protocols.clone().any(|it| it == self.records)
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
            ["/reg/records/2", "/reg/blob/2", "/reg/kad/2", "/meshsub", "reg/tags/2", "reg/1"]
        );
        let lab = Protocols::of_swarm("lab");
        assert_eq!(lab.records, "/reg-c26221ecb18e4952/records/2");
        assert_eq!(lab, Protocols::of_swarm("lab"));
        let other = Protocols::of_swarm("lab2");
        assert!([&public, &lab, &other].iter().all(|it| Protocols::are_of_family(&it.identify)));
        assert!(!Protocols::are_of_family("ipfs/0.1.0") && !Protocols::are_of_family("regular/1"));
        assert!(public.is_of_before(["/reg/kad/1", "/reg/records/1"].into_iter()));
        assert!(!public.is_of_before(["/reg/records/1", "/reg/records/2"].into_iter()));
        assert!(!public.is_of_before(["/reg/kad/2"].into_iter()), "it answers no questions at all");
        assert!(!lab.is_of_before(["/reg/records/1"].into_iter()), "another swarm");
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
