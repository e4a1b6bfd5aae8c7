//! Answers the catalogue's requests from the tries and listings of this node.

use super::entry::{Listing, ListingKey};
use super::message::{
    Block, Differing, ListingsPage, MessageError, Own, Part, Question, Questions, RootsPage, SampleQuestion,
};
use super::trie::Trie;
use super::tries::{Tries, first_of, short};
use crate::json;
use crate::limits::{LISTED_KEYS_BYTES_MAX, SAMPLE_MAX};
use crate::name::PublisherId;
use crate::wire::PublisherVows;

/// The documents behind the tries: the node reads them from its store, and tests from memory.
pub trait View {
    /// Returns the listing of a tag; `None` if it cannot be read. It is left out of the answer then.
    fn listing(&self, publisher: &PublisherId, key: &ListingKey) -> Option<Listing>;

    /// Returns the keys and revocations of a publisher; `None` if they cannot be read.
    fn keys(&self, publisher: &PublisherId) -> Option<PublisherVows>;
}

/// Returns which publishers of the page this node keeps with another root. An empty trie has nothing to give, so it does not
/// differ.
///
/// # Errors
/// If the page cannot be read.
pub fn answer_roots(tries: &Tries, page: &RootsPage) -> Result<Differing, MessageError> {
    let differs =
        |(id, root)| tries.find(&id).is_some_and(|(_, trie)| !trie.is_empty() && short(&trie.root()) != root);
    Ok(Differing::new(page.roots()?.into_iter().map(differs)))
}

/// Returns the listings that the asker lacks or has with another value, and which of the parts differ that it asks about by
/// hashes. Ends the page where there is no room for the next answer.
///
/// It walks the items of at most [`crate::limits::PUBLISHERS_PER_QUESTION_MAX`] publishers once each, because the parts of a
/// question do not overlap.
///
/// # Errors
/// If the questions cannot be read.
pub fn answer_listings(
    tries: &Tries,
    view: &impl View,
    questions: &Questions,
) -> Result<ListingsPage, MessageError> {
    let mut page = ListingsPage::default();
    for (publisher, question) in (0..).zip(&questions.questions()?) {
        let Some((id, trie)) = tries.find(&question.id) else { continue };
        if answer_one(&mut page, publisher, question, (id, trie), view).is_none() {
            page.more = true;
            break;
        }
    }
    Ok(page)
}

/// Returns the listings of the sample that the caller has `chosen`, each after the keys of its publisher.
///
/// At most as many are sent as were asked for, and only what has room. The caller draws them, at random and with a bound for
/// each publisher. Listings of one publisher must follow each other.
pub fn answer_sample(
    view: &impl View,
    question: SampleQuestion,
    chosen: impl IntoIterator<Item = (PublisherId, ListingKey)>,
) -> ListingsPage {
    let mut page = ListingsPage::default();
    let (mut before, mut number) = (None, 0_u8);
    for (publisher, key) in chosen.into_iter().take(usize::from(question.count).min(SAMPLE_MAX)) {
        let Some(listing) = view.listing(&publisher, &key) else { continue };
        if before != Some(publisher) {
            let Some(keys) = keys_of(view, &publisher) else { continue };
            let next = if before.is_some() { number + 1 } else { 0 };
            if !page.add(&Block::Keys { publisher: next, keys }) {
                break;
            }
            (before, number) = (Some(publisher), next);
        }
        if !page.add(&Block::Listing { publisher: number, part: 0, listing }) {
            break;
        }
    }
    page
}

/// Adds the answers about one publisher; `None` if the page has no room for all.
fn answer_one(
    page: &mut ListingsPage,
    publisher: u8,
    question: &Question,
    (id, trie): (&PublisherId, &Trie),
    view: &impl View,
) -> Option<()> {
    let mut wants_keys = question.wants_keys;
    for (part, asked) in (0..).zip(&question.parts) {
        for block in answers(publisher, part, asked, (id, trie), view) {
            if std::mem::take(&mut wants_keys) {
                let keys = keys_of(view, id).map(|keys| Block::Keys { publisher, keys });
                keys.is_none_or(|keys| page.add(&keys)).then_some(())?;
            }
            page.add(&block).then_some(())?;
        }
    }
    Some(())
}

/// Returns the answers about one part, in the order of the keys.
fn answers<'a>(
    publisher: u8,
    part: u8,
    asked: &'a Part,
    (id, trie): (&'a PublisherId, &'a Trie),
    view: &'a impl View,
) -> Box<dyn Iterator<Item = Block> + 'a> {
    match &asked.own {
        Own::Hashes(hashes) => {
            let own = trie.branch(&asked.prefix);
            let differing =
                own.iter().flatten().zip(hashes).enumerate().filter_map(|(child, (own, hash))| {
                    (own.count > 0 && first_of(&own.hash) != *hash).then_some(1_u16 << child)
                });
            let children = differing.fold(0, |all, child| all | child);
            Box::new((children > 0).then_some(Block::Differing { publisher, part, children }).into_iter())
        }
        Own::Pairs { after, pairs } => {
            let is_new = move |(key, value): &(ListingKey, _)| {
                let pair = (first_of(key.as_bytes()), first_of(super::ListingValue::as_bytes(value)));
                after.is_none_or(|after| *key > after) && pairs.binary_search(&pair).is_err()
            };
            let items = trie.items(&asked.prefix).filter(is_new);
            Box::new(items.filter_map(move |(key, _)| {
                let listing = view.listing(id, &key)?;
                Some(Block::Listing { publisher, part, listing })
            }))
        }
    }
}

/// Returns the keys of a publisher, unless they are too long for a page: a peer that misses them asks for its records.
fn keys_of(view: &impl View, publisher: &PublisherId) -> Option<PublisherVows> {
    view.keys(publisher).filter(|keys| json::to_vec(keys).len() <= LISTED_KEYS_BYTES_MAX)
}
