//! `reg collection`: keeps a list of models and publishers in a folder, and shows published ones.

use std::path::Path;
use std::process::ExitCode;

use reg_api::collection::{
    CollectionReport, CollectionRequest, CollectionShown, CollectionState, ShownEntry,
};
use reg_api::counted::counted;
use reg_api::domain::{AskDomain, DomainFound};
use reg_api::report::TrustReport;
use reg_keys::keyring::Keyring;
use reg_node::gateway::admin::trust::DomainRequest;
use reg_proto::catalogue::Collected;
use reg_proto::content::label::Label;
use reg_proto::name::{Petname, Publisher, PublisherId};
use serde_json::json;

use crate::args::{AddEntry, CollectionCommand, Global, NewCollection, RemoveEntry, ShowCollection};
use crate::client::{Client, home};
use crate::command::search::brief;
use crate::draft::Draft;
use crate::error::CliError;
use crate::ids::Ids;
use crate::last_search;
use crate::output;
use crate::table::{Column, Table};
use crate::ticketed::{CollectedArg, ModelSource};

/// Fewest characters of an entry in the table, and of its words. `--quiet` and `--json` have all of both.
const ENTRY_MIN: usize = 24;
const WORDS_MIN: usize = 20;

pub async fn run(global: &Global, command: CollectionCommand) -> Result<ExitCode, CliError> {
    match command {
        CollectionCommand::New(NewCollection { draft, title, words }) => {
            let draft = Draft::create(&draft, title, words)?;
            let name = &draft.list.name;
            report(global, &draft, format!("{} is a list without entries, named {name}", draft.shown()))?;
        }
        CollectionCommand::Add(args) => add(global, args).await?,
        CollectionCommand::Rm(args) => remove(global, args).await?,
        CollectionCommand::Show(args) => show(global, args).await?,
    }
    Ok(output::ok())
}

async fn add(global: &Global, args: AddEntry) -> Result<(), CliError> {
    let mut draft = Draft::open(&args.draft)?;
    let collect = match args.entry {
        CollectedArg::Number(number) => CollectedArg::of(last_search::numbered(global, number)?)
            .collected(|it| id_of(it, None, &home(global)?.keyring()))?,
        named => resolve(global, named).await?,
    };
    let shown = collect.to_string();
    let is_new = draft.add(collect, args.words)?;
    draft.save()?;
    let done = if is_new { "is added" } else { "was there, and has these words now" };
    report(global, &draft, format!("{shown} {done}"))
}

async fn remove(global: &Global, args: RemoveEntry) -> Result<(), CliError> {
    let mut draft = Draft::open(&args.draft)?;
    let collect = match args.entry {
        CollectedArg::Number(number) => draft.numbered(number)?,
        named => resolve(global, named).await?,
    };
    draft.remove(&collect)?;
    draft.save()?;
    report(global, &draft, format!("{collect} is removed"))
}

/// Prints what was done to a list, and how it is published.
fn report(global: &Global, draft: &Draft, text: String) -> Result<(), CliError> {
    if global.json {
        return output::json(&json!({ "draft": draft.shown(), "collection": draft.list }));
    }
    output::sentence(text)?;
    if !global.quiet {
        let (shown, count) = (draft.shown(), counted(draft.list.entries.len(), "entry"));
        let name = &draft.list.name;
        output::say(format_args!("{count}; to publish it: reg publish {shown} {name} --key NAME"));
        warn_of_others(draft);
    }
    Ok(())
}

fn warn_of_others(draft: &Draft) {
    if let Some(other) = draft.other_files().first() {
        output::say(format_args!(
            "note: {} has {other} too: a collection has one file only, so move it before you publish",
            draft.shown()
        ));
    }
}

/// Replaces the petname or the domain of an entry by the publisher's id.
async fn resolve(global: &Global, entry: CollectedArg) -> Result<Collected, CliError> {
    let trust = match entry.publisher() {
        None | Some(Publisher::Id(_)) => None,
        Some(_) => Some(trust(global).await?),
    };
    let keyring = home(global)?.keyring();
    entry.collected(|publisher| id_of(publisher, trust.as_ref(), &keyring))
}

/// Returns the petnames and domains of the user, without joining the network.
async fn trust(global: &Global) -> Result<TrustReport, CliError> {
    let client = Client::open(global, None).await?;
    let asked = client.get("/v1/trust/all", &[]).await;
    client.close().await;
    asked
}

fn id_of(
    publisher: &Publisher,
    trust: Option<&TrustReport>,
    keyring: &Keyring,
) -> Result<PublisherId, CliError> {
    let petnames = || trust.into_iter().flat_map(|it| &it.petnames);
    let named = |petname: &Petname| petnames().find(|it| it.petname == *petname).map(|it| it.publisher);
    match publisher {
        Publisher::Id(id) => Ok(*id),
        Publisher::Petname(petname) => {
            named(petname).or_else(|| keyring.publisher_of(petname)).ok_or_else(|| {
                CliError::new("not_found", format_args!("{petname} is not a petname you have given"))
                    .hint(format_args!("reg trust add {petname} ID"))
            })
        }
        Publisher::Domain(domain) => {
            let pinned = trust.into_iter().flat_map(|it| &it.domains).find(|it| it.domain == *domain);
            let found = domain.as_petname().and_then(|it| named(&it)).or(pinned.map(|it| it.publisher));
            found.ok_or_else(|| {
                CliError::new("not_found", format_args!("domain {domain} is not pinned"))
                    .hint(format_args!("`reg trust add {domain}` asks it for its publisher"))
            })
        }
    }
}

async fn show(global: &Global, args: ShowCollection) -> Result<(), CliError> {
    let path = Path::new(&args.what);
    let is_reference = args.what.contains(['/', ':']) && !args.what.starts_with(['.', '/']);
    if Draft::is_at(path) || !is_reference {
        return show_draft(global, &Draft::open(path)?).await;
    }
    let ModelSource { reference, ticket, .. } =
        args.what.parse().map_err(|error: String| CliError::new("invalid", error))?;
    let client = Client::open(global, Some(&args.net)).await?;
    let asked = async {
        ask_domain(&client, &reference.publisher).await?;
        client.stream("/v1/collections/show", &CollectionRequest { reference, ticket }).await
    };
    let shown: Result<CollectionShown, CliError> = asked.await;
    client.close().await;
    let shown = shown?;
    if global.json {
        return output::json(&shown);
    }
    if !global.quiet {
        let ids = Ids::alone(global);
        let of = brief(shown.publisher, shown.petname.as_ref(), &ids);
        head(&shown.title, shown.words.as_ref())?;
        output::sentence(format!("{of}/{}, {}", shown.model, ids.short(&shown.manifest)))?;
    }
    table(global, &shown.entries)?;
    if !global.quiet && !shown.followed {
        let CollectionShown { publisher, petname, model, .. } = &shown;
        let of = petname.as_ref().map_or_else(|| publisher.to_string(), ToString::to_string);
        output::say(format_args!("you do not follow it; to do so: reg follow {of}/{model}"));
    }
    Ok(())
}

async fn show_draft(global: &Global, draft: &Draft) -> Result<(), CliError> {
    let petnames = trust(global).await?.petnames;
    let entries = draft.list.entries.iter().map(|it| ShownEntry {
        petname: petnames
            .iter()
            .find(|entry| entry.publisher == it.collect.publisher())
            .map(|entry| entry.petname.clone()),
        collect: it.collect.clone(),
        words: it.words.clone(),
    });
    let entries: Vec<ShownEntry> = entries.collect();
    let list = &draft.list;
    if global.json {
        return output::json(&json!({
            "draft": draft.shown(),
            "model": list.name,
            "title": list.title,
            "words": list.words,
            "entries": entries,
        }));
    }
    if !global.quiet {
        head(&list.title, list.words.as_ref())?;
        output::sentence(format!(
            "{}, a list of this machine, to be published as {}",
            draft.shown(),
            list.name
        ))?;
    }
    table(global, &entries)?;
    if !global.quiet {
        warn_of_others(draft);
    }
    Ok(())
}

fn head(title: &Label, words: Option<&Label>) -> Result<(), CliError> {
    output::sentence(title.as_str())?;
    words.map_or(Ok(()), |words| output::sentence(words.as_str()))
}

/// Prints the entries: numbered, on lines that fit a terminal; with `--quiet` in full, one on a line.
fn table(global: &Global, entries: &[ShownEntry]) -> Result<(), CliError> {
    if global.quiet {
        return entries.iter().try_for_each(|it| output::line(it.collect.to_string()));
    }
    if entries.is_empty() {
        output::say("it has no entries");
        return Ok(());
    }
    output::line("")?;
    let ids = Ids::of(global, entries.iter().map(|it| it.collect.publisher()));
    let mut table =
        Table::new([Column::whole(""), Column::named("ENTRY", ENTRY_MIN), Column::cut("WORDS", WORDS_MIN)]);
    for (number, it) in (1..).zip(entries) {
        let words = it.words.as_ref().map_or_else(String::new, ToString::to_string);
        table.row([number.to_string(), entry(it, &ids), words]);
    }
    output::draw(global, &table)
}

/// Returns an entry as it is shown: `acme/*` stands for all of a publisher.
fn entry(shown: &ShownEntry, ids: &Ids) -> String {
    let of = brief(shown.collect.publisher(), shown.petname.as_ref(), ids);
    match &shown.collect {
        Collected::Publisher(_) => format!("{of}/*"),
        Collected::Model(_, model) => format!("{of}/{model}"),
        Collected::Tag(_, model, tag) => format!("{of}/{model}:{tag}"),
        Collected::Manifest(_, model, manifest) => format!("{of}/{model}@{}", ids.short(manifest)),
    }
}

/// Asks a domain for its publisher as a pull does: again if it is pinned, else for the first time.
pub async fn ask_domain(client: &Client, publisher: &Publisher) -> Result<(), CliError> {
    if let Publisher::Domain(domain) = publisher {
        let request = DomainRequest { domain: domain.clone(), ask: AskDomain::default() };
        client.stream::<DomainFound>("/v1/trust/domain", &request).await?;
    }
    Ok(())
}

/// Returns how long a list is.
pub fn counts(it: &CollectionReport) -> String {
    format!("{} of {}", counted(it.entries, "entry"), counted(it.publishers, "publisher"))
}

/// Returns a line about a followed collection.
pub fn line(it: &CollectionReport) -> String {
    let CollectionReport { collection, state, left_out, .. } = it;
    let counts = counts(it);
    let used = match state {
        CollectionState::Current => counts,
        CollectionState::Behind => format!("{counts}; a newer version is known, and not in the store yet"),
        CollectionState::Withdrawn { reason } => {
            format!("not used: its publisher has withdrawn it: {reason:?}")
        }
        CollectionState::Denied => "not used: a denylist of yours names it".to_owned(),
        CollectionState::Absent => {
            "not used: no version of it is in the store; it is fetched every hour".to_owned()
        }
    };
    let title = it.title.as_ref().map_or_else(String::new, |title| format!(" ({title})"));
    let left_out = match left_out {
        0 => String::new(),
        count => format!(
            "; {} too many for what all your collections may name together",
            counted(*count, "publisher")
        ),
    };
    format!("{collection}  collection{title}, {used}{left_out}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_a_short_id_and_a_publisher_is_all_of_it() {
        let id = PublisherId::from_bytes([1; 32]);
        let shown = |collect: String, petname: Option<&str>| {
            let petname = petname.map(|it| it.parse().expect("a petname"));
            let shown = ShownEntry { collect: collect.parse().expect("an entry"), petname, words: None };
            entry(&shown, &Ids::default())
        };
        assert_eq!(shown(id.to_string(), Some("acme")), "acme/*");
        assert_eq!(shown(format!("{id}/tiny:v1"), Some("acme")), "acme/tiny:v1");
        assert_eq!(shown(format!("{id}/tiny:v1"), None), format!("{}…/tiny:v1", &id.to_string()[..8]));
    }
}
