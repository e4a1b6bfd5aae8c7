//! The Hugging Face Hub API, as its clients use it: a publisher's model is a repository, a manifest is a commit.
//!
//! What each client sends was found out by running it. A namespace is a publisher id or a petname of the user; any
//! other goes to the [`upstream`]. The branch `main` is the tag `latest`. A commit is the first 40 hex digits of a
//! manifest's digest.

mod info;
mod listing;
mod search;

mod file;
mod upstream;

mod lfs;
mod upload;

mod find;
mod state;

mod error;
mod name;
mod oid;
mod query;
mod time;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};

use self::state::{BODY_BYTES_MAX, HfGateway};
use super::signer::Signer;
use crate::registry::Registry;
use crate::registry::upstream::Upstream;

/// Bytes of a commit: a thousand files of the largest size that is sent within it, in base64.
const COMMIT_BYTES_MAX: usize = 96 << 20;

/// Returns the routes of this dialect.
pub(super) fn router(registry: Registry, signer: Option<Signer>, upstream: Option<Upstream>) -> Router {
    let hub = HfGateway::new(registry, signer, upstream);
    Router::new()
        .route("/api/models", get(search::search))
        .route("/api/whoami-v2", get(search::whoami))
        .route("/api/models/{owner}/{model}", get(info::default))
        .route("/api/models/{owner}/{model}/revision/{revision}", get(info::at))
        .route("/api/models/{owner}/{model}/refs", get(info::refs))
        .route("/api/models/{owner}/{model}/tree/{revision}", get(listing::root))
        .route("/api/models/{owner}/{model}/tree/{revision}/{*path}", get(listing::folder))
        .route("/api/models/{owner}/{model}/paths-info/{revision}", post(listing::paths))
        .route("/{owner}/{model}/resolve/{revision}/{*path}", get(file::resolve))
        .route("/{owner}/{model}/raw/{revision}/{*path}", get(file::raw))
        // Names without an owner, as gpt2: only an upstream can have them.
        .route("/api/models/{owner}", get(info::without_owner))
        .route("/api/models/{owner}/revision/{revision}", get(info::without_owner))
        .route("/api/models/{owner}/paths-info/{revision}", post(info::without_owner))
        .route("/api/models/{owner}/tree/{revision}", get(info::without_owner))
        .route("/api/models/{owner}/tree/{revision}/{*path}", get(info::without_owner))
        .route("/{owner}/resolve/{revision}/{*path}", get(info::without_owner))
        .route("/{owner}/raw/{revision}/{*path}", get(info::without_owner))
        .route("/api/repos/create", post(upload::create))
        .route("/api/validate-yaml", post(upload::validate_yaml))
        .route("/api/models/{owner}/{model}/preupload/{revision}", post(upload::preupload))
        .route("/{owner}/{model}/info/lfs/objects/batch", post(lfs::batch))
        .route(
            "/api/models/{owner}/{model}/commit/{revision}",
            post(upload::commit_files).layer(DefaultBodyLimit::max(COMMIT_BYTES_MAX)),
        )
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(hub.clone(), upstream::pass_on))
        .with_state(hub)
}
