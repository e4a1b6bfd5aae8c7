//! Describes a repository: `GET /api/models/…`.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Uri};
use reg_proto::content::metadata::Metadata;
use reg_proto::digest::Digest;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::HfError;
use super::name::{At, Repo, commit};
use super::oid::Oid;
use super::query::Flag;
use super::refs::NO_COMMIT;
use super::state::HfGateway;
use super::time::iso_time;
use crate::gateway::behind::header;
use crate::registry::resolve::ModelView;

#[derive(Debug, Deserialize)]
pub(super) struct InfoQuery {
    /// Whether the answer gives the sizes and hashes of the files.
    #[serde(default)]
    blobs: Flag,
}

/// `GET /api/models/{owner}/{model}`.
pub(super) async fn default(
    State(hub): State<HfGateway>,
    Path(repo): Path<Repo>,
    Query(query): Query<InfoQuery>,
) -> Result<(HeaderMap, Json<Value>), HfError> {
    info(&hub, &At::main(repo), &query).await
}

/// Answers all requests for a name without an owner that no upstream has answered: every publisher's model has an
/// owner.
pub(super) async fn without_owner(uri: Uri) -> HfError {
    HfError::RepoNotFound(format!("{}: a repository of this node has an owner before its name", uri.path()))
}

/// `GET /api/models/{owner}/{model}/revision/{revision}`.
pub(super) async fn at(
    State(hub): State<HfGateway>,
    Path(at): Path<At>,
    Query(query): Query<InfoQuery>,
) -> Result<(HeaderMap, Json<Value>), HfError> {
    info(&hub, &at, &query).await
}

async fn info(hub: &HfGateway, at: &At, query: &InfoQuery) -> Result<(HeaderMap, Json<Value>), HfError> {
    let view = match hub.view(at).await {
        Err(HfError::RevisionNotFound(_)) if hub.is_empty_branch(at).await => {
            return Ok((HeaderMap::new(), Json(empty(&at.id()))));
        }
        view => view?,
    };
    let metadata = hub.registry().metadata(&view).await;
    let mut info = summary(&at.id(), &Version::of(&view), metadata.as_ref());
    info.insert("siblings".to_owned(), siblings(hub, &view, query.blobs.0).await?);
    Ok((header(view.behind.as_ref()), Json(Value::Object(info))))
}

async fn siblings(
    hub: &HfGateway,
    view: &std::sync::Arc<ModelView>,
    with_blobs: bool,
) -> Result<Value, HfError> {
    let files = view.manifest().files();
    if !with_blobs {
        return Ok(files.iter().map(|file| json!({ "rfilename": file.path.as_str() })).collect());
    }
    let oids = hub.plain_oids(view).await?;
    let sibling = |file: &reg_proto::manifest::ModelFile| {
        let size = file.layout.size();
        let oid = oids.get(&file.digest).cloned().unwrap_or(Oid::Lfs(file.digest));
        let mut sibling = json!({ "rfilename": file.path.as_str(), "size": size, "blobId": oid.etag() });
        if let Oid::Lfs(digest) = oid {
            let pointer = crate::gateway::hf::oid::pointer(&digest, size).len();
            sibling["lfs"] = json!({ "sha256": digest.hex(), "size": size, "pointerSize": pointer });
        }
        sibling
    };
    Ok(files.iter().map(sibling).collect())
}

/// Describes a repository that a client has created, and that has no version yet.
fn empty(id: &str) -> Value {
    let when = iso_time(0);
    json!({
        "_id": &NO_COMMIT[..24], "id": id, "modelId": id, "author": id.split('/').next(), "sha": NO_COMMIT,
        "createdAt": when, "lastModified": when, "private": false, "gated": false, "disabled": false,
        "downloads": 0, "likes": 0, "usedStorage": 0, "tags": [], "siblings": [],
    })
}

/// The version of a repository that is described.
#[derive(Debug, Clone, Copy)]
pub(super) struct Version {
    pub(super) digest: Digest,
    /// When it was signed, in seconds since 1970.
    pub(super) issued: u64,
    pub(super) bytes: u64,
}

impl Version {
    pub(super) fn of(view: &ModelView) -> Self {
        Self { digest: view.digest(), issued: view.issued(), bytes: view.manifest().total_bytes() }
    }
}

/// Returns the description of a repository, without its files.
pub(super) fn summary(id: &str, version: &Version, metadata: Option<&Metadata>) -> Map<String, Value> {
    let when = iso_time(version.issued);
    let owner = id.split('/').next().unwrap_or_default();
    let sha = commit(&version.digest);
    let mut info = Map::new();
    let plain = json!({
        "_id": &sha[..24], "id": id, "modelId": id, "author": owner, "sha": sha,
        "createdAt": when, "lastModified": when,
        "private": false, "gated": false, "disabled": false, "downloads": 0, "likes": 0,
        "usedStorage": version.bytes,
        "tags": tags(metadata), "pipeline_tag": null, "library_name": null,
    });
    info.extend(plain.as_object().cloned().unwrap_or_default());
    let Some(Metadata { computed, claimed }) = metadata else { return info };
    info.insert("pipeline_tag".to_owned(), json!(claimed.pipeline_tag));
    info.insert("library_name".to_owned(), json!(claimed.library_name));
    let mut card = Map::new();
    if let [license] = claimed.licenses.as_slice() {
        card.insert("license".to_owned(), json!(license));
    }
    for (name, values) in [("base_model", &claimed.base_models), ("language", &claimed.languages)] {
        if !values.is_empty() {
            card.insert(name.to_owned(), json!(values));
        }
    }
    card.insert("pipeline_tag".to_owned(), json!(claimed.pipeline_tag));
    card.insert("library_name".to_owned(), json!(claimed.library_name));
    card.insert("tags".to_owned(), json!(claimed.tags));
    info.insert("cardData".to_owned(), Value::Object(card));
    let config = json!({ "architectures": computed.architecture.as_ref().map(|it| [it]), "model_type": computed.model_type });
    info.insert("config".to_owned(), config);
    if let Some(total) = computed.parameters {
        for set in &computed.weights {
            match set.format.name() {
                "safetensors" => {
                    let parameters = json!({ "parameters": set.elements, "total": total });
                    info.insert("safetensors".to_owned(), parameters);
                }
                "gguf" => {
                    let gguf = json!({
                        "total": total, "architecture": computed.architecture,
                        "context_length": computed.context_length,
                    });
                    info.insert("gguf".to_owned(), gguf);
                }
                _ => {}
            }
        }
    }
    info
}

/// Returns the tags that the Hub shows: those of the model card, its licence, and the formats of the files.
pub(super) fn tags(metadata: Option<&Metadata>) -> Vec<String> {
    let Some(Metadata { computed, claimed }) = metadata else { return Vec::new() };
    let said = claimed
        .library_name
        .iter()
        .chain(&claimed.tags)
        .chain(&claimed.pipeline_tag)
        .chain(&claimed.languages);
    let formats = computed.formats.iter().map(|kind| kind.name().to_owned());
    let licenses = claimed.licenses.iter().map(|it| format!("license:{it}"));
    let bases = claimed.base_models.iter().map(|it| format!("base_model:{it}"));
    let mut tags: Vec<String> =
        said.map(ToString::to_string).chain(formats).chain(licenses).chain(bases).collect();
    let mut seen = std::collections::BTreeSet::new();
    tags.retain(|tag| seen.insert(tag.clone()));
    tags
}
