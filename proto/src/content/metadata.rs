//! Placeholder until the readers land.

use serde::{Deserialize, Serialize};

/// What is known of a model's content.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Metadata {}
