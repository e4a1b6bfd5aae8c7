//! A model in the store: its record, its files, whether it is whole, and its checkouts into directories.
//!
//! In: the store, and a manifest. Out: records, descriptions of files, checkouts. Promise: a name from a manifest never
//! leads out of the directory of its checkout, and a model counts as whole only while each of its blobs is in the
//! store.
//!
//! Its modules are public, because other rooms call their functions by the module's name, such as `record::document` and
//! `whole::is_complete`: one module for each thing that is asked of a model.

pub mod card;
pub mod checked_out;
pub mod checkout;
pub mod describe;
pub mod file_path;
pub mod folder;
mod git_blob;
pub mod kept;
pub mod ranged;
pub mod record;
pub mod refer;
pub mod take;
pub mod tree;
pub mod whole;

pub use self::git_blob::git_blob;
