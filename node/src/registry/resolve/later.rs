//! [`Later`]: the answers that come after the version to fetch was chosen. They may change which one is meant.
//!
//! Whatever comes is judged and remembered like the first answer. So a caller that resolves the reference again gets the newer
//! version, and a proof that freezes a tag holds from then on.

use std::sync::Arc;
use std::time::Duration;

use reg_api::reporter::Reporter;
use reg_proto::digest::Digest;
use reg_proto::name::Reference;
use reg_proto::tag::SignedTag;
use tokio::time::Instant;

use super::asking::Asking;
use super::resolved::{ResolveError, ResolveOptions};
use super::version::Judged;
use super::{Resolved, Resolver};
use crate::registry::deadline::until;
use crate::registry::limits::{ANSWERS_PATIENCE, CHANGES_MAX, FIND_TIMEOUT};

/// The question for a name, which peers go on answering.
#[derive(Debug)]
pub struct Later {
    asking: Asking,
    options: ResolveOptions,
    meant: Meant,
    /// Whether an answer has said more and is not judged to the end: the caller has stopped waiting meanwhile.
    is_unjudged: bool,
}

/// The decisions that an answer may change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meant {
    /// The digest of the newest key document.
    keys: Digest,
    first: Option<(Option<Digest>, Digest)>,
    heads: Vec<Digest>,
    is_frozen: bool,
}

impl Meant {
    pub(super) fn of(judged: &Judged, reference: &Reference) -> Self {
        let Judged { keys, first, line, .. } = judged;
        let payload = SignedTag::payload_digest;
        if reference.digest.is_some() && reference.tag.is_none() {
            // A digest means one manifest, whatever tags name it.
            let first = first.as_ref().map(|(_, manifest)| (None, *manifest));
            return Self { keys: keys.head(), first, heads: Vec::new(), is_frozen: false };
        }
        Self {
            keys: keys.head(),
            first: first.as_ref().map(|(tag, manifest)| (tag.as_ref().map(payload), *manifest)),
            heads: line.heads.iter().map(payload).collect(),
            is_frozen: line.frozen.is_some(),
        }
    }
}

impl Later {
    pub(super) fn new(asking: Asking, options: &ResolveOptions, meant: Meant) -> Self {
        Self { asking, options: options.clone(), meant, is_unjudged: false }
    }

    /// Waits until an answer changes what the reference means. Waits without an end where no answer does.
    pub async fn changed(&mut self, resolver: &Arc<Resolver>) {
        loop {
            if self.is_unjudged && self.is_changed(resolver).await {
                return;
            }
            match self.asking.step(resolver).await {
                Some(says_more) => self.is_unjudged = says_more,
                None => std::future::pending().await,
            }
        }
    }

    /// Waits until every peer that was asked has answered, for `within` after the first answer at most. Returns whether an
    /// answer has changed what the reference means. Peers that let this node wait are not waited for the next time.
    pub async fn settle(&mut self, resolver: &Arc<Resolver>, within: Duration) -> bool {
        let end = self.asking.end_of(within);
        loop {
            if self.is_unjudged && self.is_changed(resolver).await {
                return true;
            }
            if self.asking.is_settled(resolver) {
                return false;
            }
            // Peers that let this node wait before are waited for a little.
            let look = self.asking.answered_at(resolver).filter(|it| *it > Instant::now());
            match until(look.unwrap_or(end).min(end), self.asking.step(resolver)).await {
                Some(Some(says_more)) => self.is_unjudged = says_more,
                Some(None) => return false,
                None if Instant::now() < end => {}
                None => {
                    self.asking.note_slow(resolver);
                    return false;
                }
            }
        }
    }

    /// Takes the answers of the peers that have been asked, and returns whether one has changed what the reference means.
    pub async fn finish(mut self, resolver: &Arc<Resolver>) -> bool {
        if self.settle(resolver, ANSWERS_PATIENCE).await {
            return true;
        }
        let end = Instant::now() + FIND_TIMEOUT;
        while self.asking.is_waiting() {
            let Some(Some(says_more)) = until(end, self.asking.step(resolver)).await else { return false };
            self.is_unjudged = says_more;
            if says_more && self.is_changed(resolver).await {
                return true;
            }
        }
        false
    }

    /// Judges the answers, and returns whether they change what the reference means.
    async fn is_changed(&mut self, resolver: &Arc<Resolver>) -> bool {
        let Asking { publisher, reference, answers, .. } = &self.asking;
        let judged = resolver.judge_aside(*publisher, reference, answers.again(), &self.options, false).await;
        self.is_unjudged = false;
        let is_same = judged.is_ok_and(|judged| Meant::of(&judged, reference) == self.meant);
        if !is_same {
            tracing::info!(%reference, "an answer that came later says something else than the first ones");
        }
        !is_same
    }
}

impl Resolver {
    /// Takes the answers that are still to come in the background. A newer version is used from then on.
    pub fn ask_on(self: &Arc<Self>, later: Option<Later>) {
        let Some(later) = later else { return };
        let resolver = self.clone();
        tokio::spawn(async move {
            let (publisher, model) = (later.asking.publisher, later.asking.reference.model.clone());
            if later.finish(&resolver).await {
                resolver.views.forget_unread(publisher, &model);
            }
        });
    }

    /// Resolves a reference, and again where an answer that comes `within` this time after the first one changes its meaning.
    pub async fn resolve_settled(
        self: &Arc<Self>,
        reference: &Reference,
        options: &ResolveOptions,
        reporter: &Reporter,
        within: Duration,
    ) -> Result<Resolved, ResolveError> {
        for _again in 0..CHANGES_MAX {
            let mut resolved = self.resolve(reference, options, reporter).await?;
            let is_changed = match &mut resolved.later {
                Some(later) => later.settle(self, within).await,
                None => false,
            };
            if !is_changed {
                return Ok(resolved);
            }
        }
        self.resolve(reference, options, reporter).await
    }
}
