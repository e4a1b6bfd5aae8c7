//! Whose models are meant, and who may add to them, alike in every dialect.

use axum::Extension;
use reg_proto::name::{NameError, Petname, Publisher, PublisherId};

use super::guard::Caller;
use super::signer::Signer;

/// Why nothing is taken from a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// The token is missing or wrong.
    Token,
    /// No key was allowed for this.
    NoKey,
    /// Someone else's namespace.
    Other { owner: String, own: PublisherId },
}

impl NotTaken {
    /// Says so, and what to do next.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Token => "the token is missing or wrong: `reg env` prints what to export".to_owned(),
            Self::NoKey => {
                "this daemon signs nothing: start it with --publish-key NAME (`reg key ls` lists keys)"
                    .to_owned()
            }
            Self::Other { owner, own } => {
                format!("{owner} is not the publisher whose key this daemon signs with: that is {own}")
            }
        }
    }
}

/// Reads a namespace: a publisher's id, the name of the key that this daemon signs with, or a petname.
pub(super) fn publisher(owner: &str, signer: Option<&Signer>) -> Result<Publisher, NameError> {
    if let Ok(id) = owner.parse::<PublisherId>() {
        return Ok(Publisher::Id(id));
    }
    match signer.filter(|signer| signer.name() == owner) {
        Some(signer) => Ok(Publisher::Id(signer.publisher())),
        None => owner.parse::<Petname>().map(Publisher::Petname),
    }
}

/// Returns the key to sign with, if the caller may have something signed under `owner`.
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
