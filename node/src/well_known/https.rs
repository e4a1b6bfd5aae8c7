//! Reads `https://DOMAIN/.well-known/reg.json`.

use std::error::Error;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reg_proto::domain::Domain;
use reg_proto::domain_record::DomainRecord;
use reg_proto::limits::DOMAIN_FILE_BYTES_MAX;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, StatusCode};
use thiserror::Error;

use super::{DomainSettings, LookupError, dns};

/// How long connecting to one server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);
/// Characters of a redirect's target in an error.
const TARGET_CHARS_MAX: usize = 200;

/// Returns what the file of a domain says; `None` where its web server has none, or where it has no web server.
pub(super) async fn file(client: &Client, domain: &Domain) -> Result<Option<DomainRecord>, LookupError> {
    let url = domain.well_known();
    let request = client.get(&url).header(ACCEPT, "application/json").header(ACCEPT_ENCODING, "identity");
    let response = match request.send().await {
        Ok(response) => response,
        Err(source) => return absent_or(source, url, domain),
    };
    match response.status() {
        StatusCode::OK => {}
        // A server that shows strangers nothing has no file for them either.
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Ok(None);
        }
        status if status.is_redirection() => {
            let to = response.headers().get(LOCATION).and_then(|it| it.to_str().ok()).unwrap_or("nowhere");
            return Err(LookupError::Redirect { url, to: to.chars().take(TARGET_CHARS_MAX).collect() });
        }
        status => return Err(LookupError::Status { url, status: status.as_u16() }),
    }
    let bytes = body(response, &url).await?;
    DomainRecord::from_file(&bytes).map(Some).map_err(|source| LookupError::File { url, source })
}

/// Reads the body of an answer, up to its bound.
async fn body(mut response: Response, url: &str) -> Result<Vec<u8>, LookupError> {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Ok(bytes),
            Err(source) => return Err(LookupError::Https { url: url.to_owned(), source }),
        }
        if bytes.len() > DOMAIN_FILE_BYTES_MAX {
            return Err(LookupError::TooLarge { url: url.to_owned(), max: DOMAIN_FILE_BYTES_MAX });
        }
    }
}

/// Tells apart a domain without a web server that answers, one with private addresses only, and one that cannot be reached.
fn absent_or(
    source: reqwest::Error,
    url: String,
    domain: &Domain,
) -> Result<Option<DomainRecord>, LookupError> {
    // A firewall that drops what comes to port 443.
    let is_filtered = source.is_connect() && source.is_timeout();
    let mut cause: Option<&(dyn Error + 'static)> = Some(&source);
    while let Some(error) = cause {
        match error.downcast_ref::<Unresolved>() {
            Some(Unresolved::Private) => return Err(LookupError::Private { domain: domain.clone() }),
            Some(Unresolved::NoAddress) => return Ok(None),
            None => {}
        }
        let is_refused =
            error.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == io::ErrorKind::ConnectionRefused);
        if is_refused {
            return Ok(None);
        }
        cause = error.source();
    }
    if is_filtered { Ok(None) } else { Err(LookupError::Https { url, source }) }
}

/// Returns a client for all domains. Blocks: it reads the authorities of the system, and those of the settings.
pub(super) fn client(settings: &Arc<DomainSettings>) -> Result<Client, LookupError> {
    // Another part of the program may have installed a provider already: any will do.
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut builder = Client::builder()
        .https_only(true)
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        // Each look-up asks for the addresses anew, and judges them.
        .pool_max_idle_per_host(0)
        .dns_resolver(Addresses { settings: settings.clone() })
        .user_agent(concat!("reg/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = &settings.ca_file {
        let failed = |source| LookupError::Authorities { path: path.clone(), source };
        let pem = fs::read(path).map_err(failed)?;
        let refused = |source| LookupError::NoCertificate { path: path.clone(), source };
        builder = builder.tls_certs_merge(Certificate::from_pem_bundle(&pem).map_err(refused)?);
    }
    builder.build().map_err(LookupError::Client)
}

/// Looks up the addresses of a domain's web server.
struct Addresses {
    settings: Arc<DomainSettings>,
}

/// Why there is no address to connect to.
#[derive(Debug, Error)]
enum Unresolved {
    #[error("only private addresses")]
    Private,
    #[error("no address")]
    NoAddress,
}

impl Resolve for Addresses {
    fn resolve(&self, name: Name) -> Resolving {
        let settings = self.settings.clone();
        Box::pin(async move {
            // The client follows no redirect, so it asks for the names of domains only.
            let Ok(domain) = name.as_str().parse::<Domain>() else {
                return Err(Box::new(Unresolved::NoAddress) as Box<dyn Error + Send + Sync>);
            };
            let found = dns::addresses(&settings, &domain).await?;
            if found.is_empty() {
                return Err(Box::new(Unresolved::NoAddress) as Box<dyn Error + Send + Sync>);
            }
            let allowed = settings.allowed(&domain, found);
            if allowed.is_empty() {
                return Err(Box::new(Unresolved::Private) as Box<dyn Error + Send + Sync>);
            }
            // Port 0 stands for the port of the URL.
            let is_private = settings.private.contains(&domain);
            let port = settings.https_port.filter(|_| is_private).unwrap_or(0);
            let addresses: Vec<SocketAddr> =
                allowed.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
