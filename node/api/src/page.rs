//! What the page asks of the node beside what commands ask: pages of lists, pulls that outlive a tab, and one-time codes.

use reg_proto::name::Reference;
use serde::{Deserialize, Serialize};

use crate::health::ModelHealth;
use crate::report::ModelSummary;

/// A one-time code that opens the page with the right to change things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageCode {
    pub code: String,
    /// Seconds for which it can be exchanged, once.
    pub seconds: u64,
}

/// Asks for a token in exchange for a one-time code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeExchange {
    pub code: String,
}

/// A token that ends with the daemon, or when it is given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageToken {
    pub token: String,
}

/// What a tab of the page may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRights {
    /// Whether it may change things.
    pub owner: bool,
    pub version: String,
}

/// Selects models of the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelsKind {
    #[default]
    All,
    /// Everything that was chosen of it is in the store.
    Here,
    /// Something that was chosen of it is missing.
    Partial,
    Followed,
    Donated,
    Published,
    /// A newer version is known, or its publisher has withdrawn it.
    Behind,
}

impl ModelsKind {
    /// Tells whether a model is of this kind.
    pub fn selects(self, model: &ModelSummary) -> bool {
        match self {
            Self::All => true,
            Self::Here => model.here,
            Self::Partial => !model.here,
            Self::Followed => model.followed,
            Self::Donated => model.donated,
            Self::Published => model.published,
            Self::Behind => !model.behind.is_empty() || model.withdrawn.is_some(),
        }
    }
}

/// Asks for a page of the models in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelsRequest {
    /// Where the page before ended.
    pub after: Option<String>,
    /// A part of `publisher/model`, in any case.
    pub text: String,
    pub kind: ModelsKind,
}

impl ModelsRequest {
    /// Tells whether a model is asked for.
    pub fn selects(&self, model: &ModelSummary) -> bool {
        if !self.kind.selects(model) {
            return false;
        }
        let wanted = self.text.trim().to_lowercase();
        let publisher = model.publisher.to_string();
        let names = [model.petname.as_ref().map_or("", |it| it.as_str()), publisher.as_str()];
        let is_in = |name: &str| format!("{name}/{}", model.model).to_lowercase().contains(&wanted);
        wanted.is_empty() || names.into_iter().any(is_in)
    }
}

/// A page of the models in the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelsPage {
    pub models: Vec<ModelOnPage>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<String>,
}

/// A model on a page, with its proven replicas.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelOnPage {
    #[serde(flatten)]
    pub summary: ModelSummary,
    pub replicas: u32,
    pub claimed: u32,
    /// When the oldest and the newest of the pieces were given that prove the replicas, in seconds since 1970.
    pub oldest_proof: Option<u64>,
    pub newest_proof: Option<u64>,
    pub audited: bool,
    pub endangered: bool,
}

/// A pull that a tab has begun. It goes on when the tab is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PagePull {
    pub id: u64,
    pub reference: Reference,
    /// When it began and ended, in seconds since 1970.
    pub since: u64,
    pub ended: Option<u64>,
    /// What it does now, as in `finding`.
    pub stage: String,
    /// What it has said last that the user should know.
    pub note: Option<String>,
    /// Why it has failed.
    pub error: Option<String>,
    pub hint: Option<String>,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Its number since the start; it only goes up.
    pub id: u64,
    /// When it was written, in seconds since 1970.
    pub time: u64,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// The part of the program that has written it.
    pub target: String,
    pub text: String,
}

/// Asks for the lines of the log after one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRequest {
    /// The number of the last line that the caller has; 0 where it has none.
    pub after: u64,
}

/// Models and their replicas, those in danger first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthPage {
    pub models: Vec<ModelHealth>,
    /// How many models there are, how many are audited, and how many are endangered.
    pub all: usize,
    pub audited: usize,
    pub endangered: usize,
    /// Whether the node audits.
    pub auditing: bool,
    pub target: u32,
    pub passes_needed: u32,
    pub budget_per_hour: u64,
    pub fetched_last_hour: u64,
}
