//! What a next key document takes over of the statements that older keys have signed, and what becomes void.

use std::collections::BTreeSet;

use reg_api::declarations::{Declarations, DeclarationsTaken, Inheritable, Statement, StatementKind};
use reg_keys::keyring::KeyName;
use reg_proto::digest::Digest;
use reg_proto::key::{Inheritance, KeyHistory};
use reg_proto::name::PublisherId;
use serde_json::{Value, json};

use crate::args::Global;
use crate::client::Client;
use crate::error::CliError;
use crate::output;

/// Statements of one kind that a terminal shows. `--json` has all of them.
const SHOWN_MAX: usize = 20;

/// The statements that a key document takes over, and those that it leaves out.
#[derive(Debug)]
pub struct Takeover {
    pub list: Inheritance,
    taken: Vec<Statement>,
    left_out: Vec<Statement>,
    peers: usize,
}

/// Asks the node, and its peers, for the statements of a publisher that stand now.
///
/// Gives the node the key documents of this machine first. A node on a new machine does not follow the publisher yet, so it
/// would find nothing, and the next key document would void everything.
///
/// Refuses where the node follows other or newer key documents than this machine has: what is signed here would part from
/// them.
pub async fn gather(global: &Global, history: &KeyHistory) -> Result<Inheritable, CliError> {
    let client = Client::open(global, None).await?;
    let known = Declarations { key_documents: history.texts(), ..Declarations::default() };
    let taken: Result<DeclarationsTaken, CliError> = client.post("/v1/vows", &known).await;
    if let Err(error) = taken {
        client.close().await;
        return Err(error.hint(
            "the node follows other key documents than those of this machine: on the machine that has the newest ones, run \
             `reg key documents NAME > FILE`, and here `reg key import NAME --documents FILE`",
        ));
    }
    let found = ask(&client, history.publisher()).await;
    client.close().await;
    found
}

async fn ask(client: &Client, publisher: PublisherId) -> Result<Inheritable, CliError> {
    client.post("/v1/inheritance", &json!({ "publisher": publisher })).await
}

impl Takeover {
    /// Returns the takeover of all statements but those with a payload or manifest in `leave_out`, and, with `only_stored`,
    /// those that only peers have.
    ///
    /// Refuses as `invalid` a digest that names no statement, and more statements than a list may have.
    pub fn of(found: Inheritable, leave_out: &[Digest], only_stored: bool) -> Result<Self, CliError> {
        let means = |it: &Statement, digest: &Digest| it.payload == *digest || it.manifest == Some(*digest);
        if let Some(unknown) =
            leave_out.iter().find(|digest| !found.statements.iter().any(|it| means(it, digest)))
        {
            return Err(CliError::new(
                "invalid",
                format_args!("{unknown} names no statement of the publisher"),
            ));
        }
        let is_left =
            |it: &Statement| leave_out.iter().any(|digest| means(it, digest)) || (only_stored && !it.stored);
        let (left_out, taken): (Vec<_>, Vec<_>) = found.statements.into_iter().partition(is_left);
        let list = Inheritance::of(taken.iter().map(|it| it.payload)).map_err(|error| {
            CliError::from_error("invalid", &error).hint("leave some out: --leave-out DIGEST")
        })?;
        Ok(Self { list, taken, left_out, peers: found.peers })
    }

    /// Takes over too what this node's publisher has signed while the user was asked.
    pub fn with_new(mut self, again: Inheritable) -> Result<Self, CliError> {
        let known: BTreeSet<Digest> =
            self.taken.iter().chain(&self.left_out).map(|statement| statement.payload).collect();
        let new = again.statements.into_iter().filter(|it| it.stored && !known.contains(&it.payload));
        let new: Vec<Statement> = new.collect();
        if !new.is_empty() {
            output::say(format_args!("Signed in the meantime, and taken over too:"));
            rows(&new);
            self.taken.extend(new);
            self.list = Inheritance::of(self.taken.iter().map(|it| it.payload))
                .map_err(|error| CliError::from_error("invalid", &error))?;
        }
        Ok(self)
    }

    /// Returns the payloads of the statements that are left out.
    pub fn left_out(&self) -> Vec<Digest> {
        self.left_out.iter().map(|statement| statement.payload).collect()
    }

    /// Prints what is taken over, what becomes void and for which nodes, and what the user can do about it.
    pub fn show(&self, name: &KeyName, version: u64) {
        if self.taken.is_empty() {
            output::say(format_args!(
                "{name} has signed nothing that this node knows, so key document {version} takes over nothing."
            ));
        } else {
            output::say(format_args!(
                "Key document {version} of {name} takes over, for followers and newcomers:"
            ));
            rows(&self.taken);
            let elsewhere = self.taken.iter().filter(|it| !it.stored).count();
            if elsewhere > 0 {
                output::say(format_args!(
                    "{elsewhere} of them are not in this node's store: a thief of the old key may have signed them. Add \
                     --only-stored to take over none of these, or --leave-out DIGEST for single ones."
                ));
            }
        }
        if !self.left_out.is_empty() {
            output::say(format_args!(
                "It leaves out, so that these become void for every node that takes up the new document:"
            ));
            rows(&self.left_out);
        }
        let asked = match self.peers {
            0 => "no peer was asked".to_owned(),
            1 => "this node and one peer were asked".to_owned(),
            peers => format!("this node and {peers} peers were asked"),
        };
        output::say(format_args!(
            "Everything else that was signed before it becomes void ({asked}). If another machine of yours published \
             something that is missing above, stop now, connect to it (`reg daemon --bootstrap ADDRESS`), and run this \
             command again. What is missing later can be published again with the new key."
        ));
    }

    /// Returns the fields of the JSON result.
    pub fn fields(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("inherits", json!(self.taken)),
            ("left_out", json!(self.left_out)),
            ("peers_asked", json!(self.peers)),
        ]
    }
}

/// Asks the node for the statements of a publisher that stand now, by the key documents that the node has.
pub async fn standing(global: &Global, publisher: PublisherId) -> Result<Inheritable, CliError> {
    let client = Client::open(global, None).await?;
    let found = ask(&client, publisher).await;
    client.close().await;
    found
}

/// Returns the statements of this node's publisher that key document `version` does not take over, and that were not left
/// out on purpose: they were signed after its list was made.
pub fn missed(found: Inheritable, list: &Inheritance, left_out: &[Digest], version: u64) -> Vec<Statement> {
    let is_missed = |it: &Statement| {
        let is_older = it.stored && (1..version).contains(&it.key_document);
        is_older && !list.contains(&it.payload) && !left_out.contains(&it.payload)
    };
    found.statements.into_iter().filter(is_missed).collect()
}

/// Prints statements, grouped by kind.
pub fn rows(statements: &[Statement]) {
    for kind in [
        StatementKind::Tag,
        StatementKind::Provenance,
        StatementKind::Attestation,
        StatementKind::Card,
        StatementKind::Delegation,
        StatementKind::Profile,
        StatementKind::Tombstone,
        StatementKind::Revocation,
        StatementKind::Inherited,
    ] {
        let of_kind: Vec<&Statement> = statements.iter().filter(|it| it.kind == kind).collect();
        for it in of_kind.iter().take(SHOWN_MAX) {
            let place = if it.stored { "" } else { "  (only at peers)" };
            output::say(format_args!("  {:<11}  {}{place}", word(kind), it.about));
        }
        if of_kind.len() > SHOWN_MAX {
            output::say(format_args!(
                "  {:<11}  and {} more (--json shows all)",
                word(kind),
                of_kind.len() - SHOWN_MAX
            ));
        }
    }
}

const fn word(kind: StatementKind) -> &'static str {
    match kind {
        StatementKind::Tag => "tag",
        StatementKind::Provenance => "provenance",
        StatementKind::Attestation => "attestation",
        StatementKind::Card => "card",
        StatementKind::Delegation => "delegation",
        StatementKind::Profile => "profile",
        StatementKind::Tombstone => "tombstone",
        StatementKind::Revocation => "revocation",
        StatementKind::Inherited => "other",
    }
}
