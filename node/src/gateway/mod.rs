//! Who may ask the registry for what, in which dialect. One folder for each dialect, and one `merge` here.

pub mod admin;
mod hf;
mod oci;

mod base_url;
mod blob;
pub mod guard;
mod owner;
pub mod server;
mod signer;
mod uploads;

use axum::Router;

pub use self::signer::Signer;
use crate::registry::Registry;
use crate::registry::upstream::Upstream;

/// Returns the routes of every dialect; `signer` signs what is uploaded, without one nothing is taken; `upstream` is
/// asked for what has no publisher that is known here.
pub fn router(registry: Registry, signer: Option<Signer>, upstream: Option<Upstream>) -> Router {
    Router::new()
        .merge(admin::router(registry.clone()))
        .merge(uploads::router(registry.clone()))
        .merge(hf::router(registry.clone(), signer.clone(), upstream))
        .merge(oci::router(registry, signer))
}
