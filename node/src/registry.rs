//! What a node can do, as methods of [`Registry`]: the API that knows no HTTP and no libp2p.

pub mod policy;

pub mod announce;
pub mod fetch;
pub mod import;
pub mod local;
pub mod model;
pub mod publish;
pub mod publishers;
pub mod pull;
pub mod read;
pub mod resolve;
pub mod serve;
pub mod trust;
pub mod upstream;

mod deadline;
mod limits;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use reg_api::declarations::{Declarations, DeclarationsTaken};
use reg_api::prepared::{Prepared, Signed};
use reg_api::report::{
    AttestationInfo, Collected, FileInfo, ImportedRepository, ModelInfo, ModelSummary, Paused, PeerReport,
    Planned, Published, PublisherReport, Pulled, Status, TrustEntry, TrustReport, Verified,
};
use reg_api::reporter::Reporter;
use reg_api::request::{AttestRequest, HubCache, ImportRequest, PublishRequest, PullRequest, VerifyRequest};
use reg_api::web_seed::WebSeed;
use reg_proto::content::metadata::Metadata;
use reg_proto::descriptor::Descriptor;
use reg_proto::digest::Digest;
use reg_proto::manifest::ModelFile;
use reg_proto::name::{ModelName, Petname, Publisher, PublisherId, Reference, Tag};
use reg_proto::piece::BlobLayout;
use tokio::task::JoinSet;

use self::announce::{News, seed_all};
use self::fetch::{Fetching, TransferLimits, UpLimit, Zone};
use self::import::Importing;
use self::limits::HOUSEKEEPING;
use self::local::{Local, keep_lists};
use self::publish::Publishing;
use self::pull::Puller;
use self::read::Reading;
use self::resolve::Resolver;
use self::serve::{Serving, be_courteous, serve_all};
use self::trust::{Sharing, SharingRules, Trust, TrustError, TrustFile};
use self::upstream::{Upstream, UpstreamUnusable};
use crate::net::{Inbound, Network};
use crate::registry::import::hf_cache::AdoptError;
use crate::registry::import::{ImportRepositoryError, UploadError};
use crate::registry::local::{CatalogueError, LogError, SubscribeError, TagLog};
use crate::registry::publish::{AttestError, DeclareError, PublishError, PushError, Pushed, Signatory};
use crate::registry::pull::{PullError, VerifyError};
use crate::registry::read::{AdmitError, BlobReader, ReaderError};
use crate::registry::resolve::{ModelView, Revision, ViewError};
use crate::registry::trust::RawRule;
use crate::store::Store;

/// What a registry is made of.
#[derive(Debug)]
pub struct RegistryParts {
    pub store: Store,
    pub network: Network,
    /// What peers ask; `None` offline.
    pub inbound: Option<Inbound>,
    /// The file that holds the user's petnames.
    pub trust: PathBuf,
    /// Whether gateways serve files that run code when they are loaded, archives, and what is not recognised.
    pub allow_unsafe: bool,
    pub limits: TransferLimits,
    /// Servers of HTTP that are asked beside peers, in every pull.
    pub web_seeds: Vec<WebSeed>,
    /// Who is near.
    pub zone: Zone,
    /// Whose models come here, and which are given to others.
    pub sharing: SharingRules,
}

/// The use cases of a node. Cheap to clone.
///
/// Each method says what it does; its room says how, and what its errors mean.
#[derive(Debug, Clone)]
pub struct Registry {
    store: Store,
    network: Network,
    resolver: Arc<Resolver>,
    puller: Arc<Puller>,
    reading: Arc<Reading>,
    importing: Arc<Importing>,
    publishing: Arc<Publishing>,
    local: Arc<Local>,
    tasks: Arc<tokio::sync::Mutex<JoinSet<()>>>,
}

impl Registry {
    /// Starts serving what is in the store, and answering peers.
    ///
    /// # Errors
    /// The rules of sharing name a petname that means nobody.
    pub fn start(parts: RegistryParts) -> Result<Self, TrustError> {
        let RegistryParts { store, network, inbound, trust, allow_unsafe, limits, web_seeds, zone, sharing } =
            parts;
        let file = TrustFile::open(trust);
        let sharing = Sharing::new(&sharing, &file)?;
        let trust = Arc::new(Trust::new(store.clone(), file, sharing));
        let news = Arc::new(News::new(store.clone(), network.clone(), trust.clone()));
        let resolver = Arc::new(Resolver::new(
            store.clone(),
            network.clone(),
            trust.clone(),
            news.clone(),
            allow_unsafe,
        ));
        let fetching = Arc::new(Fetching::new(
            store.clone(),
            network.clone(),
            resolver.clone(),
            limits,
            web_seeds,
            zone,
        ));
        let puller = Arc::new(Puller {
            store: store.clone(),
            network: network.clone(),
            trust: trust.clone(),
            news: news.clone(),
            resolver: resolver.clone(),
            fetching: fetching.clone(),
        });
        let importing = Arc::new(Importing::new(store.clone()));
        let local = Arc::new(Local::new(puller.clone()));
        let mut tasks = JoinSet::new();
        if let Some(inbound) = inbound {
            let serving =
                Arc::new(Serving::new(store.clone(), network.clone(), trust, news.clone(), fetching.clone()));
            tasks.spawn(serve_all(serving.clone(), inbound));
            tasks.spawn(seed_all(news));
            if limits.up == UpLimit::Auto {
                tasks.spawn(be_courteous(serving));
            }
        }
        tasks.spawn(commit_often(store.clone()));
        tasks.spawn(keep_lists(local.clone()));
        Ok(Self {
            store,
            network,
            resolver,
            reading: Arc::new(Reading::new(puller.clone())),
            publishing: Arc::new(Publishing::new(puller.clone(), importing.clone())),
            importing,
            puller,
            local,
            tasks: Arc::new(tokio::sync::Mutex::new(tasks)),
        })
    }

    /// Ends what runs in the background, and makes the index last.
    pub async fn shutdown(&self) {
        self.tasks.lock().await.shutdown().await;
        self.network.shutdown().await;
        let store = self.store.clone();
        drop(tokio::task::spawn_blocking(move || store.commit()).await);
    }

    /// Returns the endpoint at `endpoint` behind this node.
    pub fn upstream(&self, endpoint: &str, token: Option<String>) -> Result<Upstream, UpstreamUnusable> {
        Upstream::new(self.reading.clone(), self.importing.clone(), endpoint, token)
    }

    /// Looks at a file of a model, fetching its first and last pieces where they are not here, and tells whether it may
    /// be served. What was pulled or published whole was judged then.
    pub async fn admit(&self, view: &Arc<ModelView>, file: &ModelFile) -> Result<(), AdmitError> {
        self.reading.admit(view, file).await
    }

    /// Reads `range` (in bytes) of a blob of a model. It returns once the first bytes are here.
    pub async fn read(
        &self,
        view: &Arc<ModelView>,
        blob: Digest,
        layout: BlobLayout,
        range: Range<u64>,
    ) -> Result<BlobReader, ReaderError> {
        self.reading.read(view, blob, layout, range).await
    }

    /// Checks an attestation like a stranger's, keeps it beside its model, and tells peers who holds it.
    pub async fn attest(&self, request: AttestRequest) -> Result<AttestationInfo, AttestError> {
        self.publishing.attest(request).await
    }

    /// Takes what a publisher has said, checks it like a stranger's, keeps it, and tells it along with the publisher's tags.
    pub async fn take_declarations(&self, told: Declarations) -> Result<DeclarationsTaken, DeclareError> {
        self.publishing.take_declarations(told).await
    }

    /// Imports the files, computes what is known of them, and returns what is to be signed.
    pub async fn prepare_publish(
        &self,
        request: PublishRequest,
        reporter: &Reporter,
    ) -> Result<Prepared, PublishError> {
        self.publishing.prepare_publish(request, reporter).await
    }

    /// Publishes what was prepared some time ago, perhaps by another node, and signed meanwhile somewhere else: the files
    /// are read anew, and must be those that were signed.
    pub async fn publish_signed(
        &self,
        request: PublishRequest,
        prepared: Prepared,
        signed: Signed,
        reporter: &Reporter,
    ) -> Result<Published, PublishError> {
        self.publishing.publish_signed(request, prepared, signed, reporter).await
    }

    /// Checks the signatures, keeps the model, moves the tag, and tells the network.
    pub async fn commit_publish(
        &self,
        id: u64,
        signed: Signed,
        reporter: &Reporter,
    ) -> Result<Published, PublishError> {
        self.publishing.commit_publish(id, signed, reporter).await
    }

    /// Publishes for a signatory that is at hand: prepares, lets it sign, commits.
    pub async fn publish(
        &self,
        by: Signatory<'_>,
        request: PublishRequest,
        reporter: &Reporter,
    ) -> Result<Published, PublishError> {
        self.publishing.publish(by, request, reporter).await
    }

    /// Takes a manifest whose blobs have been uploaded.
    pub async fn push_manifest(
        &self,
        publisher: PublisherId,
        model: &ModelName,
        tag: Option<Tag>,
        bytes: Vec<u8>,
        by: Option<Signatory<'_>>,
    ) -> Result<Pushed, PushError> {
        self.publishing.push_manifest(publisher, model, tag, bytes, by).await
    }

    /// Returns a manifest that was pushed and is not part of a model that is kept.
    pub fn held_manifest(
        &self,
        publisher: PublisherId,
        model: &ModelName,
        digest: &Digest,
    ) -> Option<Vec<u8>> {
        self.publishing.held_manifest(publisher, model, digest)
    }

    /// Forgets a manifest that was pushed.
    pub fn drop_held(&self, digest: &Digest) -> bool {
        self.publishing.drop_held(digest)
    }

    /// Returns the documents about a version of a model: those that are kept, and those that were pushed.
    pub async fn referrers(&self, view: &ModelView) -> Vec<Descriptor> {
        self.publishing.referrers(view).await
    }

    /// Returns the documents that were pushed about a manifest.
    pub fn held_referrers(&self, subject: Digest) -> Vec<Descriptor> {
        self.publishing.held_referrers(subject)
    }

    /// Lists the models that are here, whole or in part.
    pub async fn list(&self) -> Result<Vec<ModelSummary>, CatalogueError> {
        self.local.list().await
    }

    /// Returns all that is known of a model that is here.
    pub async fn info(&self, reference: &Reference) -> Result<ModelInfo, CatalogueError> {
        self.local.info(reference).await
    }

    /// Lists the files of a model that is here.
    pub async fn files(&self, reference: &Reference) -> Result<Vec<FileInfo>, CatalogueError> {
        self.local.files(reference).await
    }

    /// Returns the OpenSSF bundle that the publisher made for this model.
    pub async fn signature(&self, reference: &Reference) -> Result<String, CatalogueError> {
        self.local.signature(reference).await
    }

    /// Keeps a model from being evicted.
    pub async fn pin(&self, reference: &Reference) -> Result<Digest, CatalogueError> {
        self.local.pin(reference).await
    }

    /// Lets a model be evicted again.
    pub async fn unpin(&self, reference: &Reference) -> Result<Digest, CatalogueError> {
        self.local.unpin(reference).await
    }

    /// Forgets a model and its tags here, and removes the blobs that no other model needs. A reference by tag forgets
    /// just that tag while others mean the same manifest.
    pub async fn remove(&self, reference: &Reference) -> Result<Collected, CatalogueError> {
        self.local.remove(reference).await
    }

    /// Removes blobs that no model needs, and models that are least recently used while the cache is above its size.
    pub async fn gc(&self, dry_run: bool) -> Result<Collected, CatalogueError> {
        self.local.gc(dry_run).await
    }

    /// Pauses or resumes what runs.
    pub fn set_paused(
        &self,
        reference: Option<&Reference>,
        is_paused: bool,
    ) -> Result<Paused, CatalogueError> {
        self.local.set_paused(reference, is_paused)
    }

    /// Lists the peers that this node is connected to.
    pub async fn peers(&self) -> Vec<PeerReport> {
        self.local.peers().await
    }

    /// Returns the node in figures.
    pub async fn status(&self) -> Result<Status, CatalogueError> {
        self.local.status().await
    }

    /// Returns the chat template that is used unless another is asked for, from where the metadata takes it: a file of its
    /// own, else the tokenizer's settings, else the first GGUF file.
    pub async fn chat_template(&self, reference: &Reference) -> Result<Option<String>, CatalogueError> {
        self.local.chat_template(reference).await
    }

    /// Fetches a list and subscribes to it; returns how many entries it has.
    pub async fn subscribe(&self, list: &str, reporter: &Reporter) -> Result<usize, SubscribeError> {
        self.local.subscribe(list, reporter).await
    }

    /// Reads anew what is not to be served.
    pub async fn reload_denials(&self) {
        self.local.reload_denials().await
    }

    /// Returns what this node has seen of a tag, `latest` where the reference names none.
    pub async fn log(&self, reference: &Reference) -> Result<TagLog, LogError> {
        self.local.log(reference).await
    }

    /// Gives a publisher a petname; with `replace` one that has meant somebody else.
    pub async fn trust_add(
        &self,
        petname: Petname,
        publisher: PublisherId,
        replace: bool,
    ) -> Result<TrustEntry, CatalogueError> {
        self.local.trust_add(petname, publisher, replace).await
    }

    /// Lists the publishers that have petnames.
    pub async fn trust_list(&self) -> Result<Vec<TrustEntry>, CatalogueError> {
        self.local.trust_list().await
    }

    /// Returns all that the trust file says.
    pub async fn trust_show(&self) -> Result<TrustReport, CatalogueError> {
        self.local.trust_show().await
    }

    /// Returns what is remembered of a publisher.
    pub async fn seen_of(&self, publisher: PublisherId) -> Result<PublisherReport, CatalogueError> {
        self.local.seen_of(publisher).await
    }

    /// Takes a petname away.
    pub async fn trust_remove(&self, petname: Petname) -> Result<(), CatalogueError> {
        self.local.trust_remove(petname).await
    }

    /// Adds a rule.
    pub async fn trust_require(&self, rule: RawRule) -> Result<(), CatalogueError> {
        self.local.trust_require(rule).await
    }

    /// Takes away the rules for a scope, and returns how many there were.
    pub async fn trust_waive(&self, models: String) -> Result<usize, CatalogueError> {
        self.local.trust_waive(models).await
    }

    /// Ends a subscription.
    pub async fn trust_unsubscribe(&self, list: String) -> Result<(), CatalogueError> {
        self.local.trust_unsubscribe(list).await
    }

    /// Allows what a list denies, or ends that; returns whether that is new.
    pub async fn trust_allow(&self, what: String, on: bool) -> Result<bool, CatalogueError> {
        self.local.trust_allow(what, on).await
    }

    /// Takes the files of a repository over from the cache: large ones become links of one file, and one read proves each.
    pub async fn adopt_hub_cache(
        &self,
        from: HubCache,
        reporter: &Reporter,
    ) -> Result<ImportedRepository, AdoptError> {
        self.importing.adopt_hub_cache(from, reporter).await
    }

    /// Copies the files of a repository here.
    pub async fn import_repository(
        &self,
        request: ImportRequest,
        reporter: &Reporter,
    ) -> Result<ImportedRepository, ImportRepositoryError> {
        self.importing.import_repository(request, reporter).await
    }

    /// Begins an upload, of `expected` digest and size where that is known, and returns its id.
    pub async fn begin_upload(&self, expected: Option<(Digest, u64)>) -> Result<String, UploadError> {
        self.importing.begin_upload(expected).await
    }

    /// Returns how many bytes of an upload have come.
    pub async fn upload_size(&self, id: &str) -> Result<u64, UploadError> {
        self.importing.upload_size(id).await
    }

    /// Throws away what has come of an upload, which begins anew.
    pub async fn restart_upload(&self, id: &str) -> Result<(), UploadError> {
        self.importing.restart_upload(id).await
    }

    /// Adds bytes to an upload, at `offset` where that is said, and returns how many have come.
    pub async fn append_upload(
        &self,
        id: &str,
        offset: Option<u64>,
        bytes: Bytes,
    ) -> Result<u64, UploadError> {
        self.importing.append_upload(id, offset, bytes).await
    }

    /// Ends an upload: it is kept if it is `digest`, or what was expected at its beginning.
    pub async fn finish_upload(&self, id: &str, digest: Option<Digest>) -> Result<Digest, UploadError> {
        self.importing.finish_upload(id, digest).await
    }

    /// Throws an upload away.
    pub fn cancel_upload(&self, id: &str) -> bool {
        self.importing.cancel_upload(id)
    }

    /// Keeps bytes that came as a whole.
    pub async fn put_small(&self, bytes: Vec<u8>) -> Result<Digest, UploadError> {
        self.importing.put_small(bytes).await
    }

    /// Returns the size of a blob that is here whole.
    pub fn blob_size(&self, digest: &Digest) -> Option<u64> {
        self.importing.blob_size(digest)
    }

    /// Tells what [`Registry::pull`] would do with the same request.
    pub async fn plan(&self, request: PullRequest, reporter: &Reporter) -> Result<Planned, PullError> {
        self.puller.plan(request, reporter).await
    }

    /// Priorities a model: from here what is here, from peers the rest.
    pub async fn pull(&self, request: PullRequest, reporter: &Reporter) -> Result<Pulled, PullError> {
        self.puller.pull(request, reporter).await
    }

    /// Rehashes what `request` names. What is damaged is not served from then on; with `repair` it is fetched anew.
    pub async fn verify(&self, request: VerifyRequest, reporter: &Reporter) -> Result<Verified, VerifyError> {
        self.puller.verify(request, reporter).await
    }

    /// Counts the connected peers that say they hold the whole model, this node not counted.
    pub async fn holders(&self, manifest: &Digest) -> usize {
        self.resolver.news.holders(manifest).await
    }

    /// Returns a model to read from: from here if it is whole here and was looked up lately, else as peers tell it.
    pub async fn view(
        &self,
        publisher: &Publisher,
        model: &ModelName,
        revision: &Revision,
    ) -> Result<Arc<ModelView>, ViewError> {
        self.resolver.view(publisher, model, revision).await
    }

    /// Returns a version of a model that has this blob, or says something in it, among those that are known here.
    pub async fn view_with(
        &self,
        publisher: &Publisher,
        model: &ModelName,
        blob: &Digest,
    ) -> Option<Arc<ModelView>> {
        self.resolver.view_with(publisher, model, blob).await
    }

    /// Returns a small document that is here: a manifest, a referrer, what it carries.
    pub async fn document(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.resolver.document(digest).await
    }

    /// Returns what a tag of a model means here, whoever may know better.
    pub async fn view_here(
        &self,
        publisher: &Publisher,
        model: &ModelName,
        tag: &Tag,
    ) -> Option<Arc<ModelView>> {
        self.resolver.view_here(publisher, model, tag).await
    }

    /// Returns the newest record of each tag of a model: those that are known here, else those that peers tell of.
    pub async fn tags(
        &self,
        publisher: &Publisher,
        model: &ModelName,
    ) -> Result<Vec<(Tag, Digest)>, ViewError> {
        self.resolver.tags(publisher, model).await
    }

    /// Returns the id of a publisher, by the user's own name for it where that was given.
    pub async fn publisher(&self, publisher: &Publisher) -> Result<PublisherId, TrustError> {
        self.resolver.publisher(publisher).await
    }

    /// Tells whether the user lets the gateways take and serve what runs code when it is loaded.
    pub fn allows_unsafe(&self) -> bool {
        self.resolver.allows_unsafe()
    }

    /// Returns what was computed of a model, once every file of it is here.
    pub async fn metadata(&self, view: &ModelView) -> Option<Metadata> {
        self.resolver.metadata(view).await
    }
}

/// Commits the index from time to time.
async fn commit_often(store: Store) {
    let mut due = tokio::time::interval(HOUSEKEEPING);
    due.tick().await;
    loop {
        due.tick().await;
        let store = store.clone();
        drop(tokio::task::spawn_blocking(move || store.commit()).await);
    }
}
