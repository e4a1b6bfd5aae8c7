//! `reg config path|show|init`: where the configuration is, what it means, and a file to begin with.

use std::fs;
use std::io::Write;
use std::process::ExitCode;

use reg_node::daemon::{Overrides, SAMPLE};
use serde_json::json;

use crate::args::{Config, Global};
use crate::client::{config, home};
use crate::error::CliError;
use crate::output;

pub fn run(global: &Global, command: &Config) -> Result<ExitCode, CliError> {
    let home = home(global)?;
    match command {
        Config::Path => output::line(home.config().display().to_string())?,
        Config::Show => {
            let meant = config(&home, Overrides::default())?;
            output::json(&json!({
                "listen": meant.listen,
                "bootstrap": meant.bootstrap,
                "mdns": meant.mdns,
                "dht": format!("{:?}", meant.dht).to_lowercase(),
                "gossip": meant.gossip,
                "offline": meant.offline,
                "http": meant.http.to_string(),
                "cache_max_size": meant.cache.max_size,
                "cache_min_free": meant.cache.min_free,
                "log_filter": meant.log_filter,
            }))?;
        }
        Config::Init => {
            home.make().map_err(|error| CliError::from_error("other", &error))?;
            let path = home.config();
            let written = fs::File::create_new(&path).and_then(|mut file| file.write_all(SAMPLE.as_bytes()));
            written.map_err(|error| {
                CliError::new("invalid", format_args!("{}: {error}", path.display()))
                    .hint("a file that is there is not replaced: move it away first")
            })?;
            output::line(path.display().to_string())?;
        }
    }
    Ok(output::ok())
}
