//! `reg import`: publishes a repository from a Hugging Face endpoint, or from the cache of its clients.

use std::process::ExitCode;

use reg_api::report::{ImportedRepository, Published};
use reg_api::request::{HubCache, ImportRequest, Origin, PublishRequest, PublishSource};
use reg_node::daemon::{Gateway, Home};
use reg_proto::name::{ModelName, Tag};
use serde_json::json;

use crate::args::{Global, Import, ImportFrom};
use crate::client::{Client, home};
use crate::command::import_signed;
use crate::command::keyring::{keyring, keyring_error};
use crate::command::publish::sign_and_commit;
use crate::command::published;
use crate::error::CliError;
use crate::hugging_face::{self, ImportSource, ImportWhat};
use crate::output::{self, size};

pub async fn run(global: &Global, args: Import) -> Result<ExitCode, CliError> {
    let source = match &args.source {
        ImportWhat::Directory(dir) => return import_signed::run(global, &args, dir).await,
        ImportWhat::Repository(source) => source.clone(),
    };
    let home = home(global)?;
    home.make().map_err(|error| CliError::from_error("other", &error))?;
    let key = keyring(&home).load(&args.key).map_err(keyring_error)?;
    let (model, tag) = named(&args, &source)?;
    let from = From::of(&home, args.from, &source)?;
    let client = Client::open_to_publish(global, &args.net).await?;
    let work = async {
        let (imported, origin) = from.fetch(&client).await?;
        let (blobs, documents) = (PublishSource::Blobs(imported.files.clone()), key.key_documents().to_vec());
        let request = PublishRequest {
            allow_unsafe: args.allow_unsafe,
            origin: origin.clone(),
            ..PublishRequest::new(blobs, documents, model, tag)
        };
        let published = sign_and_commit(&client, &key, request).await?;
        Ok::<_, CliError>((imported, origin, published))
    };
    let done = tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => {
            Err(CliError::interrupted("run the same command again: what was fetched is kept"))
        }
    };
    let is_daemon = client.is_daemon();
    client.close().await;
    let (imported, origin, published) = done?;
    report(global, &source, &imported, origin.as_ref(), &published, is_daemon)?;
    Ok(output::ok())
}

/// Returns the name and tag to publish under: the ones that were typed, else the repository's name and `latest`.
fn named(args: &Import, source: &ImportSource) -> Result<(ModelName, Tag), CliError> {
    if let Some(named) = &args.model {
        return Ok(named.clone());
    }
    let name = source.repository.name();
    let model = name.parse().map_err(|error| {
        CliError::new("invalid", format_args!("{name:?} cannot be the model's name: {error}"))
            .hint("give a name after the source, as in `reg import hf:org/name my-name --key me`")
    })?;
    Ok((model, Tag::latest()))
}

/// The source of an import.
enum From {
    Endpoint(ImportRequest),
    Cache(HubCache),
}

impl From {
    fn of(home: &Home, from: Option<ImportFrom>, source: &ImportSource) -> Result<Self, CliError> {
        let ImportSource { is_remote, repository, revision } = source.clone();
        match (from, is_remote) {
            (Some(ImportFrom::HfCache), _) => {
                let dir = hugging_face::cache_dir().ok_or_else(|| {
                    CliError::new("invalid", "no home directory is known").hint("set HF_HOME to a folder")
                })?;
                Ok(Self::Cache(HubCache { dir, repository, revision }))
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
                Ok(Self::Endpoint(ImportRequest { endpoint, repository, revision, token }))
            }
            (None, false) => {
                Err(CliError::new("invalid", format_args!("{repository} does not name its source")).hint(
                    format_args!(
                        "type hf:{repository} for a Hugging Face endpoint, or add --from hf-cache for the cache of its \
                         clients"
                    ),
                ))
            }
        }
    }

    /// Has the node copy the files into its store; returns them, and their origin if it is known.
    ///
    /// A cache does not record the endpoint that its files came from, so an import from it attests no origin.
    async fn fetch(self, client: &Client) -> Result<(ImportedRepository, Option<Origin>), CliError> {
        match self {
            Self::Endpoint(request) => {
                let imported: ImportedRepository = client.stream("/v1/import/repository", &request).await?;
                let ImportRequest { endpoint, repository, .. } = request;
                let origin = Origin { endpoint, repository, commit: imported.commit.clone() };
                Ok((imported, Some(origin)))
            }
            Self::Cache(cache) => Ok((client.stream("/v1/import/hub-cache", &cache).await?, None)),
        }
    }
}

fn report(
    global: &Global,
    source: &ImportSource,
    imported: &ImportedRepository,
    origin: Option<&Origin>,
    published: &Published,
    is_daemon: bool,
) -> Result<(), CliError> {
    let more = json!({
        "bytes_fetched": imported.bytes_fetched,
        "repository": source.repository,
        "commit": imported.commit,
        "endpoint": origin.map(|it| &it.endpoint),
    });
    let repository = &source.repository;
    let lines = match origin {
        Some(Origin { endpoint, commit, .. }) => vec![
            format!("from {endpoint}/{repository} at {commit}; your key has attested this origin"),
            format!("{} fetched", size(imported.bytes_fetched)),
        ],
        None => vec![format!("from the cache of {repository} at {}", imported.commit)],
    };
    published::report(global, published, more, lines, is_daemon)
}
