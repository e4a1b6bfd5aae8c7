//! Chooses some of the listed models by chance, each publisher as likely as any other.

use std::collections::BTreeSet;

use reg_catalogue::{EntryHead, EntryName};
use reg_proto::name::{ModelName, PublisherId, Tag};

use super::Cataloguing;

/// Entries that are looked at for each one that is wanted. With more, what is wanted is so rare that the next choice finds it.
const LOOKS_FOR_ONE: usize = 16;

impl Cataloguing {
    /// Returns at most `max` heads of tags that `is_wanted`, of these publishers or of all. Publishers take turns in random order, so
    /// one with many models hides no other. `below` draws a number below its argument. Blocks.
    pub fn some_heads(
        &self,
        publishers: Option<&BTreeSet<PublisherId>>,
        max: usize,
        is_wanted: &dyn Fn(&EntryHead) -> bool,
        below: &mut dyn FnMut(u64) -> u64,
    ) -> Vec<EntryHead> {
        let Some(opened) = self.opened() else { return Vec::new() };
        let mut turn: Vec<(PublisherId, Option<Vec<EntryName>>)> = match publishers {
            Some(publishers) => publishers.iter().map(|it| (*it, None)).collect(),
            None => opened.tries().own.iter().map(|(publisher, _)| (*publisher, None)).collect(),
        };
        let (mut heads, mut next, mut looks) = (Vec::new(), Vec::new(), max.saturating_mul(LOOKS_FOR_ONE));
        while heads.len() < max && looks > 0 {
            let Some((publisher, names)) = draw(&mut turn, below) else {
                if next.is_empty() {
                    break;
                }
                turn = std::mem::take(&mut next);
                continue;
            };
            let mut names = names.unwrap_or_else(|| opened.catalogue.names(&publisher));
            looks -= 1;
            if let Some(EntryName { model, tag, .. }) = draw(&mut names, below) {
                let head = opened.catalogue.head(publisher, &model, &tag);
                heads.extend(head.filter(|it| !it.is_tombstone && is_wanted(it)));
                next.push((publisher, Some(names)));
            }
        }
        heads
    }

    /// Returns what is listed of a tag, also where no search shows it because it is denied. Blocks.
    pub fn listed_or_denied(
        &self,
        publisher: PublisherId,
        model: &ModelName,
        tag: &Tag,
    ) -> Option<EntryHead> {
        self.opened()?.catalogue.head(publisher, model, tag).filter(|it| !it.is_tombstone)
    }
}

/// Takes one of these by chance.
fn draw<T>(of: &mut Vec<T>, below: &mut dyn FnMut(u64) -> u64) -> Option<T> {
    let place = below(of.len() as u64);
    let place = usize::try_from(place).ok().filter(|place| *place < of.len())?;
    Some(of.swap_remove(place))
}
