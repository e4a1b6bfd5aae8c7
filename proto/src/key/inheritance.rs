//! [`Inheritance`]: the statements by older keys that a key document takes over.
//!
//! A document names the list by its digest. Statements by older keys that are not on it do not count. So a thief of a
//! retired key can sign nothing that counts, and every honest statement survives the rotation.

use data_encoding::BASE64;
use thiserror::Error;

use crate::digest::Digest;
use crate::limits::INHERITED_MAX;

/// Begins the text form, which travels behind the key documents.
const PREFIX: &str = "inherits:";

/// The payload digests of the statements that a key document takes over: tag records, provenances, attestations,
/// delegations and revocations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Inheritance {
    /// In strictly ascending order.
    payloads: Vec<Digest>,
}

/// Why a text or bytes are not an inheritance list.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InheritanceError {
    #[error("inheritance list has {count} entries, at most {INHERITED_MAX} are allowed")]
    TooMany { count: usize },
    #[error("inheritance list is not base64")]
    Base64,
    #[error("inheritance list is not a sequence of 32-byte digests")]
    Length,
    #[error("inheritance list is not in strictly ascending order")]
    Order,
}

impl Inheritance {
    /// Returns the list of these payload digests, each once.
    ///
    /// # Errors
    /// If there are more than [`INHERITED_MAX`].
    pub fn of(payloads: impl IntoIterator<Item = Digest>) -> Result<Self, InheritanceError> {
        let mut payloads: Vec<Digest> = payloads.into_iter().collect();
        payloads.sort_unstable();
        payloads.dedup();
        if payloads.len() > INHERITED_MAX {
            return Err(InheritanceError::TooMany { count: payloads.len() });
        }
        Ok(Self { payloads })
    }

    /// Returns the canonical bytes: the digests one after the other, 32 bytes each.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.payloads.iter().flat_map(|it| *it.as_bytes()).collect()
    }

    /// Parses the canonical bytes.
    ///
    /// # Errors
    /// If their length is not a multiple of 32, they are too many, or not in strictly ascending order.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InheritanceError> {
        let (digests, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(InheritanceError::Length);
        }
        if digests.len() > INHERITED_MAX {
            return Err(InheritanceError::TooMany { count: digests.len() });
        }
        let payloads: Vec<Digest> = digests.iter().map(|it| Digest::from_bytes(*it)).collect();
        if !payloads.is_sorted_by(|one, two| one < two) {
            return Err(InheritanceError::Order);
        }
        Ok(Self { payloads })
    }

    /// Returns the digest of the canonical bytes. A key document names the list by it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }

    /// Returns whether `text` is meant as an inheritance list rather than as a key document's envelope.
    pub fn is_text(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Returns the text form: `inherits:` and the canonical bytes in base64.
    pub fn to_text(&self) -> String {
        format!("{PREFIX}{}", BASE64.encode(&self.to_bytes()))
    }

    /// Parses the text form.
    ///
    /// # Errors
    /// If the prefix is missing or the rest is not base64, and as [`Self::from_bytes`].
    pub fn from_text(text: &str) -> Result<Self, InheritanceError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(InheritanceError::Base64)?;
        if encoded.len() > INHERITED_MAX * 44 {
            return Err(InheritanceError::TooMany { count: encoded.len() / 43 });
        }
        Self::from_bytes(&BASE64.decode(encoded.as_bytes()).map_err(|_| InheritanceError::Base64)?)
    }

    /// Returns whether the list has this payload.
    pub fn contains(&self, payload: &Digest) -> bool {
        self.payloads.binary_search(payload).is_ok()
    }

    /// Returns the payload digests in ascending order.
    pub fn payloads(&self) -> &[Digest] {
        &self.payloads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_is_canonical() {
        let payloads = [b"b", b"a", b"b"].map(|it| Digest::of(it));
        let list = Inheritance::of(payloads).unwrap();
        assert_eq!(list.payloads().len(), 2);
        assert_eq!(Inheritance::from_text(&list.to_text()), Ok(list.clone()));
        assert!(list.contains(&payloads[0]) && !list.contains(&Digest::of(b"c")));
        let mut bytes = list.to_bytes();
        bytes.rotate_left(32);
        assert_eq!(Inheritance::from_bytes(&bytes), Err(InheritanceError::Order));
        let twice = [&list.to_bytes()[..32], &list.to_bytes()[..32]].concat();
        assert_eq!(Inheritance::from_bytes(&twice), Err(InheritanceError::Order));
        assert_eq!(Inheritance::from_bytes(&bytes[1..]), Err(InheritanceError::Length));
        assert_eq!(Inheritance::from_text("inherits:?"), Err(InheritanceError::Base64));
        assert_eq!(Inheritance::default().digest(), Digest::of(b""));
    }

    #[test]
    fn a_list_has_a_bound() {
        let many = (0..=INHERITED_MAX as u64).map(|it| Digest::of(&it.to_be_bytes()));
        assert!(matches!(Inheritance::of(many), Err(InheritanceError::TooMany { .. })));
    }
}
