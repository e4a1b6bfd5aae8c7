//! What a node can do, as methods of [`Registry`]: the API that knows no HTTP and no libp2p.

pub mod bundle;
mod certificate;
mod durable;
pub mod fault;
pub mod key_pin;
pub mod keyring;
pub mod publisher_key;
pub mod report;
pub mod request;
pub mod trust;

use reg_proto::digest::Digest;
use reg_proto::name::{Petname, PublisherId, Reference};
use tokio::sync::mpsc;

use self::report::{
    Collected, FileInfo, ModelInfo, ModelSummary, PeerReport, Prepared, Progress, Published, Pulled, Signed,
    Status, TrustEntry, Verified,
};
use self::request::{PublishRequest, PullRequest, VerifyRequest};

/// Where progress goes; a slow listener misses events, it does not slow the work.
#[derive(Debug, Clone)]
pub struct Reporter(mpsc::Sender<Progress>);

impl Reporter {
    /// Returns a reporter that sends to `listener`.
    pub const fn new(listener: mpsc::Sender<Progress>) -> Self {
        Self(listener)
    }

    /// Tells the listener, if it keeps up.
    pub fn tell(&self, progress: Progress) {
        drop(self.0.try_send(progress));
    }
}

/// A temporary stand-in while the use cases are written.
#[derive(Debug, thiserror::Error)]
#[error("not built yet")]
pub struct Unbuilt;

impl fault::Fault for Unbuilt {
    fn kind(&self) -> fault::FaultKind {
        fault::FaultKind::Internal
    }
}

/// The use cases of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {}

#[expect(clippy::unused_async, clippy::missing_errors_doc, reason = "signatures first, bodies follow")]
impl Registry {
    pub async fn prepare_publish(&self, _: PublishRequest, _: &Reporter) -> Result<Prepared, Unbuilt> {
        Err(Unbuilt)
    }
    pub async fn commit_publish(&self, _id: u64, _: Signed, _: &Reporter) -> Result<Published, Unbuilt> {
        Err(Unbuilt)
    }
    /// Counts the peers known to hold the whole model, this node not counted.
    pub async fn holders(&self, _manifest: &Digest) -> Result<usize, Unbuilt> {
        Err(Unbuilt)
    }
    pub async fn pull(&self, _: PullRequest, _: &Reporter) -> Result<Pulled, Unbuilt> {
        Err(Unbuilt)
    }
    pub async fn list(&self) -> Result<Vec<ModelSummary>, Unbuilt> {
        Err(Unbuilt)
    }
    pub async fn info(&self, _: &Reference) -> Result<ModelInfo, Unbuilt> {
        Err(Unbuilt)
    }
    pub async fn files(&self, _: &Reference) -> Result<Vec<FileInfo>, Unbuilt> {
        Err(Unbuilt)
    }
    pub async fn verify(&self, _: VerifyRequest, _: &Reporter) -> Result<Verified, Unbuilt> {
        Err(Unbuilt)
    }
    pub async fn peers(&self) -> Result<Vec<PeerReport>, Unbuilt> {
        Err(Unbuilt)
    }
    pub async fn status(&self) -> Result<Status, Unbuilt> {
        Err(Unbuilt)
    }
    pub async fn pin(&self, _: &Reference) -> Result<Digest, Unbuilt> {
        Err(Unbuilt)
    }
    pub async fn unpin(&self, _: &Reference) -> Result<Digest, Unbuilt> {
        Err(Unbuilt)
    }
    /// Forgets the model (all tags, or the one named) and removes blobs that no other model needs.
    pub async fn remove(&self, _: &Reference) -> Result<Collected, Unbuilt> {
        Err(Unbuilt)
    }
    pub async fn gc(&self, _dry_run: bool) -> Result<Collected, Unbuilt> {
        Err(Unbuilt)
    }
    pub async fn trust_add(&self, _: Petname, _: PublisherId) -> Result<TrustEntry, Unbuilt> {
        Err(Unbuilt)
    }
    pub async fn trust_list(&self) -> Result<Vec<TrustEntry>, Unbuilt> {
        Err(Unbuilt)
    }
    /// Returns the OpenSSF bundle that the publisher made for this model.
    pub async fn signature(&self, _: &Reference) -> Result<String, Unbuilt> {
        Err(Unbuilt)
    }
    /// Ends the background tasks and waits for them.
    pub async fn shutdown(&self) {}
}
