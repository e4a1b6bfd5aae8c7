//! `reg key export-ca`: the certificates by which tools that know X.509 trust what a publisher's keys have signed.

use std::process::ExitCode;

use reg_api::report::PublisherReport;
use reg_keys::authorities::KeyAuthority;
use reg_keys::keyring::KeyName;
use reg_keys::keyring::Keyring;

use crate::args::Global;
use crate::client::Client;
use crate::command::key::keyring_error;
use crate::error::CliError;
use crate::output;

pub async fn run(global: &Global, keyring: &Keyring, name: &KeyName) -> Result<ExitCode, CliError> {
    let publisher = keyring.info(name).map_err(keyring_error)?.publisher;
    let client = Client::open(global, None).await?;
    let seen: Result<PublisherReport, CliError> =
        client.get("/v1/publisher", &[("publisher", publisher.to_string())]).await;
    client.close().await;
    let revoked: Vec<_> = seen?.revocations.iter().filter_map(|it| it.subject.key()).collect();
    let made = keyring.authorities(name, &revoked).map_err(keyring_error)?;
    if global.json {
        output::json(&made)?;
        return Ok(output::ok());
    }
    output::write(&made.to_pem())?;
    if global.quiet {
        return Ok(output::ok());
    }
    for KeyAuthority { key, revoked, pem, .. } in &made.authorities {
        match (revoked, pem) {
            (true, _) => eprintln!("left out: {key} is revoked"),
            (_, None) => eprintln!("left out: {key} is not here, and alone can sign its certificate"),
            _ => {}
        }
    }
    eprintln!(
        "each authority proves a key, not the id {publisher}: that is proven by key documents, which `reg pull` checks"
    );
    Ok(output::ok())
}
