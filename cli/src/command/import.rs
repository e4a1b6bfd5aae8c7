//! `reg import`: publishes a repository from a Hugging Face endpoint, or models from the store of another tool.

use std::process::ExitCode;

use reg_api::adopt::{
    AdoptRequest, Adoptable, Found, FoundModels, ImportPlanRequest, OllamaName, OtherStore,
};
use reg_api::consent::{Acceptance, Consent};
use reg_api::ingest::{Ingest, IngestPlan, LeftOutList};
use reg_api::report::ImportedRepository;
use reg_api::request::{HubCache, ImportRequest, Origin, PublishRequest, PublishSource};
use reg_keys::publisher_key::PublisherKey;
use reg_node::daemon::{Gateway, Home};
use reg_proto::name::{ModelName, Tag};
use serde_json::{Value, json};

use crate::args::{Global, Import, ImportFrom};
use crate::client::{Client, home};
use crate::command::keyring::{keyring, keyring_error};
use crate::command::publish::{Done, sign_and_commit};
use crate::command::published::{self, Several};
use crate::command::{import_archive, import_signed};
use crate::error::CliError;
use crate::hugging_face::{self, ImportSource, ImportWhat};
use crate::left_out;
use crate::ollama;
use crate::output::{self, size};

pub async fn run(global: &Global, args: Import) -> Result<ExitCode, CliError> {
    match &args.source {
        Some(ImportWhat::Archive(path)) => return import_archive::run(global, &args, path).await,
        Some(ImportWhat::Directory(dir)) => {
            needs_key(&args)?;
            return import_signed::run(global, &args, dir).await;
        }
        _ => needs_key(&args)?,
    }
    let home = home(global)?;
    home.make().map_err(|error| CliError::from_error("other", &error))?;
    let key = args.key.as_ref().map(|key| keyring(&home).load(key).map_err(keyring_error)).transpose()?;
    let Some(what) = &args.source else { return import_all(global, &args, key.as_ref()).await };
    let from = From::of(&home, &args, what)?;
    let (model, tag) = named(&args, &from)?;
    let from = from.published_as(key.as_ref(), &model);
    let client = Client::open_to_publish(global, &args.net).await?;
    let work = async {
        match &key {
            Some(key) if !args.files.dry_run => {
                import_one(&client, key, from, (model, tag), &args).await.map(Some)
            }
            _ => show_plan(global, &client, from, (&model, &tag)).await.map(|()| None),
        }
    };
    let done = tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => {
            Err(CliError::interrupted_transfer())
        }
    };
    let is_daemon = client.is_daemon();
    client.close().await;
    if let Some(imported) = done? {
        let (more, lines) = imported.about();
        published::report(global, &imported.done, more, lines, is_daemon)?;
    }
    Ok(output::ok())
}

/// Refuses an import that would be published without a key to sign it.
fn needs_key(args: &Import) -> Result<(), CliError> {
    match args.key {
        None if !args.files.dry_run => {
            Err(CliError::new("invalid", "no key is named to sign what is published").hint(
                "add --key NAME (`reg key new NAME` makes one); an archive of `reg export` is a file that ends with .tar, or a \
                 directory with oci-layout",
            ))
        }
        _ => Ok(()),
    }
}

/// Imports every model of the store of another tool. One that fails does not keep the others back.
async fn import_all(
    global: &Global,
    args: &Import,
    key: Option<&PublisherKey>,
) -> Result<ExitCode, CliError> {
    let store = match args.from {
        Some(ImportFrom::Ollama) => OtherStore::Ollama(dir_of(ollama::models_dir())?),
        _ => OtherStore::HubCache(dir_of(hugging_face::cache_dir())?),
    };
    let client = Client::open_to_publish(global, &args.net).await?;
    let FoundModels { models, skipped } = client.post("/v1/import/found", &store).await?;
    let mut several = Several::new(global);
    several.skipped(skipped);
    for Found { source, model, tag } in models {
        let shown = source.to_string();
        let adopt = AdoptRequest { model: source, ingest: ingest(args), accepted: accepted(args) };
        let from = From::Store(adopt).published_as(key, &model);
        let result = match key {
            Some(key) if !args.files.dry_run => {
                import_one(&client, key, from, (model, tag), args).await.map(Some)
            }
            _ => plan_of(&client, from).await.and_then(|plan| {
                let document =
                    left_out::document(&plan, json!({ "source": shown, "model": model, "tag": tag }));
                several.plan(&shown, &plan, document).map(|()| None)
            }),
        };
        match result {
            Ok(Some(imported)) => {
                let (more, lines) = imported.about();
                several.add(&imported.done, more, lines)?;
            }
            Ok(None) => {}
            Err(error) => several.failed(&shown, error)?,
        }
    }
    let is_daemon = client.is_daemon();
    client.close().await;
    several.end(is_daemon || args.files.dry_run)
}

fn ingest(args: &Import) -> Ingest {
    args.files.ingest(true)
}

fn accepted(args: &Import) -> Acceptance {
    let consent = Consent::new(args.allow_unsafe, args.allow.iter().copied().collect());
    Acceptance { consent, incomplete: args.incomplete, model: None }
}

fn dir_of(dir: Option<std::path::PathBuf>) -> Result<std::path::PathBuf, CliError> {
    dir.ok_or_else(|| {
        CliError::new("invalid", "no home directory is known")
            .hint("set HF_HOME or OLLAMA_MODELS to a folder")
    })
}

/// Returns the name and tag to publish under: the ones that were typed, else those of the source.
fn named(args: &Import, from: &From) -> Result<(ModelName, Tag), CliError> {
    if let Some(named) = &args.model {
        return Ok(named.clone());
    }
    let (name, tag) = from.name();
    let model = name.parse().map_err(|error| {
        CliError::new("invalid", format_args!("{name:?} cannot be the model's name: {error}"))
            .hint("give a name after the source, as in `reg import hf:org/name my-name --key me`")
    })?;
    let tag = tag.parse().map_err(|error| {
        CliError::new("invalid", format_args!("{tag:?} cannot be the model's tag: {error}"))
            .hint("give a name and a tag after the source, as in `reg import --from ollama NAME my-name:v1 --key me`")
    })?;
    Ok((model, tag))
}

/// The source of an import.
enum From {
    Endpoint(ImportRequest),
    Store(AdoptRequest),
}

/// A model that was imported and published.
struct Imported {
    done: Done,
    from: String,
    repository: ImportedRepository,
    origin: Option<Origin>,
}

impl From {
    fn of(home: &Home, args: &Import, what: &ImportWhat) -> Result<Self, CliError> {
        let (ingest, accepted) = (ingest(args), accepted(args));
        let store =
            |model| Self::Store(AdoptRequest { model, ingest: ingest.clone(), accepted: accepted.clone() });
        let source = match (args.from, what) {
            (Some(ImportFrom::Ollama), what) => {
                let (dir, name) = (dir_of(ollama::models_dir())?, ollama_name(what)?);
                return Ok(store(Adoptable::Ollama { dir, name }));
            }
            (_, ImportWhat::Repository(source)) => source.clone(),
            (_, ImportWhat::Ollama(name)) => {
                let text = format!("{name} does not name its source");
                return Err(CliError::new("invalid", text)
                    .hint(format_args!("add --from ollama for the model {name} of Ollama's store")));
            }
            (_, ImportWhat::Directory(dir) | ImportWhat::Archive(dir)) => {
                return Err(CliError::new("invalid", format_args!("{} is no repository", dir.display())));
            }
        };
        let ImportSource { is_remote, repository, revision } = source;
        match (args.from, is_remote) {
            (Some(_), _) => {
                let dir = dir_of(hugging_face::cache_dir())?;
                Ok(store(Adoptable::HubCache(HubCache { dir, repository, revision })))
            }
            (None, true) => {
                let endpoint = hugging_face::endpoint();
                let own = Gateway::of(home).is_ok_and(|it| endpoint == format!("http://{}", it.address));
                if own {
                    return Err(CliError::new(
                        "invalid",
                        format_args!("HF_ENDPOINT is this node: {endpoint}"),
                    )
                    .hint("unset HF_ENDPOINT and HF_TOKEN, which `reg env hf` has set"));
                }
                let token = hugging_face::token();
                Ok(Self::Endpoint(ImportRequest { endpoint, repository, revision, token, accepted, ingest }))
            }
            (None, false) => {
                Err(CliError::new("invalid", format_args!("{repository} does not name its source")).hint(
                    format_args!(
                        "type hf:{repository} for a Hugging Face endpoint, or add --from hf-cache for the cache of its \
                         clients, or --from ollama"
                    ),
                ))
            }
        }
    }

    /// Says which model the files become: what the user's rules allow of it is accepted.
    fn published_as(mut self, key: Option<&PublisherKey>, model: &ModelName) -> Self {
        let accepted = match &mut self {
            Self::Endpoint(request) => &mut request.accepted,
            Self::Store(request) => &mut request.accepted,
        };
        accepted.model = key.map(|key| (key.publisher_id(), model.clone()));
        self
    }

    /// Returns the name of the model at its source, and its tag.
    fn name(&self) -> (String, String) {
        match self {
            Self::Endpoint(request) => (request.repository.name().to_owned(), "latest".to_owned()),
            Self::Store(AdoptRequest { model: Adoptable::HubCache(cache), .. }) => {
                (cache.repository.name().to_owned(), "latest".to_owned())
            }
            Self::Store(AdoptRequest { model: Adoptable::Ollama { name, .. }, .. }) => {
                (name.model.clone(), name.tag.clone())
            }
        }
    }

    /// Has the node take the files into its store; returns them, and their origin if it is known.
    ///
    /// The store of another tool does not say which endpoint its files came from, so an import from it attests no origin.
    async fn fetch(self, client: &Client) -> Result<(ImportedRepository, Option<Origin>), CliError> {
        match self {
            Self::Endpoint(request) => {
                let imported: ImportedRepository = client.stream("/v1/import/repository", &request).await?;
                let ImportRequest { endpoint, repository, .. } = request;
                let origin = Origin { endpoint, repository, commit: imported.commit.clone() };
                Ok((imported, Some(origin)))
            }
            Self::Store(request) => Ok((client.stream("/v1/import/adopt", &request).await?, None)),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Endpoint(request) => request.repository.to_string(),
            Self::Store(request) => request.model.to_string(),
        }
    }
}

/// Reads the name of a model of Ollama. Most of them read as repositories too.
fn ollama_name(what: &ImportWhat) -> Result<OllamaName, CliError> {
    match what {
        ImportWhat::Ollama(name) => Ok(name.clone()),
        ImportWhat::Repository(source) if !source.is_remote => {
            source.repository.as_str().parse().map_err(|error| CliError::from_error("invalid", &error))
        }
        _ => Err(CliError::new("invalid", "the source is not a model of Ollama")
            .hint("name it as `ollama list` does: reg import --from ollama llama3.2:3b --key me")),
    }
}

async fn plan_of(client: &Client, from: From) -> Result<IngestPlan, CliError> {
    let request = match from {
        From::Endpoint(request) => ImportPlanRequest::Repository(request),
        From::Store(request) => ImportPlanRequest::Adopt(request),
    };
    client.post("/v1/import/plan", &request).await
}

async fn show_plan(
    global: &Global,
    client: &Client,
    from: From,
    (model, tag): (&ModelName, &Tag),
) -> Result<(), CliError> {
    let source = from.shown();
    let plan = plan_of(client, from).await?;
    if global.json {
        return output::json(&left_out::document(
            &plan,
            json!({ "source": source, "model": model, "tag": tag }),
        ));
    }
    left_out::print(global, &plan)
}

async fn import_one(
    client: &Client,
    key: &PublisherKey,
    from: From,
    (model, tag): (ModelName, Tag),
    args: &Import,
) -> Result<Imported, CliError> {
    let shown = from.shown();
    let (mut repository, origin) = from.fetch(client).await?;
    let (blobs, documents) = (PublishSource::Blobs(repository.files.clone()), key.key_documents().to_vec());
    let request = PublishRequest {
        allow_unsafe: args.allow_unsafe,
        allow: args.allow.iter().copied().collect(),
        incomplete: args.incomplete,
        origin: origin.clone(),
        ..PublishRequest::new(blobs, documents, model, tag)
    };
    let done = sign_and_commit(client, key, request).await?;
    let left_out: LeftOutList = std::mem::take(&mut repository.left_out);
    Ok(Imported { done: Done { left_out, ..done }, from: shown, repository, origin })
}

impl Imported {
    /// Returns what is reported beside the model: fields for programs, and lines for people.
    fn about(&self) -> (Value, Vec<String>) {
        let Self { from, repository: ImportedRepository { commit, bytes_fetched, .. }, origin, .. } = self;
        let more = json!({
            "bytes_fetched": bytes_fetched,
            "repository": from,
            "commit": commit,
            "endpoint": origin.as_ref().map(|it| &it.endpoint),
        });
        let lines = match origin {
            Some(Origin { endpoint, .. }) => vec![
                format!("from {endpoint}/{from} at {commit}; your key has attested this origin"),
                format!("{} fetched", size(*bytes_fetched)),
            ],
            None => vec![format!("from the store of another tool: {from} at {commit}")],
        };
        (more, lines)
    }
}
