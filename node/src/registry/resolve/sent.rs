//! [`Sent`]: what a peer has sent of a model together with the records of its publisher.
//!
//! Each document is named by the digest that this node has computed of it. So a document is what it is named, whichever peer has
//! sent it, and one that nothing names is dropped with the search.

use std::collections::BTreeMap;

use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::wire::ModelDocuments;

/// What one peer has sent of one model.
#[derive(Debug)]
pub(super) struct Sent {
    manifest: Digest,
    /// Whether the peer says that it holds the model whole.
    is_whole: bool,
    referrers: Vec<Digest>,
    documents: BTreeMap<Digest, Vec<u8>>,
}

impl Sent {
    /// Computes the digests of the documents in an answer. With `is_brief` none was asked for, and none is taken.
    pub(super) fn read(of: ModelDocuments, is_brief: bool) -> Self {
        let documents = of.documents().filter(|_| !is_brief);
        let documents = documents.map(|bytes| (Digest::of(bytes), bytes.to_vec())).collect();
        Self { manifest: of.manifest, is_whole: of.whole, referrers: of.referrers.into_vec(), documents }
    }

    /// Returns what the caller of this node brings of a model, which is all of it.
    pub(super) const fn brought(
        manifest: Digest,
        referrers: Vec<Digest>,
        documents: BTreeMap<Digest, Vec<u8>>,
    ) -> Self {
        Self { manifest, is_whole: true, referrers, documents }
    }
}

/// What peers have sent of one model or of several.
#[derive(Debug, Default)]
pub(super) struct AllSent(Vec<(PeerId, Sent)>);

impl AllSent {
    /// Adds what a peer has sent.
    pub(super) fn add(&mut self, peer: PeerId, sent: Sent) {
        self.0.push((peer, sent));
    }

    /// Takes the documents out. What was said of the models stays.
    pub(super) fn take_documents(&mut self) -> BTreeMap<Digest, Vec<u8>> {
        self.0.iter_mut().flat_map(|(_, sent)| std::mem::take(&mut sent.documents)).collect()
    }

    /// Returns the peers that have named their referrers of a manifest, with these.
    pub(super) fn referrers(&self, manifest: Digest) -> impl Iterator<Item = (PeerId, &[Digest])> {
        let of = self.0.iter().filter(move |(_, sent)| sent.manifest == manifest);
        of.map(|(peer, sent)| (*peer, sent.referrers.as_slice()))
    }

    /// Returns the peers that say they hold a model whole.
    pub(super) fn holders(&self, manifest: Digest) -> impl Iterator<Item = PeerId> {
        let holds = move |sent: &Sent| sent.manifest == manifest && sent.is_whole;
        self.0.iter().filter(move |(_, sent)| holds(sent)).map(|(peer, _)| *peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_named_by_its_digest_whatever_the_peer_says() {
        let (manifest, peer) = (Digest::of(b"manifest"), PeerId::from_public_key([1; 32]));
        let mut of = ModelDocuments::of(manifest, true, [Digest::of(b"referrer")]);
        of.add([b"another manifest".to_vec(), b"referrer".to_vec()]);
        let mut all = AllSent::default();
        all.add(peer, Sent::read(of.clone(), false));
        let documents = all.take_documents();
        assert!(!documents.contains_key(&manifest));
        assert_eq!(documents.get(&Digest::of(b"referrer")).map(Vec::as_slice), Some(&b"referrer"[..]));
        assert!(all.take_documents().is_empty());
        assert_eq!(all.holders(manifest).collect::<Vec<_>>(), [peer]);
        assert_eq!(all.holders(Digest::of(b"other")).count(), 0);
        assert_eq!(all.referrers(manifest).count(), 1);
        assert!(Sent::read(of, true).documents.is_empty());
    }
}
