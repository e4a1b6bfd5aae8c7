//! [`take_sample`]: reads listings of publishers that the peer has chosen.

use super::message::{Block, ListingsPage, SampleQuestion};
use super::sync::{Brought, SyncError};
use crate::limits::SAMPLE_MAX;
use crate::wire::PublisherVows;

/// Returns what a sample has brought. The keys of a publisher come before its listings. No signature is verified.
///
/// # Errors
/// If the page cannot be read, has more than was asked for, or has a listing without its publisher's keys. The caller takes
/// nothing of the page then.
pub fn take_sample(page: &ListingsPage, question: SampleQuestion) -> Result<Brought, SyncError> {
    let room = usize::from(question.count).min(SAMPLE_MAX);
    let mut brought = Brought::default();
    let (mut numbers, mut next_keys): (u8, Option<PublisherVows>) = (0, None);
    for block in page.blocks()? {
        match block {
            Block::Keys { publisher, keys } if publisher == numbers => {
                numbers = numbers.checked_add(1).ok_or(SyncError::Order)?;
                next_keys = Some(keys);
            }
            Block::Listing { publisher, part: 0, listing } if numbers.checked_sub(1) == Some(publisher) => {
                let facts = listing.read()?;
                match (next_keys.take(), brought.keys.last()) {
                    (Some(keys), _) => brought.keys.push((facts.publisher, keys)),
                    (None, Some((last, _))) if *last == facts.publisher => {}
                    (None, _) => return Err(SyncError::Order),
                }
                brought.listings.push((facts, listing));
            }
            _ => return Err(SyncError::Order),
        }
        if brought.listings.len() > room {
            return Err(SyncError::TooMany { max: room });
        }
    }
    Ok(brought)
}
