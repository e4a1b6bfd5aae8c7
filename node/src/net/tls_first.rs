//! [`TlsFirst`]: a transport that dials with TLS alone, and with all that it can where the peer does not speak TLS.
//!
//! A dialler that offers one protocol only sends its first message with the protocol's name, and does not wait for the peer to
//! agree. That saves a round trip of each connection. Nearly every peer speaks TLS.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use either::Either;
use futures::future::BoxFuture;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::{Multiaddr, Transport};

/// A transport that others are built on: they share its listeners, so that all of them dial from its ports.
pub(super) struct Shared<T>(Arc<Mutex<T>>);

impl<T> Shared<T> {
    pub(super) fn new(transport: T) -> Self {
        Self(Arc::new(Mutex::new(transport)))
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Transport + Unpin> Transport for Shared<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<T::Error>> {
        self.lock().listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.lock().remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<T::Dial, TransportError<T::Error>> {
        self.lock().dial(address, options)
    }

    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<T::ListenerUpgrade, T::Error>> {
        Pin::new(&mut *self.lock()).poll(cx)
    }
}

/// Dials with `tls`, and with `any` where the handshake fails. Listens with `any`.
pub(super) struct TlsFirst<T, O> {
    tls: T,
    any: Shared<Boxed<O>>,
}

impl<T, O> TlsFirst<T, O> {
    /// Both transports are built on one that is [`Shared`].
    pub(super) fn new(tls: T, any: Boxed<O>) -> Self {
        Self { tls, any: Shared::new(any) }
    }
}

/// Why a connection with TLS is not made: its socket, its handshake, or its muxer.
type Failure<Socket, Handshake, Muxer> = Either<Either<Socket, Handshake>, Muxer>;

impl<T, O, Socket, Handshake, Muxer> Transport for TlsFirst<T, O>
where
    T: Transport<Output = O, Error = Failure<Socket, Handshake, Muxer>> + Unpin,
    T::Dial: Send + 'static,
    O: Send + 'static,
    Socket: Error + Send + Sync + 'static,
    Handshake: Error + Send + Sync + 'static,
    Muxer: Error + Send + Sync + 'static,
{
    type Output = O;
    type Error = io::Error;
    type ListenerUpgrade = <Boxed<O> as Transport>::ListenerUpgrade;
    type Dial = BoxFuture<'static, io::Result<O>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.any.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.any.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        let first = self.tls.dial(address.clone(), options).map_err(|error| error.map(io::Error::other))?;
        let mut any = self.any.clone();
        Ok(Box::pin(async move {
            let error = match first.await {
                Ok(connected) => return Ok(connected),
                Err(error) => error,
            };
            if !matches!(error, Either::Left(Either::Right(_))) {
                return Err(io::Error::other(error));
            }
            tracing::debug!(%address, %error, "a peer that does not speak TLS is dialled again");
            let again = any.dial(address, options).map_err(io::Error::other)?;
            again.await
        }))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Pin::new(&mut self.any).poll(cx)
    }
}
