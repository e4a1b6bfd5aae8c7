//! [`Manifest`]: the list of a model's files, as an OCI image manifest that is a CNCF ModelPack.
//!
//! The same files and claims give the same bytes on every machine and in every later version. So a manifest holds no time
//! and no computed metadata, and its layers are in the order of their paths.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::json::{self, JsonError};
use crate::limits::{ANNOTATIONS_MAX, CONFIG_BYTES_MAX, FILES_MAX, MANIFEST_BYTES_MAX};
use crate::path::{CollisionError, PathError, SafePath, check_collisions};
use crate::piece::{BlobLayout, BlobTooLarge};

/// Media type of an OCI image manifest (image-spec v1.1).
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Artifact type of a ModelPack (modelpack/model-spec v1).
pub const MODEL_ARTIFACT_TYPE: &str = "application/vnd.cncf.model.manifest.v1+json";
/// Media type of a ModelPack's config blob.
pub const MODEL_CONFIG_TYPE: &str = "application/vnd.cncf.model.config.v1+json";
/// Annotation of a layer that names its file's path.
pub const FILEPATH_ANNOTATION: &str = "org.cncf.model.filepath";
/// Annotation of a layer with the name of the file that OCI clients write it to (image-spec v1.1, annotations.md).
pub const TITLE_ANNOTATION: &str = "org.opencontainers.image.title";

/// Media types of ModelPack layers that hold one unpacked file.
pub const RAW_LAYER_TYPES: [&str; 5] = [
    "application/vnd.cncf.model.weight.v1.raw",
    "application/vnd.cncf.model.weight.config.v1.raw",
    "application/vnd.cncf.model.doc.v1.raw",
    "application/vnd.cncf.model.code.v1.raw",
    "application/vnd.cncf.model.dataset.v1.raw",
];

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    pub path: SafePath,
    pub digest: Digest,
    pub layout: BlobLayout,
    pub media_type: String,
}

/// A model's manifest. A value of this type proves that its files can be fetched and put into one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    config: Descriptor,
    files: Vec<ModelFile>,
    total: u64,
    /// Whether every layer has its path as its title too.
    is_titled: bool,
}

/// Why some bytes are not the manifest of a model.
#[derive(Debug, Error)]
pub enum ManifestError {
    #[error("manifest cannot be parsed")]
    Json(#[from] JsonError),
    #[error("manifest has schema version {found}, not 2")]
    SchemaVersion { found: u64 },
    #[error("manifest is of type {found:?}, not {MANIFEST_TYPE:?}")]
    MediaType { found: String },
    #[error("manifest is not that of a model: its artifact type is {found:?}, not {MODEL_ARTIFACT_TYPE:?}")]
    ArtifactType { found: String },
    #[error("manifest's config is of type {found:?}, not {MODEL_CONFIG_TYPE:?}")]
    ConfigType { found: String },
    #[error("manifest's config has {size} bytes, at most {CONFIG_BYTES_MAX} are allowed")]
    ConfigSize { size: u64 },
    #[error("manifest has {count} files, at most {FILES_MAX} are allowed")]
    TooManyFiles { count: usize },
    #[error("manifest has no files")]
    NoFiles,
    #[error("layer {digest} is of type {found:?}, but only layers of one unpacked file (.raw) can be shared")]
    LayerType { digest: Digest, found: String },
    #[error("layer {digest} has no {FILEPATH_ANNOTATION} annotation")]
    NoPath { digest: Digest },
    #[error("layer {digest} has more than {ANNOTATIONS_MAX} annotations")]
    Annotations { digest: Digest },
    #[error("layer {digest} has an unsafe path: {path:?}")]
    Path { digest: Digest, path: String, source: PathError },
    #[error("manifest has files that cannot be in one directory tree")]
    Collision(#[from] CollisionError),
    #[error("manifest has a file that is too large")]
    FileTooLarge(#[from] BlobTooLarge),
    #[error("manifest gives blob {digest} two sizes, {one} and {two}")]
    TwoSizes { digest: Digest, one: u64, two: u64 },
    #[error("sizes of the manifest's files overflow 64 bits")]
    TotalSize,
    #[error("manifest has {size} bytes, at most {MANIFEST_BYTES_MAX} are allowed")]
    TooLarge { size: usize },
}

/// The fields of an OCI image manifest that a model uses. Readers ignore the others.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestJson {
    schema_version: u64,
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    artifact_type: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

impl Manifest {
    /// Returns the manifest of `files` with this config. Sorts the files by path. Layers have titles, unless the manifest would
    /// be too large with them.
    ///
    /// # Errors
    /// If the files are none or too many, their paths collide, or the manifest is larger than [`MANIFEST_BYTES_MAX`].
    pub fn new(config: Descriptor, mut files: Vec<ModelFile>) -> Result<Self, ManifestError> {
        files.sort_by(|one, two| one.path.cmp(&two.path));
        let titled = Self { is_titled: true, ..Self::checked(config, files)? };
        if titled.to_bytes().len() <= MANIFEST_BYTES_MAX {
            return Ok(titled);
        }
        let manifest = titled.untitled();
        let size = manifest.to_bytes().len();
        if size > MANIFEST_BYTES_MAX { Err(ManifestError::TooLarge { size }) } else { Ok(manifest) }
    }

    /// Returns the manifest of the same files without titles, as earlier versions made it.
    pub fn untitled(self) -> Self {
        Self { is_titled: false, ..self }
    }

    /// Parses a manifest.
    ///
    /// # Errors
    /// If `bytes` are not the OCI image manifest of a model, or its files cannot be fetched or put into one directory.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        let json: ManifestJson = json::from_slice(bytes, MANIFEST_BYTES_MAX)?;
        if json.schema_version != 2 {
            return Err(ManifestError::SchemaVersion { found: json.schema_version });
        }
        if json.media_type != MANIFEST_TYPE {
            return Err(ManifestError::MediaType { found: json.media_type });
        }
        if json.artifact_type != MODEL_ARTIFACT_TYPE {
            return Err(ManifestError::ArtifactType { found: json.artifact_type });
        }
        let is_titled = json.layers.iter().all(|layer| {
            let title = layer.annotations.get(TITLE_ANNOTATION);
            title.is_some() && title == layer.annotations.get(FILEPATH_ANNOTATION)
        });
        let files = json.layers.into_iter().map(ModelFile::from_layer).collect::<Result<_, _>>()?;
        Ok(Self { is_titled, ..Self::checked(json.config, files)? })
    }

    fn checked(config: Descriptor, files: Vec<ModelFile>) -> Result<Self, ManifestError> {
        if config.media_type != MODEL_CONFIG_TYPE {
            return Err(ManifestError::ConfigType { found: config.media_type });
        }
        if config.size > CONFIG_BYTES_MAX as u64 {
            return Err(ManifestError::ConfigSize { size: config.size });
        }
        if files.len() > FILES_MAX {
            return Err(ManifestError::TooManyFiles { count: files.len() });
        }
        if files.is_empty() {
            return Err(ManifestError::NoFiles);
        }
        check_collisions(files.iter().map(|file| &file.path))?;
        let mut sizes = BTreeMap::from([(config.digest, config.size)]);
        let mut total = 0u64;
        for file in &files {
            let size = file.layout.size();
            total = total.checked_add(size).ok_or(ManifestError::TotalSize)?;
            let one = *sizes.entry(file.digest).or_insert(size);
            if one != size {
                return Err(ManifestError::TwoSizes { digest: file.digest, one, two: size });
            }
        }
        Ok(Self { config, files, total, is_titled: false })
    }

    /// Returns the manifest's bytes. Their digest names the model.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::to_vec(&ManifestJson {
            schema_version: 2,
            media_type: MANIFEST_TYPE.to_owned(),
            artifact_type: MODEL_ARTIFACT_TYPE.to_owned(),
            config: self.config.clone(),
            layers: self.files.iter().map(|file| file.to_layer(self.is_titled)).collect(),
        })
    }

    /// Returns the descriptor of the config blob.
    pub const fn config(&self) -> &Descriptor {
        &self.config
    }

    /// Returns the files.
    pub fn files(&self) -> &[ModelFile] {
        &self.files
    }

    /// Returns the size of all files in bytes. Counts a blob once for each file that it is in.
    pub const fn total_bytes(&self) -> u64 {
        self.total
    }

    /// Returns the blobs of the model, each once, with the config.
    pub fn blobs(&self) -> BTreeMap<Digest, BlobLayout> {
        let config = BlobLayout::new(self.config.size).map(|layout| (self.config.digest, layout));
        self.files.iter().map(|file| (file.digest, file.layout)).chain(config).collect()
    }
}

impl ModelFile {
    fn from_layer(layer: Descriptor) -> Result<Self, ManifestError> {
        let digest = layer.digest;
        if !RAW_LAYER_TYPES.contains(&layer.media_type.as_str()) {
            return Err(ManifestError::LayerType { digest, found: layer.media_type });
        }
        if layer.annotations.len() > ANNOTATIONS_MAX {
            return Err(ManifestError::Annotations { digest });
        }
        let path = layer.annotations.get(FILEPATH_ANNOTATION).ok_or(ManifestError::NoPath { digest })?;
        let path = path.parse().map_err(|source| ManifestError::Path {
            digest,
            path: path.chars().take(80).collect(),
            source,
        })?;
        Ok(Self { path, digest, layout: BlobLayout::new(layer.size)?, media_type: layer.media_type })
    }

    fn to_layer(&self, is_titled: bool) -> Descriptor {
        let mut layer = Descriptor::new(&self.media_type, self.digest, self.layout.size());
        layer.annotations.insert(FILEPATH_ANNOTATION.to_owned(), self.path.to_string());
        if is_titled {
            layer.annotations.insert(TITLE_ANNOTATION.to_owned(), self.path.to_string());
        }
        layer
    }
}

/// A ModelPack's config blob: the publisher's claims, and the layers' digests, which the specification requires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelConfig {
    pub descriptor: ModelDescriptor,
    pub modelfs: ModelFs,
    #[serde(default)]
    pub config: BTreeMap<String, serde_json::Value>,
}

/// The publisher's claims about a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelDescriptor {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub licenses: Vec<String>,
    #[serde(default, rename = "sourceURL", skip_serializing_if = "Option::is_none")]
    pub source_url: Option<String>,
}

/// The digests of a model's layers, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelFs {
    pub r#type: String,
    pub diff_ids: Vec<Digest>,
}

impl ModelConfig {
    /// Returns the config of a model with these claims and files. `files` must be in the order of their paths.
    pub fn new(descriptor: ModelDescriptor, files: &[ModelFile]) -> Self {
        let mut files: Vec<&ModelFile> = files.iter().collect();
        files.sort_by(|one, two| one.path.cmp(&two.path));
        let diff_ids = files.iter().map(|file| file.digest).collect();
        let modelfs = ModelFs { r#type: "layers".to_owned(), diff_ids };
        Self { descriptor, modelfs, config: BTreeMap::new() }
    }

    /// Parses a config blob.
    ///
    /// # Errors
    /// If `bytes` are more than [`CONFIG_BYTES_MAX`] or not a ModelPack config.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, JsonError> {
        json::from_slice(bytes, CONFIG_BYTES_MAX)
    }

    /// Returns the bytes of the config blob.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::to_vec(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, bytes: &[u8]) -> ModelFile {
        ModelFile {
            path: path.parse().unwrap(),
            digest: Digest::of(bytes),
            layout: BlobLayout::new(bytes.len() as u64).unwrap(),
            media_type: RAW_LAYER_TYPES[0].to_owned(),
        }
    }

    fn sample() -> Manifest {
        let files =
            vec![file("model.safetensors", b"weights"), file("config.json", b"{}"), file("a/b", b"x")];
        let config = ModelConfig::new(ModelDescriptor::default(), &files).to_bytes();
        Manifest::new(Descriptor::of(MODEL_CONFIG_TYPE, &config), files).unwrap()
    }

    fn refusal(edit: impl FnOnce(&mut serde_json::Value)) -> ManifestError {
        let mut json: serde_json::Value = serde_json::from_slice(&sample().to_bytes()).unwrap();
        edit(&mut json);
        Manifest::from_bytes(&serde_json::to_vec(&json).unwrap()).unwrap_err()
    }

    #[test]
    fn the_order_in_which_files_are_found_does_not_matter() {
        let files =
            vec![file("a/b", b"x"), file("config.json", b"{}"), file("model.safetensors", b"weights")];
        assert_eq!(Manifest::new(sample().config, files).unwrap(), sample());
        assert_eq!(Manifest::from_bytes(&sample().to_bytes()).unwrap(), sample());
    }

    #[test]
    fn its_bytes_are_golden() {
        let golden = include_str!("../tests/golden/manifest.json");
        assert_eq!(String::from_utf8(sample().to_bytes()).unwrap(), golden.trim_end());
        let before = include_str!("../tests/golden/manifest-untitled.json").trim_end();
        assert_eq!(String::from_utf8(sample().untitled().to_bytes()).unwrap(), before);
        assert_eq!(Manifest::from_bytes(before.as_bytes()).unwrap(), sample().untitled());
    }

    /// Each file costs its path twice where layers have titles. What fitted before still fits.
    #[test]
    fn a_manifest_with_many_files_does_without_titles() {
        let files = |count: usize| {
            let of = |n: usize| ModelFile { path: format!("{n:05}").parse().unwrap(), ..file("x", b"x") };
            (0..count).map(of).collect::<Vec<_>>()
        };
        let (few, many) = (15_000, 19_000);
        for (count, is_titled) in [(few, true), (many, false)] {
            let manifest = Manifest::new(sample().config, files(count)).unwrap();
            assert_eq!(manifest.is_titled, is_titled, "{count}");
            assert_eq!(Manifest::from_bytes(&manifest.to_bytes()).unwrap(), manifest);
        }
    }

    #[test]
    fn refuses_what_cannot_be_fetched_or_placed() {
        assert!(matches!(
            refusal(|it| it["schemaVersion"] = 1.into()),
            ManifestError::SchemaVersion { found: 1 }
        ));
        assert!(matches!(refusal(|it| it["mediaType"] = "x".into()), ManifestError::MediaType { .. }));
        assert!(matches!(refusal(|it| it["artifactType"] = "x".into()), ManifestError::ArtifactType { .. }));
        assert!(matches!(
            refusal(|it| it["config"]["mediaType"] = "x".into()),
            ManifestError::ConfigType { .. }
        ));
        assert!(matches!(
            refusal(|it| it["config"]["size"] = (1 << 30).into()),
            ManifestError::ConfigSize { .. }
        ));
        assert!(matches!(refusal(|it| it["layers"] = serde_json::json!([])), ManifestError::NoFiles));
        assert!(matches!(refusal(|it| it["layers"][0]["size"] = (-1).into()), ManifestError::Json(_)));
        assert!(matches!(
            refusal(|it| it["layers"][0]["size"] = u64::MAX.into()),
            ManifestError::FileTooLarge(_)
        ));
        assert!(matches!(
            refusal(|it| it["layers"][0]["annotations"] = serde_json::json!({})),
            ManifestError::NoPath { .. }
        ));
        let path = |path: &str| {
            let path = path.to_owned();
            refusal(move |it| it["layers"][0]["annotations"][FILEPATH_ANNOTATION] = path.into())
        };
        assert!(matches!(path("../../etc/passwd"), ManifestError::Path { .. }));
        assert!(matches!(path("CONFIG.json"), ManifestError::Collision(_)));
        let tar = "application/vnd.cncf.model.weight.v1.tar";
        assert!(matches!(
            refusal(|it| it["layers"][0]["mediaType"] = tar.into()),
            ManifestError::LayerType { .. }
        ));
        let digest = Digest::of(b"weights").to_string();
        assert!(matches!(
            refusal(|it| it["layers"][0]["digest"] = digest.into()),
            ManifestError::TwoSizes { .. }
        ));
    }

    #[test]
    fn four_mebibytes_are_read_and_one_byte_more_is_not() {
        let mut bytes = sample().to_bytes();
        bytes.resize(MANIFEST_BYTES_MAX, b' ');
        assert!(Manifest::from_bytes(&bytes).is_ok());
        bytes.push(b' ');
        assert!(matches!(Manifest::from_bytes(&bytes), Err(ManifestError::Json(JsonError::TooLarge { .. }))));
    }
}
