//! `reg publisher`: signs and shows what a publisher says of itself, and prints what its domain must say.

use std::process::ExitCode;

use reg_api::domain::ProfileReport;
use reg_api::report::Status;
use reg_keys::key_changes;
use reg_keys::keyring::KeyName;
use reg_node::gateway::admin::OfPublisher;
use reg_node::net::public_of;
use reg_proto::bounded::Bounded;
use reg_proto::domain_record::DomainRecord;
use reg_proto::name::{Publisher, PublisherId};
use reg_proto::peer::Address;
use serde_json::json;

use crate::args::{Global, Net, ProfilePart, PublisherCommand, SetProfile};
use crate::client::{Client, home};
use crate::command::accept_keys;
use crate::command::keyring::{keyring, keyring_error};
use crate::command::settle::{After, finish_begun, settle};
use crate::error::CliError;
use crate::output;

pub async fn run(global: &Global, command: PublisherCommand) -> Result<ExitCode, CliError> {
    match command {
        PublisherCommand::Set(args) => set(global, *args).await,
        PublisherCommand::Show { publisher } => show(global, &publisher).await,
        PublisherCommand::Dns { key, peer } => dns(global, &key, peer).await,
    }
}

async fn set(global: &Global, args: SetProfile) -> Result<ExitCode, CliError> {
    let keyring = keyring(&home(global)?);
    finish_begun(global, &keyring, &args.key).await?;
    let publisher = keyring.load(&args.key).map_err(keyring_error)?;
    let history = publisher.history();
    let before = known(global, Some(&args.net), history.publisher()).await?;
    let SetProfile { domain, title, url, clear, out, .. } = args;
    if domain.is_none() && title.is_none() && url.is_none() && clear.is_empty() {
        return Err(CliError::new(
            "invalid",
            "nothing is to be said: add --domain, --title, --url or --clear",
        ));
    }
    let stays = |part: ProfilePart| before.as_ref().filter(|_| !clear.contains(&part));
    let domain = domain.or_else(|| stays(ProfilePart::Domain)?.domain.clone());
    let title = title.or_else(|| stays(ProfilePart::Title)?.title.clone());
    let url = url.or_else(|| stays(ProfilePart::Url)?.url.clone());
    let mut advice = Vec::new();
    if let Some(domain) = &domain {
        advice.push(format!(
            "{domain} stands for you once it names you too: `reg publisher dns --key {}` prints what belongs where",
            args.key
        ));
    }
    if let Some(mixed) = domain.as_ref().filter(|it| it.mixes_scripts()) {
        advice.push(format!(
            "warning: {} mixes letters of several scripts: others are warned of it",
            mixed.shown()
        ));
    }
    let fields = vec![("domain", json!(domain)), ("title", json!(title)), ("url", json!(url))];
    let newest = before.map(|it| (it.seq, it.payload));
    let file = key_changes::profile(history, domain, title, url, newest);
    let after = After { out: out.as_deref(), advice, fields, ..After::default() };
    settle(global, &keyring, &args.key, file, after).await
}

/// Returns the newest profile that the node or a peer in reach has. A new one must have a higher number.
async fn known(
    global: &Global,
    net: Option<&Net>,
    publisher: PublisherId,
) -> Result<Option<ProfileReport>, CliError> {
    let client = Client::open(global, net).await?;
    let found = client.stream("/v1/profile", &OfPublisher { publisher }).await;
    client.close().await;
    found
}

async fn show(global: &Global, publisher: &Publisher) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    let found = async {
        let id = accept_keys::id(&client, publisher).await?;
        let profile: Option<ProfileReport> =
            client.stream("/v1/profile", &OfPublisher { publisher: id }).await?;
        Ok((id, profile))
    };
    let found: Result<_, CliError> = found.await;
    client.close().await;
    let (id, profile) = found?;
    if global.json {
        output::json(&json!({ "publisher": id, "profile": profile }))?;
        return Ok(output::ok());
    }
    let Some(profile) = profile else {
        return Err(CliError::new(
            "not_found",
            format_args!("{id} has said nothing of itself that is known here"),
        )
        .hint("pull one of its models: its profile comes along"));
    };
    let ProfileReport { seq, domain, title, url, issued, .. } = profile;
    let mut rows = vec![vec!["publisher".to_owned(), id.to_string()]];
    rows.extend(title.map(|it| vec!["title".to_owned(), it.to_string()]));
    rows.extend(domain.map(|it| vec!["domain".to_owned(), it.shown()]));
    rows.extend(url.map(|it| vec!["page".to_owned(), it.to_string()]));
    rows.push(vec!["profile".to_owned(), format!("number {seq} of {}", output::time(issued))]);
    output::table(&rows)?;
    Ok(output::ok())
}

async fn dns(global: &Global, key: &KeyName, peers: Vec<Address>) -> Result<ExitCode, CliError> {
    let keyring = keyring(&home(global)?);
    let publisher = match keyring.documents(key).map_err(keyring_error)? {
        Some(history) => history.publisher(),
        None => keyring.load(key).map_err(keyring_error)?.history().publisher(),
    };
    let client = Client::open(global, None).await?;
    let found = async {
        let status: Status = client.get("/v1/status", &[]).await?;
        let profile: Option<ProfileReport> = client.stream("/v1/profile", &OfPublisher { publisher }).await?;
        Ok((status, profile))
    };
    let found: Result<_, CliError> = found.await;
    client.close().await;
    let (status, profile) = found?;
    let own = public_of(status.listen).await;
    let record = DomainRecord { publisher, peers: Bounded::first_of(peers.into_iter().chain(own)) };
    let domain = profile.and_then(|it| it.domain);
    if global.json {
        output::json(&json!({ "domain": domain, "file": record.to_file(), "txt": record.to_txt() }))?;
        return Ok(output::ok());
    }
    let of = domain.as_ref().map_or_else(|| "DOMAIN".to_owned(), ToString::to_string);
    output::sentence(format!("https://{of}/.well-known/reg.json (no redirect, with a valid certificate):"))?;
    output::line(record.to_file())?;
    output::sentence(format!("or, where there is no web server, a TXT record of _reg.{of}:"))?;
    output::line(record.to_txt())?;
    if !global.quiet {
        if domain.is_none() {
            output::say(format_args!(
                "note: your profile names no domain: reg publisher set --key {key} --domain DOMAIN"
            ));
        }
        if record.peers.is_empty() {
            output::say(format_args!(
                "note: this node has no public address, so no peer is named: add one with --peer MULTIADDR"
            ));
        }
        output::say(format_args!(
            "note: a TXT record is unsigned here, so each user must consent to it (--allow-unsigned-dns)"
        ));
    }
    Ok(output::ok())
}
