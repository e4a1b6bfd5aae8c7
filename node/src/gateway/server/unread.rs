//! How many bytes of a connection the system holds for the client. A write tells too little: the system takes some megabytes, and
//! more only when a third of them was read, which a slow client may need minutes for.

use std::net::{IpAddr, SocketAddr};

/// Returns the bytes that were written to a connection and are not acknowledged; `None` where the system does not tell.
#[cfg(target_os = "linux")]
pub(super) fn unread(own: SocketAddr, client: SocketAddr) -> Option<u64> {
    let table = if own.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    find(&std::fs::read_to_string(table).ok()?, own, client)
}

/// The system does not tell.
#[cfg(not(target_os = "linux"))]
pub(super) fn unread(_: SocketAddr, _: SocketAddr) -> Option<u64> {
    None
}

/// Reads the length of the send queue from the kernel's table of connections (proc_pid_net(5)).
fn find(table: &str, own: SocketAddr, client: SocketAddr) -> Option<u64> {
    let (own, client) = (written(own), written(client));
    table.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        if fields.next()? != own || fields.next()? != client {
            return None;
        }
        let (sent, _received) = fields.nth(1)?.split_once(':')?;
        u64::from_str_radix(sent, 16).ok()
    })
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
        assert_eq!(find(table, at("127.0.0.1:4610"), at("127.0.0.1:40000")), Some(0x2_f800));
        assert_eq!(find(table, at("127.0.0.1:4610"), at("127.0.0.1:40001")), None);
        assert_eq!(find("x\ny z", at("127.0.0.1:4610"), at("127.0.0.1:1")), None);
        assert_eq!(written(at("[::1]:4610")), "00000000000000000000000001000000:1202");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_client_does_not_read_is_counted() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let ends = (server.local_addr().unwrap(), client.local_addr().unwrap());
        assert_eq!(unread(ends.0, ends.1), Some(0));
        server.set_nonblocking(true).unwrap();
        while std::io::Write::write(&mut server, &[0; 1 << 16]).is_ok() {}
        assert!(unread(ends.0, ends.1).is_some_and(|it| it > 0));
    }
}
