//! Who may ask the registry for what, in which dialect. One folder for each dialect, and one `merge` here.

pub mod admin;
pub mod server;

use axum::Router;

use crate::registry::Registry;

/// Returns the routes of every dialect.
pub fn router(registry: Registry) -> Router {
    Router::new().merge(admin::router(registry))
}
