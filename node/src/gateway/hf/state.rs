//! [`HfGateway`]: the state that the routes of this dialect share. It finds out which model a request names, and
//! whether the caller may publish it.

use std::sync::Arc;

use axum::Extension;
use reg_proto::name::{ModelName, Publisher};

use super::branch_turns::BranchTurns;
use super::created::Created;
use super::error::HfError;
use super::oid::GitOids;
use crate::gateway::guard::Caller;
use crate::gateway::owner::{NotTaken, permitted, publisher};
use crate::gateway::signer::Signer;
use crate::registry::Registry;
use crate::registry::upstream::Upstream;

/// Bytes of a request that is read whole: the paths of a large model.
pub(super) const BODY_BYTES_MAX: usize = 8 << 20;

/// The state of this dialect. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct HfGateway(Arc<HfState>);

#[derive(Debug)]
struct HfState {
    registry: Registry,
    signer: Option<Signer>,
    upstream: Option<Upstream>,
    oids: GitOids,
    created: Created,
    branch_turns: BranchTurns,
}

impl HfGateway {
    pub(super) fn new(registry: Registry, signer: Option<Signer>, upstream: Option<Upstream>) -> Self {
        Self(Arc::new(HfState {
            registry,
            signer,
            upstream,
            oids: GitOids::default(),
            created: Created::default(),
            branch_turns: BranchTurns::default(),
        }))
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    pub(super) fn oids(&self) -> &GitOids {
        &self.0.oids
    }

    pub(super) fn created(&self) -> &Created {
        &self.0.created
    }

    pub(super) fn branch_turns(&self) -> &BranchTurns {
        &self.0.branch_turns
    }

    /// Returns the publisher and the model that a repository's name means.
    ///
    /// # Errors
    /// A malformed name is a repository that does not exist.
    pub(super) fn names(&self, owner: &str, model: &str) -> Result<(Publisher, ModelName), HfError> {
        let missing = |why: &dyn std::fmt::Display| HfError::RepoNotFound(format!("{owner}/{model}: {why}"));
        let publisher = publisher(owner, self.signer()).map_err(|error| missing(&error))?;
        Ok((publisher, model.parse().map_err(|error| missing(&error))?))
    }

    pub(super) fn upstream(&self) -> Option<&Upstream> {
        self.0.upstream.as_ref()
    }

    pub(super) fn signer(&self) -> Option<&Signer> {
        self.0.signer.as_ref()
    }

    /// Returns the key to sign with and the model's name, if the caller may publish it.
    ///
    /// # Errors
    /// Fails where the token is missing, the daemon has no key, or the namespace belongs to another publisher.
    pub(super) async fn may_publish(
        &self,
        caller: Option<Extension<Caller>>,
        owner: &str,
        model: &str,
    ) -> Result<(&Signer, ModelName), HfError> {
        let (publisher, model) = self.names(owner, model)?;
        let resolved = self.registry().publisher(&publisher).await.ok();
        permitted(caller, owner, resolved, self.signer()).map(|signer| (signer, model)).map_err(|why| {
            match why {
                NotTaken::Token => HfError::Unauthorized(why.message()),
                NotTaken::NoKey | NotTaken::Other { .. } => HfError::Forbidden(why.message()),
            }
        })
    }
}
