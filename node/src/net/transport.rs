//! Builds the transport: TCP with TLS (or noise) and yamux, QUIC, DNS names, circuits through relays.
//!
//! A gate before TCP and QUIC refuses addresses that [`super::reach`] does not allow.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::TryFutureExt;
use futures::future::{BoxFuture, Either};
use futures::io::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, OrTransport, TransportError, TransportEvent};
use libp2p::core::upgrade::{
    InboundConnectionUpgrade, OutboundConnectionUpgrade, SelectUpgrade, UpgradeInfo, Version,
};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId, Transport, dns, noise, quic, relay, tcp, tls, yamux};

use super::error::StartError;
use super::gather::Gather;
use super::limits::{DIAL_TIMEOUT, STREAMS_PER_CONNECTION_MAX};
use super::links::ip_of;
use super::reach::{OpenRanges, is_near};
use super::tls_first::{Shared, TlsFirst};

/// Builds the transport of a node. It offers TLS before noise, because TLS is faster.
///
/// # Errors
/// Fails where TLS, noise or the system's DNS resolver cannot be set up.
pub(super) fn build(
    keypair: &Keypair,
    relayed: relay::client::Transport,
    ranges: OpenRanges,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, StartError> {
    let tls = tls::Config::new(keypair).map_err(|error| StartError::Tls(Box::new(error)))?;
    let security = Security(SelectUpgrade::new(
        tls.clone(),
        noise::Config::new(keypair).map_err(|error| StartError::Noise(Box::new(error)))?,
    ));
    let mut muxer = yamux::Config::default();
    muxer.set_max_num_streams(STREAMS_PER_CONNECTION_MAX);
    let relayed = relayed
        .upgrade(Version::V1Lazy)
        .authenticate(security.clone())
        .multiplex(muxer.clone())
        .timeout(DIAL_TIMEOUT)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let sockets = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let sockets =
        Shared::new(sockets.map(|socket, ends| Gather::new(socket, is_far(ends.get_remote_address()))));
    let with_tls = sockets.clone().upgrade(Version::V1Lazy).authenticate(tls).multiplex(muxer.clone());
    let with_any = sockets.upgrade(Version::V1Lazy).authenticate(security).multiplex(muxer);
    let with_tls = with_tls.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let tcp = TlsFirst::new(with_tls, with_any.boxed());
    let tcp = TransportTimeout::new(tcp, DIAL_TIMEOUT);
    let quic = quic::tokio::Transport::new(quic::Config::new(keypair))
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));
    let direct = OrTransport::new(quic, tcp).map(|either, _| either.into_inner());
    let gated = Gate { inner: direct.boxed(), ranges };
    // The gate stands behind DNS, so that it sees the address that a name resolves to.
    // A relay is dialled before a circuit through it, and its address passes the gate then.
    let named = dns::tokio::Transport::system(gated).map_err(StartError::Dns)?;
    Ok(OrTransport::new(relayed, named).map(|either, _| either.into_inner()).boxed())
}

/// Tells whether the other end of a socket is neither on this machine nor in a private network.
fn is_far(address: &Multiaddr) -> bool {
    !ip_of(address).is_some_and(is_near)
}

/// TLS or noise, as the two ends agree; either proves the peer id of the other end.
#[derive(Clone)]
struct Security(SelectUpgrade<tls::Config, noise::Config>);

impl UpgradeInfo for Security {
    type Info = <SelectUpgrade<tls::Config, noise::Config> as UpgradeInfo>::Info;
    type InfoIter = <SelectUpgrade<tls::Config, noise::Config> as UpgradeInfo>::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.protocol_info()
    }
}

/// A stream that TLS or noise encrypts.
type Secured<C> = Either<tls::TlsStream<C>, noise::Output<C>>;

fn secured<C>(
    either: Either<(PeerId, tls::TlsStream<C>), (PeerId, noise::Output<C>)>,
) -> (PeerId, Secured<C>) {
    match either {
        Either::Left((peer, stream)) => (peer, Either::Left(stream)),
        Either::Right((peer, stream)) => (peer, Either::Right(stream)),
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> InboundConnectionUpgrade<C> for Security {
    type Output = (PeerId, Secured<C>);
    type Error = io::Error;
    type Future = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, socket: C, info: Self::Info) -> Self::Future {
        Box::pin(self.0.upgrade_inbound(socket, info).map_ok(secured).map_err(io::Error::other))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> OutboundConnectionUpgrade<C> for Security {
    type Output = (PeerId, Secured<C>);
    type Error = io::Error;
    type Future = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, socket: C, info: Self::Info) -> Self::Future {
        Box::pin(self.0.upgrade_outbound(socket, info).map_ok(secured).map_err(io::Error::other))
    }
}

/// What [`Gate`] says of an address that it refuses. libp2p passes on the text of an error, and not its type.
pub(super) const NOT_OPEN: &str = "private address that neither the user nor mDNS gave";

/// Refuses to dial an address in a range that is not open.
struct Gate {
    inner: Boxed<(PeerId, StreamMuxerBox)>,
    ranges: OpenRanges,
}

impl Transport for Gate {
    type Output = (PeerId, StreamMuxerBox);
    type Error = io::Error;
    type ListenerUpgrade = <Boxed<(PeerId, StreamMuxerBox)> as Transport>::ListenerUpgrade;
    type Dial = <Boxed<(PeerId, StreamMuxerBox)> as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        if !self.ranges.may_dial(&address) {
            tracing::debug!(%address, "an address in a range that is not open is not dialled");
            return Err(TransportError::Other(io::Error::other(NOT_OPEN)));
        }
        self.inner.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}
