//! [`Upstream`]: a Hugging Face endpoint that is asked for repositories of owners that are no publishers known to this node.
//!
//! No publisher has signed its answers, and the gateway says so. The hash that the endpoint names still proves each file. The
//! hash of a large file is a digest, so the file may come from peers, is kept, and is shared by its digest alone. A file that
//! needed the user's token is passed through: it is neither kept nor shared.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read, Seek};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt;
use reg_api::consent::Consent;
use reg_proto::content::kind::{ContentKind, sniff};
use reg_proto::content::recognise::recognise;
use reg_proto::digest::Digest;
use reg_proto::piece::BlobLayout;
use tokio::time::timeout;

use super::error::UpstreamError;
use super::transit::Fetch;
use crate::endpoint::questions::{Answer, Described, Question};
use crate::endpoint::{Hub, HubError, RemoteName};
use crate::registry::import::Importing;
use crate::registry::limits::{PLAIN_BYTES_MAX, REMOTE_PATIENCE};
use crate::registry::model::git_blob;
use crate::registry::policy::{Verdict, judge};
use crate::registry::read::{BlobReader, Reading};

pub use crate::endpoint::HubError as UpstreamUnusable;

/// How many files with wrong bytes are remembered.
const DISTRUSTED_MAX: usize = 4096;

/// An endpoint and the downloads from it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Upstream(pub(super) Arc<Endpoint>);

/// The state of an endpoint behind this node.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) reading: Arc<Reading>,
    pub(super) importing: Arc<Importing>,
    pub(super) hub: Hub,
    /// Large files that are being fetched.
    pub(super) fetches: Mutex<BTreeMap<Digest, Arc<Fetch>>>,
    /// Files of which wrong bytes may have been sent to clients. A client that has a part of one must start over.
    distrusted: Mutex<BTreeSet<Digest>>,
}

/// A file as the endpoint describes it.
#[derive(Debug, Clone)]
pub struct RemoteFile {
    pub described: Described,
    pub question: Question,
    /// The path in the repository, by which the file's kind is judged.
    pub path: String,
}

/// The hash by which the endpoint names a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Git's SHA-1 of a plain file.
    Plain([u8; 20]),
    /// The digest and the size of a large file.
    Large(Digest, BlobLayout),
}

impl RemoteFile {
    /// Returns the commit that the revision names.
    pub fn commit(&self) -> &str {
        &self.described.commit
    }

    /// Returns the size in bytes; `None` if the endpoint does not say.
    pub const fn size(&self) -> Option<u64> {
        self.described.size
    }

    /// Returns the hash that proves the file.
    ///
    /// # Errors
    /// The file is large, and the endpoint does not say its size, or says more than a blob may have.
    pub fn kept(&self) -> Result<Kept, UpstreamError> {
        match (&self.described.name, self.described.size) {
            (RemoteName::Git(oid), _) => Ok(Kept::Plain(*oid)),
            (RemoteName::Lfs(digest), Some(size)) => match BlobLayout::new(size) {
                Ok(layout) => Ok(Kept::Large(*digest, layout)),
                Err(source) => Err(UpstreamError::TooLarge { path: self.path.clone(), source }),
            },
            (RemoteName::Lfs(_), None) => Err(UpstreamError::NoName { path: self.path.clone() }),
        }
    }

    /// Tells whether the endpoint shows the file only with the user's token.
    pub const fn is_private(&self) -> bool {
        self.question.shows_token
    }

    /// Judges the file by its first and last bytes. `size` is its size in bytes.
    ///
    /// # Errors
    /// The kind of the file is refused.
    pub fn judge_ends(
        &self,
        head: &[u8],
        tail: &[u8],
        size: u64,
        consent: &Consent,
    ) -> Result<(), UpstreamError> {
        self.judge(sniff(&self.path, head, tail, size), consent)
    }

    /// Judges the file by all of its bytes.
    ///
    /// # Errors
    /// The kind of the file is refused, or the file cannot be read.
    pub fn judge_whole<F: Read + Seek>(
        &self,
        file: &mut F,
        size: u64,
        consent: &Consent,
    ) -> Result<(), UpstreamError> {
        let unread = |source| UpstreamError::Unread { path: self.path.clone(), source };
        self.judge(recognise(&self.path, file, size).map_err(unread)?.kind(), consent)
    }

    fn judge(&self, kind: ContentKind, consent: &Consent) -> Result<(), UpstreamError> {
        match judge(kind, consent) {
            Verdict::Allow => Ok(()),
            Verdict::Deny { reason } => Err(UpstreamError::Denied { path: self.path.clone(), kind, reason }),
        }
    }
}

impl Upstream {
    /// Returns the endpoint at the URL `endpoint`. `token` is used only for the owner of this node, and only for answers that
    /// the endpoint withholds without it.
    ///
    /// # Errors
    /// The system's certificates cannot be read.
    pub fn new(
        reading: Arc<Reading>,
        importing: Arc<Importing>,
        endpoint: &str,
        token: Option<String>,
    ) -> Result<Self, HubError> {
        let (fetches, distrusted) = (Mutex::default(), Mutex::default());
        Ok(Self(Arc::new(Endpoint {
            reading,
            importing,
            hub: Hub::new(endpoint, token)?,
            fetches,
            distrusted,
        })))
    }

    /// Returns the URL of the endpoint.
    pub fn endpoint(&self) -> &str {
        self.0.hub.endpoint()
    }

    /// Asks the endpoint without the user's token. If it withholds the answer and `is_owner` is true, asks again with the token.
    /// Returns the answer and the question that got it.
    ///
    /// # Errors
    /// The endpoint cannot be reached. An error that the endpoint sends is an answer.
    pub async fn ask(&self, question: Question, is_owner: bool) -> Result<(Answer, Question), UpstreamError> {
        let question = Question { shows_token: false, ..question };
        let answer = self.0.hub.ask(&question).await?;
        if !answer.is_withheld() || !is_owner || !self.0.hub.has_token() {
            return Ok((answer, question));
        }
        let question = Question { shows_token: true, ..question };
        Ok((self.0.hub.ask(&question).await?, question))
    }

    /// Asks the endpoint to describe the file at `path` in its repository. If it has no such file, returns its answer as the
    /// inner error.
    ///
    /// # Errors
    /// The endpoint cannot be reached, or names no hash of the file.
    pub async fn describe(
        &self,
        question: Question,
        path: &str,
        is_owner: bool,
    ) -> Result<Result<RemoteFile, Answer>, UpstreamError> {
        let (answer, question) = self.ask(question, is_owner).await?;
        if !answer.status.is_success() && !answer.status.is_redirection() {
            return Ok(Err(answer));
        }
        let no_name = || UpstreamError::NoName { path: path.to_owned() };
        let described = Described::of(&answer.headers).ok_or_else(no_name)?;
        Ok(Ok(RemoteFile { described, question: question.getting(), path: path.to_owned() }))
    }

    /// Returns the bytes of a plain file, verified by git's SHA-1 of it (`oid`).
    ///
    /// # Errors
    /// The endpoint does not send the file, or sends other bytes: see [`UpstreamError`].
    pub async fn plain(&self, file: &RemoteFile, oid: [u8; 20]) -> Result<Bytes, UpstreamError> {
        let name = data_encoding::HEXLOWER.encode(&oid);
        let (store, noted) = (self.0.reading.store.clone(), name.clone());
        let known = tokio::task::spawn_blocking(move || {
            let bytes = store.read_blob(&store.noted_import(&noted)?, PLAIN_BYTES_MAX).ok()?;
            (git_blob(&bytes) == oid).then_some(bytes)
        });
        let bytes = match known.await.map_err(|_| UpstreamError::Interrupted)? {
            Some(bytes) => bytes,
            None => self.fetch_plain(file, oid, name).await?,
        };
        file.judge_whole(&mut Cursor::new(&bytes), bytes.len() as u64, self.0.reading.consent())?;
        Ok(bytes.into())
    }

    async fn fetch_plain(
        &self,
        file: &RemoteFile,
        oid: [u8; 20],
        name: String,
    ) -> Result<Vec<u8>, UpstreamError> {
        let mut stream = self.0.hub.fetch(&file.question, 0).await?.bytes_stream();
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            let url = || file.question.path_and_query.clone();
            bytes.extend_from_slice(&chunk.map_err(|source| HubError::Transport { url: url(), source })?);
            if bytes.len() as u64 > PLAIN_BYTES_MAX {
                return Err(UpstreamError::PlainTooLarge { path: file.path.clone() });
            }
        }
        if git_blob(&bytes) != oid {
            return Err(UpstreamError::Other { path: file.path.clone() });
        }
        self.count(bytes.len() as u64, bytes.len() as u64);
        if !file.is_private() {
            let digest = self.0.importing.put_small(bytes.clone()).await?;
            let store = self.0.reading.store.clone();
            let note = tokio::task::spawn_blocking(move || store.note_import(&name, &digest));
            note.await.map_err(|_| UpstreamError::Interrupted)??;
        }
        Ok(bytes)
    }

    /// Reads `range` (in bytes) of a large file: from the store, else from peers or the endpoint. It returns once the first
    /// bytes have arrived. The last bytes come only after the digest was checked.
    ///
    /// # Errors
    /// See [`UpstreamError`]: [`UpstreamError::Coming`] if the first bytes do not arrive within 8 s.
    pub async fn read(
        &self,
        file: &RemoteFile,
        digest: Digest,
        layout: BlobLayout,
        range: Range<u64>,
    ) -> Result<BlobReader, UpstreamError> {
        let reading = &self.0.reading;
        let is_whole = reading.open_whole(digest).await?.is_some();
        if is_whole && !reading.consent().is_to_everything() {
            self.judge_whole(file, digest, layout.size()).await?;
        }
        let begun = if is_whole {
            reading.read_whole(digest, layout, range).await?
        } else if file.is_private() {
            self.pass_through(file, digest, layout.size(), range).await?
        } else {
            self.read_coming(file, digest, layout, range).await?
        };
        match timeout(REMOTE_PATIENCE, begun.begun()).await {
            Ok(Ok(reader)) => Ok(reader),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(UpstreamError::Coming { path: file.path.clone() }),
        }
    }

    /// Tells whether a client that has a part of this file must start over.
    pub fn must_begin_anew(&self, digest: &Digest) -> bool {
        self.0.distrusted.lock().expect("no holder of this lock panics").contains(digest)
    }

    /// Notes that wrong bytes of this file may have been sent to clients.
    pub(super) fn distrust(&self, digest: Digest) {
        let mut distrusted = self.0.distrusted.lock().expect("no holder of this lock panics");
        if distrusted.len() < DISTRUSTED_MAX {
            distrusted.insert(digest);
        }
    }
}
