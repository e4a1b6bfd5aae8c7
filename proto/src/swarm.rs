//! [`Protocols`]: what a swarm's nodes call the protocols they speak. A private swarm has names of its own, derived from
//! its key, so that its nodes and those of other swarms have nothing to say to each other.
//!
//! That is separation, not secrecy: whoever connects is told the names, though not the key, and could repeat them. Whom a
//! node talks to at all is for its list of peers to say.

use data_encoding::HEXLOWER;

use crate::digest::Digest;

/// Names of the protocols of one swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocols {
    /// Questions and answers.
    pub records: String,
    /// Blob streams.
    pub blobs: String,
    /// The DHT, with our own record store.
    pub dht: String,
    /// Gossip between peers, as a prefix of its versions.
    pub gossip: String,
    /// Gossip topic of signed tags.
    pub tags_topic: String,
    /// What identify says this swarm speaks.
    pub identify: String,
}

impl Protocols {
    /// Returns the names of the swarm that everybody belongs to.
    pub fn public() -> Self {
        Self::named("reg", "meshsub")
    }

    /// Returns the names of the swarm with this key: a word, or a secret of any length.
    pub fn of_swarm(key: &str) -> Self {
        let digest = Digest::of(&[b"reg/swarm/1\0", key.as_bytes()].concat());
        let name = format!("reg-{}", HEXLOWER.encode(&digest.as_bytes()[..8]));
        Self::named(&name, &format!("{name}/meshsub"))
    }

    fn named(name: &str, gossip: &str) -> Self {
        Self {
            records: format!("/{name}/records/1"),
            blobs: format!("/{name}/blob/1"),
            dht: format!("/{name}/kad/1"),
            gossip: format!("/{gossip}"),
            tags_topic: format!("{name}/tags/1"),
            identify: format!("{name}/1"),
        }
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
            ["/reg/records/1", "/reg/blob/1", "/reg/kad/1", "/meshsub", "reg/tags/1", "reg/1"]
        );
        let lab = Protocols::of_swarm("lab");
        assert_eq!(lab.records, "/reg-c26221ecb18e4952/records/1");
        assert_eq!(lab, Protocols::of_swarm("lab"));
        let other = Protocols::of_swarm("lab2");
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
