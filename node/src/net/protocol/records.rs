//! Exchanges one question for one answer: `/reg/records/2`, on libp2p's request-response. The codec checks lengths
//! before it allocates.

use std::collections::BTreeMap;
use std::io;

use data_encoding::BASE64;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use futures::stream::FuturesUnordered;
use libp2p::StreamProtocol;
use libp2p::core::upgrade::NegotiationError;
use libp2p::request_response::{
    self, Codec, Event, InboundRequestId, Message as Exchange, OutboundFailure, OutboundRequestId,
    ProtocolSupport, ResponseChannel,
};
use reg_proto::bounded::Bounded;
use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::swarm::Protocols;
use reg_proto::wire::{Message, PREFIX_LEN, Request, Response};
use tokio::sync::{mpsc, oneshot};

use super::protocol;
use crate::net::error::AskError;
use crate::net::inbound::{InboundRequest, Responder};
use crate::net::limits::{ASK_TIMEOUT, QUESTIONS_MAX};
use crate::net::links::{from_libp2p, to_libp2p};
use crate::net::members::Members;

/// The answer to a question that finds no room.
const BUSY: Response = Response::Busy { retry_ms: 1000 };

/// What the owner of a node that speaks version 1 only has to do.
const UPGRADE: &str = "this peer speaks version 2 of the protocol: upgrade reg";

/// Returns the behaviour of the protocol.
pub(in crate::net) fn behaviour(names: &Protocols) -> request_response::Behaviour<RecordsCodec> {
    let config = request_response::Config::default()
        .with_request_timeout(ASK_TIMEOUT)
        .with_max_concurrent_streams(QUESTIONS_MAX);
    let (records, before) = (protocol(&names.records), protocol(&names.records_before));
    let codec = RecordsCodec { before: before.clone() };
    let protocols = [(records, ProtocolSupport::Full), (before, ProtocolSupport::Inbound)];
    request_response::Behaviour::with_codec(codec, protocols, config)
}

/// Returns the answer to every question of a node that speaks version 1 only: key documents that it refuses with the
/// reason that stands in them, which is the one text of a peer that such a node shows its user.
fn upgrade() -> Response {
    let payload = format!("{{\"{UPGRADE}\":2}}");
    let envelope = serde_json::json!({
        "payload": BASE64.encode(payload.as_bytes()),
        "payloadType": "application/vnd.reg.key-document.v1+json",
        "signatures": [{ "keyid": "", "sig": BASE64.encode(&[0; 64]) }],
    });
    Response::Records(reg_proto::wire::Records {
        key_documents: Bounded::first_of([envelope.to_string()]),
        ..Default::default()
    })
}

/// An answer of the registry with the channel to the peer; `None` where the registry has given none.
type Answered = (ResponseChannel<Response>, Option<Response>);

/// The questions under way, in both directions.
pub(in crate::net) struct Records {
    asked: BTreeMap<OutboundRequestId, oneshot::Sender<Result<Response, AskError>>>,
    /// Peers' questions that the registry is answering.
    pub(in crate::net) answering: FuturesUnordered<futures::future::BoxFuture<'static, Answered>>,
    inbound: mpsc::Sender<InboundRequest>,
    members: Members,
}

impl Records {
    pub(in crate::net) fn new(inbound: mpsc::Sender<InboundRequest>, members: Members) -> Self {
        Self { asked: BTreeMap::new(), answering: FuturesUnordered::new(), inbound, members }
    }

    /// Sends a question to a peer; dials the peer first where it is not connected.
    pub(in crate::net) fn ask(
        &mut self,
        behaviour: &mut request_response::Behaviour<RecordsCodec>,
        peer: &PeerId,
        request: Request,
        reply: oneshot::Sender<Result<Response, AskError>>,
    ) {
        tracing::trace!(%peer, ?request, "a question");
        let id = behaviour.send_request(&to_libp2p(peer), request);
        self.asked.insert(id, reply);
    }

    pub(in crate::net) fn on_event(
        &mut self,
        behaviour: &mut request_response::Behaviour<RecordsCodec>,
        event: Event<Request, Response>,
    ) {
        match event {
            Event::Message { message: Exchange::Response { request_id, response }, .. } => {
                self.settle(request_id, Ok(response));
            }
            Event::OutboundFailure { request_id, error, .. } => {
                self.settle(request_id, Err(ask_error(error)))
            }
            Event::Message { peer, message: Exchange::Request { request, channel, request_id }, .. } => {
                self.take(behaviour, &peer, request, channel, request_id);
            }
            Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "a question of a peer broke off")
            }
            Event::ResponseSent { .. } => {}
        }
    }

    fn settle(&mut self, id: OutboundRequestId, answer: Result<Response, AskError>) {
        if let Some(reply) = self.asked.remove(&id) {
            drop(reply.send(answer));
        }
    }

    fn take(
        &mut self,
        behaviour: &mut request_response::Behaviour<RecordsCodec>,
        peer: &libp2p::PeerId,
        request: Request,
        channel: ResponseChannel<Response>,
        id: InboundRequestId,
    ) {
        let Some(peer) = from_libp2p(peer) else { return };
        if !self.members.admit(&peer) {
            tracing::debug!(%peer, "a question of a peer that is no member is dropped");
            return;
        }
        let (reply, answer) = Responder::new();
        if self.inbound.try_send(InboundRequest { peer, request, reply }).is_err() {
            tracing::debug!(%peer, %id, "too many questions wait; one is answered busy");
            drop(behaviour.send_response(channel, BUSY));
            return;
        }
        self.answering.push(Box::pin(async move { (channel, answer.await.ok()) }));
    }

    /// Sends an answer of the registry to the peer that asked.
    pub(in crate::net) fn answered(
        behaviour: &mut request_response::Behaviour<RecordsCodec>,
        answered: Answered,
    ) {
        let (channel, response) = answered;
        drop(behaviour.send_response(channel, response.unwrap_or(BUSY)));
    }
}

/// Returns the peer that asks, where the event is a question.
pub(in crate::net) fn asker(event: &Event<Request, Response>) -> Option<PeerId> {
    match event {
        Event::Message { peer, message: Exchange::Request { .. }, .. } => from_libp2p(peer),
        _ => None,
    }
}

fn ask_error(error: OutboundFailure) -> AskError {
    match error {
        OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed => AskError::Unreachable,
        OutboundFailure::Timeout => AskError::Timeout,
        OutboundFailure::UnsupportedProtocols => AskError::OtherNetwork,
        OutboundFailure::Io(source) if is_of_negotiation(&source) => AskError::OtherNetwork,
        OutboundFailure::Io(source) => AskError::Broken(source),
    }
}

/// Tells whether the peer refused the protocol. A question goes out together with its protocol's name, so this is known only
/// when the answer is read.
fn is_of_negotiation(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<NegotiationError>());
    matches!(cause, Some(NegotiationError::Failed))
}

/// Reads and writes messages. It reads the prefix first, and allocates nothing beyond the limits.
#[derive(Debug, Clone)]
pub(in crate::net) struct RecordsCodec {
    /// The protocol of version 1.
    before: StreamProtocol,
}

async fn read<M: Message>(stream: &mut (impl AsyncRead + Unpin + Send)) -> io::Result<M> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut prefix = [0; PREFIX_LEN];
    stream.read_exact(&mut prefix).await?;
    let (header, payload) = M::lengths(prefix).map_err(invalid)?;
    let mut bytes = vec![0; header];
    stream.read_exact(&mut bytes).await?;
    let mut message = M::from_header(&bytes, payload).map_err(invalid)?;
    let mut bytes = vec![0; payload];
    stream.read_exact(&mut bytes).await?;
    message.set_payload(bytes);
    Ok(message)
}

async fn write<M: Message + Sync>(
    stream: &mut (impl AsyncWrite + Unpin + Send),
    message: &M,
) -> io::Result<()> {
    stream.write_all(&message.head()).await?;
    stream.write_all(message.payload()).await?;
    stream.close().await
}

impl Codec for RecordsCodec {
    type Protocol = StreamProtocol;
    type Request = Request;
    type Response = Response;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        protocol: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Request> {
        let asked: Request = read(io).await?;
        // Whatever it is, the answer of version 1 is the same; so this node looks nothing up for it.
        Ok(if *protocol == self.before { Request::GetDocument { digest: Digest::of(&[]) } } else { asked })
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Response> {
        read(io).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Request,
    ) -> io::Result<()> {
        write(io, &request).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        protocol: &StreamProtocol,
        io: &mut T,
        response: Response,
    ) -> io::Result<()> {
        let response = if *protocol == self.before { upgrade() } else { response };
        write(io, &response).await
    }
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;
    use reg_proto::limits::RESPONSE_DOCUMENT_BYTES_MAX;

    use super::*;

    #[tokio::test]
    async fn lengths_are_judged_before_anything_is_allocated() {
        let mut head = Response::Document { bytes: Vec::new() }.head();
        head[4..8].copy_from_slice(&(RESPONSE_DOCUMENT_BYTES_MAX as u32 + 1).to_be_bytes());
        assert!(read::<Response>(&mut Cursor::new(head)).await.is_err());
        assert!(read::<Request>(&mut Cursor::new(vec![0xff; 64])).await.is_err());
        let mut bytes = Cursor::new(Vec::new());
        write(&mut bytes, &Request::GetHeads { after: None }).await.unwrap();
        let read_back: Request = read(&mut Cursor::new(bytes.into_inner())).await.unwrap();
        assert_eq!(read_back, Request::GetHeads { after: None });
    }

    /// A node of version 1 shows its user why keys are refused, so the reason is what it must do.
    #[tokio::test]
    async fn a_question_of_version_1_is_answered_by_what_its_owner_must_do() {
        let names = Protocols::public();
        let before = protocol(&names.records_before);
        let mut codec = RecordsCodec { before: before.clone() };
        let mut bytes = Cursor::new(Vec::new());
        codec.write_response(&before, &mut bytes, Response::NotFound).await.unwrap();
        let answer: Response = read(&mut Cursor::new(bytes.into_inner())).await.unwrap();
        let Response::Records(records) = answer else { panic!("{answer:?}") };
        let refused = reg_proto::key::KeyHistory::read(&records.key_documents).unwrap_err();
        let causes = std::iter::successors(Some(&refused as &dyn std::error::Error), |it| it.source());
        let said: Vec<String> = causes.map(ToString::to_string).collect();
        assert!(said.join(": ").contains(UPGRADE), "{said:?}");
        let mut bytes = Cursor::new(Vec::new());
        codec.write_response(&protocol(&names.records), &mut bytes, Response::NotFound).await.unwrap();
        assert_eq!(read::<Response>(&mut Cursor::new(bytes.into_inner())).await.unwrap(), Response::NotFound);
    }
}
