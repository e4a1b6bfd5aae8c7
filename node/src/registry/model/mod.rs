//! A model in the store: its record, its files, whether it is whole, and its checkouts into directories.
//!
//! In: the store, and a manifest. Out: records, descriptions of files, checkouts. Promise: a name from a manifest never
//! leads out of the directory of its checkout, and a model counts as whole only while each of its blobs is in the
//! store.

pub mod checkout;
pub mod describe;
mod git_blob;
pub mod record;
pub mod refer;
pub mod tree;
pub mod whole;

pub use self::git_blob::git_blob;
