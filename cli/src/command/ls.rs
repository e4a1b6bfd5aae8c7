//! `reg ls`: lists the models in the store.

use std::process::ExitCode;

use reg_api::counted::counted;
use reg_api::health::{HealthReport, ModelHealth};
use reg_api::report::{ModelSummary, TrustReport};
use reg_proto::domain::Domain;
use reg_proto::name::PublisherId;
use serde::Serialize;

use super::health::shown_replicas;
use crate::args::{Global, Ls};
use crate::client::Client;
use crate::error::CliError;
use crate::ids::Ids;
use crate::model_pattern::ModelPattern;
use crate::output::{self, size};
use crate::table::{Column, Table};

/// Fewest characters of a model's name, of its tags, and of a line with its marks.
const NAME_MIN: usize = 24;
const TAGS_MIN: usize = 10;
const MARKS_MIN: usize = 24;

pub async fn run(global: &Global, args: &Ls) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    let mut models: Vec<ModelSummary> = client.get_pages("/v1/models").await?;
    models.sort_by(|one, two| {
        (&one.publisher, &one.model, &one.tags).cmp(&(&two.publisher, &two.model, &two.tags))
    });
    let domains = match &args.pattern {
        Some(_) => domains(&client).await?,
        None => Vec::new(),
    };
    let health = match args.health {
        true => Some(client.get::<HealthReport>("/v1/health", &[]).await?),
        false => None,
    };
    client.close().await;
    // What is shown of an id tells it apart from those of models that the pattern leaves out, too.
    let shown = Shown {
        manifests: Ids::of(global, models.iter().map(|it| it.manifest)),
        publishers: Ids::of(global, models.iter().map(|it| it.publisher)),
    };
    if let Some(pattern) = &args.pattern {
        let all = models.len();
        models.retain(|it| pattern.covers(it, &domains));
        if models.is_empty() {
            return Err(none(pattern, all));
        }
    }
    if global.json {
        match &health {
            Some(health) => {
                output::json(&models.iter().map(|it| with_health(it, health)).collect::<Vec<_>>())?
            }
            None => output::json(&models)?,
        }
    } else if global.quiet {
        models.iter().try_for_each(|model| output::line(model.manifest.to_string()))?;
    } else {
        let mut table = Table::new([
            Column::named("MODEL", NAME_MIN),
            Column::cut("TAGS", TAGS_MIN),
            Column::whole("REPLICAS"),
            Column::whole("SIZE"),
            Column::whole("FILES").optional(1),
            Column::whole("MANIFEST"),
            Column::text("", MARKS_MIN),
        ]);
        models.iter().for_each(|model| table.row(shown.row(model, health.as_ref())));
        if table.is_empty() {
            output::say(
                "no models yet: `reg search WORDS` finds some, `reg pull REF` fetches one, `reg publish DIR MODEL --key NAME` \
                 publishes yours",
            );
        }
        output::draw(global, &table)?;
    }
    Ok(output::ok())
}

/// What is known of the replicas of a model. A model that is not whole has none.
fn of_model<'a>(model: &ModelSummary, health: &'a HealthReport) -> Option<&'a ModelHealth> {
    let is_same = |it: &&ModelHealth| {
        (it.manifest, it.publisher, &it.model) == (model.manifest, model.publisher, &model.model)
    };
    health.models.iter().find(is_same)
}

/// A model with what is known of its replicas.
#[derive(Serialize)]
struct WithHealth<'a> {
    #[serde(flatten)]
    model: &'a ModelSummary,
    health: Option<&'a ModelHealth>,
}

fn with_health<'a>(model: &'a ModelSummary, health: &'a HealthReport) -> WithHealth<'a> {
    WithHealth { model, health: of_model(model, health) }
}

async fn domains(client: &Client) -> Result<Vec<(Domain, PublisherId)>, CliError> {
    let trust: TrustReport = client.get("/v1/trust/all", &[]).await?;
    Ok(trust.domains.into_iter().map(|it| (it.domain, it.publisher)).collect())
}

fn none(pattern: &ModelPattern, all: usize) -> CliError {
    let text = format!("no model in the store is named {}", pattern.as_str());
    CliError::new("no_match", text).hint(match all {
        0 => "the store has no models; `reg pull REF` fetches one".to_owned(),
        all => format!(
            "`reg ls` lists all {}; a pattern is publisher/model[:tag], and * stands for any text",
            counted(all, "model")
        ),
    })
}

/// How ids are shown.
struct Shown {
    manifests: Ids,
    publishers: Ids,
}

impl Shown {
    fn row(&self, model: &ModelSummary, health: Option<&HealthReport>) -> [String; 7] {
        let tags: Vec<&str> = model.tags.iter().chain(&model.pulling).map(|tag| tag.as_str()).collect();
        let of = model
            .petname
            .as_ref()
            .map_or_else(|| self.publishers.brief(&model.publisher), ToString::to_string);
        let replicas = health.map(|health| {
            of_model(model, health).map_or_else(|| "-".to_owned(), |it| shown_replicas(it, health.target))
        });
        [
            format!("{of}/{}", model.model),
            tags.join(","),
            replicas.unwrap_or_default(),
            size(model.bytes),
            model.files.to_string(),
            self.manifests.short(&model.manifest),
            marks(model).join("; "),
        ]
    }
}

/// Returns what is to be known of a model beside its figures.
fn marks(model: &ModelSummary) -> Vec<String> {
    let state = match &model.part {
        _ if model.complete => None,
        Some(part) => {
            let end = if part.complete { "" } else { ", incomplete" };
            Some(format!("part: {}, {}{end}", counted(part.files, "file"), size(part.bytes)))
        }
        None => Some(match model.bytes_here {
            Some(here) => format!("incomplete: {} of {}", size(here), size(model.bytes)),
            None => "incomplete".to_owned(),
        }),
    };
    let behind = model
        .behind
        .iter()
        .map(|(tag, it)| format!("{tag} is behind: {} is newer than {}", it.head, it.used));
    let was: Vec<&str> = model.was.iter().map(|tag| tag.as_str()).collect();
    let superseded =
        (!was.is_empty()).then(|| format!("superseded: an earlier version of {}", was.join(", ")));
    let withdrawn = model.withdrawn.iter().map(|why| format!("withdrawn by its publisher: {why}"));
    let kept = kept(model).map(str::to_owned);
    withdrawn.chain(superseded).chain(kept).chain(state).chain(behind).collect()
}

/// Returns why a model is never evicted; `None` where it may be.
fn kept(model: &ModelSummary) -> Option<&'static str> {
    let reasons = [
        (model.pinned, "pinned"),
        (model.published, "published here"),
        (model.followed, "followed"),
        (model.donated, "kept for others"),
        (model.spread, "a copy for the private swarm"),
    ];
    reasons.into_iter().find(|(holds, _)| *holds).map(|(_, reason)| reason)
}
