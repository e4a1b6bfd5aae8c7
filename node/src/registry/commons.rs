//! The use cases by which models stay alive: following publishers and collections, counting replicas, donating, and spreading
//! copies in a private swarm.

use std::sync::Arc;

use reg_api::collection::{CollectionReport, CollectionRequest, CollectionShown};
use reg_api::follow::{FollowReport, FollowRequest, Followed, PauseFollow};
use reg_api::health::HealthReport;
use reg_api::reporter::Reporter;
use reg_proto::name::Reference;

use super::Registry;
use super::donate::Donating;
use super::follow::FollowError;
use super::local::{CatalogueError, CollectionError};
use super::spread::Spreading;

impl Registry {
    /// Returns what keeps the copies of a private swarm.
    pub const fn spreading(&self) -> &Arc<Spreading> {
        &self.spreading
    }

    /// Reports how many replicas of the models in the store are proven at other nodes, and how many copies a private swarm has.
    pub async fn health(&self, reference: Option<Reference>) -> Result<HealthReport, CatalogueError> {
        Ok(HealthReport { swarm: self.spreading.summary(), ..self.local.health(reference).await? })
    }

    /// Returns what this node keeps for others.
    pub const fn donating(&self) -> &Arc<Donating> {
        &self.donating
    }

    /// Follows models of a publisher, or changes the settings of a follow.
    pub async fn follow(&self, request: FollowRequest) -> Result<FollowReport, FollowError> {
        self.following.follow(request).await
    }

    /// Lists the follows with their versions.
    pub async fn follows(&self) -> Result<Vec<FollowReport>, FollowError> {
        self.following.list().await
    }

    /// Pauses a follow, or goes on with it.
    pub async fn pause_follow(&self, request: PauseFollow) -> Result<FollowReport, FollowError> {
        self.following.pause(request.followed, request.paused).await
    }

    /// Ends a follow. What it has pulled stays in the store, and may be evicted.
    pub async fn unfollow(&self, followed: Followed) -> Result<FollowReport, FollowError> {
        self.following.end(followed).await
    }

    /// Fetches a collection and follows it; `None` where the model is none. It is then to be followed by its versions.
    pub async fn follow_collection(
        &self,
        request: CollectionRequest,
        reporter: &Reporter,
    ) -> Result<Option<CollectionReport>, CollectionError> {
        self.local.follow_collection(request, reporter).await
    }

    /// Ends the following of a collection, and returns how it was; `None` where it was not followed.
    pub async fn unfollow_collection(
        &self,
        reference: Reference,
    ) -> Result<Option<CollectionReport>, CollectionError> {
        self.local.unfollow_collection(reference).await
    }

    /// Reports on the followed collections.
    pub async fn collections(&self) -> Result<Vec<CollectionReport>, CollectionError> {
        self.local.collections().await
    }

    /// Fetches a collection, and returns it with its entries.
    pub async fn show_collection(
        &self,
        request: CollectionRequest,
        reporter: &Reporter,
    ) -> Result<CollectionShown, CollectionError> {
        self.local.show_collection(request, reporter).await
    }
}
