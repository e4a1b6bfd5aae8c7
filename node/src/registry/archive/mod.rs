//! Carries models to machines without a network: writes them into an OCI image layout, and takes them out of one.
//!
//! In: references and the path of an archive, which is a tar file or a directory. Out: the archive, or the models of it in the
//! store. Promise: an archive has its final name only when it is whole and on the disk; what is taken out of one is verified
//! and judged as what a peer sends is; no entry of an archive becomes a path.

mod bounds;
mod contents;
mod error;
mod export;
mod layout_dir;
mod member;
mod new_file;
mod opened;
mod take;
mod tarball;

use std::sync::Arc;

use crate::registry::pull::Puller;

pub use self::error::{ArchiveError, ExportError};
pub use self::tarball::TarError;

/// Writes archives, and takes models out of them. It has no state of its own.
#[derive(Debug)]
pub struct Archiving {
    puller: Arc<Puller>,
}

impl Archiving {
    /// Returns an archiver that takes models as `puller` takes those of peers.
    pub const fn new(puller: Arc<Puller>) -> Self {
        Self { puller }
    }
}
