//! Serves `hf upload`: turns each commit into a signed version.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use data_encoding::BASE64;
use futures::StreamExt;
use reg_api::fault::FaultKind;
use reg_api::reporter::Reporter;
use reg_api::request::{PublishRequest, PublishSource};
use reg_proto::digest::Digest;
use reg_proto::limits::FILES_MAX;
use reg_proto::name::{ModelName, Publisher, Tag};
use reg_proto::path::SafePath;
use reg_proto::states::StateHasher;
use serde::Deserialize;
use serde_json::{Value, json};

use super::branch_turns::Branch;
use super::error::HfError;
use super::name::{At, commit, revision};
use super::ndjson::{Arrived, CommitLines, LineTooLong};
use super::query::Flag;
use super::refs::NO_COMMIT;
use super::state::HfGateway;
use crate::gateway::base_url::base_url;
use crate::gateway::guard::Caller;
use crate::gateway::signer::Signer;
use crate::gateway::uploads::{discard, or_discard};
use crate::registry::Registry;
use crate::registry::publish::Signatory;
use crate::registry::resolve::{ModelView, Revision, TagPlace};

/// Bytes of a file that is sent within a commit; larger ones are sent by themselves.
const INLINE_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a refused commit that are read and discarded, so that its client reads why: what a model of files within lines may have.
const DISCARDED_MAX: usize = 1 << 30;
/// The fewest digits by which a client may name a commit.
const SHORT_COMMIT_DIGITS: usize = 7;
/// Changes of one commit: it may delete every file of a model and write as many.
const CHANGES_MAX: usize = 2 * FILES_MAX;
/// Files of one preupload request (the Hub's own limit).
const PREUPLOAD_MAX: usize = 1000;

#[derive(Debug, Deserialize)]
pub(super) struct Card {
    content: String,
}

/// `POST /api/validate-yaml`: clients read the errors where the status is 400, and go on otherwise.
pub(super) async fn validate_yaml(Json(card): Json<Card>) -> (StatusCode, Json<Value>) {
    let (status, errors) = match reg_proto::content::card::parse(card.content.as_bytes()) {
        Ok(_) => (StatusCode::OK, Vec::new()),
        Err(error) => (StatusCode::BAD_REQUEST, vec![json!({ "message": error.to_string() })]),
    };
    (status, Json(json!({ "errors": errors, "warnings": [] })))
}

/// Says whether the client wants a pull request.
#[derive(Debug, Deserialize)]
pub(super) struct CommitQuery {
    #[serde(default)]
    create_pr: Flag,
}

impl CommitQuery {
    /// Checks that the commit goes to the branch itself.
    ///
    /// # Errors
    /// Here a commit is a signed version, which is not reviewed first. A client that asked for a review must not publish.
    fn check(&self) -> Result<(), HfError> {
        if self.create_pr.0 {
            return Err(HfError::Invalid(
                "this node has no pull requests: a commit is signed and published at once; nothing was published; leave \
                 --create-pr out, or use a branch: --revision NAME"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Preupload {
    files: Vec<Sample>,
}

#[derive(Debug, Deserialize)]
struct Sample {
    path: String,
    size: u64,
}

/// `POST /api/models/{owner}/{model}/preupload/{revision}`.
pub(super) async fn preupload(
    State(hub): State<HfGateway>,
    Path(at): Path<At>,
    Query(query): Query<CommitQuery>,
    caller: Option<Extension<Caller>>,
    Json(request): Json<Preupload>,
) -> Result<Json<Value>, HfError> {
    query.check()?;
    hub.may_publish(caller, &at.owner, &at.model).await?;
    if request.files.len() > PREUPLOAD_MAX {
        return Err(HfError::Invalid(format!("more than {PREUPLOAD_MAX} files in one request")));
    }
    let mode = |file: &Sample| {
        let mode = if file.size <= INLINE_BYTES_MAX { "regular" } else { "lfs" };
        let is_ignored = safe(&file.path).is_ok_and(|path| Registry::leaves_out(&path));
        json!({ "path": file.path, "uploadMode": mode, "shouldIgnore": is_ignored, "oid": null })
    };
    Ok(Json(json!({ "files": request.files.iter().map(mode).collect::<Vec<_>>() })))
}

/// A line of a commit.
#[derive(Debug, Deserialize)]
#[serde(tag = "key", content = "value", rename_all = "camelCase")]
enum Line {
    Header(Header),
    File(Inline),
    LfsFile(InLfs),
    DeletedFile(Named),
    DeletedFolder(Named),
    #[serde(untagged)]
    Other(Value),
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Header {
    parent_commit: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Inline {
    path: String,
    content: String,
    encoding: Option<String>,
}

#[derive(Debug, Deserialize)]
struct InLfs {
    path: String,
    oid: String,
}

#[derive(Debug, Deserialize)]
struct Named {
    path: String,
}

/// `POST /api/models/{owner}/{model}/commit/{revision}`.
pub(super) async fn commit_files(
    State(hub): State<HfGateway>,
    Path(at): Path<At>,
    Query(query): Query<CommitQuery>,
    caller: Option<Extension<Caller>>,
    headers: axum::http::HeaderMap,
    body: Body,
) -> Result<Json<Value>, HfError> {
    let found = async {
        query.check()?;
        let (signer, model) = hub.may_publish(caller, &at.owner, &at.model).await?;
        let Revision::Tag(tag) = revision(&at.revision)? else {
            return Err(HfError::Invalid(format!("{}: a commit goes to a tag, or to main", at.revision)));
        };
        let parent = hub.current(&at, signer, &model, &tag).await?.map(|view| commit(&view.digest()));
        Ok::<_, HfError>((signer, model, tag, parent))
    };
    let ((signer, model, tag, parent), body) = or_discard(found.await, &headers, body, DISCARDED_MAX).await?;
    let mut sent = Commit { hub: &hub, parent, wanted_parent: None, changes: Vec::new(), long: None };
    sent.receive(body).await?;
    let branch: Branch = (signer.publisher(), model, tag);
    let digest = hub.apply(&at, signer, &branch, &mut sent).await?;
    hub.created().forget_begun(branch.0, &branch.1, &branch.2);
    let oid = commit(&digest);
    let url = format!("{}/{}/commit/{oid}", base_url(&headers), at.id());
    Ok(Json(json!({
        "success": true, "commitOid": oid, "commitUrl": url, "hookOutput": "", "pullRequestUrl": null,
    })))
}

/// A line of a commit that changes the files of a version.
enum Change {
    Write(SafePath, Digest),
    Delete(SafePath),
    /// Deletes all files below a directory. Its path ends with a slash.
    DeleteBelow(String),
}

impl Change {
    fn apply(self, files: &mut BTreeMap<SafePath, Digest>) {
        match self {
            Self::Write(path, digest) => drop(files.insert(path, digest)),
            Self::Delete(path) => drop(files.remove(&path)),
            Self::DeleteBelow(prefix) => files.retain(|path, _| !path.as_str().starts_with(&prefix)),
        }
    }
}

/// A commit that is arriving.
struct Commit<'a> {
    hub: &'a HfGateway,
    /// The version that the branch has. Another commit may give it a newer one until this one is whole.
    parent: Option<String>,
    /// The version that the client began from, where it says so.
    wanted_parent: Option<String>,
    changes: Vec<Change>,
    /// The long file of the line that is under way.
    long: Option<LongFile>,
}

/// A file that is sent within a line, too long to be kept in memory.
struct LongFile {
    upload: String,
    hasher: StateHasher,
    /// The base64 digits that are not decoded yet, fewer than four.
    digits: Vec<u8>,
    /// Whether the last byte was a backslash, which only `/` may follow.
    is_escaped: bool,
}

impl LongFile {
    /// Takes the next digits as they stand in JSON.
    fn take(&mut self, digits: &[u8]) -> Result<(), HfError> {
        for digit in digits {
            match (std::mem::take(&mut self.is_escaped), *digit) {
                (false, b'\\') => self.is_escaped = true,
                (false, digit) | (true, digit @ b'/') => self.digits.push(digit),
                (true, _) => {
                    return Err(HfError::Invalid(
                        "the content of a file is base64 without line breaks".to_owned(),
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Drop for Commit<'_> {
    fn drop(&mut self) {
        if let Some(long) = &self.long {
            self.hub.registry().cancel_upload(&long.upload);
        }
    }
}

impl Commit<'_> {
    /// Takes a commit. Where it is refused, reads the rest of it, because clients read no answer before they have sent all.
    async fn receive(&mut self, body: Body) -> Result<(), HfError> {
        let mut stream = body.into_data_stream();
        let received = self.take_lines(&mut stream).await;
        if received.is_err() {
            discard(&mut stream, DISCARDED_MAX).await;
        }
        received
    }

    async fn take_lines(&mut self, stream: &mut BodyDataStream) -> Result<(), HfError> {
        let too_long = |_: LineTooLong| HfError::Invalid("a line of the commit is too long".to_owned());
        let mut lines = CommitLines::default();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| HfError::Invalid(format!("the commit breaks off: {error}")))?;
            for arrived in lines.feed(&chunk).map_err(too_long)? {
                self.take(arrived).await?;
            }
        }
        match lines.end() {
            Some(last) => self.take(last).await,
            None => Ok(()),
        }
    }

    async fn take(&mut self, arrived: Arrived) -> Result<(), HfError> {
        match arrived {
            Arrived::Content(digits) => self.write(&digits, false).await,
            Arrived::Line(line) => {
                let line = serde_json::from_slice(&line).map_err(|error| {
                    HfError::Invalid(format!("a line of the commit is malformed: {error}"))
                })?;
                self.apply(line).await
            }
        }
    }

    /// Writes the next digits of the long file; all of them at its end.
    async fn write(&mut self, digits: &[u8], is_end: bool) -> Result<(), HfError> {
        let failed = |error| HfError::of(&error);
        if self.long.is_none() {
            let upload = self.hub.registry().begin_upload(None).await.map_err(failed)?;
            self.long =
                Some(LongFile { upload, hasher: StateHasher::new(), digits: Vec::new(), is_escaped: false });
        }
        let Some(long) = &mut self.long else { return Ok(()) };
        long.take(digits)?;
        let whole = if is_end { long.digits.len() } else { long.digits.len() / 4 * 4 };
        let bytes = BASE64
            .decode(&long.digits[..whole])
            .map_err(|error| HfError::Invalid(format!("the content of a file is not base64: {error}")))?;
        long.digits.drain(..whole);
        long.hasher.update(&bytes);
        self.hub.registry().append_upload(&long.upload, None, bytes.into()).await.map_err(failed)?;
        Ok(())
    }

    async fn apply(&mut self, line: Line) -> Result<(), HfError> {
        if self.long.is_some() && !matches!(line, Line::File(_)) {
            return Err(HfError::Invalid("only a file of a commit has a long content".to_owned()));
        }
        let change = match line {
            Line::Header(Header { parent_commit }) => {
                self.wanted_parent = parent_commit;
                return self.check_parent();
            }
            Line::File(file) => {
                let path = safe(&file.path)?;
                let digest = self.inline(file).await?;
                if Registry::leaves_out(&path) {
                    return Ok(());
                }
                self.hub.check_harmless(&path, digest).await?;
                Change::Write(path, digest)
            }
            Line::LfsFile(InLfs { path, oid }) => {
                let safe_path = safe(&path)?;
                if Registry::leaves_out(&safe_path) {
                    return Ok(());
                }
                let digest = Digest::from_hex(&oid)
                    .map_err(|error| HfError::Invalid(format!("{path}: oid {oid:?}: {error}")))?;
                if self.hub.registry().blob_size(&digest).is_none() {
                    return Err(HfError::Invalid(format!("{path}: {oid} has not been uploaded")));
                }
                self.hub.check_harmless(&safe_path, digest).await?;
                Change::Write(safe_path, digest)
            }
            Line::DeletedFile(Named { path }) => Change::Delete(safe(&path)?),
            Line::DeletedFolder(Named { path }) => {
                Change::DeleteBelow(format!("{}/", safe(path.trim_end_matches('/'))?))
            }
            Line::Other(value) => {
                let key =
                    value["key"].as_str().unwrap_or("without a key").chars().take(40).collect::<String>();
                return Err(HfError::Invalid(format!("a commit has a line {key}, which is not supported")));
            }
        };
        if self.changes.len() >= CHANGES_MAX {
            return Err(HfError::Invalid(format!("a commit changes more than {CHANGES_MAX} files")));
        }
        self.changes.push(change);
        Ok(())
    }

    /// Checks that the client began from the version that the branch has. A client may name it by its first digits, and a
    /// branch without a version by zeros.
    fn check_parent(&self) -> Result<(), HfError> {
        let Some(wanted) = &self.wanted_parent else { return Ok(()) };
        let parent = self.parent.as_deref().unwrap_or(NO_COMMIT);
        if wanted.len() >= SHORT_COMMIT_DIGITS && parent.starts_with(wanted) {
            return Ok(());
        }
        let parent = self.parent.as_deref().unwrap_or("no commit");
        Err(HfError::Conflict(format!("the branch is at {parent}, not at {wanted}")))
    }

    /// Keeps a file that was sent within its line.
    async fn inline(&mut self, Inline { path, content, encoding }: Inline) -> Result<Digest, HfError> {
        let is_base64 = encoding.as_deref() == Some("base64");
        if self.long.is_some() {
            if !is_base64 {
                return Err(HfError::Invalid(format!("{path}: a file of this size is sent in base64")));
            }
            self.write(content.as_bytes(), true).await?;
            if let Some(LongFile { upload, hasher, .. }) = self.long.take() {
                let hashed = hasher.finish().map_err(|error| HfError::Invalid(format!("{path}: {error}")))?;
                let kept = self.hub.registry().finish_upload(&upload, Some(hashed.digest)).await;
                return kept.map_err(|error| HfError::of(&error));
            }
        }
        let bytes = if is_base64 {
            BASE64
                .decode(content.as_bytes())
                .map_err(|error| HfError::Invalid(format!("{path}: content is not base64: {error}")))?
        } else {
            content.into_bytes()
        };
        self.hub.registry().put_small(bytes).await.map_err(|error| HfError::of(&error))
    }
}

impl HfGateway {
    /// Returns the version that a branch has; `None` where a commit would be its first one.
    ///
    /// # Errors
    /// The version is not in this store, or is refused.
    async fn current(
        &self,
        at: &At,
        signer: &Signer,
        model: &ModelName,
        tag: &Tag,
    ) -> Result<Option<Arc<ModelView>>, HfError> {
        let publisher = Publisher::Id(signer.publisher());
        let place = self.registry().place_of(&publisher, model, tag).await;
        match place.map_err(|error| HfError::of_view(&error))? {
            TagPlace::Removed | TagPlace::Nowhere => Ok(None),
            TagPlace::Here | TagPlace::Elsewhere => {
                let here = self.registry().view_here(&publisher, model, tag).await;
                match here.map_err(|error| HfError::of_view(&error))? {
                    None => Err(self.is_elsewhere(at, &publisher, model, tag).await),
                    here => Ok(here),
                }
            }
        }
    }

    /// Changes the version that a branch has now, and publishes the result. Commits that arrived at the same time follow each
    /// other, so that each has the files of the one before.
    async fn apply(
        &self,
        at: &At,
        signer: &Signer,
        branch: &Branch,
        sent: &mut Commit<'_>,
    ) -> Result<Digest, HfError> {
        let _turn = self.branch_turns().take(branch).await;
        let (_, model, tag) = branch;
        let current = self.current(at, signer, model, tag).await?;
        sent.parent = current.as_ref().map(|view| commit(&view.digest()));
        sent.check_parent()?;
        let mut files: BTreeMap<SafePath, Digest> = BTreeMap::new();
        if let Some(view) = &current {
            files.extend(view.manifest().files().iter().map(|file| (file.path.clone(), file.digest)));
        }
        for change in std::mem::take(&mut sent.changes) {
            change.apply(&mut files);
        }
        self.check_are_here(at, &files)?;
        let blobs: Vec<(SafePath, Digest)> = files.into_iter().collect();
        let unchanged = current.as_ref().filter(|view| {
            let known = view.manifest().files().iter().map(|file| (&file.path, &file.digest));
            known.eq(blobs.iter().map(|(path, digest)| (path, digest)))
        });
        match unchanged {
            Some(view) => Ok(view.digest()),
            None => self.publish(signer, blobs, model.clone(), tag.clone()).await,
        }
    }

    /// Says why a commit to a branch that peers have, and this node has not, is refused: a commit keeps the files that it does
    /// not name, and this node does not have them.
    async fn is_elsewhere(&self, at: &At, publisher: &Publisher, model: &ModelName, tag: &Tag) -> HfError {
        let (id, instead) = (at.id(), instead(at));
        match self.registry().view(publisher, model, &Revision::Tag(tag.clone())).await {
            Ok(of_peers) => {
                let oid = commit(&of_peers.digest());
                HfError::Conflict(format!("peers have {id} at {oid}, and this node has not: {instead}"))
            }
            Err(_) => {
                let why = format!("{id} has a version of {tag} that no peer in reach has: {instead}");
                HfError::Failed { kind: FaultKind::RetryLater, message: why }
            }
        }
    }

    /// Checks that this node has every file of a commit, with those that it keeps of the version before.
    fn check_are_here(&self, at: &At, files: &BTreeMap<SafePath, Digest>) -> Result<(), HfError> {
        let missing = files.iter().find(|(_, digest)| self.registry().blob_size(digest).is_none());
        missing.map_or(Ok(()), |(path, _)| {
            Err(HfError::Conflict(format!("{path} of {} is not on this node: {}", at.id(), instead(at))))
        })
    }

    /// Refuses an uploaded file that looks like a secret, because what is published stays public.
    async fn check_harmless(&self, path: &SafePath, digest: Digest) -> Result<(), HfError> {
        match self.registry().secret_in(path, digest).await {
            Some(found) => Err(HfError::Invalid(format!(
                "{path} looks like a secret: {found}; leave it out, or publish the folder with `reg publish --secret {path}`"
            ))),
            None => Ok(()),
        }
    }

    async fn publish(
        &self,
        signer: &Signer,
        blobs: Vec<(SafePath, Digest)>,
        model: ModelName,
        tag: Tag,
    ) -> Result<Digest, HfError> {
        let request = PublishRequest {
            allow_unsafe: self.registry().consent().is_to_everything(),
            allow: self.registry().consent().kinds().clone(),
            ..PublishRequest::new(PublishSource::Blobs(blobs), Vec::new(), model, tag)
        };
        let silent = Reporter::silent();
        let publish = async |by: Signatory<'_>| self.registry().publish(by, request, &silent).await;
        let published = signer.lend(publish).await;
        published.map(|it| it.manifest).map_err(|error| HfError::of(&error))
    }
}

/// Says what to do where files of the version before are missing.
fn instead(at: &At) -> String {
    format!("`reg pull {}` first, or publish all files with `reg publish`", at.id())
}

fn safe(path: &str) -> Result<SafePath, HfError> {
    SafePath::in_any_form(path).map_err(|error| HfError::Invalid(format!("{path:?}: {error}")))
}
