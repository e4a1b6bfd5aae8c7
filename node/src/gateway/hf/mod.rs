//! The Hugging Face Hub API, as its clients use it: a publisher's model is a repository, a manifest is a commit.
//!
//! What each client sends was found out by running it. A namespace is a publisher id or a petname of the user; any
//! other goes to the [`upstream`]. The branch `main` is the tag `latest`. A commit is the first 40 hex digits of a
//! manifest's digest.

mod info;
mod listed;
mod listing;
mod people;
mod search;
mod search_query;

pub(super) mod elsewhere;

mod file;
mod upstream;

mod lfs;
mod ndjson;
mod refs;
mod repos;
mod upload;

mod branch_turns;
mod created;
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
use axum::routing::{delete, get, post, put};

use self::state::{BODY_BYTES_MAX, HfGateway};
use super::signer::Signer;
use crate::registry::Registry;
use crate::registry::upstream::Upstream;

/// Returns the routes of this dialect.
pub(super) fn router(registry: Registry, signer: Option<Signer>, upstream: Option<Upstream>) -> Router {
    let hub = HfGateway::new(registry, signer, upstream);
    Router::new()
        .route("/api/models", get(search::search))
        .route("/api/whoami-v2", get(people::whoami))
        .route("/api/users/{user}/overview", get(people::overview))
        .route("/api/organizations/{organization}/overview", get(people::organization))
        .route("/api/models-tags-by-type", get(elsewhere::tags_by_type))
        .route("/api/models/{owner}/{model}", get(info::default))
        .route("/api/models/{owner}/{model}/revision/{revision}", get(info::at))
        .route("/api/models/{owner}/{model}/refs", get(refs::list))
        .route("/api/models/{owner}/{model}/commits/{revision}", get(refs::commits))
        .route(
            "/api/models/{owner}/{model}/branch/{revision}",
            post(refs::create_branch).delete(refs::forget),
        )
        .route("/api/models/{owner}/{model}/tag/{revision}", post(refs::create_tag).delete(refs::forget))
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
        .route("/api/repos/create", post(repos::create))
        .route("/api/repos/delete", delete(repos::delete))
        .route("/api/repos/move", post(repos::rename))
        .route("/api/models/{owner}/{model}/settings", put(repos::settings))
        .route("/api/models/{owner}/{model}/super-squash/{revision}", post(repos::super_squash))
        .route("/api/models/{owner}/{model}/duplicate", post(repos::duplicate))
        .route("/api/models/{owner}/{model}/lfs-files/duplicate", post(repos::duplicate))
        .route("/api/models/{owner}/{model}/lfs-files", get(lfs::files))
        .route("/api/models/{owner}/{model}/lfs-files/batch", post(repos::delete_files))
        .route("/api/models/{owner}/{model}/auth-check", get(repos::may_read))
        .route("/api/models/{owner}/{model}/auth-check/write", get(repos::may_write))
        .route("/api/models/{owner}/{model}/discussions", get(repos::discussions).post(repos::discuss))
        .route("/{owner}/{model}/info/refs", get(lfs::git))
        .route("/{owner}/{model}/git-upload-pack", post(lfs::git))
        .route("/{owner}/{model}/git-receive-pack", post(lfs::git))
        .route("/api/validate-yaml", post(upload::validate_yaml))
        .route("/api/models/{owner}/{model}/preupload/{revision}", post(upload::preupload))
        .route("/{owner}/{model}/info/lfs/objects/batch", post(lfs::batch))
        .route(
            "/api/models/{owner}/{model}/commit/{revision}",
            // It is read as it comes, and nothing of it stays in memory.
            post(upload::commit_files).layer(DefaultBodyLimit::disable()),
        )
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(hub.clone(), upstream::pass_on))
        .with_state(hub)
}
