//! What most routes of the local API take and return.

use axum::Json;
use reg_proto::name::Reference;
use serde::{Deserialize, Serialize};

use super::error::Failed;

/// The result of a use case as JSON, or its error.
pub(in crate::gateway) type Answer<T> = Result<Json<T>, Failed>;

/// A reference as a parameter.
#[derive(Debug, Serialize, Deserialize)]
pub struct Named {
    pub reference: Reference,
}
