//! `reg unlist`: takes a tag out of catalogues. The model and its records stay valid.

use std::process::ExitCode;

use reg_api::declarations::{Unlist as Asked, Unlistable};
use reg_keys::key_changes;
use reg_proto::name::Tag;
use serde_json::json;

use crate::args::{Global, Unlist};
use crate::client::{Client, home};
use crate::command::accept_keys;
use crate::command::keyring::{keyring, keyring_error};
use crate::command::settle::{After, finish_begun, settle};
use crate::error::CliError;
use crate::output;

pub async fn run(global: &Global, args: Unlist) -> Result<ExitCode, CliError> {
    let Unlist { reference, key, out, net } = args;
    if let Some(digest) = reference.digest {
        let text = format!("{digest} is a manifest, and catalogues list tags");
        return Err(
            CliError::new("invalid", text).hint("name a tag: reg unlist PUBLISHER/MODEL:TAG --key NAME")
        );
    }
    let keyring = keyring(&home(global)?);
    finish_begun(global, &keyring, &key).await?;
    let publisher = keyring.load(&key).map_err(keyring_error)?;
    let history = publisher.history();
    let client = Client::open(global, Some(&net)).await?;
    let asked = async {
        let named = accept_keys::id(&client, &reference.publisher).await?;
        if named != history.publisher() {
            let text = format!("{named} is another publisher: {key} signs for {}", history.publisher());
            return Err(
                CliError::new("denied", text).hint("a publisher takes only its own tags out of catalogues")
            );
        }
        let tag = reference.tag.clone().unwrap_or_else(Tag::latest);
        let asked = Asked { key_documents: history.texts(), model: reference.model.clone(), tag };
        client.stream("/v1/unlist", &asked).await
    };
    let found: Result<Unlistable, CliError> = asked.await;
    client.close().await;
    let Unlistable { model, tag, seq, is_unlisted, .. } = found?;
    if is_unlisted && !global.quiet {
        output::say(format_args!("note: {model}:{tag} is taken out already, up to number {seq}"));
    }
    let fields = vec![("model", json!(model)), ("tag", json!(tag)), ("seq", json!(seq))];
    let advice = vec![
        "peers take it out when they compare their catalogues with this node's: at each start and every ten minutes".to_owned(),
        format!("`reg publish` of {model}:{tag} lists it again"),
    ];
    let file = key_changes::unlist(history, model, tag, seq);
    let after = After { out: out.as_deref(), advice, fields, ..After::default() };
    settle(global, &keyring, &key, file, after).await
}
