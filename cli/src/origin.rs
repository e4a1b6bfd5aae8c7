//! Tells which flags and variables of a daemon say something about its configuration, for `reg config show`.

use std::collections::BTreeMap;

use clap::ArgMatches;
use clap::parser::ValueSource;
use reg_node::daemon::{Overrides, SettingKey};

use crate::args::{Args, Command};
use crate::command::daemon::overrides_of;

/// For each key, the flag or variable that sets it in place of the file, in words.
pub type Origins = BTreeMap<SettingKey, String>;

/// The flags of `reg daemon` that set a key of the configuration, each with its variable: the id of the argument, and the key.
const FLAGS: [(&str, &str); 20] = [
    ("listen", "node.listen"),
    ("bootstrap", "node.bootstrap"),
    ("no_mdns", "node.mdns"),
    ("dht", "node.dht"),
    ("no_gossip", "node.gossip"),
    ("no_remember", "node.remember"),
    ("offline", "node.offline"),
    ("relay", "node.relay"),
    ("no_upnp", "node.upnp"),
    ("external", "node.external"),
    ("public", "network.rendezvous"),
    ("no_lanes", "transfer.lanes"),
    ("limit_up", "transfer.limit_up"),
    ("limit_down", "transfer.limit_down"),
    ("limit_local", "transfer.limit_local"),
    ("web_seeds", "transfer.web_seeds"),
    ("http", "http.listen"),
    ("publish_key", "gateway.publish_key"),
    ("upstream", "gateway.upstream"),
    ("cache_max_size", "cache.max_size"),
];

/// Further flags. `allow_unsafe` and `allow` both say which unsafe files the gateways serve.
const MORE: [(&str, &str); 3] =
    [("swarm_key", "swarm.key"), ("allow_unsafe", "gateway.allow_unsafe"), ("allow", "gateway.allow")];

/// Returns what the variables of this process would override at a daemon, and which variable sets which key.
pub fn of_variables() -> Option<(Overrides, Origins)> {
    let mut all = crate::grammar::grammar();
    let mut matches = all.try_get_matches_from_mut(["reg", "daemon"]).ok()?;
    let variables = of(&all, &matches);
    let args = <Args as clap::FromArgMatches>::from_arg_matches_mut(&mut matches).ok()?;
    let Command::Daemon(daemon) = args.command else { return None };
    Some((overrides_of(daemon), variables))
}

/// Returns which flag or variable sets which key, where the command is `reg daemon`.
pub fn of(all: &clap::Command, matches: &ArgMatches) -> Origins {
    let Some(("daemon", given)) = matches.subcommand() else { return Origins::new() };
    let Some(daemon) = all.find_subcommand("daemon") else { return Origins::new() };
    let origin = |(id, key): &(&str, &str)| {
        let arg = daemon.get_arguments().find(|it| it.get_id() == id)?;
        let said = match given.value_source(id)? {
            ValueSource::CommandLine => format!("flag --{}", arg.get_long()?),
            ValueSource::EnvVariable => format!("variable {}", arg.get_env()?.to_string_lossy()),
            _ => return None,
        };
        Some((key.parse().ok()?, said))
    };
    FLAGS.iter().chain(&MORE).filter_map(origin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_of_the_table_is_one_of_the_daemon_and_sets_a_key() {
        let all = crate::grammar::grammar();
        let daemon = all.find_subcommand("daemon").expect("a command");
        for (id, key) in FLAGS.iter().chain(&MORE) {
            assert!(daemon.get_arguments().any(|it| it.get_id() == id && it.get_env().is_some()), "{id}");
            key.parse::<SettingKey>().unwrap_or_else(|error| panic!("{error}"));
        }
    }
}
