//! Lists the files of a version: `tree` of a folder, `paths-info` of some paths. Answers on one page, because some
//! clients do not follow `Link`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use reg_proto::digest::Digest;
use reg_proto::manifest::ModelFile;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::HfError;
use super::name::{At, COMMIT_DIGITS, commit};
use super::oid::{Oid, pointer};
use super::query::Flag;
use super::state::HfGateway;
use super::time::iso_time;
use crate::gateway::behind::header;
use crate::registry::resolve::ModelView;

#[derive(Debug, Deserialize)]
pub(super) struct TreeQuery {
    #[serde(default)]
    recursive: Flag,
    #[serde(default)]
    expand: Flag,
}

/// `GET /api/models/{owner}/{model}/tree/{revision}`.
pub(super) async fn root(
    State(hub): State<HfGateway>,
    Path(at): Path<At>,
    Query(query): Query<TreeQuery>,
) -> Result<(HeaderMap, Json<Vec<Value>>), HfError> {
    tree(&hub, &at, &query).await
}

/// `GET /api/models/{owner}/{model}/tree/{revision}/{path}`.
pub(super) async fn folder(
    State(hub): State<HfGateway>,
    Path(at): Path<At>,
    Query(query): Query<TreeQuery>,
) -> Result<(HeaderMap, Json<Vec<Value>>), HfError> {
    tree(&hub, &at, &query).await
}

async fn tree(hub: &HfGateway, at: &At, query: &TreeQuery) -> Result<(HeaderMap, Json<Vec<Value>>), HfError> {
    let view = match hub.view(at).await {
        Err(HfError::RevisionNotFound(_)) if hub.is_empty_branch(at).await => {
            return Ok((HeaderMap::new(), Json(Vec::new())));
        }
        view => view?,
    };
    let folder = at.path.trim_matches('/');
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let inside: Vec<&ModelFile> =
        view.manifest().files().iter().filter(|file| file.path.as_str().starts_with(&prefix)).collect();
    if inside.is_empty() {
        return Err(HfError::no_entry(&view, folder));
    }
    let is_shown = |path: &str| query.recursive.0 || !path[prefix.len()..].contains('/');
    let oids = hub.plain_oids(&view).await?;
    let folders: BTreeSet<String> = inside.iter().flat_map(|file| folders_of(file.path.as_str())).collect();
    let folders = folders.iter().filter(|it| it.starts_with(&prefix) && is_shown(it));
    let mut entries: Vec<Value> = folders.map(|path| folder_entry(path)).collect();
    let files = inside.into_iter().filter(|file| is_shown(file.path.as_str()));
    entries.extend(files.map(|file| file_entry(file, &oids)));
    if query.expand.0 {
        entries.iter_mut().for_each(|entry| expand(entry, &view));
    }
    Ok((header(view.behind.as_ref()), Json(entries)))
}

/// Returns every folder above a path, without the root.
fn folders_of(path: &str) -> impl Iterator<Item = String> + '_ {
    path.match_indices('/').map(|(end, _)| path[..end].to_owned())
}

fn folder_entry(path: &str) -> Value {
    let oid: String = Digest::of(path.as_bytes()).hex().chars().take(COMMIT_DIGITS).collect();
    json!({ "type": "directory", "path": path, "oid": oid, "size": 0 })
}

fn file_entry(file: &ModelFile, oids: &BTreeMap<Digest, Oid>) -> Value {
    let (path, size) = (file.path.as_str(), file.layout.size());
    match oids.get(&file.digest) {
        Some(oid) => json!({ "type": "file", "path": path, "oid": oid.etag(), "size": size }),
        None => {
            let pointer = pointer(&file.digest, size);
            // Git's oid is the hash of the pointer. No client checks it, so any hash that differs for each file will
            // do.
            let oid: String = file.digest.hex().chars().take(COMMIT_DIGITS).collect();
            let lfs = json!({ "oid": file.digest.hex(), "size": size, "pointerSize": pointer.len() });
            json!({ "type": "file", "path": path, "oid": oid, "size": size, "lfs": lfs })
        }
    }
}

fn expand(entry: &mut Value, view: &ModelView) {
    let last = json!({ "id": commit(&view.digest()), "title": "published", "date": iso_time(view.issued()) });
    entry["lastCommit"] = last;
    entry["securityFileStatus"] = Value::Null;
}

#[derive(Debug, Default, Deserialize)]
struct PathsRequest {
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    expand: bool,
}

/// `POST /api/models/{owner}/{model}/paths-info/{revision}`: a form from Python, JSON from JavaScript.
pub(super) async fn paths(
    State(hub): State<HfGateway>,
    Path(at): Path<At>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, HfError> {
    let kind = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let request = if kind.starts_with("application/json") {
        serde_json::from_slice(&body).map_err(|error| HfError::Invalid(error.to_string()))?
    } else {
        read_form(&body)
    };
    let view = hub.view(&at).await?;
    let oids = hub.plain_oids(&view).await?;
    let mut entries: Vec<Value> = request.paths.iter().filter_map(|path| entry(&view, path, &oids)).collect();
    if request.expand {
        entries.iter_mut().for_each(|entry| expand(entry, &view));
    }
    Ok((header(view.behind.as_ref()), Json(entries)).into_response())
}

fn read_form(body: &[u8]) -> PathsRequest {
    let mut request = PathsRequest::default();
    for (name, value) in form_urlencoded::parse(body) {
        match name.as_ref() {
            "paths" => request.paths.push(value.into_owned()),
            "expand" => request.expand = matches!(value.as_ref(), "true" | "True" | "1"),
            _ => {}
        }
    }
    request
}

fn entry(view: &Arc<ModelView>, path: &str, oids: &BTreeMap<Digest, Oid>) -> Option<Value> {
    let path = path.trim_matches('/');
    if let Some(file) = path.parse().ok().and_then(|path| view.file(&path)) {
        return Some(file_entry(file, oids));
    }
    let prefix = format!("{path}/");
    let mut files = view.manifest().files().iter();
    files.any(|file| file.path.as_str().starts_with(&prefix)).then(|| folder_entry(path))
}
