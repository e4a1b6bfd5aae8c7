//! A model in the store: its record, its files, whether it is whole, and how it is laid out in a directory.
//!
//! In: the store, a manifest. Out: records, descriptions, checkouts. Promise: names from a manifest never leave the directory
//! they are put into, and a model counts as whole only while each of its blobs is in the store.

pub mod checkout;
pub mod describe;
mod git_blob;
pub mod record;
pub mod refer;
pub mod tree;
pub mod whole;

pub use self::git_blob::git_blob;
