//! [`LayoutIndex`]: the entry point of an OCI image layout (image-spec v1.1, image-layout.md), and [`CarriedModel`]: what a
//! layout carries of one model beside its blobs, so that a node without network verifies it as it verifies a pull.
//!
//! A layout is a directory or a tar archive with `oci-layout`, `index.json` and `blobs/sha256/<hex>`. The index names the
//! manifest of each model, the referrers of that manifest, and one more referrer, of type [`CARRIED_ARTIFACT_TYPE`]. The
//! document of that one is a [`CarriedModel`]. Other tools ignore what they do not know, and read the model.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bounded::Bounded;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::json::{self, JsonError};
use crate::limits::{BUNDLE_BYTES_MAX, LAYOUT_ENTRIES_MAX, LAYOUT_INDEX_BYTES_MAX, REFERRERS_MAX};
use crate::manifest::{MANIFEST_TYPE, MODEL_ARTIFACT_TYPE};
use crate::name::{ModelName, PublisherId, Tag};
use crate::path::SafePath;
use crate::referrer::Referrer;
use crate::wire::Records;

/// The file that marks a layout, and its whole content.
pub const LAYOUT_FILE: &str = "oci-layout";
/// The file that names the manifests of a layout.
pub const INDEX_FILE: &str = "index.json";
/// The directory of the blobs; each is named by the hex digits of its digest.
pub const BLOBS_DIR: &str = "blobs/sha256";
/// The version of the layout.
pub const LAYOUT_VERSION: &str = "1.0.0";

/// Media type of an OCI image index.
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// Annotation of a descriptor in an index with the name by which OCI tools choose it.
pub const REF_NAME_ANNOTATION: &str = "org.opencontainers.image.ref.name";
/// Artifact type and layer type of a [`CarriedModel`].
pub const CARRIED_ARTIFACT_TYPE: &str = "application/vnd.reg.carried.v1+json";
/// The version of [`CarriedModel`] that this module writes and reads.
pub const CARRIED_VERSION: u64 = 1;

/// Bytes of a [`CarriedModel`]: as many as a referrer's document may have.
pub const CARRIED_BYTES_MAX: usize = BUNDLE_BYTES_MAX;

/// Why a file is not the entry point of a layout.
#[derive(Debug, Error)]
pub enum LayoutError {
    #[error("{LAYOUT_FILE} cannot be parsed")]
    Marker(#[source] JsonError),
    #[error("layout has version {found:?}, not {LAYOUT_VERSION:?}")]
    Version { found: String },
    #[error("{INDEX_FILE} cannot be parsed")]
    Index(#[source] JsonError),
    #[error("{INDEX_FILE} has schema version {found}, not 2")]
    SchemaVersion { found: u64 },
    #[error("{INDEX_FILE} has {count} entries, at most {LAYOUT_ENTRIES_MAX} are allowed")]
    TooManyEntries { count: usize },
    #[error("document about a carried model cannot be parsed")]
    Carried(#[source] JsonError),
    #[error("document about a carried model has version {found}, and this program reads {CARRIED_VERSION}")]
    CarriedVersion { found: u64 },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

/// Returns the content of the file that marks a layout.
pub fn marker() -> Vec<u8> {
    json::to_vec(&Marker { image_layout_version: LAYOUT_VERSION.to_owned() })
}

/// Checks the file that marks a layout.
///
/// # Errors
/// It is not one, or is of another version.
pub fn check_marker(bytes: &[u8]) -> Result<(), LayoutError> {
    let marker: Marker = json::from_slice(bytes, LAYOUT_INDEX_BYTES_MAX).map_err(LayoutError::Marker)?;
    match marker.image_layout_version.as_str() {
        LAYOUT_VERSION => Ok(()),
        _ => Err(LayoutError::Version { found: marker.image_layout_version }),
    }
}

/// The manifests of a layout.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LayoutIndex {
    pub manifests: Vec<Descriptor>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexJson {
    schema_version: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    media_type: String,
    manifests: Vec<Descriptor>,
}

impl LayoutIndex {
    /// Parses an index. Fields that are not known are ignored.
    ///
    /// # Errors
    /// `bytes` are no index, or one that is too long.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let json: IndexJson = json::from_slice(bytes, LAYOUT_INDEX_BYTES_MAX).map_err(LayoutError::Index)?;
        if json.schema_version != 2 {
            return Err(LayoutError::SchemaVersion { found: json.schema_version });
        }
        if json.manifests.len() > LAYOUT_ENTRIES_MAX {
            return Err(LayoutError::TooManyEntries { count: json.manifests.len() });
        }
        Ok(Self { manifests: json.manifests })
    }

    /// Returns the index as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::to_vec(&IndexJson {
            schema_version: 2,
            media_type: INDEX_TYPE.to_owned(),
            manifests: self.manifests.clone(),
        })
    }

    /// Returns the referrers that carry a [`CarriedModel`], in the order of the index.
    pub fn carried(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().filter(|it| it.artifact_type.as_deref() == Some(CARRIED_ARTIFACT_TYPE))
    }
}

/// What a layout carries of one model beside its blobs. Nothing of it is signed as a whole: every record in it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedModel {
    pub version: u64,
    pub publisher: PublisherId,
    pub model: ModelName,
    /// The tag that is carried; `None` where the model was exported by its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    pub manifest: Digest,
    /// The files that have their blobs in the layout; `None` for all of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<BTreeSet<SafePath>>,
    /// The other referrers of the manifest that are in the layout: provenance, bundle, attestations.
    #[serde(default)]
    pub referrers: Bounded<Digest, REFERRERS_MAX>,
    /// The publisher's keys, declarations and tag records, as a peer answers with them. The holders in it are empty.
    pub records: Records,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u64,
}

impl CarriedModel {
    /// Parses the document. Fields that are not known are ignored; another version is refused.
    ///
    /// # Errors
    /// `bytes` are not such a document, or are of another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let VersionOnly { version } =
            json::from_slice(bytes, CARRIED_BYTES_MAX).map_err(LayoutError::Carried)?;
        if version != CARRIED_VERSION {
            return Err(LayoutError::CarriedVersion { found: version });
        }
        json::from_slice(bytes, CARRIED_BYTES_MAX).map_err(LayoutError::Carried)
    }

    /// Returns the document as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::to_vec(self)
    }

    /// Returns the referrer that carries the document, about the manifest with this size.
    pub fn referrer(&self, manifest_bytes: u64) -> Referrer {
        let subject = Descriptor::new(MANIFEST_TYPE, self.manifest, manifest_bytes);
        let document = Descriptor::of(CARRIED_ARTIFACT_TYPE, &self.to_bytes());
        Referrer { artifact_type: CARRIED_ARTIFACT_TYPE.to_owned(), subject, document }
    }

    /// Returns the descriptor that lists the model, under the name by which OCI tools choose it.
    pub fn descriptor(&self, manifest_bytes: u64, ref_name: &str) -> Descriptor {
        let annotations = BTreeMap::from([(REF_NAME_ANNOTATION.to_owned(), ref_name.to_owned())]);
        Descriptor {
            artifact_type: Some(MODEL_ARTIFACT_TYPE.to_owned()),
            annotations,
            ..Descriptor::new(MANIFEST_TYPE, self.manifest, manifest_bytes)
        }
    }
}

/// Returns the names by which OCI tools choose the models of one layout: the shortest form by which all of them are told
/// apart, which is `TAG`, else `MODEL/TAG`, else `PUBLISHER/MODEL/TAG`. A model without a tag has the first twelve hex digits
/// of its digest in its place.
pub fn ref_names(models: &[CarriedModel]) -> Vec<String> {
    /// Hex digits that stand for a tag.
    const DIGITS: usize = 12;
    let last = |it: &CarriedModel| match &it.tag {
        Some(tag) => tag.to_string(),
        None => it.manifest.hex()[..DIGITS].to_owned(),
    };
    let forms: [&dyn Fn(&CarriedModel) -> String; 3] =
        [&last, &|it| format!("{}/{}", it.model, last(it)), &|it| {
            format!("{}/{}/{}", it.publisher, it.model, last(it))
        }];
    let named = forms.map(|form| models.iter().map(form).collect::<Vec<String>>());
    let is_distinct = |names: &&Vec<String>| {
        names.iter().map(|it| it.to_lowercase()).collect::<BTreeSet<_>>().len() == names.len()
    };
    named.iter().find(is_distinct).unwrap_or(&named[2]).clone()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn carried(publisher: u8, model: &str, tag: Option<&str>) -> CarriedModel {
        CarriedModel {
            version: CARRIED_VERSION,
            publisher: PublisherId::from_bytes([publisher; 32]),
            model: model.parse().unwrap(),
            tag: tag.map(|it| it.parse().unwrap()),
            manifest: Digest::of(model.as_bytes()),
            files: None,
            referrers: Bounded::empty(),
            records: Records { key_documents: Bounded::first_of(["{}".to_owned()]), ..Records::default() },
        }
    }

    #[test]
    fn the_marker_is_golden_and_other_versions_are_refused() {
        assert_eq!(marker(), br#"{"imageLayoutVersion":"1.0.0"}"#);
        check_marker(&marker()).unwrap();
        check_marker(b"{\"imageLayoutVersion\": \"1.0.0\", \"more\": 1}\n").unwrap();
        let other = check_marker(br#"{"imageLayoutVersion":"2.0.0"}"#);
        assert!(matches!(other, Err(LayoutError::Version { found }) if found == "2.0.0"));
        assert!(matches!(check_marker(b""), Err(LayoutError::Marker(_))));
    }

    #[test]
    fn names_are_as_short_as_tells_the_models_apart() {
        let names = |models: &[CarriedModel]| ref_names(models);
        let [a, b] = [1, 2].map(|it| PublisherId::from_bytes([it; 32]));
        assert_eq!(names(&[carried(1, "tiny", Some("v1"))]), ["v1"]);
        assert_eq!(names(&[carried(1, "tiny", Some("v1")), carried(1, "tiny", Some("v2"))]), ["v1", "v2"]);
        let two = [carried(1, "tiny", Some("v1")), carried(1, "Large", Some("v1"))];
        assert_eq!(names(&two), ["tiny/v1", "Large/v1"]);
        let same = [carried(1, "tiny", Some("v1")), carried(2, "Tiny", Some("v1"))];
        assert_eq!(names(&same), [format!("{a}/tiny/v1"), format!("{b}/Tiny/v1")]);
        assert_eq!(names(&[carried(1, "tiny", None)]), [&Digest::of(b"tiny").hex()[..12]]);
    }

    #[test]
    fn another_version_of_the_document_is_refused_and_unknown_fields_are_not() {
        let text = String::from_utf8(carried(1, "tiny", Some("v1")).to_bytes()).unwrap();
        assert!(!text.contains("\"documents\"") && !text.contains("\"branch\""), "{text}");
        let newer = text.replacen("\"version\":1", "\"version\":2", 1);
        let refused = CarriedModel::from_bytes(newer.as_bytes());
        assert!(matches!(refused, Err(LayoutError::CarriedVersion { found: 2 })), "{refused:?}");
        let more = text.replacen("\"version\":1", "\"version\":1,\"more\":[]", 1);
        assert_eq!(CarriedModel::from_bytes(more.as_bytes()).unwrap(), carried(1, "tiny", Some("v1")));
        let twice = text.replacen("\"version\":1", "\"version\":1,\"version\":1", 1);
        assert!(matches!(CarriedModel::from_bytes(twice.as_bytes()), Err(LayoutError::Carried(_))));
    }

    #[test]
    fn an_index_is_bounded() {
        let entry = Descriptor::of(MANIFEST_TYPE, b"x");
        let many = LayoutIndex { manifests: vec![entry; LAYOUT_ENTRIES_MAX + 1] };
        let refused = LayoutIndex::from_bytes(&many.to_bytes());
        assert!(matches!(refused, Err(LayoutError::TooManyEntries { .. } | LayoutError::Index(_))));
        let large = [b"{".as_slice(), &vec![b' '; LAYOUT_INDEX_BYTES_MAX], b"}"].concat();
        assert!(matches!(LayoutIndex::from_bytes(&large), Err(LayoutError::Index(_))));
    }

    proptest! {
        /// Whatever is written is read back, entry by entry and byte by byte.
        #[test]
        fn an_index_and_its_documents_read_back(
            models in proptest::collection::vec((0u8..4, "[a-z][a-z0-9]{0,8}", proptest::option::of("[a-z0-9]{1,8}"), any::<bool>()), 1..8),
        ) {
            let models: Vec<CarriedModel> = models
                .iter()
                .map(|(publisher, model, tag, is_part)| CarriedModel {
                    files: is_part.then(|| BTreeSet::from(["a/b.gguf".parse().unwrap()])),
                    ..carried(*publisher, model, tag.as_deref())
                })
                .collect();
            let names = ref_names(&models);
            prop_assert_eq!(names.len(), models.len());
            let mut index = LayoutIndex::default();
            for (model, name) in models.iter().zip(&names) {
                prop_assert_eq!(&CarriedModel::from_bytes(&model.to_bytes()).unwrap(), model);
                let referrer = model.referrer(9);
                prop_assert_eq!(&Referrer::from_bytes(&referrer.to_bytes()).unwrap(), &referrer);
                prop_assert_eq!(referrer.document.digest, Digest::of(&model.to_bytes()));
                index.manifests.push(model.descriptor(9, name));
                index.manifests.push(referrer.descriptor(Digest::of(&referrer.to_bytes())));
            }
            let read = LayoutIndex::from_bytes(&index.to_bytes()).unwrap();
            prop_assert_eq!(read.carried().count(), models.len());
            prop_assert_eq!(read, index);
        }
    }
}
