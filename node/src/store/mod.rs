//! The store: blobs as files, documents as fsynced files, and an index that can be rebuilt from both.
//!
//! In: bytes to verify and keep. Out: verified bytes only. It promises that no unverified file has the name of a blob,
//! and that a document survives a power cut once its call has returned.
//!
//! ```text
//! <root>/
//!   VERSION  lock                      one process at a time
//!   blobs/sha256/ab/<hex>              whole and verified blobs, read-only
//!   states/ab/<hex>                    the piece states of a blob of more than one piece
//!   partial/<blob hex>-<states hex>/   {data, states}: the index says which pieces are verified
//!   imports/<blob hex>                 blobs that arrive in order from an endpoint, not whole yet; notes of their other names
//!   documents/<kind>/ab/<hex of key>   records, each an fsynced file of its own
//!   index/                             sled: a copy of all this, when each model was last used, rows for lists
//!   tmp/                               emptied at every start
//! ```
//!
//! Write order of a blob: a temporary file, hashed while it is written; fsync; rename; fsync of the directory; index. A
//! crash between any two steps leaves a temporary file, or a blob that the next start finds. Every start reads the
//! index through and reconciles it with the files, so it may be missing, old or damaged.
//!
//! A blob is served while its file has the device, inode, size, times and links that it had when it was verified. A
//! changed one is in doubt: its bytes are verified again before one leaves. A damaged blob becomes a partial blob that lacks the damaged pieces.

mod front;

mod batch;
mod blobs;
mod cache;
mod cancel;
mod documents;
mod doubt;
mod import_files;
mod imports;
mod intake;
mod partial;
mod place;
mod recheck;
mod rehash;
mod rehashing;
mod rows;
mod upload;

mod fingerprint;
mod index;
mod reconcile;

mod disk;
mod error;
mod look;
mod paths;
mod uncached;

pub use self::blobs::BlobFile;
pub use self::cache::{CacheLimits, CacheSize, GcReport, Lease, SHARE_OF_DISK, Shares};
pub use self::cancel::{Cancel, CancelOnDrop};
pub use self::disk::{free_space, on_one_disk};
pub use self::documents::DocumentKind;
pub use self::error::{
    ImportError, OpenError, PartialError, PlaceError, ReadError, ReserveError, UploadError, WriteError,
    WritePieceError,
};
pub use self::fingerprint::Fingerprint;
pub use self::front::{Store, Usage};
pub use self::import_files::{Imported, Taking, ToImport};
pub use self::imports::ResumeError;
pub use self::intake::{Intake, PIECES_WAITING_MAX};
pub use self::look::StoreLook;
pub use self::partial::Partial;
pub use self::place::{PlaceMode, Placed, clear_leftovers};
pub use self::recheck::Recheck;
pub use self::rows::Changes;
pub use self::upload::{Upload, UploadReader};
