//! Keeps a referrer of a manifest: its document as a blob, and the manifest that carries it.

use reg_proto::descriptor::Descriptor;
use reg_proto::referrer::{EMPTY_BLOB, Referrer};

use super::record::ModelRecord;
use crate::store::{Store, WriteError};

/// Stores a document about a model as an OCI referrer of its manifest.
pub fn refer(
    store: &Store,
    record: &mut ModelRecord,
    subject: &Descriptor,
    artifact_type: &str,
    media_type: &str,
    document: &str,
) -> Result<(), WriteError> {
    let referrer = Referrer {
        artifact_type: artifact_type.to_owned(),
        subject: subject.clone(),
        document: Descriptor::of(media_type, document.as_bytes()),
    };
    let digest = store.put_blob(&referrer.to_bytes())?;
    record.blobs.extend([digest, store.put_blob(document.as_bytes())?, store.put_blob(EMPTY_BLOB)?]);
    record.referrers.push(digest);
    Ok(())
}
