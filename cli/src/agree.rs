//! Compares the network flags of a command with the settings of the daemon that answers it.
//!
//! The daemon's node finds peers and exchanges data with them, so the command starts no node. A flag that the
//! daemon can apply to one request travels with the request. Any other flag is refused where it asks for
//! something else than the daemon does.

use reg_api::settings::Settings;

use crate::args::Net;
use crate::error::CliError;

/// The network flags that travel with the request of a command, by their long names.
pub type Honoured = &'static [&'static str];

/// The flags that `reg pull` and `reg info` send.
pub const PULL: Honoured = &["bootstrap", "offline", "limit-down", "limit-local", "web-seed"];
/// The flags that `reg verify` sends.
pub const VERIFY: Honoured = &["bootstrap"];
/// The flags of commands that send none.
pub const NONE: Honoured = &[];

/// A flag that was given, what it asks for, and what the daemon does.
struct Given {
    flag: &'static str,
    asked: String,
    done: String,
}

/// Refuses a flag that asks for something else than the daemon does, unless the flag travels with the
/// request. `asked` are the settings of a node with these flags, `daemon` are those of the daemon.
///
/// # Errors
/// One such flag, with what the daemon does instead.
pub fn check(net: &Net, honoured: Honoured, asked: &Settings, daemon: &Settings) -> Result<(), CliError> {
    let differs =
        given(net, asked, daemon).into_iter().find(|it| !honoured.contains(&it.flag) && it.asked != it.done);
    let Some(Given { flag, asked, done }) = differs else { return Ok(()) };
    let reason = match flag {
        "swarm-key" => "its node is in another swarm".to_owned(),
        _ => format!("its node has {done}, not {asked}"),
    };
    Err(CliError::new("invalid", format_args!("--{flag} cannot be honoured: a daemon answers, and {reason}"))
        .hint(format_args!("leave the flag out, or stop the daemon and start it with --{flag}")))
}

/// Returns the flags that were given.
fn given(net: &Net, asked: &Settings, daemon: &Settings) -> Vec<Given> {
    // Each flag of the command line stands in this pattern, so that none is forgotten.
    let Net {
        bootstrap,
        no_mdns,
        dht,
        no_gossip,
        no_remember,
        swarm_key,
        offline,
        no_lanes,
        limit_up,
        limit_down,
        limit_local,
        web_seeds,
    } = net;
    let words = |of: fn(&Settings) -> String| (of(asked), of(daemon));
    let switch = |name: &str, is_on: bool| format!("{name} {}", if is_on { "on" } else { "off" });
    let both = |name: &str, of: fn(&Settings) -> bool| (switch(name, of(asked)), switch(name, of(daemon)));
    // A list is honoured if the daemon has all of it.
    let list = |of: fn(&Settings) -> &Vec<String>| {
        let lacking: Vec<&str> =
            of(asked).iter().filter(|it| !of(daemon).contains(it)).map(String::as_str).collect();
        (lacking.join(", "), String::new())
    };
    let of_flag = |flag, is_given: bool, (asked, done)| is_given.then_some(Given { flag, asked, done });
    let all = [
        of_flag("bootstrap", !bootstrap.is_empty(), list(|it| &it.bootstrap)),
        of_flag("no-mdns", *no_mdns, both("mDNS", |it| it.mdns)),
        of_flag("dht", dht.is_some(), words(|it| format!("dht {}", it.dht))),
        of_flag("no-gossip", *no_gossip, both("gossip", |it| it.gossip)),
        of_flag("no-remember", *no_remember, both("remembered peers", |it| it.remember)),
        of_flag("swarm-key", swarm_key.is_some(), words(|it| it.swarm.clone().unwrap_or_default())),
        of_flag("offline", *offline, both("offline", |it| it.offline)),
        of_flag("no-lanes", *no_lanes, both("lanes", |it| it.lanes)),
        of_flag("limit-up", limit_up.is_some(), words(|it| format!("limit-up {}", it.limit_up))),
        of_flag("limit-down", limit_down.is_some(), words(|it| format!("limit-down {}", it.limit_down))),
        of_flag("limit-local", *limit_local, both("limit-local", |it| it.limit_local)),
        of_flag("web-seed", !web_seeds.is_empty(), list(|it| &it.web_seeds)),
    ];
    all.into_iter().flatten().collect()
}
