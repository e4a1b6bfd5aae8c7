//! [`Pullers`]: the peers that pull from this node, by blob. Each soon holds pieces, so this node names them to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;

/// The peers that follow each blob, with the number of their streams that do. The limit on served streams bounds it.
#[derive(Debug, Default)]
pub(super) struct Pullers(Mutex<BTreeMap<Digest, BTreeMap<PeerId, usize>>>);

impl Pullers {
    /// Notes that a stream of `peer` begins to follow `blob`.
    pub(super) fn joined(&self, blob: Digest, peer: PeerId) {
        let mut pullers = self.0.lock().expect("no holder of this lock panics");
        *pullers.entry(blob).or_default().entry(peer).or_default() += 1;
    }

    /// Notes that a stream of `peer` no longer follows `blob`.
    pub(super) fn left(&self, blob: &Digest, peer: &PeerId) {
        let mut pullers = self.0.lock().expect("no holder of this lock panics");
        let Some(peers) = pullers.get_mut(blob) else { return };
        if let Some(streams) = peers.get_mut(peer) {
            *streams -= 1;
            if *streams == 0 {
                peers.remove(peer);
            }
        }
        if peers.is_empty() {
            pullers.remove(blob);
        }
    }

    /// Returns the peers that follow any of these blobs, without the asker. Begins with the ids after the asker's, so that in a
    /// large swarm different askers learn of different peers.
    pub(super) fn of<'a>(&self, blobs: impl IntoIterator<Item = &'a Digest>, asker: &PeerId) -> Vec<PeerId> {
        let pullers = self.0.lock().expect("no holder of this lock panics");
        let peers: BTreeSet<PeerId> = blobs
            .into_iter()
            .filter_map(|blob| pullers.get(blob))
            .flat_map(BTreeMap::keys)
            .copied()
            .collect();
        let after = peers.iter().filter(|peer| *peer > asker);
        after.chain(peers.iter().filter(|peer| *peer < asker)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pullers_are_named_to_each_other_as_long_as_they_follow() {
        let pullers = Pullers::default();
        let [a, b, c] = [1, 2, 3].map(|byte| PeerId::from_public_key([byte; 32]));
        let [one, two] = [b"1", b"2"].map(|bytes| Digest::of(bytes));
        for (blob, peer) in [(one, a), (one, b), (two, c), (two, b), (one, b)] {
            pullers.joined(blob, peer);
        }
        assert_eq!(pullers.of([&one, &two], &b), [c, a]);
        assert_eq!(pullers.of([&one], &c), [a, b]);
        pullers.left(&one, &b);
        assert_eq!(pullers.of([&one], &a), [b], "one of its two streams follows yet");
        pullers.left(&one, &b);
        pullers.left(&one, &b);
        pullers.left(&one, &a);
        assert!(pullers.of([&one], &c).is_empty());
    }
}
