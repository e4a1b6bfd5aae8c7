//! `reg export-signature`: prints the OpenSSF bundle of a model, which `model_signing` verifies.

use std::process::ExitCode;

use crate::args::{Global, Named};
use crate::client::Client;
use crate::error::CliError;
use crate::output;

pub async fn run(global: &Global, args: Named) -> Result<ExitCode, CliError> {
    let client = Client::open(global, None).await?;
    let bundle: String = client.get("/v1/signature", &[("reference", args.reference.to_string())]).await?;
    client.close().await;
    output::line(bundle)?;
    Ok(output::ok())
}
