//! Lying peers: nodes that speak the protocols and answer as a test scripts them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reg_node::net::{FrameReader, FrameWriter, Inbound, Network, NetworkConfig, SwarmConfig};
use reg_proto::announcement::Holder;
use reg_proto::bounded::Bounded;
use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::piece::{BlobLayout, PIECE_LEN};
use reg_proto::states::PieceStates;
use reg_proto::swarm_state::SwarmQuestion;
use reg_proto::wire::{Frame, Held, Rejection, Request, Response};

/// How long a peer tarries: long enough for another one to meddle, or to answer late.
const TARRY: Duration = Duration::from_millis(1500);

/// How long a peer that drips waits between two pieces, and how many bytes each of them has: more than a silent peer sends.
const DRIP: Duration = Duration::from_millis(500);
const DRIP_BYTES: usize = 32 << 10;

/// How long a peer that trickles waits before each piece.
const TRICKLE: Duration = Duration::from_secs(3);

/// The answers of a lying peer.
#[derive(Debug, Default)]
pub struct Script {
    /// Responses by the request's JSON. The peer answers other requests with "not found".
    pub answers: BTreeMap<String, Response>,
    /// Blobs that it claims to hold, with the bytes that it sends for them, right or wrong.
    pub blobs: BTreeMap<Digest, Arc<Vec<u8>>>,
    /// Piece states that it sends.
    pub states: BTreeMap<Digest, PieceStates>,
    pub manner: Manner,
    /// How long the answers to questions for records take.
    pub records_after: Duration,
    /// The key of the private swarm that it is in.
    pub swarm_key: Option<String>,
}

/// How a peer answers requests for pieces that it claims to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Manner {
    /// It sends the scripted bytes, right or wrong.
    #[default]
    Sends,
    /// It sends nothing.
    Stalls,
    /// It sends the first half of each piece as if it were the whole.
    Truncates,
    /// It rejects the request because it does not hold them.
    Boasts,
    /// It sends its bytes, the first of them late.
    Tarries,
    /// It holds nothing, and answers what was asked of others with wrong bytes.
    Meddles,
    /// It sends a piece now and then.
    Trickles,
    /// It sends pieces without end that nobody has asked for, and none that was.
    Drips,
    /// It sends the first piece that it is asked for, and closes the stream.
    CutsOff,
    /// It holds every other piece, and rejects requests for the others.
    Halves,
    /// It ends each stream at the first request, as an honest peer does that serves as many streams as it can.
    HangsUp,
}

/// The requests that a peer has received.
#[derive(Debug, Default)]
pub struct Asked {
    pub streams: AtomicUsize,
    pub requests: AtomicUsize,
}

impl Script {
    /// Sets the response to `request`.
    pub fn answer(&mut self, request: &Request, response: Response) {
        self.answers.insert(key_of(request), response);
    }
}

/// Returns what a request is answered by. A lying peer answers a question for documents too as a peer of before does.
fn key_of(request: &Request) -> String {
    let mut request = request.clone();
    if let Request::GetRecords { documents, .. } = &mut request {
        *documents = None;
    }
    if let Request::GetSwarmState(question) = &mut request {
        *question = SwarmQuestion { version: question.version, ..SwarmQuestion::default() };
    }
    serde_json::to_string(&request).expect("a request is JSON")
}

/// A running lying peer.
#[derive(Debug)]
pub struct Liar {
    pub network: Network,
    pub asked: Arc<Asked>,
}

impl Liar {
    /// Starts a lying peer on loopback.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start(seed: u8, script: Script) -> Self {
        Self::start_at("127.0.0.1", seed, script).await
    }

    /// Starts a lying peer at an address of loopback.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start_at(ip: &str, seed: u8, script: Script) -> Self {
        let config = NetworkConfig {
            listen: vec![format!("/ip4/{ip}/tcp/0").parse().expect("an address")],
            swarm: SwarmConfig { key: script.swarm_key.clone(), peers: None },
            ..NetworkConfig::quiet([seed; 32])
        };
        let (network, inbound) = Network::start(config).await.expect("it starts");
        let asked = Arc::<Asked>::default();
        tokio::spawn(lie(inbound, Arc::new(script), asked.clone()));
        Self { network, asked }
    }

    /// Returns its address.
    ///
    /// # Panics
    /// If it listens nowhere.
    pub async fn address(&self) -> String {
        self.network.listen_addresses().await.first().expect("it listens").to_string()
    }
}

/// The lying peers of one test, which stop at its end.
#[derive(Debug)]
pub struct Liars {
    runtime: tokio::runtime::Runtime,
    started: Vec<Liar>,
}

impl Default for Liars {
    fn default() -> Self {
        Self { runtime: tokio::runtime::Runtime::new().expect("a runtime"), started: Vec::new() }
    }
}

impl Liars {
    /// Starts another peer with this script; returns its address.
    pub fn tell(&mut self, script: Script) -> String {
        let seed = 100 + self.started.len() as u8;
        let liar = self.runtime.block_on(Liar::start(seed, script));
        let address = self.runtime.block_on(liar.address());
        self.started.push(liar);
        address
    }

    /// Starts a peer at an address of loopback that says it holds the model with this manifest; returns its address.
    pub fn claim(&mut self, ip: &str, manifest: Digest, mut script: Script) -> String {
        let seed = 100 + self.started.len() as u8;
        let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
        let peer = PeerId::from_public_key(key.verifying_key().to_bytes());
        let holder = Holder { peer, addresses: Bounded::empty() };
        let holders = Bounded::first_of([holder]);
        script.answer(&Request::GetHolders { manifest }, Response::Holders { holders });
        let liar = self.runtime.block_on(Liar::start_at(ip, seed, script));
        let address = self.runtime.block_on(liar.address());
        self.started.push(liar);
        address
    }

    /// Returns how many requests for pieces each of them has received, in the order in which they were started.
    pub fn requests(&self) -> Vec<usize> {
        self.started.iter().map(|it| it.asked.requests.load(Ordering::Relaxed)).collect()
    }
}

async fn lie(inbound: Inbound, script: Arc<Script>, asked_of: Arc<Asked>) {
    let Inbound { mut requests, mut streams, announcements: _announcements, peers: _peers } = inbound;
    loop {
        tokio::select! {
            Some(asked) = requests.recv() => {
                let key = key_of(&asked.request);
                let answer = script.answers.get(&key).cloned().unwrap_or(Response::NotFound);
                let is_for_records = matches!(asked.request, Request::GetRecords { .. });
                let wait = if is_for_records { script.records_after } else { Duration::ZERO };
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    asked.reply.send(answer);
                });
            }
            Some(stream) = streams.recv() => {
                asked_of.streams.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream.reader, stream.writer, script.clone(), asked_of.clone()));
            }
            else => return,
        }
    }
}

async fn serve(mut reader: FrameReader, mut writer: FrameWriter, script: Arc<Script>, asked: Arc<Asked>) {
    let mut has_tarried = false;
    while let Ok(Some(frame)) = reader.next().await {
        let sent = match frame {
            Frame::Follow { blob } => {
                let pieces = if script.blobs.contains_key(&blob) { Held::All } else { Held::None };
                match writer.send(&Frame::Holds { blob, pieces }).await {
                    Ok(()) if script.manner == Manner::Meddles => meddle(&mut writer).await,
                    sent => sent,
                }
            }
            Frame::GetStates { blob } => match script.states.get(&blob) {
                Some(states) => writer.send(&Frame::States { blob, bytes: states.to_bytes() }).await,
                None => writer.send(&Frame::NoStates { blob }).await,
            },
            Frame::Request { id, blob, first, count } => {
                asked.requests.fetch_add(1, Ordering::Relaxed);
                let Some(bytes) = script.blobs.get(&blob) else { return };
                match script.manner {
                    Manner::Stalls | Manner::Meddles => Ok(()),
                    Manner::HangsUp => return,
                    Manner::Boasts => writer.send(&Frame::Reject { id, reason: Rejection::NotHere }).await,
                    Manner::Halves if first % 2 == 1 => {
                        writer.send(&Frame::Reject { id, reason: Rejection::NotHere }).await
                    }
                    Manner::Sends | Manner::Halves => {
                        send_pieces(&mut writer, bytes, id, first, count, 1).await
                    }
                    Manner::Truncates => send_pieces(&mut writer, bytes, id, first, count, 2).await,
                    Manner::Trickles => {
                        tokio::time::sleep(TRICKLE).await;
                        send_pieces(&mut writer, bytes, id, first, 1, 1).await
                    }
                    Manner::Drips => drip(&mut writer, bytes).await,
                    Manner::CutsOff => {
                        // It closes the stream whether or not the piece was sent.
                        drop(send_pieces(&mut writer, bytes, id, first, 1, 1).await);
                        return;
                    }
                    Manner::Tarries => {
                        if !std::mem::replace(&mut has_tarried, true) {
                            tokio::time::sleep(TARRY).await;
                        }
                        send_pieces(&mut writer, bytes, id, first, count, 1).await
                    }
                }
            }
            Frame::WantLane => writer.send(&Frame::NoLane).await,
            _ => Ok(()),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Sends wrong bytes as the first pieces of every request that a puller may have made to others by then, again and again for
/// as long as one of those tarries.
async fn meddle(writer: &mut FrameWriter) -> Result<(), reg_node::net::FrameError> {
    const PAUSE: Duration = Duration::from_millis(20);
    for _round in 0..TARRY.as_millis() / PAUSE.as_millis() {
        for (id, index) in (1..=8).flat_map(|id| (0..4).map(move |index| (id, index))) {
            writer.send_piece(id, index, b"other bytes").await?;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Sends pieces that nobody has asked for, until the puller hangs up.
async fn drip(writer: &mut FrameWriter, bytes: &[u8]) -> Result<(), reg_node::net::FrameError> {
    loop {
        writer.send_piece(u32::MAX, 0, &bytes[..bytes.len().min(DRIP_BYTES)]).await?;
        tokio::time::sleep(DRIP).await;
    }
}

/// Sends the requested pieces, or a part of each.
async fn send_pieces(
    writer: &mut FrameWriter,
    bytes: &[u8],
    id: u32,
    first: u32,
    count: u32,
    part: usize,
) -> Result<(), reg_node::net::FrameError> {
    let layout = BlobLayout::new(bytes.len() as u64).expect("a blob of a test is small");
    for index in first..first + count {
        let Some(piece) = layout.piece(index) else { return Ok(()) };
        let start = (u64::from(index) * PIECE_LEN) as usize;
        writer.send_piece(id, index, &bytes[start..start + layout.piece_len(piece) / part]).await?;
    }
    Ok(())
}
