//! Reports how many replicas of the models in the store are proven.

use std::sync::Arc;

use reg_api::health::HealthReport;
use reg_api::report::ModelSummary;
use reg_api::request::ListRequest;
use reg_proto::name::Reference;

use super::listing::{Listed, More};
use super::{CatalogueError, Local};

impl Local {
    /// Reports on the replicas of one model in the store, or of all that are whole.
    ///
    /// # Errors
    /// See [`CatalogueError`].
    pub async fn health(
        self: &Arc<Self>,
        reference: Option<Reference>,
    ) -> Result<HealthReport, CatalogueError> {
        self.on_blocking_thread(move |local| {
            let wanted = match &reference {
                Some(reference) => {
                    let here = local.resolver.model_here(reference)?;
                    Some((here.manifest, here.record.publisher, here.record.model.folded()))
                }
                None => None,
            };
            let Listed { models: rows, .. } = local.rows(&ListRequest::default())?;
            let more = More::of(&local, &rows)?;
            let is_wanted = |it: &ModelSummary| match &wanted {
                Some(wanted) => *wanted == (it.manifest, it.publisher, it.model.folded()),
                None => it.complete,
            };
            let models = rows.into_iter().map(|row| local.summary(row, &more)).filter(is_wanted);
            Ok(local.health.report(models.collect()))
        })
        .await
    }
}
