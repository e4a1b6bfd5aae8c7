//! Nothing unverified is ever visible: blobs as files, an index that can be lost, documents that cannot.
//!
//! ```text
//! <root>/
//!   VERSION  lock                      one process at a time
//!   blobs/sha256/ab/<hex>              whole and verified, read-only: the name is the truth
//!   states/ab/<hex>                    the piece states of a blob of more than one piece
//!   partial/<blob hex>-<states hex>/   {data, states}: what is verified stands in the index
//!   imports/<blob hex>                 blobs that come in order from elsewhere, not whole yet; notes of what others call them
//!   documents/<kind>/ab/<hex of key>   records, each an fsynced file of its own
//!   index/                             sled: a copy of all this, and what was last used
//!   tmp/                               swept at every start
//! ```
//!
//! Write order of a blob: a temporary file, hashed while it is written; fsync; rename; fsync of the directory; index. A
//! crash between any two steps leaves a temporary file, or a blob that the next start finds. The index is looked through
//! at every start and reconciled with the files, so it may be missing, old or damaged.
//!
//! A blob is served while its file is what it was when it was verified: device, inode, size and times. What has changed
//! is rehashed first, and what is damaged becomes a partial blob that lacks the damaged pieces.

mod front;

mod blobs;
mod cache;
mod documents;
mod import_files;
mod imports;
mod intake;
mod partial;
mod place;
mod recheck;
mod rehash;
mod upload;

mod fingerprint;
mod index;
mod reconcile;

mod disk;
mod error;
mod paths;

pub use self::blobs::BlobFile;
pub use self::cache::{CacheLimits, GcReport, Lease};
pub use self::disk::{free_space, on_one_disk};
pub use self::documents::DocumentKind;
pub use self::error::{
    ImportError, OpenError, PartialError, PlaceError, ReadError, ReserveError, UploadError, WriteError,
    WritePieceError,
};
pub use self::front::{Store, Usage};
pub use self::import_files::{Imported, Taking, ToImport};
pub use self::imports::ResumeError;
pub use self::intake::{Intake, PIECES_WAITING_MAX};
pub use self::partial::Partial;
pub use self::place::{PlaceMode, Placed};
pub use self::recheck::Recheck;
pub use self::upload::{Upload, UploadReader};
