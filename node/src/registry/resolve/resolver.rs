//! [`Resolver::resolve`]: from a reference to a proven manifest: name → tag record → manifest → provenance.
//!
//! Nothing else is fetched before the signature and the provenance have been checked. Several peers are asked, because
//! one may be stale or lie: the highest valid number wins.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reg_api::clock::{self, age};
use reg_api::fault::{Fault, FaultKind};
use reg_api::reporter::Reporter;
use reg_api::request::wanted_tag;
use reg_api::tag_age::TagAge;
use reg_proto::dht::DhtKey;
use reg_proto::digest::Digest;
use reg_proto::equivocation::Equivocation;
use reg_proto::key::KeyHistory;
use reg_proto::limits::DELEGATION_DEPTH_MAX;
use reg_proto::name::{Publisher, PublisherId, Reference, Tag};
use reg_proto::peer::{Address, PeerId};
use reg_proto::revocation::Revoked;
use reg_proto::tag::SignedTag;
use reg_proto::wire::DocumentsOf;
use tokio::time::Instant;
use tracing::warn;

use super::Resolver;
use super::answers::Answers;
use super::asking::{Asking, Others};
use super::finder::{Finder, Search};
use super::heard_keys::HeardKeys;
use super::later::{Later, Meant};
use super::resolved::{OTHER_KEY, ResolveError, ResolveOptions, Resolved};
use super::sent::AllSent;
use super::version::{Judged, Line};
use crate::registry::limits::{
    FIND_TIMEOUT, FOREIGN_LOOK, FOREIGN_PATIENCE, OUTDATED_NAMED_MAX, REFRESH_TIMEOUT, UNREACHED,
};
use crate::registry::model::whole;
use crate::registry::publishers::{
    TagsError, declarations, documents, forks, keys, proofs, revoked, tags, usable,
};

impl Resolver {
    /// Resolves a reference from the store, and from peers unless the caller is offline. If its publisher has nothing
    /// of that name and delegates it, the delegate's model is meant.
    pub async fn resolve(
        self: &Arc<Self>,
        reference: &Reference,
        options: &ResolveOptions,
        reporter: &Reporter,
    ) -> Result<Resolved, ResolveError> {
        let (mut asked, mut notes) = self.aliased(reference, reporter)?;
        for _step in 0..=DELEGATION_DEPTH_MAX {
            let error = match self.resolve_at(&asked, options, reporter).await {
                Ok(mut resolved) => {
                    resolved.notes.splice(0..0, notes);
                    return Ok(resolved);
                }
                Err(error) => error,
            };
            let Some((to, note)) = self.delegate(&asked, &error, reporter)? else {
                self.note_outdated(&error, reporter).await;
                return Err(self.unless_foreign(error, &options.from, reporter).await);
            };
            reporter.note(format_args!("{note}"));
            notes.push(note);
            asked.publisher = Publisher::Id(to);
        }
        Err(ResolveError::Delegations { reference: reference.clone() })
    }

    /// Names the peers that could not be asked because they speak version 1 of the protocol only, if nothing was found.
    async fn note_outdated(&self, error: &ResolveError, reporter: &Reporter) {
        if !matches!(error.kind(), FaultKind::NotFound | FaultKind::Unreachable) {
            return;
        }
        for info in self.network.peers().await.into_iter().filter(|it| it.outdated).take(OUTDATED_NAMED_MAX) {
            let peer = info.peer;
            reporter.note(format_args!(
                "peer {peer} speaks version 1 of the protocol only: ask its owner to upgrade"
            ));
        }
    }

    /// Names the peers that could not be asked because they are in another swarm, if nothing was found. Where no other peer
    /// has answered, that is the error.
    async fn unless_foreign(
        &self,
        error: ResolveError,
        from: &[Address],
        reporter: &Reporter,
    ) -> ResolveError {
        if !matches!(error.kind(), FaultKind::NotFound | FaultKind::Unreachable) {
            return error;
        }
        let mut met = self.foreign_of(&error).await;
        let is_silent =
            matches!(&error, ResolveError::NotFound { asked, unanswered, .. } if asked == unanswered);
        let end = Instant::now() + FOREIGN_PATIENCE;
        // A peer says which swarm it is in a moment after it is connected.
        while is_silent && met.is_empty() && !from.is_empty() && Instant::now() < end {
            tokio::time::sleep(FOREIGN_LOOK).await;
            met = self.foreign_of(&error).await;
        }
        let unanswered = match &error {
            ResolveError::NoPeers { reference, .. } => Some(reference),
            ResolveError::NotFound { reference, asked, unanswered, .. } if asked == unanswered => {
                Some(reference)
            }
            _ => None,
        };
        if let (Some(reference), Some(peer)) = (unanswered, met.first()) {
            let (reference, peer) = (reference.clone(), *peer);
            return ResolveError::OtherSwarm { reference, peer, more: met.len() - 1 };
        }
        if let (ResolveError::NoPeers { reference, has_strangers }, false) = (&error, from.is_empty()) {
            let (reference, has_strangers) = (reference.clone(), *has_strangers);
            return ResolveError::NamedUnreached { reference, addresses: from.to_vec(), has_strangers };
        }
        for peer in met.into_iter().take(OUTDATED_NAMED_MAX) {
            reporter
                .note(format_args!("peer {peer} was not asked, because it is in another swarm: {OTHER_KEY}"));
        }
        error
    }

    /// Returns the peers of other swarms: those that were met lately, and those that did not understand a question. The one is
    /// known before the other, as the messages come.
    async fn foreign_of(&self, error: &ResolveError) -> Vec<PeerId> {
        let mut met = self.network.foreign().await;
        if let ResolveError::NotFound { foreign, .. } = error {
            let outdated = self.network.peers().await.into_iter().filter(|it| it.outdated);
            let outdated: BTreeSet<PeerId> = outdated.map(|it| it.peer).collect();
            met.extend(foreign.iter().filter(|it| !outdated.contains(it)));
        }
        met.sort_unstable();
        met.dedup();
        met
    }

    /// Returns the delegate to ask for a model that its publisher does not have, with a note for the user.
    fn delegate(
        &self,
        reference: &Reference,
        error: &ResolveError,
        reporter: &Reporter,
    ) -> Result<Option<(PublisherId, String)>, ResolveError> {
        let has_none = matches!(
            error,
            ResolveError::NotHere { .. }
                | ResolveError::Offline { .. }
                | ResolveError::NotFound { .. }
                | ResolveError::NoPeers { .. }
                | ResolveError::NamedUnreached { .. }
                | ResolveError::NoProvenance { .. }
                | ResolveError::Document { .. }
        );
        let failed = |source| ResolveError::Tags { reference: reference.clone(), source };
        let Ok(publisher) = self.trust.file.resolve(&reference.publisher) else { return Ok(None) };
        let keys = keys::keys(&self.store, publisher).map_err(failed)?;
        let Some(keys) = keys.filter(|_| has_none) else { return Ok(None) };
        // If the publisher itself was seen to have the tag, a peer that hides it must not bring in a delegate.
        if let Some(tag) = wanted_tag(reference)
            && tags::seen(&self.store, &keys, &reference.model, &tag).map_err(failed)?.is_some()
        {
            return Ok(None);
        }
        let signed =
            declarations::delegate(&self.store, &keys, &reference.model, clock::now()).map_err(failed)?;
        if signed.is_none()
            && let Some(ended) = declarations::ended(&self.store, &keys, &reference.model).map_err(failed)?
        {
            let (it, now) = (ended.delegation(), clock::now());
            let since = age(now.saturating_sub(it.expires));
            reporter.note(format_args!(
                "{publisher} let {} speak for {}, until {since} ago, by the clock of this machine, which says {} (`timedatectl` \
                 shows whether it is right)",
                it.to,
                it.models,
                clock::date(now)
            ));
        }
        Ok(signed.map(|signed| {
            let it = signed.delegation();
            let days = it.expires.saturating_sub(clock::now()) / 86_400;
            let note = format!(
                "{publisher} lets {} speak for {} ({days} days left): {}/{} is used",
                it.to, it.models, it.to, reference.model
            );
            (it.to, note)
        }))
    }

    pub(super) async fn resolve_at(
        self: &Arc<Self>,
        reference: &Reference,
        options: &ResolveOptions,
        reporter: &Reporter,
    ) -> Result<Resolved, ResolveError> {
        let publisher = self
            .trust
            .file
            .resolve(&reference.publisher)
            .map_err(|source| ResolveError::Trust { reference: reference.clone(), source })?;
        if !self.trust.sharing.takes(&publisher) {
            return Err(ResolveError::NotTaken { publisher });
        }
        let answers = self.known_answers(publisher, reference)?;
        let mut asking = Asking::new(publisher, reference.clone(), answers);
        let offline = options.offline || self.network.is_offline() || options.brought.is_some();
        let (mut finder, began) = (None, Instant::now());
        if let Some(brought) = &options.brought {
            asking.take_brought(self, brought).await?;
        }
        if !offline {
            reporter.stage("finding", reference);
            let mut search = self.search(publisher, reference, &options.from, reporter);
            if options.public {
                search.strangers = Some(publisher);
                if self.network.rendezvous().is_none() {
                    reporter.note("a private swarm meets no strangers: --public is not heeded");
                }
            }
            let mut search = Finder::start(&self.network, search);
            let patience = options.patience.unwrap_or_else(|| self.patience(reference, &asking.answers));
            let is_followed = asking.answers.keys.pinned.is_some();
            let others = if is_followed { Others::SOON } else { Others::OF_NEWCOMER };
            asking.ask_for_documents(self.documents_wanted(reference, &asking.answers));
            asking.begin(self, &mut search, patience, others).await;
            finder = Some(search);
        }
        let sent = std::mem::take(&mut asking.answers.sent);
        let again = asking.answers.again();
        let answers = std::mem::replace(&mut asking.answers, again);
        let mut judged = self.judge_aside(publisher, reference, answers, options, offline).await?;
        (judged.silent, judged.sent) = (asking.silent(), sent);
        if let (Some(finder), Some((_, digest))) = (&mut finder, &judged.first)
            && reference.digest.is_none()
            && !whole::is_complete(&self.store, digest)
        {
            finder.look_under(&self.network, DhtKey::manifest(digest));
        }
        let strangers = std::mem::take(&mut judged.strangers);
        let later = (!offline).then(|| Later::new(asking, options, Meant::of(&judged, reference)));
        let resolved = self.version_in_use(reference, judged, options, finder.as_mut(), began).await?;
        Ok(Resolved { finder, later, strangers, ..resolved })
    }

    /// Returns the documents to ask for beside the records of a name: none of the version that the store has.
    fn documents_wanted(&self, reference: &Reference, answers: &Answers) -> Option<DocumentsOf> {
        let is_here = |manifest: &Digest| self.store.contains(manifest);
        if let Some(manifest) = reference.digest {
            let of = DocumentsOf { manifest: Some(manifest), ..DocumentsOf::default() };
            return (!is_here(&manifest)).then_some(of);
        }
        let head = newest(&answers.tags).map(|tag| tag.record().manifest.digest);
        Some(DocumentsOf { unless: head.filter(is_here), ..DocumentsOf::default() })
    }

    /// Returns what a search for a reference begins with: addresses, DHT keys, and the holders in the heads.
    pub fn search(
        &self,
        publisher: PublisherId,
        reference: &Reference,
        from: &[Address],
        reporter: &Reporter,
    ) -> Search {
        // A publisher may have more holders than a look-up names, and only few of them this model.
        let mut keys = vec![DhtKey::model(&publisher, &reference.model), DhtKey::publisher(&publisher)];
        keys.extend(reference.digest.as_ref().map(DhtKey::manifest));
        let known = self.news.heard_of(publisher, Some(&reference.model));
        let hints = known.into_iter().flat_map(|head| head.holders).map(|holder| (holder, None)).collect();
        let strangers = self.network.meets_strangers().then_some(publisher);
        Search { from: from.to_vec(), keys, strangers, hints, reporter: reporter.clone() }
    }

    fn known_answers(&self, publisher: PublisherId, reference: &Reference) -> Result<Answers, ResolveError> {
        let failed = |source| ResolveError::Tags { reference: reference.clone(), source };
        let keys = HeardKeys::of_store(&self.store, publisher).map_err(failed)?;
        let refusal = keys.parted.clone().map(|parted| failed(TagsError::KeyPin(parted)));
        let pinned = keys.pinned.clone();
        let mut answers = Answers { keys, refusal, ..Answers::default() };
        if let Some(keys) = pinned {
            if let Some(tag) = wanted_tag(reference) {
                let stored =
                    documents::envelope(&self.store, publisher, &reference.model, &tag).map_err(failed)?;
                match stored.map(|text| SignedTag::verify(&text, &keys)) {
                    Some(Ok(tag)) => answers.take_tag(tag),
                    Some(Err(source)) => {
                        answers.refusal = Some(ResolveError::Tag { reference: reference.clone(), source });
                    }
                    None => {}
                }
                let known = usable::usable(&self.store, &keys, &reference.model, &tag).map_err(failed)?;
                known.into_iter().for_each(|tag| answers.take_tag(tag));
            }
            answers.delegated = self.is_delegated(&keys, reference);
        }
        for head in self.news.heads_of(publisher, Some(&reference.model), wanted_tag(reference).as_ref()) {
            if answers.take_keys(head.keys.as_ref().clone(), reference) {
                answers.take_tag(head.tag);
                head.proofs
                    .iter()
                    .flat_map(|proof| proof.records())
                    .for_each(|tag| answers.take_tag(tag.clone()));
            }
        }
        Ok(answers)
    }

    pub(super) fn is_delegated(&self, keys: &KeyHistory, reference: &Reference) -> bool {
        matches!(declarations::delegate(&self.store, keys, &reference.model, clock::now()), Ok(Some(_)))
    }

    /// Returns the newest record of a tag in the store or at a peer that answers soon, and the keys that were found. It
    /// keeps nothing of them but revocations and proofs of equivocation.
    pub async fn newest_tag(
        self: &Arc<Self>,
        reference: &Reference,
        reporter: &Reporter,
    ) -> Result<(Option<SignedTag>, Option<KeyHistory>), ResolveError> {
        reporter.stage("finding", reference);
        let publisher = self
            .trust
            .file
            .resolve(&reference.publisher)
            .map_err(|source| ResolveError::Trust { reference: reference.clone(), source })?;
        let mut asking = Asking::new(publisher, reference.clone(), self.known_answers(publisher, reference)?);
        let mut finder = Finder::start(&self.network, self.search(publisher, reference, &[], reporter));
        asking.begin(self, &mut finder, REFRESH_TIMEOUT, Others::OF_PUBLISHER).await;
        let answers = asking.answers;
        let Some(keys) = answers.keys.known else { return Ok((None, None)) };
        let (resolver, known, tags) = (self.clone(), keys.clone(), answers.tags);
        let weighed = tokio::task::spawn_blocking(move || resolver.weigh(&known, &tags)).await;
        let valid = weighed
            .map_err(|_| ResolveError::Search)?
            .map_err(|source| ResolveError::Tags { reference: reference.clone(), source })?;
        Ok((newest(&valid).cloned(), Some(keys)))
    }

    /// Returns the records for which the keys stand. Records that contradict each other are kept as a proof.
    /// Blocks.
    fn weigh(&self, keys: &KeyHistory, tags: &[SignedTag]) -> Result<Vec<SignedTag>, TagsError> {
        let valid: Vec<SignedTag> =
            tags.iter().filter_map(|tag| SignedTag::verify(tag.envelope(), keys).ok()).collect();
        for (index, one) in valid.iter().enumerate() {
            for proof in valid[index + 1..].iter().filter_map(|two| Equivocation::of(one, two)) {
                proofs::keep(&self.store, &proof)?;
            }
        }
        Ok(valid)
    }

    /// Returns how long a user waits for peers: less where the store has the model, or an older version of it.
    fn patience(&self, reference: &Reference, answers: &Answers) -> Duration {
        let is_here = |digest: &Digest| whole::is_complete(&self.store, digest);
        let head = newest(&answers.tags).map(|tag| tag.record().manifest.digest);
        match reference.digest.or(head) {
            Some(digest) if answers.is_enough(reference) && is_here(&digest) => REFRESH_TIMEOUT,
            _ if reference.digest.is_some() => FIND_TIMEOUT,
            _ if answers.tags.iter().any(|it| is_here(&it.record().manifest.digest)) => UNREACHED,
            _ => FIND_TIMEOUT,
        }
    }

    /// Keeps the branches of a publisher's keys as evidence for the user.
    pub(super) fn keep_branches(&self, heard: &HeardKeys, offered: &KeyHistory) {
        for branch in heard.known.iter().chain([offered]) {
            if let Err(error) = forks::keep(&self.store, branch) {
                warn!(%error, "a branch of a publisher's keys cannot be kept");
            }
        }
    }

    /// Returns a note for the user if another branch of the followed keys is known, and the user has accepted none.
    fn branch_note(&self, keys: &KeyHistory) -> Result<Option<String>, TagsError> {
        let publisher = keys.publisher();
        if forks::accepted(&self.store, publisher)?.is_some() {
            return Ok(None);
        }
        let branches = forks::branches(&self.store, publisher)?;
        let parted = branches.iter().find(|it| !it.is_prefix_of(keys));
        Ok(parted.map(|it| {
            let after = it.chain().common(keys.chain());
            format!(
                "the keys of {publisher} part after key document {after}, so one branch may be a thief's: this node keeps \
                 the one that it saw first; `reg trust accept {publisher}` shows both"
            )
        }))
    }

    /// Judges as [`Self::judge_answers`] does, on a blocking thread: what is remembered is synced to the disk.
    pub(super) async fn judge_aside(
        self: &Arc<Self>,
        publisher: PublisherId,
        reference: &Reference,
        answers: Answers,
        options: &ResolveOptions,
        offline: bool,
    ) -> Result<Judged, ResolveError> {
        let (resolver, reference, options) = (self.clone(), reference.clone(), options.clone());
        let judge = move || resolver.judge_answers(publisher, &reference, answers, &options, offline);
        tokio::task::spawn_blocking(judge).await.map_err(|_| ResolveError::Search)?
    }

    /// Decides on what the peers sent, and remembers it before the node acts on it. Blocks.
    fn judge_answers(
        &self,
        publisher: PublisherId,
        reference: &Reference,
        answers: Answers,
        options: &ResolveOptions,
        offline: bool,
    ) -> Result<Judged, ResolveError> {
        let failed = |source| ResolveError::Tags { reference: reference.clone(), source };
        let Answers {
            keys: HeardKeys { known: mut keys, parted, .. },
            tags: all_tags,
            delegated,
            mut holders,
            others,
            asked,
            unanswered,
            foreign,
            refusal,
            ..
        } = answers;
        // Revocations heard before the node followed the publisher count from its first model on.
        if let Some(keys) = &mut keys {
            revoked::revoke(&self.store, keys).map_err(failed)?;
        }
        if let Some(parted) = parted {
            return Err(failed(TagsError::KeyPin(parted)));
        }
        let strangers: Vec<PeerId> = others.into_iter().filter(|peer| !holders.contains(peer)).collect();
        holders.extend(&strangers);
        // A record that later keys have voided is reported only where there is no other.
        let void = keys
            .as_ref()
            .and_then(|keys| all_tags.iter().find_map(|tag| SignedTag::verify(tag.envelope(), keys).err()));
        let refusal =
            refusal.or(void.map(|source| ResolveError::Tag { reference: reference.clone(), source }));
        let means = |tag: &SignedTag| Some(tag.record().manifest.digest) == reference.digest;
        let wanted: Vec<SignedTag> =
            all_tags.into_iter().filter(|tag| wanted_tag(reference).is_some() || means(tag)).collect();
        let valid = match &keys {
            Some(keys) => self.weigh(keys, &wanted).map_err(failed)?,
            None => Vec::new(),
        };
        let is_first = keys::keys(&self.store, publisher).map_err(failed)?.is_none();
        if let Some(keys) = &keys
            && (!valid.is_empty() || reference.digest.is_some() || delegated || !is_first)
        {
            // A delegation alone is reason enough to remember the keys. Of a followed publisher, everything is.
            keys::pin_keys(&self.store, keys).map_err(failed)?;
        }
        let Some(keys) = keys.filter(|_| !valid.is_empty() || reference.digest.is_some()) else {
            let asked = Asked { asked, unanswered, foreign };
            return Err(match refusal.filter(|_| !delegated) {
                Some(refusal) => refusal,
                None => self.not_found(reference, asked, options, offline),
            });
        };
        let mut notes = Vec::new();
        if is_first {
            notes.push(format!(
                "first model of publisher {publisher} on this node: its keys are remembered from now on"
            ));
        }
        notes.extend(self.branch_note(&keys).map_err(failed)?);
        let (first, line) = self.follow(reference, &keys, &valid, options, &mut notes)?;
        let tag = first.as_ref().and_then(|(tag, _)| tag.as_ref()).or_else(|| line.heads.first());
        let model = tag.map_or_else(|| reference.model.clone(), |tag| tag.record().model.clone());
        let strangers = strangers.into_iter().collect();
        let (silent, sent) = (BTreeSet::new(), AllSent::default());
        Ok(Judged { keys, model, first, line, holders, strangers, silent, sent, notes, refusal })
    }

    /// Returns why a name was not found, by the peers that were asked for it.
    fn not_found(
        &self,
        reference: &Reference,
        Asked { asked, unanswered, foreign }: Asked,
        options: &ResolveOptions,
        offline: bool,
    ) -> ResolveError {
        let reference = reference.clone();
        if offline {
            return ResolveError::Offline { reference };
        }
        if asked == 0 {
            let is_asked = options.public || self.network.meets_strangers();
            let has_strangers = self.network.rendezvous().is_some() && !is_asked;
            return ResolveError::NoPeers { reference, has_strangers };
        }
        ResolveError::NotFound { reference, asked, unanswered, foreign }
    }

    /// Follows the newest of the valid records, and returns the version to try first, and what may stand in for it.
    #[expect(clippy::type_complexity, reason = "it is the pair of fields of one struct")]
    fn follow(
        &self,
        reference: &Reference,
        keys: &KeyHistory,
        valid: &[SignedTag],
        options: &ResolveOptions,
        notes: &mut Vec<String>,
    ) -> Result<(Option<(Option<SignedTag>, Digest)>, Line), ResolveError> {
        let failed = |source| ResolveError::Tags { reference: reference.clone(), source };
        let withdrawn = |digest: Digest| match keys.revocation(&Revoked::Manifest(digest)) {
            Some(it) => Err(ResolveError::Withdrawn { digest, reason: it.reason.as_str().to_owned() }),
            None => Ok(digest),
        };
        let newest = newest(valid);
        let (head, asked) = match (newest, reference.digest) {
            // The meaning of a digest does not change. A tag that means it is remembered, and cannot refuse it.
            (tag, Some(digest)) if reference.tag.is_none() => {
                let tag = tag.filter(|tag| tags::see(&self.store, keys, tag).is_ok()).cloned();
                return Ok((Some((tag, withdrawn(digest)?)), Line::default()));
            }
            (Some(head), asked) => (head, asked),
            (None, Some(digest)) => return Ok((Some((None, withdrawn(digest)?)), Line::default())),
            (None, None) => {
                return Err(ResolveError::NotFound {
                    reference: reference.clone(),
                    asked: 0,
                    unanswered: 0,
                    foreign: Vec::new(),
                });
            }
        };
        let digest = head.record().manifest.digest;
        match tags::see(&self.store, keys, head) {
            Ok(()) => {}
            Err(source @ TagsError::Frozen { .. }) if asked.is_none() => {
                let line = self.line_of_frozen(keys, head, valid, source).map_err(failed)?;
                return if line.ancestors.is_empty() {
                    Err(failed(line.frozen.expect("the line of a frozen tag says why")))
                } else {
                    Ok((None, line))
                };
            }
            Err(source) => return Err(failed(source)),
        }
        let now = clock::now();
        TagAge::of(head.record(), now).judge(now, options.allow_expired, notes)?;
        if let Some(asked) = asked.filter(|asked| *asked != digest) {
            let TagsAsked { tag, tagged } = TagsAsked::of(head);
            return Err(ResolveError::TagMoved { tag, tagged, asked });
        }
        let line = match asked {
            Some(_) => Line::default(),
            None => {
                let ancestors = usable::line(&self.store, keys, &[head], valid).map_err(failed)?;
                Line { ancestors, heads: vec![head.clone()], frozen: None }
            }
        };
        Ok((Some((Some(head.clone()), withdrawn(digest)?)), line))
    }

    fn line_of_frozen(
        &self,
        keys: &KeyHistory,
        head: &SignedTag,
        valid: &[SignedTag],
        frozen: TagsError,
    ) -> Result<Line, TagsError> {
        let record = head.record();
        let proof = proofs::freezing(&self.store, keys, &record.model, &record.tag, &[record])?;
        let heads: Vec<SignedTag> = proof.iter().flat_map(|it| it.records()).cloned().collect();
        let ancestors = usable::line(&self.store, keys, &heads.iter().collect::<Vec<_>>(), valid)?;
        Ok(Line { heads, ancestors, frozen: Some(frozen) })
    }
}

/// The peers that were asked for a name.
struct Asked {
    asked: usize,
    /// How many of them did not answer.
    unanswered: usize,
    /// Those that are in another swarm.
    foreign: Vec<PeerId>,
}

struct TagsAsked {
    tag: Tag,
    tagged: Digest,
}

impl TagsAsked {
    fn of(tag: &SignedTag) -> Self {
        Self { tag: tag.record().tag.clone(), tagged: tag.record().manifest.digest }
    }
}

fn newest(tags: &[SignedTag]) -> Option<&SignedTag> {
    tags.iter().max_by_key(|tag| (tag.record().order(), tag.payload_digest()))
}
