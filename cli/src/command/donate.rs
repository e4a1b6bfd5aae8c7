//! `reg donate`: keeps models for others.

use std::process::ExitCode;

use reg_api::clock::{self, age};
use reg_api::counted::counted;
use reg_api::donate::{
    DonateAction, DonateReport, DonateRequest, DonateScope, DonateWhy, DonatedModel, StopDonating,
};
use reg_api::printable::Printable;

use super::confirm::confirm;
use super::search::brief;
use crate::args::{Donate, DonateCommand, Global};
use crate::client::Client;
use crate::error::CliError;
use crate::ids::Ids;
use crate::output::{self, given, size};
use crate::table::{Column, Table};

/// Fewest characters of a model's name, and of a line of the reason.
const NAME_MIN: usize = 24;
const WHY_MIN: usize = 24;

pub async fn run(global: &Global, args: Donate) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    let done = act(global, &client, args).await;
    client.close().await;
    done.map(|()| output::ok())
}

async fn act(global: &Global, client: &Client, args: Donate) -> Result<(), CliError> {
    let Donate { command, size, scope, limit, yes } = args;
    match (command, size) {
        (Some(DonateCommand::Ls), _) | (None, None) => {
            let report: DonateReport = client.get("/v1/donate", &[]).await?;
            list(global, &report)
        }
        (Some(DonateCommand::Stop(args)), _) => stop(global, client, args.keep, args.yes).await,
        (Some(DonateCommand::Why { reference }), _) => {
            let query = [("reference", reference.to_string())];
            let why: DonateWhy = client.get("/v1/donate/why", &query).await?;
            say_why(global, &why)
        }
        (None, Some(size)) => {
            let mut request = DonateRequest { size, scope, limit, confirmed: yes };
            if request.scope == DonateScope::Everything && !yes {
                request.confirmed = is_confirmed(client).await?;
            }
            let report: DonateReport = client.post("/v1/donate", &request).await?;
            begun(global, client, &report)
        }
    }
}

/// Asks whether to keep models of strangers. Returns false without a question where the user has no denylist:
/// the node refuses then, with the reason.
async fn is_confirmed(client: &Client) -> Result<bool, CliError> {
    let trust: reg_api::report::TrustReport = client.get("/v1/trust/all", &[]).await?;
    if trust.denylists.is_empty() {
        return Ok(false);
    }
    confirm(false, "Store and send scarce models of publishers that you do not know?")?;
    Ok(true)
}

fn begun(global: &Global, client: &Client, report: &DonateReport) -> Result<(), CliError> {
    if global.json {
        return output::json(report);
    }
    let Some(settings) = report.settings.as_ref().filter(|_| !global.quiet) else { return Ok(()) };
    let what = match &settings.scope {
        DonateScope::Named => "publishers that you have named or follow".to_owned(),
        DonateScope::Models(models) => format!("{}/{}", models.publisher, models.models),
        DonateScope::Everything => "every publisher".to_owned(),
    };
    output::sentence(format!("{} are donated to the scarcest models of {what}", given(settings.size)))?;
    if !client.is_daemon() {
        output::say(format_args!("note: models come while `reg daemon` runs, and none runs now"));
    } else if !report.auditing {
        output::say(format_args!(
            "note: nothing is taken: this node counts no replicas (health.audit is 0, or it is offline)"
        ));
    } else {
        output::say(format_args!(
            "replicas are counted for a day before the first model is taken; `reg donate ls` shows them"
        ));
    }
    Ok(())
}

fn list(global: &Global, report: &DonateReport) -> Result<(), CliError> {
    if global.json {
        return output::json(report);
    }
    if global.quiet {
        return report.models.iter().try_for_each(|it| output::line(it.manifest.to_string()));
    }
    let Some(settings) = &report.settings else {
        if report.models.is_empty() {
            output::say(format_args!("nothing is donated; `reg donate SIZE` begins"));
        }
        return Ok(());
    };
    if !report.models.is_empty() {
        let mut table = Table::new([
            Column::named("MODEL", NAME_MIN),
            Column::whole("SIZE"),
            Column::whole("REPLICAS"),
            Column::whole("PROVEN").optional(2),
            Column::whole("KEPT FOR").optional(1),
            Column::whole("MANIFEST"),
            Column::text("WHY", WHY_MIN),
        ]);
        let ids = Ids::of(global, report.models.iter().map(|it| it.manifest));
        let publishers = Ids::of(global, report.models.iter().map(|it| it.publisher));
        report.models.iter().for_each(|it| table.row(row(it, report.target, &ids, &publishers)));
        output::draw(global, &table)?;
    }
    let limit = settings.limit.map(|it| format!(", sent at {}/s at most", given(it))).unwrap_or_default();
    output::sentence(format!(
        "{} of {} donated to `{}`, used by {}{limit}; replicas are counted of {}",
        size(report.used),
        given(settings.size),
        settings.scope,
        counted(report.models.len(), "model"),
        counted(report.candidates, "other")
    ))?;
    if report.gave_way > 0 {
        output::say(format_args!("{} were given back because you needed the disk", size(report.gave_way)));
    }
    if !report.auditing {
        output::say(format_args!(
            "note: nothing is taken: a daemon with a network counts replicas, unless health.audit is 0"
        ));
    }
    Ok(())
}

fn row(model: &DonatedModel, target: u32, ids: &Ids, publishers: &Ids) -> [String; 7] {
    let now = clock::now();
    let ago = |at: u64| age(now.saturating_sub(at));
    let tag = model.tag.as_ref().map(|it| format!(":{it}")).unwrap_or_default();
    let proven = match (model.newest_proof, model.oldest_proof) {
        (Some(newest), Some(oldest)) => format!("{} to {} ago", ago(newest), ago(oldest)),
        _ => String::new(),
    };
    [
        format!("{}/{}{tag}", brief(model.publisher, model.petname.as_ref(), publishers), model.model),
        if model.whole { size(model.bytes) } else { format!("{} so far", size(model.bytes)) },
        // The target includes the copy of this node.
        format!("{} of {}", model.replicas, target.saturating_sub(1)),
        proven,
        ago(model.since),
        ids.short(&model.manifest),
        Printable::lines(&model.why.reason).to_string(),
    ]
}

async fn stop(global: &Global, client: &Client, keep: bool, yes: bool) -> Result<(), CliError> {
    let report: DonateReport = client.get("/v1/donate", &[]).await?;
    if !keep && !report.models.is_empty() {
        let (count, bytes) = (report.models.len(), size(report.used));
        let lone = report.models.iter().filter(|it| it.whole && it.replicas == 0).count();
        if lone > 0 {
            output::say(format_args!("{lone} of them have no other replica that this node knows of"));
        }
        confirm(yes, &format!("Remove {} ({bytes}) kept for others?", counted(count, "model")))?;
    }
    let stopped: DonateReport = client.post("/v1/donate/stop", &StopDonating { keep }).await?;
    if global.json {
        return output::json(&stopped);
    }
    if global.quiet {
        return Ok(());
    }
    let what = if keep { "now part of the cache" } else { "removed" };
    let models = match stopped.models.len() {
        0 => String::new(),
        count => format!("; {what}: {}", counted(count, "model")),
    };
    output::sentence(format!("nothing is donated any more{models}"))
}

fn say_why(global: &Global, why: &DonateWhy) -> Result<(), CliError> {
    if global.json {
        return output::json(why);
    }
    let what = match why.verdict.action {
        DonateAction::Take => "is fetched",
        DonateAction::Keep => "is kept for others",
        DonateAction::GiveBack => "was given back",
        DonateAction::Leave => "is not kept for others",
    };
    let decided = why.verdict.at.map(|at| format!(" (decided {} ago)", age(clock::now().saturating_sub(at))));
    let reason = Printable::lines(&why.verdict.reason);
    output::sentence(format!("{} {what}: {reason}{}", why.reference, decided.unwrap_or_default()))
}
