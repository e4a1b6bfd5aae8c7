//! `reg trust accept DOMAIN`: shows what a domain says now and what is pinned, asks, and pins what the user accepts.

use reg_api::domain::{AskDomain, DomainFound, DomainSays, DomainSource};
use reg_node::gateway::admin::trust::{DomainRequest, OfDomain};
use reg_proto::domain::Domain;
use reg_proto::name::Publisher;

use crate::args::{Accept, Global, Net};
use crate::client::Client;
use crate::command::accept_keys;
use crate::command::confirm::confirm;
use crate::error::CliError;
use crate::output;

pub async fn run(
    global: &Global,
    client: &Client,
    domain: &Domain,
    yes: bool,
    net: &Net,
) -> Result<(), CliError> {
    let says: DomainSays = client.post("/v1/trust/domain/says", &OfDomain { domain: domain.clone() }).await?;
    if says.pinned == Some(says.publisher) {
        if says.source != DomainSource::Petname && !global.json && !global.quiet {
            output::say(format_args!(
                "{} is pinned to {}, as the domain says",
                domain.shown(),
                says.publisher
            ));
        }
        // The domain needs no decision. The user may still have to choose a branch of the publisher's keys.
        let publisher = Publisher::Id(says.publisher);
        let args = Accept { publisher, new: None, head: None, yes, net: net.clone() };
        return accept_keys::run(global, client, &args).await;
    }
    if !global.json && !global.quiet {
        show(&says);
    }
    let question = match says.pinned {
        Some(_) => "Pin the new publisher, and no longer the old one?",
        None => "Pin this publisher?",
    };
    confirm(yes, question)?;
    let ask = AskDomain { accept: Some(says.publisher), ..AskDomain::default() };
    let found: DomainFound =
        client.stream("/v1/trust/domain", &DomainRequest { domain: domain.clone(), ask }).await?;
    if global.json {
        return output::json(&found);
    }
    output::sentence(format!("{} is {}", found.domain.shown(), found.publisher))
}

fn show(says: &DomainSays) {
    output::say(format_args!(
        "{} names publisher {}, by {}.",
        says.domain.shown(),
        says.publisher,
        says.source
    ));
    match says.pinned {
        Some(pinned) => output::say(format_args!("It is pinned to  {pinned}.")),
        None => output::say(format_args!("It is not pinned yet.")),
    }
    output::say(format_args!(
        "Ask the publisher another way which id is theirs: `reg key show NAME` prints it."
    ));
}
