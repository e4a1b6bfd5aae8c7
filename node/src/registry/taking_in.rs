//! The front door for what comes from elsewhere than peers: imports, models of other tools, and uploads.

use bytes::Bytes;
use reg_api::adopt::{AdoptRequest, FoundModels, OtherStore};
use reg_api::ingest::IngestPlan;
use reg_api::report::ImportedRepository;
use reg_api::reporter::Reporter;
use reg_api::request::ImportRequest;
use reg_proto::digest::Digest;
use reg_proto::path::SafePath;

use super::Registry;
use super::import::{AdoptError, ImportRepositoryError, UploadError};
use super::model::tree::is_left_out_of_uploads;

impl Registry {
    /// Imports the files of a model from the store of another tool on this machine.
    pub async fn adopt(
        &self,
        request: AdoptRequest,
        reporter: &Reporter,
    ) -> Result<ImportedRepository, AdoptError> {
        self.importing.adopt(request, reporter).await
    }

    /// Tells whether an uploaded file is no part of a model, as a publication of the same directory would leave it out.
    pub fn leaves_out(path: &SafePath) -> bool {
        is_left_out_of_uploads(path)
    }

    /// Returns what makes an uploaded file look like a secret, by its name or its text.
    pub async fn secret_in(&self, path: &SafePath, digest: Digest) -> Option<String> {
        self.importing.secret_in(path, digest).await
    }

    /// Says what an import from the store of another tool would take.
    pub async fn plan_adopt(&self, request: AdoptRequest) -> Result<IngestPlan, AdoptError> {
        self.importing.plan_adopt(request).await
    }

    /// Lists the models in the store of another tool.
    pub async fn list_adoptable(&self, of: OtherStore) -> Result<FoundModels, AdoptError> {
        self.importing.list_adoptable(of).await
    }

    /// Says what an import of a repository would fetch.
    pub async fn plan_repository(&self, request: ImportRequest) -> Result<IngestPlan, ImportRepositoryError> {
        self.importing.plan_repository(request).await
    }

    /// Fetches the files of a repository from an endpoint into the store.
    pub async fn import_repository(
        &self,
        request: ImportRequest,
        reporter: &Reporter,
    ) -> Result<ImportedRepository, ImportRepositoryError> {
        self.importing.import_repository(request, reporter).await
    }

    /// Begins an upload and returns its id. `expected` is its digest and its size in bytes, if the client names them.
    pub async fn begin_upload(&self, expected: Option<(Digest, u64)>) -> Result<String, UploadError> {
        self.importing.begin_upload(expected).await
    }

    /// Returns how many bytes of an upload have arrived.
    pub async fn upload_size(&self, id: &str) -> Result<u64, UploadError> {
        self.importing.upload_size(id).await
    }

    /// Discards the bytes of an upload, which then begins again at byte 0.
    pub async fn restart_upload(&self, id: &str) -> Result<(), UploadError> {
        self.importing.restart_upload(id).await
    }

    /// Appends bytes to an upload and returns how many bytes it has. `offset`, if the client names one, must be its end.
    pub async fn append_upload(
        &self,
        id: &str,
        offset: Option<u64>,
        bytes: Bytes,
    ) -> Result<u64, UploadError> {
        self.importing.append_upload(id, offset, bytes).await
    }

    /// Finishes an upload and returns its digest, which must be `digest`, or else the one that was expected at its beginning.
    pub async fn finish_upload(&self, id: &str, digest: Option<Digest>) -> Result<Digest, UploadError> {
        self.importing.finish_upload(id, digest).await
    }

    /// Removes an upload. Returns whether there was one.
    pub fn cancel_upload(&self, id: &str) -> bool {
        self.importing.cancel_upload(id)
    }

    /// Keeps bytes as a blob and returns its digest.
    pub async fn put_small(&self, bytes: Vec<u8>) -> Result<Digest, UploadError> {
        self.importing.put_small(bytes).await
    }
}
