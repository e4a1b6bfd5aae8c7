//! Asks the DNS for the addresses of a domain, and for its TXT record.
//!
//! No signature of the DNS is checked here: the resolver library's DNSSEC is not built in. So a TXT record counts only with the
//! user's consent.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use reg_proto::domain::Domain;
use reg_proto::domain_record::DomainRecord;

use super::{DomainSettings, LookupError};

/// How long one server of the DNS may take for one question, and how often it is asked.
const TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPTS: usize = 2;
/// TXT records of one name that are looked at. Names with more are rare, and none of them is ours.
const TXT_RECORDS_MAX: usize = 64;

/// Returns the addresses of a domain; none where the DNS has none.
pub(super) async fn addresses(settings: &DomainSettings, domain: &Domain) -> Result<Vec<IpAddr>, io::Error> {
    let Some(server) = settings.resolver else {
        // The system's own way also knows names that only its files have.
        return match tokio::net::lookup_host((domain.as_str(), 0)).await {
            Ok(found) => Ok(found.map(|it| it.ip()).collect()),
            Err(error) if is_without_address(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        };
    };
    let resolver = of_server(server).map_err(io::Error::other)?;
    match resolver.lookup_ip(format!("{domain}.")).await {
        Ok(found) => Ok(found.iter().collect()),
        Err(error) if error.is_no_records_found() => Ok(Vec::new()),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Tells whether the system answered that a name has no address. It says so in words only.
fn is_without_address(error: &io::Error) -> bool {
    let text = error.to_string();
    ["Name or service not known", "No address associated", "nodename nor servname", "No such host"]
        .iter()
        .any(|it| text.contains(it))
}

/// Returns what the TXT record of a domain says; `None` where it has none.
pub(super) async fn record(
    settings: &DomainSettings,
    domain: &Domain,
) -> Result<Option<DomainRecord>, LookupError> {
    let name = domain.record_name();
    let resolver = resolver(settings)?;
    let found = match resolver.txt_lookup(format!("{name}.")).await {
        Ok(found) => found,
        Err(error) if error.is_no_records_found() => return Ok(None),
        Err(source) => return Err(LookupError::Dns { name, source: Box::new(source) }),
    };
    let texts: Vec<String> = found
        .answers()
        .iter()
        .filter_map(|it| match &it.data {
            // The strings of one record are one text.
            RData::TXT(text) => String::from_utf8(text.txt_data.concat()).ok(),
            _ => None,
        })
        .take(TXT_RECORDS_MAX)
        .collect();
    DomainRecord::from_txt(texts.iter().map(String::as_str))
        .map_err(|source| LookupError::Txt { name, source })
}

/// Asks the DNS a question that names no domain: for the servers of its root. Any answer will do.
///
/// # Errors
/// No server of the DNS answers.
pub async fn responds(settings: &DomainSettings) -> Result<(), LookupError> {
    let name = ".".to_owned();
    match resolver(settings)?.lookup(name.as_str(), RecordType::NS).await {
        Ok(_) => Ok(()),
        // Also an answer that refuses the question, as servers of a closed network give.
        Err(NetError::Dns(_)) => Ok(()),
        Err(source) => Err(LookupError::Dns { name, source: Box::new(source) }),
    }
}

fn resolver(settings: &DomainSettings) -> Result<TokioResolver, LookupError> {
    let made = match settings.resolver {
        Some(server) => of_server(server),
        None => TokioResolver::builder_tokio().and_then(|mut builder| {
            (builder.options_mut().timeout, builder.options_mut().attempts) = (TIMEOUT, ATTEMPTS);
            builder.build()
        }),
    };
    made.map_err(|source| LookupError::Resolver(Box::new(source)))
}

fn of_server(server: SocketAddr) -> Result<TokioResolver, NetError> {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    let server = NameServerConfig::new(server.ip(), true, connections.to_vec());
    let config = ResolverConfig::from_name_servers(vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    (options.timeout, options.attempts) = (TIMEOUT, ATTEMPTS);
    options.use_hosts_file = ResolveHosts::Never;
    builder.build()
}
