//! `reg key export-ca`: prints a certificate authority for each key of a publisher, for tools that verify by X.509.

use std::process::ExitCode;

use reg_api::report::PublisherReport;
use reg_keys::authorities::KeyAuthority;
use reg_keys::keyring::KeyName;
use reg_keys::keyring::Keyring;

use crate::args::Global;
use crate::client::Client;
use crate::command::keyring::keyring_error;
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
            (true, _) => output::say(format_args!("left out: {key} is revoked")),
            (_, None) => {
                output::say(format_args!(
                    "left out: {key} is not on this machine, and only it can sign its certificate"
                ));
            }
            _ => {}
        }
    }
    output::say(format_args!(
        "each authority proves a key, not the id {publisher}: only key documents prove that, and `reg pull` checks them"
    ));
    Ok(output::ok())
}
