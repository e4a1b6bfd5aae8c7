//! Pages of long lists with what a page shows of each model, and the replicas of all models, those in danger first.

use std::sync::Arc;

use reg_api::health::{HealthReport, ModelHealth};
use reg_api::page::{HealthPage, ModelOnPage, ModelsPage, ModelsRequest};
use reg_api::report::ModelSummary;
use reg_api::request::ListRequest;

use super::listing::{Listed, More};
use super::{CatalogueError, Local};

/// Rows that are read at once. A page has as many models at least, where there are as many, and fewer than twice as many.
const ROWS: usize = 100;
/// Models of a page about replicas: beyond these, `reg health` lists all.
const HEALTH_MODELS_MAX: usize = 200;
/// Holders of one model that are shown.
const HOLDERS_MAX: usize = 16;

impl Local {
    /// Returns a page of the models in the store, with their replicas.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn models_page(self: &Arc<Self>, request: ModelsRequest) -> Result<ModelsPage, CatalogueError> {
        self.on_blocking_thread(move |local| {
            let (mut found, mut next) = (Vec::<ModelSummary>::new(), request.after.clone());
            let mut more = More::of_all(&local)?;
            loop {
                let page = local.rows(&ListRequest { after: next.take(), limit: Some(ROWS) })?;
                let Listed { models: rows, next: after } = page;
                more.add(&local, &rows);
                let summaries = rows.into_iter().map(|row| local.summary(row, &more));
                found.extend(summaries.filter(|it| request.selects(it)));
                next = after;
                if next.is_none() || found.len() >= ROWS {
                    break;
                }
            }
            let HealthReport { models: health, .. } = local.health.report(found.clone());
            let with_replicas = |(summary, health): (ModelSummary, ModelHealth)| ModelOnPage {
                summary,
                replicas: health.replicas,
                claimed: health.claimed,
                oldest_proof: health.oldest_proof,
                newest_proof: health.newest_proof,
                audited: health.audited,
                endangered: health.endangered,
            };
            Ok(ModelsPage { models: found.into_iter().zip(health).map(with_replicas).collect(), next })
        })
        .await
    }

    /// Returns the replicas of the models that are whole in the store: those in danger first, and then those with the fewest
    /// replicas.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn health_page(self: &Arc<Self>) -> Result<HealthPage, CatalogueError> {
        let HealthReport { mut models, auditing, target, passes_needed, budget_per_hour, audited, .. } =
            self.health(None).await?;
        let (all, endangered) = (models.len(), models.iter().filter(|it| it.endangered).count());
        let counted = models.iter().filter(|it| it.audited).count();
        models.sort_by_key(|it| (!it.endangered, !it.audited, it.replicas));
        models.truncate(HEALTH_MODELS_MAX);
        models.iter_mut().for_each(|it| it.holders.truncate(HOLDERS_MAX));
        Ok(HealthPage {
            models,
            all,
            audited: counted,
            endangered,
            auditing,
            target,
            passes_needed,
            budget_per_hour,
            fetched_last_hour: audited.last_hour,
        })
    }
}
