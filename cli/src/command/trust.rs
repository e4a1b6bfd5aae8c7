//! `reg trust`: edits and shows petnames of publishers, pinned domains, rules for models, and subscriptions to denylists.

use std::process::ExitCode;

use reg_api::counted::counted;
use reg_api::domain::{AskDomain, DomainFound, ProfileReport};
use reg_api::report::{TrustEntry, TrustReport};
use reg_node::gateway::admin::trust::{
    AliasRequest, DomainRequest, OfDomain, PetnameRequest, ScopeRequest, SwitchRequest, TrustRequest,
};
use reg_node::registry::trust::{RawQuorum, RawRule};
use reg_proto::domain::Domain;
use reg_proto::name::{Petname, Publisher, PublisherId};
use serde_json::json;

use crate::args::{Accept, AddName, Alias, Global, Require, Trust};
use crate::client::Client;
use crate::command::log::revoked;
use crate::command::{accept_domain, accept_keys};
use crate::error::CliError;
use crate::output;
use crate::table::{Column, Table};

/// Fewest characters of a name, and of a line about what is trusted.
const NAME_MIN: usize = 12;
const LINE_MIN: usize = 40;

pub async fn run(global: &Global, command: Trust) -> Result<ExitCode, CliError> {
    let net = match &command {
        Trust::Subscribe { net, .. } => Some(net.clone()),
        Trust::Add(AddName { name: Publisher::Domain(_), publisher: None, net, .. })
        | Trust::Accept(Accept { publisher: Publisher::Domain(_), new: None, net, .. }) => Some(net.clone()),
        _ => None,
    };
    let client = Client::open(global, net.as_ref()).await?;
    let done = act(global, &client, command).await;
    client.close().await;
    done.map(|()| output::ok())
}

async fn act(global: &Global, client: &Client, command: Trust) -> Result<(), CliError> {
    match command {
        Trust::Add(args) => add(global, client, args).await,
        Trust::Accept(args) => match args {
            Accept { publisher: Publisher::Petname(petname), new: Some(publisher), .. } => {
                name(global, client, TrustRequest { petname, publisher, replace: true }).await
            }
            Accept { publisher: Publisher::Domain(domain), new: Some(publisher), .. } => {
                let petname = petname_of_before(&domain)?;
                name(global, client, TrustRequest { petname, publisher, replace: true }).await
            }
            Accept { publisher: Publisher::Domain(domain), head: None, yes, net, .. } => {
                accept_domain::run(global, client, &domain, yes, &net).await
            }
            args => accept_keys::run(global, client, &args).await,
        },
        Trust::Alias(args) => alias(global, client, args).await,
        Trust::Rm { name } => {
            let shown = name.to_string();
            remove(client, name).await?;
            changed(global, &json!({ "removed": shown }))
        }
        Trust::Ls => {
            let report: TrustReport = client.get("/v1/trust/all", &[]).await?;
            if global.json { output::json(&report.petnames) } else { names(global, &report) }
        }
        Trust::Show { publisher } => show(global, client, publisher.as_ref()).await,
        Trust::Require(args) => {
            let rule = rule(args)?;
            client.post::<()>("/v1/trust/require", &rule).await?;
            say(global, &rule, format!("required of {} from now on", rule.models))
        }
        Trust::Waive { models } => {
            let count: usize = client.post("/v1/trust/waive", &ScopeRequest { models }).await?;
            say(global, &json!({ "rules": count }), format!("{} removed", counted(count, "rule")))
        }
        Trust::Subscribe { list, net: _ } => {
            let request = SwitchRequest { name: list.clone(), on: true };
            let entries: usize = client.stream("/v1/trust/subscribe", &request).await?;
            say(
                global,
                &json!({ "list": list, "entries": entries }),
                format!("{list} has {}", counted(entries, "entry")),
            )
        }
        Trust::Unsubscribe { list } => {
            let request = SwitchRequest { name: list.clone(), on: false };
            client.post::<()>("/v1/trust/unsubscribe", &request).await?;
            changed(global, &json!({ "list": list }))
        }
        Trust::Allow { what } => allow(global, client, what, true).await,
        Trust::Disallow { what } => allow(global, client, what, false).await,
    }
}

/// Allows a model or a publisher that a denylist names; with `on` false, ends that.
async fn allow(global: &Global, client: &Client, what: String, on: bool) -> Result<(), CliError> {
    let request = SwitchRequest { name: what.clone(), on };
    client.post::<bool>("/v1/trust/allow", &request).await?;
    changed(global, &json!({ "name": what, "allowed": on }))
}

/// Prints a change as JSON if the user asks for that. As text, a change prints nothing.
fn changed(global: &Global, value: &serde_json::Value) -> Result<(), CliError> {
    if global.json { output::json(value) } else { Ok(()) }
}

async fn alias(global: &Global, client: &Client, args: Alias) -> Result<(), CliError> {
    match args {
        Alias { rm: Some(from), .. } => {
            let request = AliasRequest { from: from.clone(), to: None };
            client.post::<()>("/v1/trust/alias", &request).await?;
            changed(global, &json!({ "from": from, "to": null }))
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
            report.aliases.iter().try_for_each(|it| output::sentence(format!("{} means {}", it.from, it.to)))
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
        _ => output::sentence(text),
    }
}

fn names(global: &Global, report: &TrustReport) -> Result<(), CliError> {
    if global.quiet {
        report.petnames.iter().try_for_each(|it| output::line(it.petname.to_string()))?;
        return report.domains.iter().try_for_each(|it| output::line(it.domain.to_string()));
    }
    let mut table =
        Table::new([Column::named("NAME", NAME_MIN), Column::whole("PUBLISHER"), Column::whole("KEYS")]);
    for it in &report.petnames {
        let keys =
            it.key_document_version.map_or_else(|| "none seen yet".to_owned(), |it| format!("version {it}"));
        table.row([it.petname.to_string(), it.publisher.to_string(), keys]);
    }
    report
        .domains
        .iter()
        .for_each(|it| table.row([it.domain.shown(), it.publisher.to_string()].map(String::from)));
    output::draw(global, &table)
}

/// Gives a petname, or asks a domain.
async fn add(global: &Global, client: &Client, args: AddName) -> Result<(), CliError> {
    let AddName { name: named, publisher, allow_unsigned_dns, net } = args;
    match (named, publisher) {
        (Publisher::Petname(petname), Some(publisher)) => {
            name(global, client, TrustRequest { petname, publisher, replace: false }).await
        }
        (Publisher::Domain(domain), Some(publisher)) => {
            let petname = petname_of_before(&domain)?;
            name(global, client, TrustRequest { petname, publisher, replace: false }).await
        }
        (Publisher::Domain(domain), None) => {
            let ask = AskDomain { allow_unsigned_dns, offline: net.offline, ..AskDomain::default() };
            let found: DomainFound =
                client.stream("/v1/trust/domain", &DomainRequest { domain, ask }).await?;
            say(global, &found, format!("{} is {}", found.domain.shown(), found.publisher))
        }
        (Publisher::Petname(petname), None) => {
            Err(CliError::new("invalid", format_args!("{petname} is to be the name of which publisher?"))
                .hint(format_args!(
                    "name its id: reg trust add {petname} ID; a domain has a dot, as in acme.org"
                )))
        }
        (Publisher::Id(id), _) => {
            Err(CliError::new("invalid", format_args!("{id} is an id, and no name for a publisher"))
                .hint("reg trust add NAME ID"))
        }
    }
}

/// Removes a petname, or unpins a domain.
async fn remove(client: &Client, name: Publisher) -> Result<(), CliError> {
    match name {
        Publisher::Petname(petname) => client.post("/v1/trust/remove", &PetnameRequest { petname }).await,
        Publisher::Domain(domain) => {
            let report: TrustReport = client.get("/v1/trust/all", &[]).await?;
            match domain.as_petname().filter(|it| report.petnames.iter().any(|entry| entry.petname == *it)) {
                Some(petname) => client.post("/v1/trust/remove", &PetnameRequest { petname }).await,
                None => client.post("/v1/trust/domain/remove", &OfDomain { domain }).await,
            }
        }
        Publisher::Id(id) => {
            Err(CliError::new("invalid", format_args!("{id} is an id, and no name of yours")))
        }
    }
}

/// Reads a domain as a petname of an earlier version. The node refuses new petnames with a dot.
fn petname_of_before(domain: &Domain) -> Result<Petname, CliError> {
    domain.as_petname().ok_or_else(|| {
        CliError::new("invalid", format_args!("{domain} is a domain: the domain itself names its publisher"))
            .hint(format_args!("reg trust add {domain}"))
    })
}

async fn show(global: &Global, client: &Client, of: Option<&Publisher>) -> Result<(), CliError> {
    let mut report: TrustReport = client.get("/v1/trust/all", &[]).await?;
    if let Some(publisher) = of {
        let is = |entry: &TrustEntry| match publisher {
            Publisher::Id(id) => entry.publisher == *id,
            Publisher::Petname(petname) => entry.petname == *petname,
            Publisher::Domain(domain) => domain.as_petname().as_ref() == Some(&entry.petname),
        };
        report.petnames.retain(is);
        report.domains.retain(|entry| match publisher {
            Publisher::Id(id) => entry.publisher == *id,
            Publisher::Petname(_) => false,
            Publisher::Domain(domain) => entry.domain == *domain,
        });
        let petname = report.petnames.first().map(|it| (it.publisher, it.petname.to_string()));
        let domain = report.domains.first().map(|it| (it.publisher, it.domain.to_string()));
        let Some((id, name)): Option<(PublisherId, String)> = petname.or(domain) else {
            return Err(CliError::new("not_found", format_args!("you have given {publisher} no petname"))
                .hint("`reg trust ls` lists your petnames and the domains that are pinned"));
        };
        let about = |scope: &str| {
            let publisher = scope.split('/').next().unwrap_or_default();
            publisher == "*" || publisher == name || publisher == id.to_string()
        };
        report.rules.retain(|rule| about(&rule.models));
        report.denylists.retain(|list| about(list));
        report.collections.retain(|list| about(list));
        report.aliases.retain(|it| about(&it.from) || about(&it.to));
        report.allowed.retain(|it| *it == id.to_string());
    }
    if global.json {
        return output::json(&report);
    }
    shown(global, &report, of.is_none())
}

/// Prints what the user has named, required and subscribed to.
fn shown(global: &Global, report: &TrustReport, is_all: bool) -> Result<(), CliError> {
    let mut table = Table::new([Column::whole(""), Column::text("", LINE_MIN)]);
    for entry in &report.petnames {
        let seen = match entry.key_document_version {
            Some(version) => format!("keys seen: version {version}"),
            None => "no keys seen yet".to_owned(),
        };
        table.fact("publisher", format!("{} is {} ({seen})", entry.petname, entry.publisher));
        profile(&mut table, entry.profile.as_ref());
        entry.revocations.iter().for_each(|it| table.fact("", format!("  revoked: {}", revoked(it))));
    }
    for entry in &report.domains {
        table.fact("domain", format!("{} is pinned to {}", entry.domain.shown(), entry.publisher));
        profile(&mut table, entry.profile.as_ref());
    }
    for rule in &report.rules {
        table.fact("rule", format!("{} must have {}", rule.models, rule.requires.join("; ")));
    }
    report.aliases.iter().for_each(|it| table.fact("alias", format!("{} means {}", it.from, it.to)));
    report.denylists.iter().for_each(|it| table.fact("denylist", format!("subscribed to {it}")));
    for collection in &report.collections {
        table.fact("collection", format!("follows the collection {collection}"));
    }
    if !report.denylists.is_empty() && is_all {
        table.fact("", format!("entries of all denylists: {}", report.denied));
    }
    for it in &report.allowed {
        table.fact("allowed", format!("{it} is allowed, even if a denylist names it"));
    }
    report.notes.iter().for_each(|it| table.fact("note", it));
    output::draw(global, &table)
}

/// Adds what a publisher says of itself.
fn profile(table: &mut Table, profile: Option<&ProfileReport>) {
    if let Some(it) = profile {
        table.fact("", format!("  says of itself: {}", it.line()));
    }
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
