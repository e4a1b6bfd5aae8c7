//! [`Found`]: a manifest that answers a request.

use reg_api::behind::Behind;
use reg_proto::manifest::MANIFEST_TYPE;
use serde_json::Value;

/// The bytes and the media type of a manifest.
pub(super) struct Found {
    pub(super) bytes: Vec<u8>,
    pub(super) media_type: String,
    /// How its version stands behind the head of the tag that was asked for.
    pub(super) behind: Option<Behind>,
}

/// Returns the `mediaType` that a manifest names; a manifest that names none is an OCI image manifest.
pub(super) fn media_type(bytes: &[u8]) -> String {
    let json: Value = serde_json::from_slice(bytes).unwrap_or_default();
    json["mediaType"].as_str().unwrap_or(MANIFEST_TYPE).to_owned()
}
