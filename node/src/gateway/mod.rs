//! The gateways: HTTP in three dialects before the registry's use cases, and the guard before all of them.
//!
//! In: requests of clients. Out: the answers of the registry in the client's dialect. Each dialect is a folder and one
//! `merge` in [`router`]: `admin` for the command line, `page` for a browser, `hf` for Hugging Face's clients, `oci` for OCI's
//! and Ollama. A request that changes anything needs the token, a tab's token, or the socket.

pub mod admin;
mod hf;
mod oci;
mod page;

mod base_url;
mod behind;
mod blob;
pub mod guard;
mod metrics;
mod owner;
mod refused;
pub mod server;
mod signer;
mod unknown;
mod uploads;

use axum::Router;

pub use self::page::{Page, PageTokens};
pub use self::signer::Signer;
use crate::metrics::Dialect;
use crate::registry::Registry;
use crate::registry::upstream::Upstream;

/// Returns the routes of every dialect. `signer` signs uploads; without it, they are refused. `upstream` is asked for
/// repositories of unknown publishers. `page` holds what tabs share.
pub fn router(registry: Registry, signer: Option<Signer>, upstream: Option<Upstream>, page: Page) -> Router {
    Router::new()
        .merge(metrics::of(Dialect::Api, admin::router(registry.clone())))
        .merge(metrics::of(Dialect::Api, metrics::router(registry.clone())))
        .merge(metrics::of(Dialect::Page, page::router(registry.clone(), page)))
        .merge(metrics::of(Dialect::Uploads, uploads::router(registry.clone())))
        .merge(metrics::of(Dialect::HuggingFace, hf::router(registry.clone(), signer.clone(), upstream)))
        .merge(metrics::of(Dialect::Oci, oci::router(registry, signer)))
        .method_not_allowed_fallback(unknown::method)
        .fallback(unknown::path)
}
