//! A peer that asks raw: it speaks the protocols itself, and shows each answer as it was given.

use std::time::Duration;

use reg_node::net::{FrameReader, FrameWriter, Inbound, Network, NetworkConfig};
use reg_proto::digest::Digest;
use reg_proto::peer::PeerId;
use reg_proto::wire::{Frame, Held, Rejection, Request, Response};

/// How long one answer may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A peer that is connected to one node, and asks it.
#[derive(Debug)]
pub struct Asker {
    runtime: tokio::runtime::Runtime,
    network: Network,
    peer: PeerId,
}

impl Asker {
    /// Connects to the node at this address.
    ///
    /// # Panics
    /// It cannot be reached.
    pub fn meet(address: &str) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let config = NetworkConfig::quiet([77; 32]);
        let (network, inbound) = runtime.block_on(Network::start(config)).expect("it starts");
        runtime.spawn(know_nothing(inbound));
        let address = address.parse().expect("an address");
        let peer = runtime.block_on(network.connect(&address)).expect("connected");
        Self { runtime, network, peer }
    }

    /// Asks a question.
    ///
    /// # Panics
    /// It is not answered.
    pub fn ask(&self, request: Request) -> Response {
        self.runtime.block_on(self.network.ask(self.peer, request)).expect("answered")
    }

    /// Returns the document that the node gives of this name; none is sent of a large blob.
    ///
    /// # Panics
    /// The question is not answered.
    pub fn document(&self, digest: Digest) -> Option<Vec<u8>> {
        match self.ask(Request::GetDocument { digest }) {
            Response::Document { bytes } => Some(bytes),
            _ => None,
        }
    }

    /// Returns what the node says that it holds of a blob.
    ///
    /// # Panics
    /// It does not say.
    pub fn held(&self, blob: Digest) -> Held {
        self.on_stream(Frame::Follow { blob }, |frame| match frame {
            Frame::Holds { pieces, .. } => Some(pieces),
            _ => None,
        })
    }

    /// Asks for a piece until the node is not busy, and returns what it sends, or why it does not.
    ///
    /// # Panics
    /// It does neither.
    pub fn piece(&self, blob: Digest, piece: u32) -> Result<Vec<u8>, Rejection> {
        loop {
            let answer =
                self.on_stream(Frame::Request { id: 1, blob, first: piece, count: 1 }, |frame| match frame {
                    Frame::Piece { bytes, .. } => Some(Ok(bytes)),
                    Frame::Reject { reason, .. } => Some(Err(reason)),
                    _ => None,
                });
            let Err(Rejection::Busy { retry_ms }) = answer else { return answer };
            std::thread::sleep(Duration::from_millis(retry_ms.into()));
        }
    }

    /// Says that a piece does not match.
    ///
    /// # Panics
    /// Nobody listens.
    pub fn complain(&self, blob: Digest, piece: u32) {
        // What is held is asked as well: once it is answered, the complaint has been read.
        let (mut reader, mut writer) = self.stream();
        self.runtime.block_on(async {
            writer.send(&Frame::Complain { blob, piece }).await.expect("sent");
            writer.send(&Frame::Follow { blob }).await.expect("sent");
            reader.next().await.expect("a frame");
        });
    }

    /// Tells whether a blob of one piece is given, in whichever way it is asked for.
    ///
    /// # Panics
    /// It is given in one way and not in another.
    pub fn is_given(&self, blob: Digest) -> bool {
        let (document, held, piece) = (self.document(blob), self.held(blob), self.piece(blob, 0));
        let ways = [document.is_some(), held != Held::None, piece.is_ok()];
        assert!(ways.iter().all(|it| *it == ways[0]), "{blob}: document, held, piece: {ways:?}");
        ways[0]
    }

    fn stream(&self) -> (FrameReader, FrameWriter) {
        self.runtime.block_on(self.network.open_stream(self.peer)).expect("a stream")
    }

    /// Sends a frame on a stream of its own, and returns what `read` makes of the first frame that it wants.
    fn on_stream<T>(&self, frame: Frame, read: impl Fn(Frame) -> Option<T>) -> T {
        let (mut reader, mut writer) = self.stream();
        let answer = async {
            writer.send(&frame).await.expect("sent");
            loop {
                let answer = reader.next().await.expect("a frame").expect("the stream is open");
                if let Some(answer) = read(answer) {
                    return answer;
                }
            }
        };
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, answer).await }).expect("in time")
    }
}

/// Answers what it is asked itself, so that nobody waits for it.
async fn know_nothing(mut inbound: Inbound) {
    while let Some(asked) = inbound.requests.recv().await {
        asked.reply.send(Response::NotFound);
    }
}
