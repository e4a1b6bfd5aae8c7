//! `reg attest`: signs an attestation of a model in the store, and stores it beside the model.

use std::process::ExitCode;

use reg_api::report::{AttestationInfo, ModelInfo};
use reg_api::request::AttestRequest;

use crate::args::{Attest, Global};
use crate::client::{Client, home};
use crate::command::keyring::{keyring, keyring_error};
use crate::error::CliError;
use crate::output;

pub async fn run(global: &Global, args: Attest) -> Result<ExitCode, CliError> {
    let home = home(global)?;
    let key = keyring(&home).load(&args.key).map_err(keyring_error)?;
    let client = Client::open(global, Some(&args.net)).await?;
    let named = [("reference", args.reference.to_string())];
    let info: ModelInfo = client.get("/v1/info", &named).await?;
    let manifest = info.summary.manifest;
    let envelope = key
        .attest(&manifest, args.kind, args.result, args.tool, args.note)
        .map_err(|error| CliError::from_error("verification", &error))?;
    let request = AttestRequest {
        reference: args.reference,
        envelope,
        key_documents: key.key_documents().to_vec(),
        attestor: key.publisher_id(),
    };
    let said: AttestationInfo = client.post("/v1/attest", &request).await?;
    client.close().await;
    if global.json {
        output::json(&said)?;
    } else if !global.quiet {
        output::sentence(format!("{} {} of {manifest}, by {}", said.kind, said.result, said.by))?;
    }
    Ok(output::ok())
}

/// Returns an attestation as one line: kind, result, attestor, tool and note.
pub fn line(said: &AttestationInfo) -> String {
    let attestor = match &said.petname {
        Some(petname) => petname.to_string(),
        None => said.by.to_string(),
    };
    let mut text = format!("{} {} by {attestor}", said.kind, said.result);
    if let Some(tool) = &said.tool {
        text.push_str(&format!(", with {tool}"));
    }
    if let Some(note) = &said.note {
        text.push_str(&format!(": {note}"));
    }
    text
}
