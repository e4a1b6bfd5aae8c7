//! Says what to do about a node that cannot start: which file, port or option stands in the way.

use std::io::{self, ErrorKind};

use reg_api::fault;
use reg_node::daemon::NodeError;
use reg_node::gateway::server::ServeError;
use reg_node::net::StartError;
use reg_node::store::OpenError;

use crate::error::CliError;

/// Returns the error of a node that cannot start in this process, with what to do next.
pub fn node_error(error: &NodeError) -> CliError {
    let failed = fault::system_call(std::error::Error::source(error));
    match error {
        NodeError::Store(OpenError::InUse { .. }) => CliError::from_error("retry_later", error).hint(
            "another `reg` process uses this store, and no daemon answers on its socket: wait until it ends",
        ),
        NodeError::Store(OpenError::Version { path, found, expected }) => {
            CliError::from_error("other", error).hint(version_hint(&path.display().to_string(), found, *expected))
        }
        NodeError::Files(_) => CliError::from_error("other", error).hint(
            "raise the hard limit: `ulimit -Hn 4096` in a shell of root, LimitNOFILE=65536 in a service of systemd",
        ),
        NodeError::OwnUpstream { .. } => CliError::from_error("invalid", error)
            .hint("unset HF_ENDPOINT and HF_TOKEN, which `reg env hf` has set"),
        NodeError::Network(StartError::Listen { .. }) => {
            CliError::from_error(port_kind(failed), error).hint(port_hint(failed, "--listen MULTIADDR", "node.listen"))
        }
        NodeError::Network(StartError::Lanes(_)) => CliError::from_error(port_kind(failed), error).hint(format_args!(
            "{}; lanes listen on the port above that of --listen, and --no-lanes does without them",
            port_hint(failed, "--listen MULTIADDR", "node.listen")
        )),
        NodeError::Serve(ServeError::Bind { .. }) => {
            CliError::from_error(port_kind(failed), error).hint(port_hint(failed, "--http ADDRESS", "http.listen"))
        }
        NodeError::Home(_) | NodeError::Identity(_) | NodeError::Store(_)
            if failed.is_some_and(|it| it.kind() == ErrorKind::PermissionDenied) =>
        {
            CliError::from_error("other", error)
                .hint("run it as the owner of that file, or name a folder of your own with --home DIR")
        }
        _ => CliError::from_error("other", error),
    }
}

/// Returns the kind of an error about a listen address: `denied` if another program or the system prevents
/// it, else `invalid`.
fn port_kind(failed: Option<&io::Error>) -> &'static str {
    match failed.map(io::Error::kind) {
        Some(ErrorKind::AddrInUse | ErrorKind::PermissionDenied) => "denied",
        _ => "invalid",
    }
}

/// Returns what to do about an address that cannot be listened on, which `flag` and the `key` of the configuration set.
fn port_hint(failed: Option<&io::Error>, flag: &str, key: &str) -> String {
    let why = match failed.map(io::Error::kind) {
        Some(ErrorKind::AddrInUse) => {
            "another program listens there, perhaps another daemon (`reg status` asks it): "
        }
        Some(ErrorKind::AddrNotAvailable) => "this machine has no such address: ",
        Some(ErrorKind::PermissionDenied) => "ports below 1024 need the rights of root: ",
        _ => "",
    };
    format!("{why}name another address with {flag} ({key} in the configuration)")
}

/// Returns what to do about a store of another version, as the file at `path` says.
fn version_hint(path: &str, found: &str, expected: u32) -> String {
    match found.parse::<u32>() {
        Ok(found) if found > expected => {
            "a newer `reg` has written this store: use that one, or another folder with --home DIR".to_owned()
        }
        _ => format!(
            "if this folder is one of reg, empty the file with `: > '{path}'`: the next start finds the version out from \
             the other files; if not, name another folder with --home DIR"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(error: &NodeError) -> String {
        format!("{:?}", node_error(error))
    }

    #[test]
    fn each_address_that_is_taken_names_its_option() {
        let taken = || io::Error::from(ErrorKind::AddrInUse);
        let swarm = StartError::Listen {
            address: "/ip4/0.0.0.0/tcp/4600".parse().expect("an address"),
            source: Box::new(io::Error::other(taken())),
        };
        let http = ServeError::Bind { address: ([127, 0, 0, 1], 4610).into(), source: taken() };
        for (error, option, place) in [
            (NodeError::Network(swarm), "--listen", "tcp/4600"),
            (NodeError::Network(StartError::Lanes(Box::new(taken()))), "--no-lanes", "--listen"),
            (NodeError::Serve(http), "--http", "127.0.0.1:4610"),
        ] {
            let shown = shown(&error);
            for expected in [option, place, "another program", "code: 6"] {
                assert!(shown.contains(expected), "{expected}: {shown}");
            }
        }
    }

    #[test]
    fn a_store_of_another_version_says_what_to_do() {
        let error = |found: &str| {
            let (path, found) = ("/srv/reg/store/VERSION".into(), found.to_owned());
            shown(&NodeError::Store(OpenError::Version { path, found, expected: 2 }))
        };
        assert!(error("3").contains("a newer `reg`"), "{}", error("3"));
        for found in ["junk", "0", "-1", "99999999999"] {
            let shown = error(found);
            assert!(shown.contains("empty the file") && shown.contains("/srv/reg/store/VERSION"), "{shown}");
        }
    }

    #[test]
    fn a_disk_that_takes_no_file_says_so_with_its_exit_code() {
        let error = |kind: ErrorKind| {
            let (path, source) = ("/srv/reg/store/lock".into(), io::Error::from(kind));
            shown(&NodeError::Store(OpenError::Io { path, source }))
        };
        let (full, read_only) = (error(ErrorKind::StorageFull), error(ErrorKind::ReadOnlyFilesystem));
        assert!(full.contains("code: 7") && full.contains("free some space"), "{full}");
        assert!(read_only.contains("code: 1") && read_only.contains("read-only"), "{read_only}");
    }
}
