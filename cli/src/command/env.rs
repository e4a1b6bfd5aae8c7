//! `reg env`: prints the variables by which other tools use this node, or runs one command with them.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, ExitCode};

use data_encoding::BASE64;
use reg_node::daemon::{Gateway, Home};
use serde_json::json;

use crate::args::{Dialect, Env, Global};
use crate::client::{home, is_alive};
use crate::error::CliError;
use crate::output;

pub async fn run(global: &Global, args: Env) -> Result<ExitCode, CliError> {
    let home = home(global)?;
    if !is_alive(&home.socket()).await {
        return Err(CliError::new("unreachable", "no daemon runs").hint("start one with `reg daemon`"));
    }
    let gateway = Gateway::of(&home).map_err(|error| {
        CliError::from_error("other", &error)
            .hint("the daemon may be of another version: stop it and start it again")
    })?;
    let variables = variables(&home, &gateway, args.dialect)?;
    let Some((program, rest)) = args.command.split_first() else {
        return print(global, &variables, &gateway, args.dialect);
    };
    let status = Command::new(program).args(rest).envs(&variables).status().map_err(|error| {
        CliError::new("not_found", format_args!("{}: {error}", program.to_string_lossy()))
    })?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

fn variables(
    home: &Home,
    gateway: &Gateway,
    dialect: Dialect,
) -> Result<BTreeMap<&'static str, String>, CliError> {
    Ok(match dialect {
        Dialect::Hf => BTreeMap::from([
            ("HF_ENDPOINT", format!("http://{}", gateway.address)),
            // With Xet the client fetches past the node; with plain HTTP it asks the node.
            ("HF_HUB_DISABLE_XET", "1".to_owned()),
            // The node reads the token without the prefix. llama.cpp and @huggingface/hub send none that lacks it.
            ("HF_TOKEN", format!("hf_{}", gateway.token)),
        ]),
        Dialect::Oci => {
            let dir = write_login(home, gateway)?;
            BTreeMap::from([
                ("DOCKER_CONFIG", dir.display().to_string()),
                ("REGISTRY_AUTH_FILE", dir.join("config.json").display().to_string()),
                ("REG_REGISTRY", gateway.address.to_string()),
            ])
        }
        Dialect::Ollama => BTreeMap::from([("REG_REGISTRY", gateway.address.to_string())]),
    })
}

/// Writes the login file of the container tools, which take no token from a variable; returns its folder.
fn write_login(home: &Home, gateway: &Gateway) -> Result<std::path::PathBuf, CliError> {
    let dir = home.login();
    let failed = |error: std::io::Error| CliError::of_file(&dir, &error);
    fs::create_dir_all(&dir).map_err(failed)?;
    let auth = BASE64.encode(format!("reg:{}", gateway.token).as_bytes());
    let text = json!({ "auths": { gateway.address.to_string(): { "auth": auth } } }).to_string();
    let mut file = tempfile::NamedTempFile::new_in(&dir).map_err(failed)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
    // The temporary file is readable by its owner only, and keeps that mode.
    file.persist(dir.join("config.json")).map_err(|error| failed(error.error))?;
    Ok(dir)
}

fn print(
    global: &Global,
    variables: &BTreeMap<&'static str, String>,
    gateway: &Gateway,
    dialect: Dialect,
) -> Result<ExitCode, CliError> {
    if global.json {
        output::json(variables)?;
        return Ok(output::ok());
    }
    for (name, value) in variables {
        output::line(format!("export {name}={}", quoted(value)))?;
    }
    if !global.quiet {
        let address = gateway.address;
        match dialect {
            Dialect::Hf => output::say(format_args!("then: hf download PUBLISHER/MODEL")),
            Dialect::Oci => output::say(format_args!(
                "then: skopeo inspect --tls-verify=false docker://{address}/PUBLISHER/MODEL"
            )),
            Dialect::Ollama => {
                output::say(format_args!("then: ollama pull --insecure http://{address}/PUBLISHER/MODEL"))
            }
        }
        output::say(format_args!("or all at once: eval \"$(reg env {dialect})\""));
    }
    Ok(output::ok())
}

/// Quotes a value for a POSIX shell.
fn quoted(value: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "-_./:".contains(it);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_a_shell() {
        assert_eq!(quoted("http://127.0.0.1:4610"), "http://127.0.0.1:4610");
        assert_eq!(quoted("a b'c"), r"'a b'\''c'");
        assert_eq!(quoted(""), "''");
    }
}
