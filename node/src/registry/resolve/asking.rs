//! [`Asking`]: asks peers for the records of a name, and takes their answers: first until the best record is known that
//! answers soon, then on, while the version that it names is fetched.
//!
//! Nothing waits for a fixed time: the first part ends once every peer that was asked has answered. Peers that do not answer
//! are waited for within a bound, before anything of the version is placed. What they say after that counts the next time.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use reg_api::request::wanted_tag;
use reg_proto::dht::DhtKey;
use reg_proto::limits::VERIFICATIONS_PER_ANSWER_MAX;
use reg_proto::name::{PublisherId, Reference};
use reg_proto::peer::PeerId;
use reg_proto::tag::SignedTag;
use reg_proto::verification::Budget;
use reg_proto::wire::{DocumentsOf, Records, Request, Response};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::debug;

use super::Resolver;
use super::answers::Answers;
use super::finder::{Event, Finder, Found, More, Step};
use super::introductions::ask_patiently;
use super::questions::QuestionSlots;
use super::resolved::ResolveError;
use super::sent::Sent;
use super::verified::VerifiedRecords;
use crate::net::{AskError, Awaited};
use crate::registry::limits::{
    ANSWERS_PATIENCE, BEGIN_WITH, BOOTSTRAP_PATIENCE, DOCUMENTS_ASKED_MAX, LATER_ASKED_MAX, LOOK_AGAIN,
    NOBODY_PATIENCE, QUESTION_SLOW, QUESTIONS_AT_ONCE, QUIET, REFUSED_PATIENCE, SILENCE,
};
use crate::registry::publishers::{declarations, profiles};

/// The question for a name, with what peers have answered so far.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) publisher: PublisherId,
    pub(super) reference: Reference,
    pub(super) answers: Answers,
    questions: JoinSet<Answer>,
    slots: QuestionSlots,
    /// The peers that have been asked and have not answered, and when each was asked.
    waiting: BTreeMap<PeerId, Instant>,
    /// Those among the asked peers that were connected then.
    reached: BTreeSet<PeerId>,
    /// The peers that have answered, even if they know nothing.
    answered: BTreeSet<PeerId>,
    began: Instant,
    /// The time of the first answer that is enough to go on with.
    heard: Option<Instant>,
    last_news: Instant,
    /// The peers that the search finds later.
    more: Option<More>,
    /// How many of these have been asked.
    later: usize,
    /// Which model's documents are asked for too.
    documents: Option<DocumentsOf>,
}

/// The answer of one peer, if it gave one that can be read.
#[derive(Debug)]
pub(super) struct Answer {
    peer: PeerId,
    records: Option<(Records, VerifiedRecords, Option<Sent>)>,
    is_answered: bool,
    /// Whether the peer does not speak the protocol of this swarm.
    is_foreign: bool,
    took: Duration,
}

/// Which other answers are waited for, once one is enough to go on with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Others {
    /// How long they may take.
    within: Duration,
    /// Whether the DHT's answers are waited for too.
    dht: bool,
}

impl Others {
    /// The caller goes on with the best answer, and takes a better one that comes before anything is placed.
    pub(super) const SOON: Self = Self { within: BEGIN_WITH, dht: false };
    /// A publisher's keys are remembered from now on, and of two branches of them the first one counts.
    pub(super) const OF_NEWCOMER: Self = Self { within: ANSWERS_PATIENCE, dht: false };
    /// A record is signed after the newest one that is found.
    pub(super) const OF_PUBLISHER: Self = Self { within: ANSWERS_PATIENCE, dht: true };
}

impl Asking {
    pub(super) fn new(publisher: PublisherId, reference: Reference, answers: Answers) -> Self {
        let now = Instant::now();
        Self {
            publisher,
            reference,
            answers,
            questions: JoinSet::new(),
            slots: QuestionSlots::new(QUESTIONS_AT_ONCE, QUESTION_SLOW),
            waiting: BTreeMap::new(),
            reached: BTreeSet::new(),
            answered: BTreeSet::new(),
            began: now,
            heard: None,
            last_news: now,
            more: None,
            later: 0,
            documents: None,
        }
    }

    /// From now on, asks for the documents of a model too.
    pub(super) const fn ask_for_documents(&mut self, of: Option<DocumentsOf>) {
        self.documents = of;
    }

    /// Tells whether an asked peer has not answered yet.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns the asked peers that have not answered, or could not be reached.
    pub(super) fn silent(&self) -> BTreeSet<PeerId> {
        self.answers.others.iter().copied().filter(|it| !self.answered.contains(it)).collect()
    }

    /// Returns until when other answers are waited for, if they may take this long after the first one.
    pub(super) fn end_of(&self, within: Duration) -> Instant {
        self.heard.unwrap_or(self.began) + within
    }

    /// Asks peers as they are found, until the best record is known of those that answer soon, or no peer has one.
    pub(super) async fn begin(
        &mut self,
        resolver: &Resolver,
        finder: &mut Finder,
        patience: Duration,
        others: Others,
    ) {
        let mut end = self.began + patience;
        let slots = self.slots.clone();
        // Whether every peer in reach is connected, so that it is asked, and no other one can turn up.
        let mut is_all = false;
        let key = DhtKey::publisher(&self.publisher);
        let mut all = pin!(async {
            match others.dht {
                true => resolver.all_connected(key).await,
                false => std::future::pending().await,
            }
        });
        while !self.has_enough(resolver, finder, others, is_all) {
            let quiet = match is_all && self.waiting.is_empty() && !finder.is_asking_known() {
                true => self.began,
                false => self.quiet_at(resolver, finder, end),
            };
            let look = self.answered_at(resolver).filter(|it| self.heard.is_some() && *it > Instant::now());
            // Dials of remembered peers may all have failed by then.
            let is_recalling = resolver.network.awaits_peers() == Some(Awaited::Remembered);
            let look = look.or_else(|| is_recalling.then(|| Instant::now() + LOOK_AGAIN));
            tokio::select! {
                step = async { let slot = slots.slot().await; (finder.step().await, slot) } => match step {
                    (Some(Step::Peer(found)), slot) => {
                        let question = slot.hold(self.question(resolver, found));
                        self.questions.spawn(question);
                    }
                    (Some(Step::Answered), _) => {}
                    (None, _) => break,
                },
                Some(answer) = self.questions.join_next() => {
                    let Ok(answer) = answer else { continue };
                    self.take(resolver, answer, Some(finder));
                    if self.heard.is_some() {
                        finder.settle();
                        end = end.min(self.end_of(self.within(others)));
                    } else if self.answers.refusal.is_some() {
                        end = end.min(Instant::now() + REFUSED_PATIENCE);
                    }
                }
                () = &mut all, if !is_all => is_all = true,
                () = tokio::time::sleep_until(look.unwrap_or(quiet).min(quiet)) => {
                    if Instant::now() >= quiet {
                        break;
                    }
                }
            }
        }
        self.note_slow(resolver);
        self.more = finder.more();
        // A later answer changes which version is meant at most.
        self.documents = None;
    }

    /// Returns how long other answers may take. Where only a delegation is known, the publisher's own record may come later.
    fn within(&self, others: Others) -> Duration {
        let is_delegated = self.answers.tags.is_empty() && self.reference.digest.is_none();
        if is_delegated { ANSWERS_PATIENCE } else { others.within }
    }

    /// Tells whether a record is known, and every peer that was asked has answered. With `is_all`, no other peer is in reach.
    fn has_enough(&self, resolver: &Resolver, finder: &Finder, others: Others, is_all: bool) -> bool {
        let is_searching = finder.is_asking_known() || (others.dht && !is_all && finder.is_asking_dht());
        self.heard.is_some() && !is_searching && self.is_answered(resolver)
    }

    /// Tells whether every peer has answered that was connected when it was asked. Those that let this node wait the last time
    /// count for [`BEGIN_WITH`] only.
    fn is_answered(&self, resolver: &Resolver) -> bool {
        self.answered_at(resolver).is_some_and(|at| at <= Instant::now())
    }

    /// Returns from when on no peer is waited for, if none answers: the time at which this began where none is waited for now,
    /// and `None` where one is that has not let this node wait before.
    pub(super) fn answered_at(&self, resolver: &Resolver) -> Option<Instant> {
        let reached = self.waiting.iter().filter(|(peer, _)| self.reached.contains(*peer));
        let mut at = self.began;
        for (peer, asked) in reached {
            if !resolver.slow.contains(peer) {
                return None;
            }
            at = at.max(*asked + BEGIN_WITH);
        }
        Some(at)
    }

    /// Returns when the search ends at the latest if nothing happens until then.
    fn quiet_at(&self, resolver: &Resolver, finder: &Finder, end: Instant) -> Instant {
        if self.heard.is_some() || finder.is_asking_dht() {
            return end;
        }
        let is_nobody = self.answers.asked == 0;
        let awaited = resolver.network.awaits_peers();
        let quiet = match () {
            () if !self.waiting.is_empty() || finder.is_asking_known() || finder.is_dialling() => {
                self.last_news + SILENCE
            }
            () if is_nobody && matches!(awaited, Some(Awaited::Bootstrap | Awaited::Remembered)) => {
                self.began + BOOTSTRAP_PATIENCE
            }
            () if is_nobody && (awaited.is_some() || finder.is_hinted()) => self.began + NOBODY_PATIENCE,
            () if is_nobody => self.began,
            () if finder.is_following() => self.last_news + SILENCE,
            () => self.last_news + QUIET,
        };
        quiet.min(end)
    }

    /// Remembers the peers that have let this node wait, so that the next search hardly waits for them.
    pub(super) fn note_slow(&self, resolver: &Resolver) {
        if self.heard.is_some_and(|heard| heard.elapsed() >= ANSWERS_PATIENCE) {
            let late = self.waiting.iter().filter(|(_, asked)| asked.elapsed() >= ANSWERS_PATIENCE);
            late.for_each(|(peer, _)| resolver.slow.note(*peer));
        }
    }

    /// Waits for the next answer or found peer. Returns whether it says something new; `None` where no more is to come.
    pub(super) async fn step(&mut self, resolver: &Resolver) -> Option<bool> {
        loop {
            let may_ask = self.later < LATER_ASKED_MAX;
            let more = async {
                match &mut self.more {
                    Some(more) if may_ask => more.next().await,
                    _ => None,
                }
            };
            tokio::select! {
                Some(answer) = self.questions.join_next() => {
                    let Ok(answer) = answer else { continue };
                    let before = self.answers.stamp();
                    self.take(resolver, answer, None);
                    return Some(self.answers.stamp() != before);
                }
                Some(event) = more => {
                    if let Event::Peer(found) = event
                        && !self.answers.others.contains(&found.peer)
                    {
                        self.later += 1;
                        let question = self.question(resolver, found);
                        self.questions.spawn(question);
                    }
                    return Some(false);
                }
                else => return None,
            }
        }
    }

    /// Tells whether every peer that was named or asked has answered, or has let this node wait before.
    pub(super) fn is_settled(&self, resolver: &Resolver) -> bool {
        self.is_answered(resolver) && self.more.as_ref().is_none_or(More::is_known_read)
    }

    /// Asks one more peer. The answer is verified in the same task.
    fn question(
        &mut self,
        resolver: &Resolver,
        Found { peer, is_reached }: Found,
    ) -> impl Future<Output = Answer> + Send + 'static + use<> {
        self.last_news = Instant::now();
        self.answers.others.push(peer);
        self.waiting.insert(peer, self.last_news);
        if is_reached {
            self.reached.insert(peer);
        }
        let (network, news) = (resolver.network.clone(), resolver.news.clone());
        let (publisher, model, tag) =
            (self.publisher, Some(self.reference.model.clone()), wanted_tag(&self.reference));
        let brief = self.answers.others.len() > DOCUMENTS_ASKED_MAX;
        let documents = self.documents.map(|of| DocumentsOf { brief, ..of });
        // Where the model of the tag is here, most likely no byte is to be fetched.
        let is_fetched = documents.is_some_and(|of| !of.brief && of.unless.is_none());
        if is_reached && is_fetched && !resolver.bans.is_banned(&peer) {
            network.open_ahead(peer);
        }
        async move {
            let asked = Instant::now();
            let request = Request::GetRecords { publisher, model, tag, documents };
            let answer = ask_patiently(&network, peer, request).await;
            let (took, is_answered) = (asked.elapsed(), answer.is_ok());
            let is_foreign = matches!(answer, Err(AskError::OtherNetwork));
            let records = match answer {
                Ok(Response::Records(mut records)) => {
                    let work = move |budget: &mut Budget| {
                        let verified = budget.run(|| VerifiedRecords::verify(publisher, &records)).ok()?;
                        let sent = records.documents.take().filter(|_| documents.is_some());
                        Some((records, verified, sent.map(|it| Sent::read(it, brief))))
                    };
                    let verified = news.verifier().answer(peer, VERIFICATIONS_PER_ANSWER_MAX, work).await;
                    verified.ok().flatten()
                }
                Ok(_) => None,
                Err(error) => {
                    debug!(%peer, %error, "a peer did not answer for a name");
                    None
                }
            };
            Answer { peer, records, is_answered, is_foreign, took }
        }
    }

    fn take(&mut self, resolver: &Resolver, answer: Answer, finder: Option<&Finder>) {
        let Answer { peer, records, is_answered, is_foreign, took } = answer;
        self.last_news = Instant::now();
        self.waiting.remove(&peer);
        if is_answered {
            self.answered.insert(peer);
        }
        if is_answered && took < ANSWERS_PATIENCE {
            resolver.slow.forget(&peer);
        }
        self.answers.asked += 1;
        self.answers.unanswered += usize::from(!is_answered);
        self.answers.foreign.extend(is_foreign.then_some(peer));
        if let Some((records, verified, sent)) = records {
            self.take_records(resolver, peer, &records, verified, finder);
            if let Some(sent) = sent.filter(|_| self.answers.holders.contains(&peer)) {
                self.answers.sent.add(peer, sent);
            }
        }
        let is_enough = !self.answers.holders.is_empty() && self.answers.is_enough(&self.reference);
        if self.heard.is_none() && is_enough {
            self.heard = Some(Instant::now());
        }
    }

    pub(super) fn take_records(
        &mut self,
        resolver: &Resolver,
        peer: PeerId,
        records: &Records,
        verified: VerifiedRecords,
        finder: Option<&Finder>,
    ) {
        let Self { answers, reference, .. } = self;
        if let Some(finder) = finder {
            records.holders.iter().for_each(|holder| finder.hint(holder.clone(), peer));
        }
        if records.key_documents.is_empty() {
            return;
        }
        let keys = match verified.keys {
            Ok(keys) => keys,
            Err(source) => {
                debug!(%peer, error = %source, "a peer offered keys that are not the publisher's");
                answers.refusal = Some(ResolveError::Keys { reference: reference.clone(), source });
                return;
            }
        };
        answers.holders.push(peer);
        if !answers.take_keys(keys.clone(), reference) {
            debug!(%peer, "a peer offered keys that part from those that are known");
            resolver.keep_branches(&answers.keys, &keys);
            return;
        }
        if let Some(branch) = verified.branch
            && !answers.take_keys(branch.clone(), reference)
        {
            debug!(%peer, "a peer knows another branch of a publisher's keys");
            resolver.keep_branches(&answers.keys, &branch);
        }
        let delegations = verified.delegations.iter().map(String::as_str);
        // The keys that this node goes by decide, and not the older ones that the peer may have sent.
        let keys = answers.keys.known.clone().unwrap_or(keys);
        if let Err(error) = declarations::keep_delegations(&resolver.store, &keys, delegations) {
            debug!(%error, "delegations cannot be kept");
        }
        // Holders of a model send it to others, so that it outlives its publisher.
        if let Some(profile) = &verified.profile
            && let Err(error) = profiles::keep(&resolver.store, &keys, profile.envelope())
        {
            debug!(%error, "a profile cannot be kept");
        }
        answers.delegated |= resolver.is_delegated(&keys, reference);
        for tag in verified.tags {
            match tag {
                Ok(tag) if is_about(&tag, reference) => {
                    resolver.network.was_of_use(peer);
                    answers.take_tag(tag);
                }
                Ok(_) => {}
                Err(source) => {
                    debug!(%peer, error = %source, "a peer offered a tag record that is not the publisher's");
                    answers.refusal = Some(ResolveError::Tag { reference: reference.clone(), source });
                }
            }
        }
    }
}

fn is_about(tag: &SignedTag, reference: &Reference) -> bool {
    let record = tag.record();
    record.model.folded() == reference.model.folded()
        && wanted_tag(reference).is_none_or(|it| it == record.tag)
}
