//! Answers peers that compare their catalogue with that of this node. They are given what this node shares, and nothing else.

use std::cell::RefCell;
use std::collections::HashMap;

use reg_catalogue::EntryName;
use reg_proto::bounded::Bounded;
use reg_proto::catalogue::{
    Listing, ListingKey, Questions, Reconciliation, RootsPage, SampleQuestion, SyncBounds, View,
    answer_listings, answer_roots, answer_sample,
};
use reg_proto::limits::SAMPLE_MAX;
use reg_proto::name::PublisherId;
use reg_proto::wire::{PublisherVows, Request, Response};

use super::Cataloguing;
use super::entries;
use super::opened::Opened;
use super::taking::draw;

/// Listings of one publisher in a sample, at most: a publisher with many models does not fill it.
const SAMPLE_OF_PUBLISHER_MAX: usize = 4;

impl Cataloguing {
    /// Says which of the asker's publishers this node lists otherwise. Blocks.
    pub fn answer_roots(&self, page: &RootsPage) -> Response {
        let Some(opened) = self.opened() else { return Response::NotFound };
        answer_roots(&opened.tries().given, page).map_or(Response::NotFound, Response::Differing)
    }

    /// Returns what the asker lacks or lists otherwise. Blocks.
    pub fn answer_listings(&self, questions: &Questions) -> Response {
        let Some(opened) = self.opened() else { return Response::NotFound };
        let view = Answering { cataloguing: self, opened: &opened, names: RefCell::default() };
        answer_listings(&opened.tries().given, &view, questions)
            .map_or(Response::NotFound, Response::Listings)
    }

    /// Returns listings that are drawn by chance from all that this node gives. Blocks.
    pub fn answer_sample(&self, question: SampleQuestion) -> Response {
        let Some(opened) = self.opened() else { return Response::NotFound };
        let chosen = self.sample(&opened, question);
        let view = Answering { cataloguing: self, opened: &opened, names: RefCell::default() };
        Response::Listings(answer_sample(&view, question, chosen))
    }

    /// Begins to compare the catalogue with that of a peer. Blocks.
    pub fn begin_sync(&self) -> Option<Reconciliation> {
        let opened = self.opened()?;
        let kept = opened.catalogue.kept_publishers().into_iter();
        let with_keys = kept.map(|publisher| (publisher, self.keys(publisher).is_none()));
        Some(Reconciliation::new(with_keys.collect::<Vec<_>>(), SyncBounds::default()))
    }

    /// Returns the next question of a comparison. Blocks.
    pub fn next_question(&self, sync: &mut Reconciliation) -> Option<Request> {
        sync.next_request(&self.opened()?.tries().own)
    }

    /// Draws publishers by chance, and listings of each.
    fn sample(&self, opened: &Opened, question: SampleQuestion) -> Vec<(PublisherId, ListingKey)> {
        let wanted = usize::from(question.count).min(SAMPLE_MAX);
        let tries = opened.tries();
        let mut publishers: Vec<PublisherId> = tries.given.iter().map(|(publisher, _)| *publisher).collect();
        let mut chosen = Vec::new();
        while chosen.len() < wanted && !publishers.is_empty() {
            let at = (draw() ^ question.seed) % publishers.len() as u64;
            let publisher = publishers.swap_remove(usize::try_from(at).unwrap_or(0));
            let Some(trie) = tries.given.get(&publisher) else { continue };
            let mut keys: Vec<ListingKey> =
                trie.items(&reg_proto::catalogue::Prefix::default()).map(|(key, _)| key).collect();
            for _ in 0..SAMPLE_OF_PUBLISHER_MAX.min(keys.len()) {
                let at = (draw() ^ question.seed) % keys.len() as u64;
                chosen.push((publisher, keys.swap_remove(usize::try_from(at).unwrap_or(0))));
            }
        }
        chosen.truncate(wanted);
        chosen
    }
}

/// Reads the documents of an answer from the catalogue.
struct Answering<'a> {
    cataloguing: &'a Cataloguing,
    opened: &'a Opened,
    /// The names of the publishers that the answer is about, by key.
    names: RefCell<HashMap<PublisherId, HashMap<ListingKey, EntryName>>>,
}

impl View for Answering<'_> {
    fn listing(&self, publisher: &PublisherId, key: &ListingKey) -> Option<Listing> {
        let mut names = self.names.borrow_mut();
        let of = names.entry(*publisher).or_insert_with(|| {
            let names = self.opened.catalogue.names(publisher).into_iter();
            names.map(|it| (ListingKey::of(&it.model, &it.tag), it)).collect()
        });
        let name = of.get(key)?;
        let entry = self.opened.catalogue.get(*publisher, &name.model, &name.tag).ok().flatten()?;
        Some(entries::listing(&entry))
    }

    fn keys(&self, publisher: &PublisherId) -> Option<PublisherVows> {
        let keys = self.cataloguing.keys(*publisher)?;
        let revocations = keys.revocations().map(|(_, text)| text.to_owned());
        Some(PublisherVows {
            key_documents: Bounded::first_of(keys.texts()),
            revocations: Bounded::first_of(revocations),
        })
    }
}
