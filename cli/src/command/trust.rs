//! `reg trust`: edits and shows petnames of publishers, rules for models, and subscriptions to denylists.

use std::process::ExitCode;

use reg_api::report::{TrustEntry, TrustReport};
use reg_node::gateway::admin::trust::{
    AliasRequest, PetnameRequest, ScopeRequest, SwitchRequest, TrustRequest,
};
use reg_node::registry::trust::{RawQuorum, RawRule};
use reg_proto::name::{Publisher, PublisherId};
use serde_json::json;

use crate::args::{Accept, Alias, Global, Require, Trust};
use crate::client::Client;
use crate::command::accept_keys;
use crate::command::log::revoked;
use crate::error::CliError;
use crate::output;

pub async fn run(global: &Global, command: Trust) -> Result<ExitCode, CliError> {
    let net = match &command {
        Trust::Subscribe { net, .. } => Some(net.clone()),
        _ => None,
    };
    let client = Client::open(global, net.as_ref()).await?;
    let done = act(global, &client, command).await;
    client.close().await;
    done.map(|()| output::ok())
}

async fn act(global: &Global, client: &Client, command: Trust) -> Result<(), CliError> {
    match command {
        Trust::Add { petname, publisher } => {
            name(global, client, TrustRequest { petname, publisher, replace: false }).await
        }
        Trust::Accept(args) => match args {
            Accept { publisher: Publisher::Petname(petname), new: Some(publisher), .. } => {
                name(global, client, TrustRequest { petname, publisher, replace: true }).await
            }
            args => accept_keys::run(global, client, &args).await,
        },
        Trust::Alias(args) => alias(global, client, args).await,
        Trust::Rm { petname } => client.post::<()>("/v1/trust/remove", &PetnameRequest { petname }).await,
        Trust::Ls => {
            let entries: Vec<TrustEntry> = client.get("/v1/trust", &[]).await?;
            if global.json { output::json(&entries) } else { names(&entries) }
        }
        Trust::Show { publisher } => show(global, client, publisher.as_ref()).await,
        Trust::Require(args) => {
            let rule = rule(args)?;
            client.post::<()>("/v1/trust/require", &rule).await?;
            say(global, &rule, format!("required of {} from now on", rule.models))
        }
        Trust::Waive { models } => {
            let count: usize = client.post("/v1/trust/waive", &ScopeRequest { models }).await?;
            say(
                global,
                &json!({ "rules": count }),
                format!("{count} {} removed", if count == 1 { "rule" } else { "rules" }),
            )
        }
        Trust::Subscribe { list, net: _ } => {
            let request = SwitchRequest { name: list.clone(), on: true };
            let entries: usize = client.stream("/v1/trust/subscribe", &request).await?;
            say(
                global,
                &json!({ "list": list, "entries": entries }),
                format!("{list} has {entries} {}", if entries == 1 { "entry" } else { "entries" }),
            )
        }
        Trust::Unsubscribe { list } => {
            client.post::<()>("/v1/trust/unsubscribe", &SwitchRequest { name: list, on: false }).await
        }
        Trust::Allow { what } => {
            client.post::<bool>("/v1/trust/allow", &SwitchRequest { name: what, on: true }).await.map(drop)
        }
        Trust::Disallow { what } => {
            client.post::<bool>("/v1/trust/allow", &SwitchRequest { name: what, on: false }).await.map(drop)
        }
    }
}

async fn alias(global: &Global, client: &Client, args: Alias) -> Result<(), CliError> {
    match args {
        Alias { rm: Some(from), .. } => {
            client.post::<()>("/v1/trust/alias", &AliasRequest { from, to: None }).await
        }
        Alias { from: Some(from), to: Some(to), .. } => {
            let text = format!("{from} means {to} from now on");
            client
                .post::<()>("/v1/trust/alias", &AliasRequest { from: from.clone(), to: Some(to.clone()) })
                .await?;
            say(global, &json!({ "from": from, "to": to }), text)
        }
        _ => {
            let report: TrustReport = client.get("/v1/trust/all", &[]).await?;
            if global.json {
                return output::json(&report.aliases);
            }
            report.aliases.iter().try_for_each(|it| output::line(format!("{} means {}", it.from, it.to)))
        }
    }
}

async fn name(global: &Global, client: &Client, request: TrustRequest) -> Result<(), CliError> {
    let entry: TrustEntry = client.post("/v1/trust", &request).await?;
    say(global, &entry, format!("{} is {}", entry.petname, entry.publisher))
}

fn say(global: &Global, value: &impl serde::Serialize, text: String) -> Result<(), CliError> {
    match (global.json, global.quiet) {
        (true, _) => output::json(value),
        (_, true) => Ok(()),
        _ => output::line(text),
    }
}

fn names(entries: &[TrustEntry]) -> Result<(), CliError> {
    let row = |entry: &TrustEntry| vec![entry.petname.to_string(), entry.publisher.to_string()];
    output::table(&entries.iter().map(row).collect::<Vec<_>>())
}

async fn show(global: &Global, client: &Client, of: Option<&Publisher>) -> Result<(), CliError> {
    let mut report: TrustReport = client.get("/v1/trust/all", &[]).await?;
    if let Some(publisher) = of {
        let is = |entry: &TrustEntry| match publisher {
            Publisher::Id(id) => entry.publisher == *id,
            Publisher::Petname(petname) => entry.petname == *petname,
        };
        report.petnames.retain(is);
        let Some(entry) = report.petnames.first() else {
            return Err(CliError::new("not_found", format_args!("you have given {publisher} no petname"))
                .hint("`reg trust ls` lists your petnames"));
        };
        let (id, petname): (PublisherId, String) = (entry.publisher, entry.petname.to_string());
        let about = |scope: &str| {
            let publisher = scope.split('/').next().unwrap_or_default();
            publisher == "*" || publisher == petname || publisher == id.to_string()
        };
        report.rules.retain(|rule| about(&rule.models));
        report.denylists.retain(|list| about(list));
        report.aliases.retain(|it| about(&it.from) || about(&it.to));
        report.allowed.retain(|it| *it == id.to_string());
    }
    if global.json {
        return output::json(&report);
    }
    for entry in &report.petnames {
        let seen = match entry.key_document_version {
            Some(version) => format!("keys seen: version {version}"),
            None => "no keys seen yet".to_owned(),
        };
        output::line(format!("{} is {} ({seen})", entry.petname, entry.publisher))?;
        entry.revocations.iter().try_for_each(|it| output::line(format!("  revoked: {}", revoked(it))))?;
    }
    for rule in &report.rules {
        output::line(format!("{} must have {}", rule.models, rule.requires.join("; ")))?;
    }
    report.aliases.iter().try_for_each(|it| output::line(format!("{} means {}", it.from, it.to)))?;
    for list in &report.denylists {
        output::line(format!("subscribed to {list}"))?;
    }
    if !report.denylists.is_empty() && of.is_none() {
        output::line(format!("entries of all denylists: {}", report.denied))?;
    }
    for it in &report.allowed {
        output::line(format!("{it} is allowed, even if a denylist names it"))?;
    }
    for note in &report.notes {
        output::line(format!("note: {note}"))?;
    }
    Ok(())
}

/// Parses `KIND`, `KIND=COUNT` and `KIND=COUNT:NAME,NAME`.
fn quorum(text: &str) -> Result<RawQuorum, CliError> {
    let wrong = || {
        CliError::new("invalid", format_args!("{text:?} is not of the form KIND[=COUNT[:NAME,NAME]]"))
            .hint("write --attested scan, --attested scan=2 or --attested scan=2:alice,bob,carol")
    };
    let (kind, rest) = text.split_once('=').unwrap_or((text, "1"));
    let (count, by) = rest.split_once(':').unwrap_or((rest, ""));
    let by = by.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect();
    Ok(RawQuorum { kind: kind.to_owned(), count: count.parse().map_err(|_| wrong())?, by })
}

fn rule(args: Require) -> Result<RawRule, CliError> {
    let attestations = args.attested.iter().map(|it| quorum(it)).collect::<Result<_, _>>()?;
    Ok(RawRule {
        models: args.models,
        known_publisher: args.known_publisher,
        newest: args.newest,
        licenses: args.license,
        formats: args.format,
        allow: args.allow.iter().map(ToString::to_string).collect(),
        attestations,
    })
}
