//! Who may ask the registry for what, in which dialect. One folder for each dialect, and one `merge` here.

pub mod admin;
mod hf;
mod oci;

mod blob;
pub mod guard;
mod owner;
pub mod server;
mod signer;
mod uploads;

use axum::Router;

pub use self::signer::Signer;
use crate::registry::Registry;

/// Returns the routes of every dialect; `signer` signs what is uploaded, without one nothing is taken.
pub fn router(registry: Registry, signer: Option<Signer>) -> Router {
    Router::new()
        .merge(admin::router(registry.clone()))
        .merge(uploads::router(registry.clone()))
        .merge(hf::router(registry.clone(), signer.clone()))
        .merge(oci::router(registry, signer))
}
