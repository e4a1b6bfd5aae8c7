//! [`OciGateway`]: the state that the routes of this dialect share. It finds out which model a request names, and
//! whether the caller may push.

use std::sync::Arc;

use axum::Extension;
use reg_proto::name::{ModelName, Publisher, PublisherId};

use super::error::{Code, OciError};
use super::synthesised::Synthesised;
use crate::gateway::guard::Caller;
use crate::gateway::owner::publisher;
use crate::gateway::signer::Signer;
use crate::registry::Registry;

/// The state of this dialect. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct OciGateway(Arc<OciState>);

#[derive(Debug)]
struct OciState {
    registry: Registry,
    signer: Option<Signer>,
    synthesised: Synthesised,
}

impl OciGateway {
    pub(super) fn new(registry: Registry, signer: Option<Signer>) -> Self {
        Self(Arc::new(OciState { registry, signer, synthesised: Synthesised::default() }))
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    pub(super) fn signer(&self) -> Option<&Signer> {
        self.0.signer.as_ref()
    }

    pub(super) fn synthesised(&self) -> &Synthesised {
        &self.0.synthesised
    }

    /// Returns the publisher and the model that a repository's name means.
    ///
    /// # Errors
    /// Fails where the name is malformed.
    pub(super) fn names(&self, owner: &str, model: &str) -> Result<(Publisher, ModelName), OciError> {
        let invalid =
            |why: &dyn std::fmt::Display| OciError::new(Code::NameInvalid, format!("{owner}/{model}: {why}"));
        let publisher = publisher(owner, self.signer()).map_err(|error| invalid(&error))?;
        Ok((publisher, model.parse().map_err(|error| invalid(&error))?))
    }

    /// Returns the publisher and the model that a caller may push to.
    ///
    /// # Errors
    /// Fails where the caller is not the owner, or the namespace is malformed or unknown.
    pub(super) async fn may_push(
        &self,
        caller: Option<Extension<Caller>>,
        owner: &str,
        model: &str,
    ) -> Result<(PublisherId, ModelName), OciError> {
        if caller.map(|it| it.0) != Some(Caller::Owner) {
            return Err(OciError::unauthorized());
        }
        let (publisher, model) = self.names(owner, model)?;
        let id = self
            .registry()
            .publisher(&publisher)
            .await
            .map_err(|error| OciError::of(&error, Code::NameUnknown))?;
        Ok((id, model))
    }
}
