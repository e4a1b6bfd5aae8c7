//! [`Guard`]: checks redirects and resolved addresses, of web seeds and of Hugging Face endpoints. A server may not lead this
//! node into the user's own network, unless the user has named the host.

use std::collections::BTreeSet;
use std::env;
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Action, Attempt, Policy};
use thiserror::Error;

use crate::net::is_global;

/// Redirects that are followed: a hub names its store, which names a server near the client.
const REDIRECTS_MAX: usize = 5;
/// The variables in which a user names proxies.
const PROXY_VARIABLES: [&str; 6] =
    ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// The hosts that the user has named. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Guard(Arc<BTreeSet<String>>);

/// Why a redirect or an address is refused.
#[derive(Debug, Error)]
enum Refusal {
    #[error("{host} is in a private network, and the user has not named it")]
    Private { host: String },
    #[error("an https address redirects to {url}, which is not https")]
    Insecure { url: String },
    #[error("more than {REDIRECTS_MAX} redirects")]
    TooMany,
}

impl Guard {
    /// Returns a guard that allows these hosts, the user's proxies, and global addresses.
    pub fn new<'a>(hosts: impl Iterator<Item = &'a str>) -> Self {
        let proxies = PROXY_VARIABLES.iter().filter_map(|name| env::var(name).ok());
        let proxies = proxies.filter_map(|text| Some(Url::parse(&text).ok()?.host_str()?.to_owned()));
        Self(Arc::new(hosts.map(str::to_owned).chain(proxies).collect()))
    }

    /// Tells whether a request failed because a guard has refused an address.
    pub fn has_refused(error: &(dyn Error + 'static)) -> bool {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.is::<Refusal>() {
                return true;
            }
            cause = error.source();
        }
        false
    }

    /// Returns the policy for redirects. A name in a redirect is checked again once it is resolved.
    pub fn policy(&self) -> Policy {
        let guard = self.clone();
        Policy::custom(move |attempt| guard.redirect(attempt))
    }

    fn redirect(&self, attempt: Attempt<'_>) -> Action {
        let url = attempt.url();
        let was_secure = attempt.previous().last().is_some_and(|it| it.scheme() == "https");
        let host = url.host_str().unwrap_or_default().to_owned();
        if attempt.previous().len() > REDIRECTS_MAX {
            return attempt.error(Refusal::TooMany);
        }
        if was_secure && url.scheme() != "https" {
            let url = url.to_string();
            return attempt.error(Refusal::Insecure { url });
        }
        let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if ip.is_ok_and(|ip| !self.may_go(&host, ip)) {
            return attempt.error(Refusal::Private { host });
        }
        attempt.follow()
    }

    fn may_go(&self, host: &str, ip: IpAddr) -> bool {
        is_global(ip) || self.0.contains(host)
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let any = !found.is_empty();
            let fine: Vec<SocketAddr> = found.into_iter().filter(|it| guard.may_go(&host, it.ip())).collect();
            if any && fine.is_empty() {
                return Err(Box::new(Refusal::Private { host }) as Box<dyn Error + Send + Sync>);
            }
            Ok(Box::new(fine.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The system resolves `localhost` without a server, to an address of this machine.
    #[tokio::test]
    async fn a_name_that_resolves_into_a_private_network_is_refused_unless_the_user_named_it() {
        let resolve = |named: &'static str| {
            Guard::new(std::iter::once(named)).resolve("localhost".parse().expect("a name"))
        };
        let Err(refused) = resolve("mirror.lan").await else { panic!("it is gone to") };
        assert!(refused.to_string().contains("is in a private network"), "{refused}");
        let mut found = resolve("localhost").await.expect("the user named it");
        assert!(found.next().is_some());
    }

    #[test]
    fn only_hosts_that_the_user_named_may_be_private() {
        let guard = Guard::new(["mirror.lan", "127.0.0.1", "[::1]"].into_iter());
        for (host, ip, fine) in [
            ("mirror.lan", "192.168.1.1", true),
            ("other.lan", "192.168.1.1", false),
            ("other.example", "1.1.1.1", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("[::1]", "::1", true),
            ("127.0.0.2", "127.0.0.2", false),
            ("169.254.169.254", "169.254.169.254", false),
            ("x", "::ffff:10.0.0.1", false),
        ] {
            assert_eq!(guard.may_go(host, ip.parse().unwrap()), fine, "{host}");
        }
    }
}
