//! Asks a domain for its publisher: a file of its web server, else a TXT record.
//!
//! In: a [`Domain`], and the user's [`DomainSettings`]. Out: a [`DomainRecord`] and where it was read. Nothing of it is signed,
//! except that a certificate names the domain for the file. Every answer is bounded in bytes and time. No redirect is followed,
//! no proxy is asked, and no private address is connected to, unless the configuration names the domain.

mod dns;
mod https;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reg_api::domain::DomainSource;
use reg_proto::domain::Domain;
use reg_proto::domain_record::{DomainRecord, DomainRecordError};
use thiserror::Error;
use tokio::sync::OnceCell;

pub use self::dns::responds;

/// How long one domain may take in all: a look-up, a TLS handshake and one answer, on a slow line.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(20);

/// How domains are asked, where the default does not fit: in private networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainSettings {
    /// The DNS server; `None` for those of the system.
    pub resolver: Option<SocketAddr>,
    /// A file with certificates (PEM) of authorities that count beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// The domains that may have private addresses, and may name peers at such addresses.
    pub private: BTreeSet<Domain>,
    /// The port of their web servers; `None` for 443.
    pub https_port: Option<u16>,
}

/// Why a domain names no publisher.
#[derive(Debug, Error)]
pub enum LookupError {
    #[error("{domain} has only private addresses, and the configuration does not name it (domains.private)")]
    Private { domain: Domain },
    #[error("{url} redirects to {to}, and no redirect is followed: the file must be at this address")]
    Redirect { url: String, to: String },
    #[error("{url} answers {status}")]
    Status { url: String, status: u16 },
    #[error("{url} has more than {max} bytes")]
    TooLarge { url: String, max: usize },
    #[error("{url} cannot be read")]
    Https { url: String, source: reqwest::Error },
    #[error("{url} is refused")]
    File { url: String, source: DomainRecordError },
    #[error("TXT record {name} is refused")]
    Txt { name: String, source: DomainRecordError },
    #[error("TXT record {name} cannot be looked up")]
    Dns { name: String, source: Box<hickory_resolver::net::NetError> },
    #[error("{domain} has neither the file {} nor a TXT record {}", domain.well_known(), domain.record_name())]
    Nothing { domain: Domain },
    #[error("{domain} did not answer within {} s", within.as_secs())]
    Timeout { domain: Domain, within: Duration },
    #[error("authorities in {path} cannot be read")]
    Authorities { path: PathBuf, source: std::io::Error },
    #[error("authorities in {path} are no certificates")]
    NoCertificate { path: PathBuf, source: reqwest::Error },
    #[error("HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
    #[error("DNS client cannot be set up")]
    Resolver(#[source] Box<hickory_resolver::net::NetError>),
}

impl LookupError {
    /// Tells whether the domain was not reached. The same question may have an answer later.
    pub const fn is_unreached(&self) -> bool {
        match self {
            Self::Https { .. } | Self::Dns { .. } | Self::Timeout { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

/// Asks domains. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DomainClient {
    settings: Arc<DomainSettings>,
    /// The client of web servers, once a domain has been asked.
    https: Arc<OnceCell<reqwest::Client>>,
}

impl DomainClient {
    /// Returns a client with these settings. It opens nothing before it is used.
    pub fn new(settings: DomainSettings) -> Self {
        Self { settings: Arc::new(settings), https: Arc::default() }
    }

    /// Tells whether a domain may have private addresses.
    pub fn may_be_private(&self, domain: &Domain) -> bool {
        self.settings.private.contains(domain)
    }

    /// Asks a domain for its publisher: the file of its web server, and the TXT record only where there is no file.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub async fn look_up(&self, domain: &Domain) -> Result<(DomainRecord, DomainSource), LookupError> {
        let timeout = || LookupError::Timeout { domain: domain.clone(), within: LOOKUP_TIMEOUT };
        tokio::time::timeout(LOOKUP_TIMEOUT, self.ask(domain)).await.map_err(|_| timeout())?
    }

    async fn ask(&self, domain: &Domain) -> Result<(DomainRecord, DomainSource), LookupError> {
        if let Some(record) = https::file(self.https().await?, domain).await? {
            return Ok((record, DomainSource::Https));
        }
        match dns::record(&self.settings, domain).await? {
            Some(record) => Ok((record, DomainSource::Dns)),
            None => Err(LookupError::Nothing { domain: domain.clone() }),
        }
    }

    async fn https(&self) -> Result<&reqwest::Client, LookupError> {
        let set_up = || async {
            let settings = self.settings.clone();
            let client = tokio::task::spawn_blocking(move || https::client(&settings)).await;
            client.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
        };
        self.https.get_or_try_init(set_up).await
    }
}

impl DomainSettings {
    /// Returns those of `addresses` that may be connected to for `domain`.
    fn allowed(&self, domain: &Domain, addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        let is_private = self.private.contains(domain);
        addresses.into_iter().filter(|ip| is_private || crate::net::is_global(*ip)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_domains_may_have_private_addresses() {
        let private = BTreeSet::from(["lab.example".parse().unwrap()]);
        let settings = DomainSettings { private, ..DomainSettings::default() };
        let all: Vec<IpAddr> =
            ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00::1", "::ffff:192.168.0.1", "1.1.1.1"]
                .iter()
                .map(|it| it.parse().unwrap())
                .collect();
        assert_eq!(settings.allowed(&"lab.example".parse().unwrap(), all.clone()).len(), all.len());
        for domain in ["acme.org", "sub.lab.example"] {
            let allowed = settings.allowed(&domain.parse().unwrap(), all.clone());
            assert_eq!(allowed, ["1.1.1.1".parse::<IpAddr>().unwrap()], "{domain}");
        }
    }
}
