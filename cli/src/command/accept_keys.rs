//! `reg trust accept`: shows the branches of a publisher's keys, asks which one is the publisher's, and follows it.

use reg_api::report::{KeyBranch, KeyBranches, TrustEntry, TrustReport};
use reg_node::gateway::admin::trust::AcceptRequest;
use reg_proto::digest::Digest;
use reg_proto::name::{Publisher, PublisherId};

use crate::args::{Accept, Global};
use crate::client::Client;
use crate::command::confirm::{ask, confirm};
use crate::error::CliError;
use crate::output;

/// Tags of a branch that a terminal shows. `--json` has all of them.
const TAGS_SHOWN_MAX: usize = 5;

pub async fn run(global: &Global, client: &Client, args: &Accept) -> Result<(), CliError> {
    let publisher = id(client, &args.publisher).await?;
    if args.new.is_some() {
        return Err(CliError::new(
            "invalid",
            "a publisher id cannot be given to another publisher: name a petname",
        ));
    }
    let known: KeyBranches =
        client.get("/v1/trust/branches", &[("publisher", publisher.to_string())]).await?;
    if known.branches.is_empty() {
        return Err(CliError::new(
            "not_found",
            format_args!("this node knows no key document of {publisher}"),
        )
        .hint("pull one of its models first: the branches that peers have are kept"));
    }
    if global.json && args.head.is_none() {
        // Without a choice, this only shows.
        return output::json(&known);
    }
    if !global.json && !global.quiet {
        show(&known);
    }
    let head = match args.head {
        Some(head) => head,
        None if known.branches.len() == 1 => {
            return output::sentence(format!(
                "{publisher} has one branch, which is followed: nothing to choose"
            ));
        }
        None => choose(&known.branches)?,
    };
    confirm(args.yes, &format!("Follow the branch with key document {head}, and no other?"))?;
    let after: KeyBranches = client.post("/v1/trust/accept", &AcceptRequest { publisher, head }).await?;
    if global.json {
        return output::json(&after);
    }
    let version = after.branches.iter().find(|it| it.is_followed).map_or(0, |it| it.version);
    output::sentence(format!("{publisher} is followed by key document {version}, {head}"))
}

/// Returns the id of a publisher; a petname or a domain is looked up in the trust file.
pub async fn id(client: &Client, publisher: &Publisher) -> Result<PublisherId, CliError> {
    match publisher {
        Publisher::Id(id) => Ok(*id),
        Publisher::Domain(domain) => {
            let report: TrustReport = client.get("/v1/trust/all", &[]).await?;
            let petname = report.petnames.iter().find(|it| domain.as_petname().as_ref() == Some(&it.petname));
            let pinned = report.domains.iter().find(|it| it.domain == *domain).map(|it| it.publisher);
            petname.map(|it| it.publisher).or(pinned).ok_or_else(|| {
                CliError::new("not_found", format_args!("domain {domain} is not pinned"))
                    .hint(format_args!("`reg trust add {domain}` asks it and pins its publisher"))
            })
        }
        Publisher::Petname(petname) => {
            let entries: Vec<TrustEntry> = client.get("/v1/trust", &[]).await?;
            let known = entries.into_iter().find(|it| it.petname == *petname).map(|it| it.publisher);
            known.ok_or_else(|| {
                CliError::new("not_found", format_args!("you have given no publisher the petname {petname}"))
                    .hint("`reg trust ls` lists your petnames; an id works too")
            })
        }
    }
}

fn choose(branches: &[KeyBranch]) -> Result<Digest, CliError> {
    let answer =
        ask(&format!("Which one is the publisher's? [1-{}] ", branches.len()), "--head DIGEST --yes")?;
    let chosen = answer.parse::<usize>().ok().and_then(|it| branches.get(it.checked_sub(1)?));
    chosen
        .map(|it| it.head)
        .ok_or_else(|| CliError::new("denied", "no branch was chosen: nothing was changed"))
}

fn show(known: &KeyBranches) {
    output::say(format_args!("Branches of the keys of {}:", known.publisher));
    for (index, branch) in known.branches.iter().enumerate() {
        let state = match (branch.is_followed, branch.is_accepted) {
            (true, true) => "followed, accepted by you",
            (true, false) => "followed: seen first",
            _ => "not followed",
        };
        output::say(format_args!(
            "  {}. key document {}, {} ({state})",
            index + 1,
            branch.version,
            branch.head
        ));
        let keys: Vec<String> = branch.keys.iter().map(ToString::to_string).collect();
        output::say(format_args!("     {} of {}", branch.threshold, keys.join(", ")));
        if let Some(common) = branch.common.filter(|_| !branch.is_followed) {
            output::say(format_args!("     parts from the followed branch after key document {common}"));
        }
        if branch.is_dead {
            output::say(format_args!("     its keys are revoked: it signs nothing any more"));
        }
        if branch.version > 1 {
            let text = match branch.is_committed {
                true => {
                    "its keys were committed to before: a thief of the keys before them does not have these"
                }
                false => "its keys were not committed to: a thief of the keys before them can have made it",
            };
            output::say(format_args!("     {text}"));
        }
        match branch.newest_tag {
            Some(issued) => {
                let shown: Vec<&str> = branch.tags.iter().take(TAGS_SHOWN_MAX).map(String::as_str).collect();
                let more = branch.tags.len().saturating_sub(TAGS_SHOWN_MAX);
                let more = if more == 0 { String::new() } else { format!(" and {more} more") };
                output::say(format_args!(
                    "     tags that count: {}{more}; the newest of {}",
                    shown.join(", "),
                    output::time(issued)
                ));
            }
            None => output::say(format_args!("     no tag in the store counts under it")),
        }
    }
    output::say(format_args!("Ask the publisher another way which key document is theirs."));
}
