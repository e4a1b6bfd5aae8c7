//! Requests and reports for archives: models with their records in an OCI image layout, for machines without a network.

use std::collections::BTreeSet;
use std::path::PathBuf;

use reg_proto::content::kind::ContentKind;
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, PublisherId, Reference, Tag};
use serde::{Deserialize, Serialize};

use crate::behind::Behind;
use crate::consent::Consent;
use crate::selection::Selection;

/// The form of an archive on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveForm {
    Tar,
    Directory,
}

/// Asks to write models of the store into an archive.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExportRequest {
    pub references: Vec<Reference>,
    /// The path of the archive, absolute as the node sees it.
    pub dest: PathBuf,
    pub form: ArchiveForm,
    /// The files to export of each model: all that the store has where the selection is empty.
    #[serde(default)]
    pub selection: Selection,
}

/// An archive that was written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Exported {
    pub path: PathBuf,
    pub form: ArchiveForm,
    pub models: Vec<ExportedModel>,
    pub blobs: usize,
    /// The bytes of all blobs in the archive.
    pub bytes: u64,
    /// Those of them that an earlier export into the directory had written.
    pub bytes_kept: u64,
    pub seconds: f64,
    pub notes: Vec<String>,
}

/// A model in an archive that was written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExportedModel {
    pub reference: Reference,
    pub publisher: PublisherId,
    pub model: ModelName,
    pub tag: Option<Tag>,
    pub manifest: Digest,
    /// The name by which OCI tools choose it in the archive.
    pub ref_name: String,
    pub files: usize,
    pub bytes: u64,
    /// Whether the archive has only some files of the model.
    pub is_part: bool,
    /// How the version stands behind the head of the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<Behind>,
}

/// Asks which models an archive says that it has.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListArchiveRequest {
    /// The path, absolute as the node sees it.
    pub path: PathBuf,
}

/// The models that an archive says it has. Nothing of this is verified.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ArchiveReport {
    pub path: PathBuf,
    pub form: ArchiveForm,
    pub models: Vec<ArchivedModel>,
}

/// A model that an archive says it has.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ArchivedModel {
    /// The digest of the referrer that describes it.
    pub carried: Digest,
    pub reference: Reference,
    pub manifest: Digest,
    /// The files in the archive; `None` for all of the model.
    pub files: Option<usize>,
}

/// Asks to verify one model of an archive and to take it into the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TakeRequest {
    /// The path of the archive, absolute as the node sees it.
    pub path: PathBuf,
    /// Which model of the archive: [`ArchivedModel::carried`].
    pub carried: Digest,
    #[serde(default)]
    pub selection: Selection,
    /// Consent to everything, also what runs code when it is loaded, such as pickle.
    #[serde(default)]
    pub allow_unsafe: bool,
    /// Consent to these kinds.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub allow: BTreeSet<ContentKind>,
    /// Accept a tag after its expiry date.
    #[serde(default)]
    pub allow_expired: bool,
    /// Refuse an older version than the newest one that this node has seen.
    #[serde(default)]
    pub newest: bool,
}

impl TakeRequest {
    /// Returns the consent that comes with the request.
    pub fn consent(&self) -> Consent {
        Consent::new(self.allow_unsafe, self.allow.clone())
    }
}
