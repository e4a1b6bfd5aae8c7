//! Reads key histories from the store, and keeps those in memory that were read last: a peer's question must not cost the
//! parsing of all key documents of a publisher.
//!
//! A history is kept by the digest of its text, so what is kept is never out of date. Only the text is trusted, and it is
//! verified when it is read for the first time.

use std::collections::BTreeMap;
use std::sync::Mutex;

use reg_proto::digest::Digest;
use reg_proto::key::{KeyError, KeyHistory};
use reg_proto::name::PublisherId;

use crate::registry::limits::{HISTORIES_BYTES_MAX, HISTORIES_MAX};

/// The histories that were read last, without revocations.
static READ: Mutex<Histories> = Mutex::new(Histories::new(HISTORIES_MAX, HISTORIES_BYTES_MAX));

#[derive(Debug)]
struct Histories {
    /// Each history with the bytes of its text and the number of its last use.
    kept: BTreeMap<(PublisherId, Digest), (KeyHistory, usize, u64)>,
    bytes: usize,
    uses: u64,
    count_max: usize,
    bytes_max: usize,
}

impl Histories {
    const fn new(count_max: usize, bytes_max: usize) -> Self {
        Self { kept: BTreeMap::new(), bytes: 0, uses: 0, count_max, bytes_max }
    }

    fn get(&mut self, key: &(PublisherId, Digest)) -> Option<KeyHistory> {
        self.uses += 1;
        let (history, _, used) = self.kept.get_mut(key)?;
        *used = self.uses;
        Some(history.clone())
    }

    fn keep(&mut self, key: (PublisherId, Digest), history: KeyHistory, bytes: usize) {
        if bytes > self.bytes_max || self.kept.contains_key(&key) {
            return;
        }
        while self.kept.len() >= self.count_max || self.bytes + bytes > self.bytes_max {
            let oldest = self.kept.iter().min_by_key(|(_, (_, _, used))| *used).map(|(key, _)| *key);
            let Some((_, size, _)) = oldest.and_then(|key| self.kept.remove(&key)) else { return };
            self.bytes -= size;
        }
        self.uses += 1;
        self.bytes += bytes;
        self.kept.insert(key, (history, bytes, self.uses));
    }
}

/// Returns the key history of `publisher` in a JSON array from the store, as [`KeyHistory::from_json`] does.
///
/// # Errors
/// As [`KeyHistory::from_json`].
pub(super) fn read(publisher: PublisherId, text: &[u8]) -> Result<KeyHistory, KeyError> {
    let key = (publisher, Digest::of(text));
    let lock = || READ.lock().expect("no holder of this lock panics");
    if let Some(history) = lock().get(&key) {
        return Ok(history);
    }
    let history = KeyHistory::from_json(publisher, text)?;
    lock().keep(key, history.clone(), text.len());
    Ok(history)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use reg_proto::envelope::PublicKey;
    use reg_proto::key::KeyDocument;

    use super::*;

    fn history(seed: u8) -> KeyHistory {
        let key = SigningKey::from_bytes(&[seed; 32]);
        KeyHistory::read(&[KeyDocument::first(PublicKey::of(&key)).sign(&key).to_json()]).expect("valid")
    }

    #[test]
    fn what_was_read_last_is_kept_within_both_bounds() {
        let mut histories = Histories::new(3, 1000);
        let key = |history: &KeyHistory| (history.publisher(), history.head());
        let all: Vec<KeyHistory> = (1..=5).map(history).collect();
        all[..3].iter().for_each(|it| histories.keep(key(it), it.clone(), 100));
        assert!(histories.get(&key(&all[0])).is_some(), "it is the one that was used last");
        histories.keep(key(&all[3]), all[3].clone(), 100);
        assert!(histories.get(&key(&all[0])).is_some() && histories.get(&key(&all[1])).is_none());
        histories.keep(key(&all[4]), all[4].clone(), 900);
        assert_eq!((histories.kept.len(), histories.bytes), (2, 1000));
        histories.keep(key(&all[1]), all[1].clone(), 1001);
        assert!(histories.get(&key(&all[1])).is_none(), "it is larger than all that is kept");
    }

    #[test]
    fn a_text_is_read_for_the_publisher_that_is_asked_for() {
        let (one, two) = (history(11), history(12));
        let text = one.to_json();
        for _again in 0..2 {
            assert_eq!(read(one.publisher(), text.as_bytes()).expect("valid"), one);
            assert!(read(two.publisher(), text.as_bytes()).is_err());
        }
    }
}
