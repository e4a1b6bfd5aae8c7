//! Key documents: the keys that sign for a publisher, from its first document on.
//!
//! A publisher's id is the SHA-256 of the first document's payload. [`KeyDocument`] is one document, [`Inheritance`] the
//! list of older statements that it takes over, and [`KeyHistory`] a publisher's verified documents. The rules between
//! them are pure and lie in [`crate::naming::chain`].

mod document;
mod history;
mod inheritance;

pub use self::document::{
    KEY_DOCUMENT_TYPE, KEY_DOCUMENT_V2_TYPE, KeyDocument, KeyError, Next, NextKeys, is_key_document,
};
pub use self::history::{KeyHistory, publisher_id};
pub use self::inheritance::{Inheritance, InheritanceError};
pub use crate::naming::chain::SeqError;
