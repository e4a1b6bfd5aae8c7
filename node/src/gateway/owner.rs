//! Namespaces, alike in every dialect: which publisher one means, and whether a caller may publish in it.

use axum::Extension;
use reg_proto::name::{NameError, Publisher, PublisherId};

use super::guard::Caller;
use super::signer::Signer;

/// Why a caller may not publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// The token is missing or wrong.
    Token,
    /// The daemon has no key to sign with.
    NoKey,
    /// The namespace belongs to another publisher.
    Other { owner: String, own: PublisherId },
}

impl NotTaken {
    /// Returns a message for the user, with what to do next.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Token => "the token is missing or wrong: `reg env` prints what to export".to_owned(),
            Self::NoKey => {
                "this daemon signs nothing: start it with --publish-key NAME (`reg key ls` lists keys)"
                    .to_owned()
            }
            Self::Other { owner, own } => {
                format!("{owner} is not the publisher of this daemon's key, which is {own}")
            }
        }
    }
}

/// Reads a namespace: a publisher's id, the name of the key that this daemon signs with, a petname, or a domain. Gateways use
/// the publisher that a domain is pinned to, and never ask the domain.
pub(super) fn publisher(owner: &str, signer: Option<&Signer>) -> Result<Publisher, NameError> {
    if let Ok(id) = owner.parse::<PublisherId>() {
        return Ok(Publisher::Id(id));
    }
    match signer.filter(|signer| signer.name() == owner) {
        Some(signer) => Ok(Publisher::Id(signer.publisher())),
        None => owner.parse(),
    }
}

/// Returns the key to sign with, if the caller may publish under `owner`, which means the publisher `resolved`.
///
/// # Errors
/// See [`NotTaken`].
pub(super) fn permitted<'a>(
    caller: Option<Extension<Caller>>,
    owner: &str,
    resolved: Option<PublisherId>,
    signer: Option<&'a Signer>,
) -> Result<&'a Signer, NotTaken> {
    if caller.map(|it| it.0) != Some(Caller::Owner) {
        return Err(NotTaken::Token);
    }
    let signer = signer.ok_or(NotTaken::NoKey)?;
    if resolved != Some(signer.publisher()) {
        return Err(NotTaken::Other { owner: owner.to_owned(), own: signer.publisher() });
    }
    Ok(signer)
}
