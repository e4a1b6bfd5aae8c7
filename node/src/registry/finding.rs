//! The front door for what can be found: searches, pages of lists, models elsewhere, lineage, the tags of a model, what publishers
//! take out of catalogues, the transfers that run, and the metrics.

use reg_api::declarations::{Unlist, Unlistable};
use reg_api::folder::{FolderReport, FolderRequest};
use reg_api::lineage::SharedTensors;
use reg_api::page::{HealthPage, ModelsPage, ModelsRequest};
use reg_api::reporter::Reporter;
use reg_api::request::Priority;
use reg_api::search::{Replicas, SearchReport, SearchRequest};
use reg_api::transfer::{PiecesReport, TransferReport};
use reg_catalogue::Query;
use reg_proto::digest::Digest;
use reg_proto::name::{ModelName, Publisher, Reference, Tag};

use super::Registry;
use super::catalogue::{Elsewhere, NamesHere, SearchError};
use super::local::CatalogueError;
use super::publish::UnlistError;
use super::resolve::{TagPlace, ViewError};
use crate::metrics::{Format, Metrics};

impl Registry {
    /// Returns a page of the models in the store, with their proven replicas.
    pub async fn models_page(&self, request: ModelsRequest) -> Result<ModelsPage, CatalogueError> {
        self.local.models_page(request).await
    }

    /// Returns the replicas of the models in the store, those in danger first.
    pub async fn health_page(&self) -> Result<HealthPage, CatalogueError> {
        self.local.health_page().await
    }

    /// Returns the counters of the node.
    pub fn metrics(&self) -> &Metrics {
        &self.puller.fetching.metrics
    }

    /// Returns all metrics in a format.
    pub async fn metrics_as(&self, format: Format) -> Result<String, CatalogueError> {
        self.local.metrics(format).await
    }

    /// Lists the transfers that run.
    pub fn transfers(&self) -> Vec<TransferReport> {
        self.local.transfers()
    }

    /// Returns which pieces of a model that is being fetched are stored; `None` where it is not being fetched.
    pub fn pieces(&self, manifest: &Digest) -> Option<PiecesReport> {
        self.local.pieces(manifest)
    }

    /// Gives the pulls of a model another priority. Returns how many there are.
    pub fn set_priority(&self, reference: &Reference, priority: Priority) -> Result<usize, CatalogueError> {
        self.local.set_priority(reference, priority)
    }

    /// Ends the pulls of a model. Returns how many there are.
    pub fn cancel(&self, reference: &Reference) -> Result<usize, CatalogueError> {
        self.local.cancel(reference)
    }

    /// Searches the catalogue of this node. No peer is asked.
    pub async fn search(&self, request: SearchRequest) -> Result<SearchReport, SearchError> {
        let (catalogue, health) = (self.catalogue.clone(), self.health.clone());
        let replicas = move |manifest: &Digest| {
            let proven = health.replicas(manifest);
            let count = usize::try_from(proven.zones).unwrap_or(usize::MAX);
            Some(Replicas { count, since: proven.oldest?.seconds() })
        };
        tokio::task::spawn_blocking(move || catalogue.search(&request, &replicas)).await?
    }

    /// Lists models of the catalogue with this tag that the store does not have.
    pub async fn elsewhere(&self, query: Query, tag: Tag, here: NamesHere) -> Result<Elsewhere, SearchError> {
        let catalogue = self.catalogue.clone();
        tokio::task::spawn_blocking(move || catalogue.elsewhere(&query, &tag, &here)).await?
    }

    /// Returns the names of models of which the store has no version, in order.
    pub async fn names_elsewhere(
        &self,
        after: Option<String>,
        max: usize,
        here: NamesHere,
    ) -> Result<Vec<String>, SearchError> {
        let catalogue = self.catalogue.clone();
        let names = move || catalogue.names_elsewhere(after.as_deref(), max, &here);
        Ok(tokio::task::spawn_blocking(names).await?)
    }

    /// Compares the tensors of a model with those of the models in the store that claims relate it to.
    pub async fn shared_tensors(&self, reference: &Reference) -> Result<Vec<SharedTensors>, CatalogueError> {
        self.local.shared_tensors(reference).await
    }

    /// Returns which records of a tag its publisher would take out of catalogues.
    pub async fn unlistable(&self, request: Unlist, reporter: &Reporter) -> Result<Unlistable, UnlistError> {
        self.publishing.unlistable(request, reporter).await
    }

    /// Finds out whether a tag of a model is one of this node, one of its peers, or none.
    pub async fn place_of(
        &self,
        publisher: &Publisher,
        model: &ModelName,
        tag: &Tag,
    ) -> Result<TagPlace, ViewError> {
        self.resolver.place_of(publisher, model, tag).await
    }

    /// Says of which version a directory of the user is, whether a newer one is known, and what differs.
    pub async fn folder(
        &self,
        request: FolderRequest,
        reporter: &Reporter,
    ) -> Result<FolderReport, CatalogueError> {
        self.local.folder(request, reporter).await
    }

    /// Tells whether this node keeps a version of a model under any tag.
    pub async fn has_tags(&self, publisher: &Publisher, model: &ModelName) -> Result<bool, ViewError> {
        self.resolver.has_tags(publisher, model).await
    }

    /// Returns the tags of a model with their manifests: those that this node knows, else those that peers know.
    pub async fn tags(
        &self,
        publisher: &Publisher,
        model: &ModelName,
    ) -> Result<Vec<(Tag, Digest)>, ViewError> {
        self.resolver.tags(publisher, model).await
    }
}
