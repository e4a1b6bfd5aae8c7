//! The use cases of a node, as methods of [`Registry`]. This API knows no HTTP and no libp2p.

pub mod announce;
pub mod archive;
pub mod catalogue;
pub mod domains;
pub mod donate;
pub mod fetch;
pub mod follow;
pub mod health;
pub mod import;
pub mod local;
pub mod model;
pub mod policy;
pub mod price;
pub mod publish;
pub mod publishers;
pub mod pull;
pub mod read;
pub mod resolve;
pub mod serve;
pub mod spread;
pub mod trust;
pub mod upstream;

mod chance;
mod commons;
mod deadline;
mod finding;
mod limits;
mod taking_in;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use reg_api::archive::{ArchiveReport, ExportRequest, Exported, ListArchiveRequest, TakeRequest};
use reg_api::consent::Consent;
use reg_api::declarations::{Declarations, DeclarationsTaken, Inheritable};
use reg_api::domain::{AskDomain, DomainFound, DomainSays, ProfileReport};
use reg_api::ingest::IngestPlan;
use reg_api::looked::Looked;
use reg_api::prepared::{Prepared, Signed};
use reg_api::report::{
    Abandoned, AttestationInfo, Collected, FileInfo, KeyBranches, KnownPeer, ModelInfo, ModelSummary, Paused,
    PeerAdded, PeerReport, Planned, Published, PublisherReport, Pulled, Shared, Status, TrustEntry,
    TrustReport, Verified,
};
use reg_api::reporter::Reporter;
use reg_api::request::{
    AttestRequest, IngestRequest, ListRequest, PublishRequest, PullRequest, ShareRequest, VerifyRequest,
};
use reg_api::web_seed::WebSeed;
use reg_proto::content::metadata::Metadata;
use reg_proto::descriptor::Descriptor;
use reg_proto::digest::Digest;
use reg_proto::domain::Domain;
use reg_proto::manifest::ModelFile;
use reg_proto::name::{ModelName, Petname, Publisher, PublisherId, Reference, Tag};
use reg_proto::path::SafePath;
use reg_proto::peer::Address;
use reg_proto::piece::BlobLayout;
use tokio::task::JoinSet;

use self::announce::{News, compare_catalogue};
use self::archive::{ArchiveError, Archiving, ExportError};
use self::catalogue::{Cataloguing, keep_catalogue};
use self::domains::{DomainError, Domains};
use self::donate::{DonateConfig, Donating, donate_all};
use self::fetch::{Fetching, TransferLimits, Zone};
use self::follow::Following;
use self::health::{Health, HealthSettings, audit_all};
use self::import::Importing;
use self::limits::HOUSEKEEPING;
use self::local::{
    CatalogueError, DescribedModel, Listed, Local, LogError, PeersError, Served, ShareError, SubscribeError,
    TagLog, keep_lists, seed_all,
};
use self::model::record::ModelRecord;
use self::price::Verifier;
use self::publish::{AttestError, DeclareError, PublishError, Publishing, PushError, Pushed, Signatory};
use self::publishers::TagsError;
use self::pull::{PullError, Puller, VerifyError};
use self::read::{AdmitError, BlobReader, ReaderError, Reading};
use self::resolve::{ModelView, Resolver, Revision, ViewError};
use self::serve::{DonatedLimit, Serving, be_courteous, serve_all};
use self::spread::{SpreadSettings, Spreading, spread_all};
use self::trust::{OwnNames, RawRule, Sharing, SharingRules, Trust, TrustError, TrustFile};
use self::upstream::{Upstream, UpstreamUnusable};
use crate::metrics::Metrics;
use crate::net::{Inbound, Network};
use crate::store::{CacheLimits, Store};
use crate::webhook::WebhookUrl;
use crate::well_known::{DomainClient, DomainSettings};

/// What a registry is built from. One field for each setting of the node that the registry reads.
#[derive(Debug)]
pub struct RegistryParts {
    pub store: Store,
    pub network: Network,
    /// The questions, streams and announcements of peers; `None` offline.
    pub inbound: Option<Inbound>,
    /// The file that holds the user's petnames.
    pub trust: PathBuf,
    /// The names of the user's own keys.
    pub own_names: Option<OwnNames>,
    /// The kinds of files that gateways take and serve although they are more than data.
    pub consent: Consent,
    pub limits: TransferLimits,
    /// HTTP servers that every pull asks beside peers.
    pub web_seeds: Vec<WebSeed>,
    /// The subnets in which peers count as near.
    pub zone: Zone,
    /// Which publishers this node takes models from, and which models it gives to peers.
    pub sharing: SharingRules,
    /// How domains are asked for their publishers.
    pub domains: DomainSettings,
    /// The directory of the catalogue; `None` where the node keeps none.
    pub catalogue: Option<PathBuf>,
    /// Whether this node pulls the new versions of followed publishers by itself.
    pub pulls_followed: bool,
    pub health: HealthSettings,
    pub donate: DonateConfig,
    pub spread: SpreadSettings,
}

/// The settings of a registry that may change while it runs.
#[derive(Debug)]
pub struct Adjusted {
    pub limits: TransferLimits,
    pub web_seeds: Vec<WebSeed>,
    pub webhook: Option<WebhookUrl>,
    pub cache: CacheLimits,
}

/// The use cases of a node. Cheap to clone.
///
/// It has 15 fields, because each room is one. Each method delegates to one room. The room's method documents what it promises and its errors.
#[derive(Debug, Clone)]
pub struct Registry {
    store: Store,
    network: Network,
    catalogue: Arc<Cataloguing>,
    news: Arc<News>,
    resolver: Arc<Resolver>,
    domains: Arc<Domains>,
    puller: Arc<Puller>,
    reading: Arc<Reading>,
    importing: Arc<Importing>,
    publishing: Arc<Publishing>,
    archiving: Arc<Archiving>,
    following: Arc<Following>,
    health: Arc<Health>,
    donating: Arc<Donating>,
    spreading: Arc<Spreading>,
    local: Arc<Local>,
    tasks: Arc<tokio::sync::Mutex<JoinSet<()>>>,
}

impl Registry {
    /// Builds the rooms, and starts to serve peers and to keep the store and the denylists up to date.
    ///
    /// # Errors
    /// The sharing rules name a petname that the user has not given to any publisher.
    pub fn start(parts: RegistryParts) -> Result<Self, TrustError> {
        let RegistryParts {
            store,
            network,
            inbound,
            trust,
            own_names,
            consent,
            limits,
            web_seeds,
            zone,
            sharing,
            domains,
            catalogue,
            pulls_followed,
            health,
            donate,
            spread,
        } = parts;
        let audits = health.audits;
        let file = TrustFile::open(trust).with_own(own_names);
        let sharing = Sharing::new(&sharing, &file)?;
        let trust = Arc::new(Trust::new(store.clone(), file, sharing));
        let verifier = Arc::new(Verifier::new(network.clone()));
        let catalogue = Arc::new(Cataloguing::new(store.clone(), trust.clone(), catalogue));
        let news = Arc::new(News::new(network.clone(), catalogue.clone(), verifier));
        let resolver = Arc::new(Resolver::new(
            store.clone(),
            network.clone(),
            trust.clone(),
            news.clone(),
            consent,
            web_seeds,
        ));
        let fetching =
            Fetching::new(store.clone(), network.clone(), resolver.clone(), limits, zone, Metrics::default());
        let fetching = Arc::new(fetching);
        let client = DomainClient::new(domains);
        let domains = Arc::new(Domains::new(trust.clone(), network.clone(), resolver.clone(), client));
        let puller = Arc::new(Puller {
            store: store.clone(),
            network: network.clone(),
            trust: trust.clone(),
            news: news.clone(),
            resolver: resolver.clone(),
            domains: domains.clone(),
            fetching: fetching.clone(),
        });
        let importing = Arc::new(Importing::new(store.clone(), trust.clone()));
        let following = Arc::new(Following::new(puller.clone()));
        let health = Arc::new(Health::new(
            store.clone(),
            network.clone(),
            trust.clone(),
            news.clone(),
            resolver.clone(),
            fetching.clone(),
            health,
        ));
        let spreading = Arc::new(Spreading::new(puller.clone(), spread));
        let local = Arc::new(Local::new(puller.clone(), catalogue.clone(), health.clone()));
        let donated = Arc::new(DonatedLimit::default());
        let (catalogue_of, health_of) = (catalogue.clone(), health.clone());
        let donating = Donating::new(puller.clone(), catalogue_of, health_of, donated.clone(), donate);
        let donating = Arc::new(donating);
        let mut tasks = JoinSet::new();
        if let Some(inbound) = inbound {
            let serving = Arc::new(Serving::new(
                network.clone(),
                catalogue.clone(),
                news.clone(),
                fetching.clone(),
                donated,
                spreading.clone(),
            ));
            tasks.spawn(serve_all(serving.clone(), inbound));
            tasks.spawn(spread_all(spreading.clone()));
            tasks.spawn(seed_all(local.clone()));
            tasks.spawn(keep_catalogue(catalogue.clone()));
            tasks.spawn(compare_catalogue(news.clone()));
            tasks.spawn(be_courteous(serving));
        }
        tasks.spawn(commit_index(store.clone()));
        tasks.spawn(keep_lists(local.clone()));
        if pulls_followed {
            tasks.spawn(follow::watch(following.clone()));
        }
        if audits {
            let (health, donating) = (health.clone(), donating.clone());
            tasks.spawn(async move {
                donating.remind().await;
                audit_all(health).await;
            });
        }
        if pulls_followed {
            tasks.spawn(donate_all(donating.clone()));
        }
        Ok(Self {
            store,
            network,
            catalogue,
            news,
            resolver,
            domains,
            reading: Arc::new(Reading::new(puller.clone())),
            publishing: Arc::new(Publishing::new(puller.clone(), importing.clone())),
            archiving: Arc::new(Archiving::new(puller.clone())),
            importing,
            puller,
            following,
            health,
            donating,
            spreading,
            local,
            tasks: Arc::new(tokio::sync::Mutex::new(tasks)),
        })
    }

    /// Ends the background tasks and the network once what was published is announced, and commits the index.
    pub async fn shutdown(&self) {
        self.publishing.end().await;
        self.tasks.lock().await.shutdown().await;
        self.health.save().await;
        self.network.shutdown().await;
        let (store, catalogue) = (self.store.clone(), self.catalogue.clone());
        let commit = move || {
            catalogue.commit();
            store.commit();
        };
        drop(tokio::task::spawn_blocking(commit).await);
    }

    /// Takes settings that may change while the node runs.
    pub fn adjust(&self, adjusted: Adjusted) {
        let Adjusted { limits, web_seeds, webhook, cache } = adjusted;
        self.puller.fetching.set_limits(limits);
        self.resolver.set_web_seeds(web_seeds);
        self.health.set_webhook(webhook);
        self.store.set_limits(cache);
    }

    /// Returns the endpoint at the URL `endpoint` behind this node.
    pub fn upstream(&self, endpoint: &str, token: Option<String>) -> Result<Upstream, UpstreamUnusable> {
        Upstream::new(self.reading.clone(), self.importing.clone(), endpoint, token)
    }

    /// Decides whether a gateway may serve a file of a model, by its first and last bytes.
    pub async fn admit(&self, view: &Arc<ModelView>, file: &ModelFile) -> Result<(), AdmitError> {
        self.reading.admit(view, file).await
    }

    /// Reads `range` (in bytes) of a blob of a model. It returns once the first bytes have arrived.
    pub async fn read(
        &self,
        view: &Arc<ModelView>,
        blob: Digest,
        layout: BlobLayout,
        range: Range<u64>,
    ) -> Result<BlobReader, ReaderError> {
        self.reading.read(view, blob, layout, range).await
    }

    /// Returns the models in the store that need a blob, each with its manifest: whole and partial ones, allowed or not.
    ///
    /// # Errors
    /// The records cannot be read, so that a model may need it.
    pub async fn models_with(&self, blob: &Digest) -> Result<Vec<(Digest, ModelRecord)>, ReaderError> {
        self.reading.models_with(blob).await
    }

    /// Reads `range` (in bytes) of a blob that is whole in the store.
    pub async fn read_whole(
        &self,
        blob: Digest,
        layout: BlobLayout,
        range: Range<u64>,
    ) -> Result<BlobReader, ReaderError> {
        self.reading.read_whole(blob, layout, range).await
    }

    /// Verifies an attestation, keeps it beside its model, and announces the model again.
    pub async fn attest(&self, request: AttestRequest) -> Result<AttestationInfo, AttestError> {
        self.publishing.attest(request).await
    }

    /// Verifies the declarations of a publisher, keeps them, and announces them together with the publisher's tags.
    pub async fn take_declarations(&self, declared: Declarations) -> Result<DeclarationsTaken, DeclareError> {
        self.publishing.take_declarations(declared).await
    }

    /// Returns the statements of a publisher that stand now, which its next key document may take over.
    pub async fn inheritable(
        &self,
        publisher: PublisherId,
        reporter: &Reporter,
    ) -> Result<Inheritable, TagsError> {
        self.publishing.inheritable(publisher, reporter).await
    }

    /// Says what would be published of a directory, and what not. Hashes nothing.
    pub async fn plan_publish(&self, request: IngestRequest) -> Result<IngestPlan, PublishError> {
        self.publishing.plan_publish(request).await
    }

    /// Imports the files, computes their metadata, and returns the documents to sign.
    pub async fn prepare_publish(
        &self,
        request: PublishRequest,
        reporter: &Reporter,
    ) -> Result<Prepared, PublishError> {
        self.publishing.prepare_publish(request, reporter).await
    }

    /// Gives up a record that was prepared and waits for its signature. Its number is never used again.
    pub async fn abandon(&self, reference: Reference) -> Result<Abandoned, PublishError> {
        self.publishing.abandon(reference).await
    }

    /// Publishes what was prepared earlier, perhaps by another node, and signed elsewhere. Reads the files again.
    pub async fn publish_signed(
        &self,
        request: PublishRequest,
        prepared: Prepared,
        signed: Signed,
        reporter: &Reporter,
    ) -> Result<Published, PublishError> {
        self.publishing.publish_signed(request, prepared, signed, reporter).await
    }

    /// Verifies the signatures, records the model, moves the tag, and announces it.
    pub async fn commit_publish(
        &self,
        id: u64,
        signed: Signed,
        reporter: &Reporter,
    ) -> Result<Published, PublishError> {
        self.publishing.commit_publish(id, signed, reporter).await
    }

    /// Publishes in one step for a signatory that can sign now.
    pub async fn publish(
        &self,
        by: Signatory<'_>,
        request: PublishRequest,
        reporter: &Reporter,
    ) -> Result<Published, PublishError> {
        self.publishing.publish(by, request, reporter).await
    }

    /// Takes a manifest. Its blobs must have been uploaded.
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

    /// Returns the bytes of a pushed manifest that belongs to no recorded model.
    pub fn held_manifest(
        &self,
        publisher: PublisherId,
        model: &ModelName,
        digest: &Digest,
    ) -> Option<Vec<u8>> {
        self.publishing.held_manifest(publisher, model, digest)
    }

    /// Forgets a pushed manifest. Returns whether there was one.
    pub fn drop_held(&self, digest: &Digest) -> bool {
        self.publishing.drop_held(digest)
    }

    /// Returns the referrers of a version of a model: those in the store, and those that were pushed.
    pub async fn referrers(&self, view: &ModelView) -> Vec<Descriptor> {
        self.publishing.referrers(view).await
    }

    /// Returns the pushed referrers of a manifest.
    pub fn held_referrers(&self, subject: Digest) -> Vec<Descriptor> {
        self.publishing.held_referrers(subject)
    }

    /// Resolves a model that need not be in the store, and says what is proven and what a pull would fetch.
    pub async fn look(&self, request: PullRequest, reporter: &Reporter) -> Result<Looked, PullError> {
        let looked = self.puller.look(request, reporter).await?;
        let looked = self.local.with_collections(looked).await;
        Ok(self.local.relate(looked).await)
    }

    /// Writes models of the store into an archive, for machines without a network.
    pub async fn export(&self, request: ExportRequest, reporter: &Reporter) -> Result<Exported, ExportError> {
        self.archiving.export(request, reporter).await
    }

    /// Lists the models that an archive says it has.
    pub async fn list_archive(&self, request: ListArchiveRequest) -> Result<ArchiveReport, ArchiveError> {
        self.archiving.list_archive(request).await
    }

    /// Verifies one model of an archive, and takes it into the store.
    pub async fn take_archived(
        &self,
        request: TakeRequest,
        reporter: &Reporter,
    ) -> Result<Pulled, ArchiveError> {
        self.archiving.take(request, reporter).await
    }

    /// Lists the models in the store, complete or partial.
    pub async fn list(&self, request: ListRequest) -> Result<Listed<ModelSummary>, CatalogueError> {
        self.local.list(request).await
    }

    /// Lists the models in the store that gateways may serve and that are `wanted`, without their metadata.
    pub async fn list_served(
        &self,
        wanted: impl Fn(&ModelSummary) -> bool + Send + 'static,
    ) -> Result<Served, CatalogueError> {
        self.local.list_served(wanted).await
    }

    /// Reads the metadata of models that were listed.
    pub async fn describe(&self, models: Vec<DescribedModel>) -> Result<Vec<DescribedModel>, CatalogueError> {
        self.local.describe(models).await
    }

    /// Returns everything that this node knows of a model in the store.
    pub async fn info(&self, reference: &Reference) -> Result<ModelInfo, CatalogueError> {
        self.local.info(reference).await
    }

    /// Lists the files of a model in the store.
    pub async fn files(&self, reference: &Reference) -> Result<Vec<FileInfo>, CatalogueError> {
        self.local.files(reference).await
    }

    /// Returns the OpenSSF bundle that the publisher made for this model.
    pub async fn signature(&self, reference: &Reference) -> Result<String, CatalogueError> {
        self.local.signature(reference).await
    }

    /// Pins a model, so that it is not evicted.
    pub async fn pin(&self, reference: &Reference) -> Result<Digest, CatalogueError> {
        self.local.pin(reference).await
    }

    /// Unpins a model, so that it may be evicted.
    pub async fn unpin(&self, reference: &Reference) -> Result<Digest, CatalogueError> {
        self.local.unpin(reference).await
    }

    /// Removes a model with its tags, and the blobs that no other model needs.
    pub async fn remove(&self, reference: &Reference) -> Result<Collected, CatalogueError> {
        self.local.remove(reference).await
    }

    /// Removes blobs that no model needs, and the least recently used models while the cache is above its size limit.
    pub async fn gc(&self, dry_run: bool) -> Result<Collected, CatalogueError> {
        self.local.gc(dry_run).await
    }

    /// Pauses or resumes the pulls of a model, or, without a reference, everything.
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

    /// Lists the peers that this node remembers.
    pub fn known_peers(&self) -> Vec<KnownPeer> {
        self.local.known_peers()
    }

    /// Keeps an address that the user names, and dials it now and at every start.
    pub async fn add_peer(&self, address: &Address) -> Result<PeerAdded, PeersError> {
        self.local.add_peer(address).await
    }

    /// Forgets a peer, by its id or an address, and disconnects it.
    pub async fn forget_peer(&self, what: &str) -> Result<(), PeersError> {
        self.local.forget_peer(what).await
    }

    /// Makes a ticket of a model in the store, or of this node.
    pub async fn share(&self, request: ShareRequest) -> Result<Shared, ShareError> {
        self.local.share(request).await
    }

    /// Returns the status of the node in figures.
    pub async fn status(&self) -> Result<Status, CatalogueError> {
        Ok(Status { swarm: self.spreading.summary(), ..self.local.status().await? })
    }

    /// Returns the default chat template of a model; `None` if it has none.
    pub async fn chat_template(&self, reference: &Reference) -> Result<Option<String>, CatalogueError> {
        self.local.chat_template(reference).await
    }

    /// Fetches a denylist and subscribes to it. Returns how many entries it has.
    pub async fn subscribe(&self, list: &str, reporter: &Reporter) -> Result<usize, SubscribeError> {
        self.local.subscribe(list, reporter).await
    }

    /// Reads the stored denylists again, so that serving follows their newest versions.
    pub async fn reload_denials(&self) {
        self.local.reload_denials().await
    }

    /// Returns the log of a tag: `latest` if the reference names none.
    pub async fn log(&self, reference: &Reference) -> Result<TagLog, LogError> {
        self.local.log(reference).await
    }

    /// Gives a publisher a petname. With `replace` the petname may have named another publisher before.
    pub async fn trust_add(
        &self,
        petname: Petname,
        publisher: PublisherId,
        replace: bool,
    ) -> Result<TrustEntry, CatalogueError> {
        self.local.trust_add(petname, publisher, replace).await
    }

    /// Returns the publisher of a domain: asks the domain, confirms it by the publisher's profile, and pins it.
    pub async fn domain(
        &self,
        domain: &Domain,
        ask: &AskDomain,
        reporter: &Reporter,
    ) -> Result<DomainFound, DomainError> {
        self.domains.resolve(domain, ask, reporter).await
    }

    /// Returns what a domain says now, beside what is pinned. It changes nothing.
    pub async fn domain_says(&self, domain: &Domain) -> Result<DomainSays, DomainError> {
        self.domains.says(domain).await
    }

    /// Unpins a domain.
    pub async fn domain_remove(&self, domain: Domain) -> Result<(), CatalogueError> {
        self.local.domain_remove(domain).await
    }

    /// Returns the newest profile of a publisher that this node or a peer in reach has.
    pub async fn profile(
        &self,
        publisher: PublisherId,
        reporter: &Reporter,
    ) -> Result<Option<ProfileReport>, TagsError> {
        let found = self.resolver.profile_of(publisher, reporter).await?;
        Ok(found.as_ref().map(ProfileReport::of))
    }

    /// Lists the publishers that have petnames.
    pub async fn trust_list(&self) -> Result<Vec<TrustEntry>, CatalogueError> {
        self.local.trust_list().await
    }

    /// Returns the contents of the trust file.
    pub async fn trust_show(&self) -> Result<TrustReport, CatalogueError> {
        self.local.trust_show().await
    }

    /// Returns the keys and revocations that this node remembers of a publisher.
    pub async fn seen_of(&self, publisher: PublisherId) -> Result<PublisherReport, CatalogueError> {
        self.local.seen_of(publisher).await
    }

    /// Returns the branches of a publisher's keys that this node knows.
    pub async fn key_branches(&self, publisher: PublisherId) -> Result<KeyBranches, CatalogueError> {
        self.local.key_branches(publisher).await
    }

    /// Follows the branch of a publisher's keys that has the key document `head`, in place of any other.
    pub async fn accept_keys(
        &self,
        publisher: PublisherId,
        head: Digest,
    ) -> Result<KeyBranches, CatalogueError> {
        self.local.accept_keys(publisher, head).await
    }

    /// Points a name to another one, or ends that where `to` is `None`.
    pub async fn trust_alias(&self, from: String, to: Option<String>) -> Result<(), CatalogueError> {
        self.local.trust_alias(from, to).await
    }

    /// Removes a petname.
    pub async fn trust_remove(&self, petname: Petname) -> Result<(), CatalogueError> {
        self.local.trust_remove(petname).await
    }

    /// Adds a trust rule.
    pub async fn trust_require(&self, rule: RawRule) -> Result<(), CatalogueError> {
        self.local.trust_require(rule).await
    }

    /// Removes the trust rules for a scope of models. Returns how many there were.
    pub async fn trust_waive(&self, models: String) -> Result<usize, CatalogueError> {
        self.local.trust_waive(models).await
    }

    /// Ends the subscription to a denylist.
    pub async fn trust_unsubscribe(&self, list: String) -> Result<(), CatalogueError> {
        self.local.trust_unsubscribe(list).await
    }

    /// Allows what a denylist denies, or, with `on` false, ends that. Returns whether that changed anything.
    pub async fn trust_allow(&self, what: String, on: bool) -> Result<bool, CatalogueError> {
        self.local.trust_allow(what, on).await
    }

    /// Returns the size in bytes of a whole blob of the store; `None` if there is none.
    pub fn blob_size(&self, digest: &Digest) -> Option<u64> {
        self.importing.blob_size(digest)
    }

    /// Returns what [`Registry::pull`] would fetch and place for the same request.
    pub async fn plan(&self, request: PullRequest, reporter: &Reporter) -> Result<Planned, PullError> {
        self.puller.plan(request, reporter).await
    }

    /// Pulls a model: takes from the store what it has, fetches the rest, and places the files where the request says.
    pub async fn pull(&self, request: PullRequest, reporter: &Reporter) -> Result<Pulled, PullError> {
        let pulled = self.puller.pull(request, reporter).await?;
        self.local.apply_list(pulled.publisher, pulled.model.clone()).await;
        Ok(pulled)
    }

    /// Rehashes what `request` names. A damaged blob is no longer served; with `repair` it is fetched again.
    pub async fn verify(&self, request: VerifyRequest, reporter: &Reporter) -> Result<Verified, VerifyError> {
        self.puller.verify(request, reporter).await
    }

    /// Counts the connected peers that say they hold the whole model, without this node.
    pub async fn holders(&self, manifest: &Digest) -> usize {
        self.news.holders(manifest).await
    }

    /// Returns a view of a model to read from: the recent result of an earlier question, else a new one from store and peers.
    pub async fn view(
        &self,
        publisher: &Publisher,
        model: &ModelName,
        revision: &Revision,
    ) -> Result<Arc<ModelView>, ViewError> {
        Box::pin(self.resolver.view(publisher, model, revision)).await
    }

    /// Returns a version of a model that has this blob, or a referrer with this blob, among those that this node knows.
    pub async fn view_with(
        &self,
        publisher: &Publisher,
        model: &ModelName,
        blob: &Digest,
    ) -> Option<Arc<ModelView>> {
        Box::pin(self.resolver.view_with(publisher, model, blob)).await
    }

    /// Returns why a blob cannot be read as a part of a model that has damaged documents in the store; `None` where they are
    /// sound, or no version here needs it.
    pub async fn damage_with(
        &self,
        publisher: &Publisher,
        model: &ModelName,
        blob: &Digest,
    ) -> Option<ViewError> {
        Box::pin(self.resolver.damage_with(publisher, model, blob)).await
    }

    /// Returns a small document in the store: a manifest, a referrer, or the document that a referrer carries.
    pub async fn document(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.resolver.document(digest).await
    }

    /// Returns the paths of the files of manifests, in their order: of as many manifests as have `max` files together, and of one
    /// at least. A manifest that cannot be read has none.
    pub async fn paths_of(&self, manifests: Vec<Digest>, max: usize) -> Vec<Vec<SafePath>> {
        self.resolver.paths_of(manifests, max).await
    }

    /// Returns the view of a tag from the store alone, even if peers know a newer record; `None` where the store lacks it.
    pub async fn view_here(
        &self,
        publisher: &Publisher,
        model: &ModelName,
        tag: &Tag,
    ) -> Result<Option<Arc<ModelView>>, ViewError> {
        Box::pin(self.resolver.view_here(publisher, model, tag)).await
    }

    /// Returns the id of a publisher, which may be named by its petname.
    pub async fn publisher(&self, publisher: &Publisher) -> Result<PublisherId, TrustError> {
        self.resolver.publisher(publisher).await
    }

    /// Returns the kinds of files that the user lets gateways take and serve although they are more than data.
    pub fn consent(&self) -> &Consent {
        &self.resolver.consent
    }

    /// Returns the metadata of a model, of those of its files that are in the store; `None` where there are none.
    pub async fn metadata(&self, view: &Arc<ModelView>) -> Option<Metadata> {
        self.resolver.metadata(view).await
    }
}

/// Commits the index from time to time.
async fn commit_index(store: Store) {
    let mut due = tokio::time::interval(HOUSEKEEPING);
    due.tick().await;
    loop {
        due.tick().await;
        let store = store.clone();
        drop(tokio::task::spawn_blocking(move || store.commit()).await);
    }
}
