//! [`Signatory`]: a callback that signs what this node prepares. The registry sees key documents, never a key.

use reg_api::prepared::{Prepared, Signed};
use reg_keys::error::SignError;
use reg_proto::name::PublisherId;

/// Signs a preparation.
pub type Sign<'a> = &'a (dyn Fn(&Prepared) -> Result<Signed, SignError> + Sync);

/// A publisher and the callback that signs for it.
#[derive(Clone, Copy)]
pub struct Signatory<'a> {
    pub publisher: PublisherId,
    /// The envelopes of the publisher's key documents.
    pub key_documents: &'a [String],
    pub sign: Sign<'a>,
}
