//! [`Chain`]: the key documents of one publisher, and the rules for continuing and following them.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::digest::Digest;
use crate::envelope::{PublicKey, SignatureError};
use crate::key::{Inheritance, KeyDocument, KeyError, Next};
use crate::limits::SEQ_MAX;

/// The key documents of one publisher, each with the digest of its payload, and the list that the newest one inherits.
/// Every step follows the rules.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Chain {
    /// At least one.
    documents: Vec<(KeyDocument, Digest)>,
    inheritance: Option<Inheritance>,
}

/// What a statement counts for that names a key document as the one that signs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It counts if the keys of this document have signed it.
    BySignature,
    /// The newest document's inheritance list names it. It counts, because newer keys vouch for its exact bytes.
    Inherited,
    /// It does not count: a retired key has signed it, and the newest document does not inherit it.
    Retired,
    /// It cannot be judged: the inheritance list of the newest document is missing.
    ListMissing,
    /// There is no such document.
    NoDocument,
}

/// The relation of an offered chain to the one that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// No chain was followed. The caller follows this one, and tells the user.
    First,
    /// The chain is the followed one.
    Same,
    /// The chain continues the followed one, or brings the inheritance list that was missing.
    Newer,
    /// The user has accepted this chain in place of the followed one.
    Accepted,
}

/// Why a chain is not followed, although every step of it is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Refusal {
    #[error("keys go back: version {offered} is older than {followed}")]
    Older { offered: u64, followed: u64 },
    #[error("keys part from those that are followed after version {common}")]
    Forked { common: u64 },
    #[error("keys of version {followed} are revoked, and no other keys were committed to")]
    Dead { followed: u64 },
    #[error("keys of version {offered} come without the list of what they take over")]
    ListMissing { offered: u64 },
}

/// Why a publisher's keys cannot have given a record this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum SeqError {
    #[error("number {seq} is not in the range 1 to {SEQ_MAX}")]
    OutOfRange { seq: u64 },
    #[error("number {seq} is below {floor}, the floor of key document {version}")]
    BelowFloor { seq: u64, floor: u64, version: u64 },
    #[error(
        "number {seq} is void: key document {version} has the floor {floor}, and older keys count only below it"
    )]
    Voided { seq: u64, floor: u64, version: u64 },
}

/// Returns the keys with signatures that matter for `document` after `before`: its own, and those of `before` where no
/// single next keys were committed to.
pub fn signers_that_matter(before: Option<&KeyDocument>, document: &KeyDocument) -> Vec<PublicKey> {
    let old = before.filter(|before| before.next.keys().is_none());
    let keys: BTreeSet<PublicKey> =
        document.keys.iter().chain(old.into_iter().flat_map(|it| &it.keys)).copied().collect();
    keys.into_iter().collect()
}

/// Checks that `document` may follow `before`, which has the payload digest `digest`. `signers` have signed it.
///
/// Where `before` commits to single next keys, enough of them must appear in `document` and sign it, and the signatures
/// of older keys are not needed: so a thief of today's keys can neither rotate nor fork, and a publisher that has lost
/// them goes on. Elsewhere the thresholds of both documents sign (The Update Framework's rule for root metadata).
///
/// # Errors
/// See [`KeyError`].
pub fn continues(
    before: &KeyDocument,
    digest: Digest,
    document: &KeyDocument,
    signers: &BTreeSet<PublicKey>,
) -> Result<(), KeyError> {
    let version = document.version;
    if Some(version) != before.version.checked_add(1) {
        return Err(KeyError::Version { version, expected: before.version.saturating_add(1) });
    }
    if document.previous != Some(digest) {
        return Err(KeyError::NotAfterPrevious { version });
    }
    check_threshold(document, &document.keys, document.threshold, signers)?;
    match &before.next {
        Next::Keys(next) => {
            if document.next.keys().is_none() {
                return Err(KeyError::OlderForm { version });
            }
            let revealed: BTreeSet<PublicKey> =
                document.keys.iter().filter(|key| next.names(key)).copied().collect();
            let (found, threshold) = (revealed.len(), next.threshold);
            if found < threshold {
                return Err(KeyError::TooFewCommitted { version, found, threshold });
            }
            let revealed: Vec<PublicKey> = revealed.into_iter().collect();
            check_threshold(document, &revealed, threshold, signers)
        }
        Next::KeySet(committed) if *committed != document.commitment() => {
            Err(KeyError::NotCommitted { version })
        }
        Next::KeySet(_) | Next::Open => check_threshold(document, &before.keys, before.threshold, signers),
    }
}

fn check_threshold(
    document: &KeyDocument,
    keys: &[PublicKey],
    threshold: usize,
    signers: &BTreeSet<PublicKey>,
) -> Result<(), KeyError> {
    let distinct: BTreeSet<&PublicKey> = keys.iter().collect();
    let valid = distinct.into_iter().filter(|key| signers.contains(key)).count();
    if valid < threshold.max(1) {
        let source = SignatureError::TooFew { valid, threshold };
        return Err(KeyError::Signature { version: document.version, source });
    }
    Ok(())
}

/// Decides whether to follow `offered`, where `followed` was followed until now.
///
/// `is_dead` says that the followed keys have been revoked by statements that were known before `offered` came. A thief
/// has revoked keys too, so only a commitment tells the publisher's next document from the thief's. `accepted` is the
/// digest of the document that the user has accepted for this publisher: of several branches, the one with this document
/// is followed.
///
/// # Errors
/// See [`Refusal`]. The chain that was seen first is kept.
pub fn follow(
    followed: Option<&Chain>,
    offered: &Chain,
    is_dead: bool,
    accepted: Option<&Digest>,
) -> Result<Step, Refusal> {
    match relation(followed, offered, is_dead, accepted)? {
        Step::Same => Ok(Step::Same),
        // Without the list, everything that older keys have signed would be void from now on.
        _ if offered.is_incomplete() => Err(Refusal::ListMissing { offered: offered.version() }),
        step => Ok(step),
    }
}

fn relation(
    followed: Option<&Chain>,
    offered: &Chain,
    is_dead: bool,
    accepted: Option<&Digest>,
) -> Result<Step, Refusal> {
    let has_accepted = |chain: &Chain| accepted.is_none_or(|digest| chain.contains(digest));
    let Some(followed) = followed else {
        return if has_accepted(offered) { Ok(Step::First) } else { Err(Refusal::Forked { common: 0 }) };
    };
    match (followed.is_prefix_of(offered), offered.is_prefix_of(followed)) {
        (true, true) => {
            let brings_list = followed.is_incomplete() && !offered.is_incomplete();
            Ok(if brings_list { Step::Newer } else { Step::Same })
        }
        (true, false) if !has_accepted(followed) && has_accepted(offered) => Ok(Step::Accepted),
        (true, false) if is_dead && followed.newest().next == Next::Open => {
            Err(Refusal::Dead { followed: followed.version() })
        }
        (true, false) => Ok(Step::Newer),
        (false, true) => Err(Refusal::Older { offered: offered.version(), followed: followed.version() }),
        (false, false) if !has_accepted(followed) && has_accepted(offered) => Ok(Step::Accepted),
        (false, false) => Err(Refusal::Forked { common: followed.common(offered) }),
    }
}

impl Chain {
    /// Begins a chain with a first document that `signers` have signed.
    ///
    /// # Errors
    /// If the document is not a first one, or its threshold has not signed.
    pub fn begin(
        document: KeyDocument,
        digest: Digest,
        signers: &BTreeSet<PublicKey>,
    ) -> Result<Self, KeyError> {
        let version = document.version;
        if version != 1 {
            return Err(KeyError::Version { version, expected: 1 });
        }
        if document.previous.is_some() {
            return Err(KeyError::NotAfterPrevious { version });
        }
        check_threshold(&document, &document.keys, document.threshold, signers)?;
        Ok(Self { documents: vec![(document, digest)], inheritance: None })
    }

    /// Adds the next document, which `signers` have signed. What the document inherits is added after it.
    ///
    /// # Errors
    /// See [`continues`].
    pub fn extend(
        &mut self,
        document: KeyDocument,
        digest: Digest,
        signers: &BTreeSet<PublicKey>,
    ) -> Result<(), KeyError> {
        continues(self.newest(), self.head(), &document, signers)?;
        self.documents.push((document, digest));
        self.inheritance = None;
        Ok(())
    }

    /// Adds the list that the newest document inherits.
    ///
    /// # Errors
    /// If the newest document names another list, or none.
    pub fn inherit(&mut self, list: Inheritance) -> Result<(), KeyError> {
        if self.newest().inherits != Some(list.digest()) {
            return Err(KeyError::OtherInheritance { version: self.version() });
        }
        self.inheritance = Some(list);
        Ok(())
    }

    /// Returns the list that the newest document inherits, where it names one and the list is known.
    pub const fn inheritance(&self) -> Option<&Inheritance> {
        self.inheritance.as_ref()
    }

    /// Returns whether the newest document inherits a list that is not known.
    pub fn is_incomplete(&self) -> bool {
        self.newest().inherits.is_some() && self.inheritance.is_none()
    }

    /// Returns the newest document's version.
    pub fn version(&self) -> u64 {
        self.documents.len() as u64
    }

    /// Returns the digest of the newest document's payload.
    pub fn head(&self) -> Digest {
        self.last().1
    }

    /// Returns the newest document.
    pub fn newest(&self) -> &KeyDocument {
        &self.last().0
    }

    fn last(&self) -> &(KeyDocument, Digest) {
        self.documents.last().expect("a chain has a first document")
    }

    /// Returns the documents, the first one first.
    pub fn documents(&self) -> impl DoubleEndedIterator<Item = &KeyDocument> + Clone {
        self.documents.iter().map(|(document, _)| document)
    }

    /// Returns the document of this version, or `None` if there is none.
    pub fn document(&self, version: u64) -> Option<&KeyDocument> {
        let index = usize::try_from(version.checked_sub(1)?).ok()?;
        self.documents.get(index).map(|(document, _)| document)
    }

    /// Returns whether one of the documents has this payload digest.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.documents.iter().any(|(_, it)| it == digest)
    }

    /// Returns whether `other` equals this chain or continues it.
    pub fn is_prefix_of(&self, other: &Self) -> bool {
        other.documents.starts_with(&self.documents)
    }

    /// Returns the version of the last document that both chains have; 0 for chains of different publishers.
    pub fn common(&self, other: &Self) -> u64 {
        self.documents.iter().zip(&other.documents).take_while(|(one, two)| one == two).count() as u64
    }

    /// Returns the chain as it was when `version` was its newest document; `None` if there is no such document.
    pub fn as_of(&self, version: u64) -> Option<Self> {
        let length = usize::try_from(version).ok().filter(|it| (1..=self.documents.len()).contains(it))?;
        let inheritance = self.inheritance.clone().filter(|_| length == self.documents.len());
        Some(Self { documents: self.documents[..length].to_vec(), inheritance })
    }

    /// Decides what a statement counts for that key document `version` has signed and that has this payload digest.
    ///
    /// A retired key signs nothing: where the newest document has a list, a statement by an older one counts only if it
    /// is on the list.
    pub fn standing(&self, version: u64, payload: &Digest) -> Standing {
        if self.document(version).is_none() {
            return Standing::NoDocument;
        }
        match (self.newest().inherits, &self.inheritance) {
            _ if version == self.version() => Standing::BySignature,
            (None, _) => Standing::BySignature,
            (Some(_), None) => Standing::ListMissing,
            (Some(_), Some(list)) if list.contains(payload) => Standing::Inherited,
            (Some(_), Some(_)) => Standing::Retired,
        }
    }

    /// Checks that a record signed under key document `version` may have the number `seq`.
    ///
    /// # Errors
    /// If the number is out of range, below the document's floor, or void by the floor of a later document.
    pub fn check_seq(&self, version: u64, seq: u64) -> Result<(), SeqError> {
        if !(1..=SEQ_MAX).contains(&seq) {
            return Err(SeqError::OutOfRange { seq });
        }
        let floors = self.documents().filter_map(|it| Some((it.version, it.floor?)));
        let (own, later): (Vec<_>, Vec<_>) = floors.partition(|(stated_by, _)| *stated_by <= version);
        if let Some((version, floor)) = own.into_iter().next_back().filter(|(_, floor)| seq < *floor) {
            return Err(SeqError::BelowFloor { seq, floor, version });
        }
        match later.into_iter().find(|(_, floor)| seq >= *floor) {
            Some((version, floor)) => Err(SeqError::Voided { seq, floor, version }),
            None => Ok(()),
        }
    }
}
