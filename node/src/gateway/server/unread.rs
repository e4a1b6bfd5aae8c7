//! How many bytes of a connection the system holds for the client. A write tells too little: the system takes some megabytes, and
//! more only when a third of them was read, which a slow client may need minutes for.
//!
//! The kernel's table of connections is long where there are many, so it is read on a blocking thread, and at most once in
//! [`FRESH`] for all connections.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How old the table is before it is read again. Less than the time between two looks at one connection.
const FRESH: Duration = Duration::from_secs(4);
/// How old the table may be for a look.
const OLD: Duration = Duration::from_secs(8);

/// The table as it was read last.
static LAST: Mutex<Last> = Mutex::new(Last { queues: BTreeMap::new(), read_at: None, is_being_read: false });

/// The bytes that are not acknowledged, by both ends of each connection that has any.
type Queues = BTreeMap<(String, String), u64>;

#[derive(Debug)]
struct Last {
    queues: Queues,
    read_at: Option<Instant>,
    is_being_read: bool,
}

/// Returns the bytes that were written to a connection and were not acknowledged some seconds ago; `None` where this is not
/// known yet, and where the system does not tell. The next look then knows. Does not block.
///
/// # Panics
/// Outside a tokio runtime.
pub(super) fn unread(own: SocketAddr, client: SocketAddr) -> Option<u64> {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let age = last.read_at.map(|at| at.elapsed());
    if age.is_none_or(|age| age >= FRESH) && !last.is_being_read {
        last.is_being_read = true;
        tokio::task::spawn_blocking(read);
    }
    age.filter(|age| *age < OLD)?;
    last.queues.get(&(written(own), written(client))).copied()
}

/// Reads the tables, which takes some milliseconds for thousands of connections. Other systems have none.
fn read() {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let texts = tables.iter().filter_map(|table| std::fs::read_to_string(table).ok());
    let queues = texts.flat_map(|text| queues(&text)).collect();
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    *last = Last { queues, read_at: Some(Instant::now()), is_being_read: false };
}

/// Reads the lengths of the send queues from the kernel's table of connections (proc_pid_net(5)).
fn queues(table: &str) -> Queues {
    let entry = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (own, client) = (fields.next()?, fields.next()?);
        let (sent, _received) = fields.nth(1)?.split_once(':')?;
        let sent = u64::from_str_radix(sent, 16).ok().filter(|sent| *sent > 0)?;
        Some(((own.to_owned(), client.to_owned()), sent))
    };
    table.lines().filter_map(entry).collect()
}

/// Writes an address as the table does: words of 32 bits in the byte order of the machine.
fn written(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|it| u32::from_ne_bytes([it[0], it[1], it[2], it[3]]));
    let ip: String = words.map(|word| format!("{word:08X}")).collect();
    format!("{ip}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn a_line_of_the_table_is_found_by_both_ends() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n   \
            0: 0100007F:1202 00000000:0000 0A 00000000:00000005 00:00000000 00000000     0\n   \
            1: 0100007F:1202 0100007F:9C40 01 0002F800:00000000 01:00000013 00000000     0\n";
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let found = queues(table);
        assert_eq!(
            found.get(&(written(at("127.0.0.1:4610")), written(at("127.0.0.1:40000")))),
            Some(&0x2_f800)
        );
        assert_eq!(found.len(), 1, "the other has sent nothing");
        assert_eq!(queues("x\ny z"), Queues::new());
        assert_eq!(written(at("[::1]:4610")), "00000000000000000000000001000000:1202");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_a_client_does_not_read_is_counted() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let (own, client_end) = (server.local_addr().unwrap(), client.local_addr().unwrap());
        server.set_nonblocking(true).unwrap();
        while std::io::Write::write(&mut server, &[0; 1 << 16]).is_ok() {}
        let mut found = None;
        for _ in 0..600 {
            found = unread(own, client_end);
            if found.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(found.is_some_and(|it| it > 0));
    }
}
