//! `reg ls`: lists the models in the store.

use std::process::ExitCode;

use reg_api::report::ModelSummary;
use reg_node::registry::local::shown;

use crate::args::Global;
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, short, size};

pub async fn run(global: &Global) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    let mut models: Vec<ModelSummary> = client.get_pages("/v1/models").await?;
    models.sort_by(|one, two| {
        (&one.publisher, &one.model, &one.tags).cmp(&(&two.publisher, &two.model, &two.tags))
    });
    client.close().await;
    if global.json {
        output::json(&models)?;
    } else if global.quiet {
        models.iter().try_for_each(|model| output::line(model.manifest.to_string()))?;
    } else {
        let mut rows = vec![["MODEL", "TAGS", "SIZE", "FILES", "MANIFEST", ""].map(str::to_owned).to_vec()];
        rows.extend(models.iter().map(row));
        output::table(&rows)?;
    }
    Ok(output::ok())
}

fn row(model: &ModelSummary) -> Vec<String> {
    let tags: Vec<&str> = model.tags.iter().map(|tag| tag.as_str()).collect();
    let state = match &model.part {
        _ if model.complete => None,
        Some(part) => {
            let end = if part.complete { "" } else { ", incomplete" };
            Some(format!("part: {} files, {}{end}", part.files, size(part.bytes)))
        }
        None => Some("incomplete".to_owned()),
    };
    let behind = model
        .behind
        .iter()
        .map(|(tag, it)| format!("{tag} is behind: {} is newer than {}", it.head, it.used));
    let marks: Vec<String> = kept(model).map(str::to_owned).into_iter().chain(state).chain(behind).collect();
    vec![
        format!("{}/{}", shown(model.publisher, model.petname.as_ref()), model.model),
        tags.join(","),
        size(model.bytes),
        model.files.to_string(),
        short(&model.manifest),
        marks.join("; "),
    ]
}

/// Returns why a model is never evicted; `None` where it may be.
fn kept(model: &ModelSummary) -> Option<&'static str> {
    let reasons =
        [(model.pinned, "pinned"), (model.published, "published here"), (model.followed, "followed")];
    reasons.into_iter().find(|(holds, _)| *holds).map(|(_, reason)| reason)
}
