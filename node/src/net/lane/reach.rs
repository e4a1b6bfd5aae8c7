//! Connects to a lane at the addresses of its peer.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::error::LaneError;
use crate::net::limits::{LANE_CONNECT_AGAIN, LANE_CONNECT_TIMEOUT};

/// Connects to the first port and address that answers.
pub(super) async fn reach(addresses: &[IpAddr], ports: &[u16]) -> Result<TcpStream, LaneError> {
    let mut failed = LaneError::NoAddress;
    for address in addresses {
        for port in ports {
            let connect = || TcpStream::connect(SocketAddr::new(*address, *port));
            match timeout(LANE_CONNECT_TIMEOUT, first_of_two(connect)).await {
                Ok(Ok(socket)) => return Ok(socket),
                Ok(Err(error)) => failed = LaneError::Unreachable(error),
                Err(_) => failed = LaneError::Timeout,
            }
        }
    }
    Err(failed)
}

/// Connects, and begins a second time where that takes long. A connection that lost its first packet waits for 1 s, and BBR then
/// takes the line for a very long one and sends slowly at first.
async fn first_of_two<T, C>(connect: impl Fn() -> C) -> io::Result<T>
where
    C: Future<Output = io::Result<T>>,
{
    let mut first = pin!(connect());
    match timeout(LANE_CONNECT_AGAIN, &mut first).await {
        Ok(connected) => connected,
        Err(_) => tokio::select! {
            connected = &mut first => connected,
            connected = connect() => connected,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_does_not_answer_is_begun_a_second_time() {
        let begun = Cell::new(0);
        let connect = async || {
            begun.set(begun.get() + 1);
            if begun.get() == 1 { pending().await } else { Ok(begun.get()) }
        };
        assert_eq!(first_of_two(connect).await.unwrap(), 2);
        let refused = first_of_two(async || Err::<(), _>(io::ErrorKind::ConnectionRefused.into())).await;
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
