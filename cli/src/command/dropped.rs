//! Finds the claims that a publisher made about the previous version and does not make about a new one.

use reg_api::report::{ModelInfo, ModelSummary};
use reg_proto::name::{ModelName, Publisher, PublisherId, Reference, Tag};

use crate::client::Client;

/// The previous version with its claims, if there is one.
#[derive(Debug, Default)]
pub struct SaidBefore(Option<ModelInfo>);

impl SaidBefore {
    /// Asks the node for the version that a publication follows: that of the tag, else the one that was used last.
    pub async fn ask(client: &Client, publisher: PublisherId, model: &ModelName, tag: &Tag) -> Self {
        let publisher = Publisher::Id(publisher);
        let by_tag = Reference {
            publisher: publisher.clone(),
            model: model.clone(),
            tag: Some(tag.clone()),
            digest: None,
        };
        if let Some(info) = info(client, &by_tag).await {
            return Self(Some(info));
        }
        let all: Vec<ModelSummary> = client.get_pages("/v1/models").await.unwrap_or_default();
        let is_other = |it: &&ModelSummary| {
            Publisher::Id(it.publisher) == publisher
                && it.model == *model
                && it.published
                && !it.tags.is_empty()
        };
        let Some(last) = all.iter().filter(is_other).max_by_key(|it| it.last_used) else { return Self(None) };
        let digest = Some(last.manifest);
        Self(info(client, &Reference { tag: None, digest, ..by_tag }).await)
    }

    /// Returns the lines about claims of the previous version that the published one lacks.
    pub async fn lines(&self, client: &Client, published: &Reference) -> Vec<String> {
        let Some(before) = &self.0 else { return Vec::new() };
        let Some(now) = info(client, published).await else { return Vec::new() };
        let mut dropped: Vec<(&str, &str)> = Vec::new();
        for ((what, flag, was), (_, _, is)) in said(before).into_iter().zip(said(&now)) {
            if was && !is {
                dropped.push((what, flag));
            }
        }
        if dropped.is_empty() {
            return Vec::new();
        }
        let what: Vec<&str> = dropped.iter().map(|(what, _)| *what).collect();
        let flags: Vec<&str> = dropped.iter().map(|(_, flag)| *flag).collect();
        vec![format!(
            "note: the version before had a {}, and this one has none: say it again with {}",
            what.join(", a "),
            flags.join(", ")
        )]
    }
}

/// Returns the claims that a version may have: what each is, the flag that makes it, and whether the version
/// has it.
fn said(info: &ModelInfo) -> Vec<(&'static str, &'static str, bool)> {
    let claims = info.claims.clone().unwrap_or_default();
    let card = info.card.clone().unwrap_or_default();
    vec![
        ("licence", "--license", !claims.licenses.is_empty()),
        ("title", "--title", claims.title.is_some()),
        ("description", "--description", claims.description.is_some()),
        ("source", "--source-url", claims.source_url.is_some()),
        ("task", "--task", card.task.is_some()),
        ("summary", "--summary", card.summary.is_some()),
    ]
}

async fn info(client: &Client, reference: &Reference) -> Option<ModelInfo> {
    client.get("/v1/info", &[("reference", reference.to_string())]).await.ok()
}
