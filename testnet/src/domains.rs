//! [`DomainWorld`]: a DNS server and an HTTPS server on loopback, with an authority of their own, that say of domains what a
//! test sets.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::process::Home;

/// Longest time that a client of the web server may be silent.
const SILENCE: Duration = Duration::from_secs(10);
/// The types of the DNS that are answered.
const TYPE_A: u16 = 1;
const TYPE_TXT: u16 = 16;

/// What the web server answers for the file of a domain.
#[derive(Debug, Clone)]
pub enum Page {
    File(String),
    Redirect(String),
    Status(u16),
}

/// What is said of domains. A domain that is not named here does not exist.
#[derive(Debug, Default)]
struct Said {
    addresses: BTreeMap<String, Ipv4Addr>,
    texts: BTreeMap<String, Vec<String>>,
    pages: BTreeMap<String, Page>,
}

/// The two servers. They run until the test program ends.
#[derive(Debug)]
pub struct DomainWorld {
    said: Arc<Mutex<Said>>,
    asked: Arc<AtomicUsize>,
    dns: SocketAddr,
    web: SocketAddr,
    folder: tempfile::TempDir,
}

impl DomainWorld {
    /// Starts the servers. The certificate of the web server names these domains.
    ///
    /// # Panics
    /// If they cannot be started.
    pub fn new(certified: &[&str]) -> Self {
        let (said, asked) = (Arc::default(), Arc::default());
        let folder = tempfile::tempdir().expect("a folder");
        let config = tls(certified, &folder.path().join("authority.pem"));
        let dns = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let web = TcpListener::bind("127.0.0.1:0").expect("a port");
        let world = Self {
            said,
            asked,
            dns: dns.local_addr().expect("an address"),
            web: web.local_addr().expect("an address"),
            folder,
        };
        let (said, asked) = (world.said.clone(), world.asked.clone());
        thread::spawn(move || answer_dns(&dns, &said, &asked));
        let (said, asked) = (world.said.clone(), world.asked.clone());
        thread::spawn(move || answer_web(&web, &config, &said, &asked));
        world
    }

    /// Gives a domain an address. The web server listens at 127.0.0.1.
    pub fn at(&self, domain: &str, ip: [u8; 4]) {
        self.said().addresses.insert(domain.to_owned(), ip.into());
    }

    /// Gives a domain the address of the web server, and this page.
    pub fn serve(&self, domain: &str, page: Page) {
        self.at(domain, [127, 0, 0, 1]);
        self.said().pages.insert(domain.to_owned(), page);
    }

    /// Sets the TXT records of `_reg.DOMAIN`.
    pub fn say(&self, domain: &str, texts: &[&str]) {
        let texts = texts.iter().map(|it| (*it).to_owned()).collect();
        self.said().texts.insert(format!("_reg.{domain}"), texts);
    }

    /// Takes everything back that was said of all domains.
    pub fn forget(&self) {
        *self.said() = Said::default();
    }

    /// Returns how many questions both servers have been asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Makes the nodes of a home ask these servers. The domains in `private` may have private addresses.
    ///
    /// # Panics
    /// If the configuration cannot be written.
    pub fn configure(&self, home: &Home, private: &[&str]) {
        let path = home.run(["config", "path"]).ok().stdout();
        let path = PathBuf::from(path.trim());
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, self.settings(private)).expect("the configuration is written");
    }

    /// Returns the part of a configuration by which a node asks these servers. The domains in `private` may have private addresses.
    pub fn settings(&self, private: &[&str]) -> String {
        let private: Vec<String> = private.iter().map(|it| format!("{it:?}")).collect();
        let authority = self.folder.path().join("authority.pem");
        format!(
            "[domains]\nresolver = \"{}\"\nca_file = {authority:?}\nprivate = [{}]\nhttps_port = {}\n",
            self.dns,
            private.join(", "),
            self.web.port()
        )
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes an authority and a certificate for the domains, and writes the authority to a file.
fn tls(certified: &[&str], authority: &std::path::Path) -> Arc<ServerConfig> {
    let ca_key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca = params.self_signed(&ca_key).expect("an authority");
    fs::write(authority, ca.pem()).expect("the authority is written");
    let names: Vec<String> = certified.iter().map(|it| (*it).to_owned()).collect();
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(names).expect("domains");
    let certificate = params.signed_by(&key, &ca, &ca_key).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a certificate and its key");
    Arc::new(config)
}

fn answer_dns(socket: &UdpSocket, said: &Mutex<Said>, asked: &AtomicUsize) {
    let mut buffer = [0; 1500];
    while let Ok((length, client)) = socket.recv_from(&mut buffer) {
        asked.fetch_add(1, Ordering::SeqCst);
        let said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = dns_answer(&buffer[..length], &said) {
            let _gone = socket.send_to(&answer, client);
        }
    }
}

/// Returns the answer to one question (RFC 1035, section 4.1).
fn dns_answer(query: &[u8], said: &Said) -> Option<Vec<u8>> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let name = labels.join(".");
    let asked_type = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    let question = query.get(12..at + 4)?;
    let records: Vec<Vec<u8>> = match asked_type {
        TYPE_A => said.addresses.get(&name).map(|ip| ip.octets().to_vec()).into_iter().collect(),
        TYPE_TXT => said.texts.get(&name).into_iter().flatten().map(|text| txt(text)).collect(),
        _ => Vec::new(),
    };
    let exists = said.addresses.contains_key(&name) || said.texts.contains_key(&name);
    let mut answer = query.get(..2)?.to_vec();
    // A response to a recursive question; the code is "no error" or "no such name".
    answer.extend([0x81, if exists { 0x80 } else { 0x83 }]);
    answer.extend([0, 1]);
    answer.extend(u16::try_from(records.len()).ok()?.to_be_bytes());
    answer.extend([0, 0, 0, 0]);
    answer.extend(question);
    for record in records {
        // The name of the question, the type, the class Internet, and one second to live.
        answer.extend([0xc0, 12]);
        answer.extend(asked_type.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 1]);
        answer.extend(u16::try_from(record.len()).ok()?.to_be_bytes());
        answer.extend(record);
    }
    Some(answer)
}

/// Returns a text as the strings of a TXT record, of at most 255 bytes each.
fn txt(text: &str) -> Vec<u8> {
    let strings = text.as_bytes().chunks(255);
    strings.flat_map(|it| [&[u8::try_from(it.len()).unwrap_or(u8::MAX)], it].concat()).collect()
}

fn answer_web(
    listener: &TcpListener,
    config: &Arc<ServerConfig>,
    said: &Arc<Mutex<Said>>,
    asked: &Arc<AtomicUsize>,
) {
    for stream in listener.incoming().flatten() {
        asked.fetch_add(1, Ordering::SeqCst);
        let (config, said) = (config.clone(), said.clone());
        thread::spawn(move || serve(stream, config, &said));
    }
}

/// Answers one request. A client that refuses the certificate ends the connection, which is no failure here.
fn serve(stream: TcpStream, config: Arc<ServerConfig>, said: &Mutex<Said>) {
    let _unset = stream.set_read_timeout(Some(SILENCE));
    let Ok(connection) = ServerConnection::new(config) else { return };
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    let (mut path, mut host) = (String::new(), String::new());
    let mut line = String::new();
    while stream.read_line(&mut line).is_ok_and(|length| length > 2) {
        if let Some(rest) = line.strip_prefix("GET ") {
            path = rest.split(' ').next().unwrap_or_default().to_owned();
        }
        if let Some((_, name)) = line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case("host")) {
            host = name.trim().split(':').next().unwrap_or_default().to_owned();
        }
        line.clear();
    }
    let page = said.lock().unwrap_or_else(PoisonError::into_inner).pages.get(&host).cloned();
    let answer = match page {
        Some(Page::File(text)) if path == "/.well-known/reg.json" => {
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            )
        }
        Some(Page::Redirect(to)) => {
            format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
        }
        Some(Page::Status(status)) => format!("HTTP/1.1 {status} Status\r\ncontent-length: 0\r\n\r\n"),
        _ => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
    };
    let stream = stream.get_mut();
    let _gone = stream.write_all(answer.as_bytes()).and_then(|()| stream.flush());
    stream.conn.send_close_notify();
    let _gone = stream.flush();
}
