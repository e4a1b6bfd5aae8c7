//! Searches the catalogue, and says of each result what the user knows of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use reg_api::fault::{Fault, FaultKind};
use reg_api::search::{
    FactsFrom, FoundModel, OtherName, RESULTS, RESULTS_MAX, Replicas, SearchOrder, SearchReport,
    SearchRequest,
};
use reg_catalogue::{Catalogue, EntryHead, Facts, Hit, Page, Query, Sort, Standing};
use reg_proto::digest::Digest;
use reg_proto::name::{Petname, PublisherId};
use thiserror::Error;

use super::collections::Index;
use super::opened::Opened;
use super::{CatalogueFailure, Cataloguing};
use crate::registry::model::kept::{self, Kept};
use crate::registry::model::whole;
use crate::registry::trust::TrustError;

/// Names of one content that are shown with a result: a popular model is published again by many.
const SAME_CONTENT_MAX: usize = 16;

/// Why a search has no answer.
#[derive(Debug, Error)]
pub enum SearchError {
    #[error("this node keeps no catalogue")]
    None,
    #[error("catalogue is closed")]
    Closed(#[source] Arc<CatalogueFailure>),
    #[error("publisher is not known")]
    Publisher(#[from] TrustError),
    #[error("catalogue cannot be searched")]
    Search(#[from] reg_catalogue::SearchError),
    #[error("a task ended early")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl Fault for SearchError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Publisher(source) => source.kind(),
            Self::Search(
                reg_catalogue::SearchError::TooDeep { .. }
                | reg_catalogue::SearchError::TooManyFacts { .. }
                | reg_catalogue::SearchError::TooManyPublishers { .. },
            ) => FaultKind::Invalid,
            _ => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Publisher(source) => source.hint(),
            Self::Closed(_) => {
                Some("a running node opens it again within two minutes: run the same command then".to_owned())
            }
            _ => None,
        }
    }
}

impl Cataloguing {
    /// Searches the catalogue. `replicas` tells what was proven of a model. Blocks.
    ///
    /// # Errors
    /// The catalogue is not open, the publisher is not known, or the page is beyond the bound.
    pub fn search(
        &self,
        request: &SearchRequest,
        replicas: &dyn Fn(&Digest) -> Option<Replicas>,
    ) -> Result<SearchReport, SearchError> {
        let opened =
            self.opened_or_why().map_err(|why| why.map_or(SearchError::None, SearchError::Closed))?;
        // What was just published or heard of is found too.
        self.commit();
        let publisher = request.publisher.as_ref().map(|it| self.trust.file.resolve(it)).transpose()?;
        let limit = if request.limit == 0 { RESULTS } else { request.limit.min(RESULTS_MAX) };
        let query = Query {
            words: request.words.clone(),
            task: request.task.clone(),
            licence: request.license.clone(),
            format: request.format.clone(),
            quantisation: request.quant.clone(),
            bytes_max: request.max_bytes,
            base: request.base.clone(),
            publishers: publisher.into_iter().collect(),
            is_known_only: request.known,
            sort: sort(request.order),
            offset: request.offset,
            limit,
            ..Query::default()
        };
        let known = self.users();
        let standing = |head: &EntryHead| Standing {
            known: known.is_known(&head.publisher),
            replicas: replicas(&head.manifest).map(|it| u32::try_from(it.count).unwrap_or(u32::MAX)),
            hidden: self.is_hidden(head),
        };
        let page = self.page(&opened, &query, &standing)?;
        let contents = page.hits.iter().map(|hit| hit.head.content).collect();
        let shown = |it: &EntryHead| !self.is_hidden(it);
        let same = opened.catalogue.with_content(&contents, SAME_CONTENT_MAX, &shown);
        let numbered = (request.offset + 1..).zip(page.hits);
        let found = numbered.map(|(number, hit)| {
            let same = same.get(&hit.head.content).cloned().unwrap_or_default();
            // Of several names of one content, one that the user knows is shown, unless another publisher is asked for.
            let may_change = query.publishers.is_empty() && !known.is_known(&hit.head.publisher);
            let better = same.iter().find(|it| may_change && known.is_known(&it.publisher));
            let better = better.and_then(|it| opened.hit(it));
            self.found(number, better.unwrap_or(hit), same, &known, replicas)
        });
        let results = found.collect();
        Ok(SearchReport {
            results,
            found: page.total,
            entries: entries_of(&opened.catalogue),
            compared: self.compared(),
        })
    }

    /// Returns a page of the catalogue. One that cannot be read is closed, and opened again later.
    pub(super) fn page(
        &self,
        opened: &Arc<Opened>,
        query: &Query,
        standing: &dyn Fn(&EntryHead) -> Standing,
    ) -> Result<Page, SearchError> {
        let page = opened.catalogue.search(query, reg_api::clock::now(), standing);
        match page {
            Err(reg_catalogue::SearchError::Read(error)) => {
                let failure = self.opening.close(opened, error, Instant::now());
                Err(SearchError::Closed(failure))
            }
            page => Ok(page?),
        }
    }

    fn users(&self) -> Users {
        let published = kept::all(&self.store).unwrap_or_default();
        let own = published.iter().filter(|(_, kept)| matches!(kept, Kept::Published));
        let own = own.filter_map(|(key, _)| key.split([' ', '/']).nth(1)?.parse().ok());
        let known = self.known().into_iter().chain(own).collect();
        Users { petnames: self.trust.petnames(), known, collected: self.collected() }
    }

    fn found(
        &self,
        number: usize,
        hit: Hit,
        same: Vec<EntryHead>,
        known: &Users,
        replicas: &dyn Fn(&Digest) -> Option<Replicas>,
    ) -> FoundModel {
        let Hit { head, facts, .. } = hit;
        let shown = head.name();
        let also = same.into_iter().filter(move |it| it.name() != shown);
        let text = |text: String| Some(text).filter(|it| !it.is_empty());
        let from = facts_from(&facts);
        let tags = std::slice::from_ref(&head.tag);
        let collected = known.collected.of(head.publisher, &head.model, tags, &head.manifest);
        FoundModel {
            number,
            publisher: head.publisher,
            petname: known.petnames.get(&head.publisher).cloned(),
            is_known: known.is_known(&head.publisher),
            model: head.model,
            tag: head.tag,
            manifest: head.manifest,
            issued: head.issued,
            title: text(facts.title),
            task: text(facts.task),
            summary: text(facts.summary),
            license: text(facts.licence),
            base: text(facts.base),
            formats: facts.formats,
            quants: facts.quantisations,
            parameters: facts.parameters,
            bytes: facts.bytes,
            context: facts.context,
            facts: from,
            is_here: whole::is_complete(&self.store, &head.manifest),
            replicas: replicas(&head.manifest),
            also: also.map(|it| known.other_name(it)).collect(),
            collected,
        }
    }
}

/// What the user knows of publishers.
struct Users {
    petnames: BTreeMap<PublisherId, Petname>,
    known: BTreeSet<PublisherId>,
    /// What the followed collections say.
    collected: Arc<Index>,
}

impl Users {
    fn is_known(&self, publisher: &PublisherId) -> bool {
        self.known.contains(publisher)
    }

    fn other_name(&self, head: EntryHead) -> OtherName {
        let EntryHead { publisher, model, tag, manifest, .. } = head;
        OtherName { publisher, petname: self.petnames.get(&publisher).cloned(), model, tag, manifest }
    }
}

fn entries_of(catalogue: &Catalogue) -> usize {
    let (kept, strangers) = catalogue.counts();
    kept + strangers
}

const fn sort(order: SearchOrder) -> Sort {
    match order {
        SearchOrder::Best => Sort::Relevance,
        SearchOrder::Newest => Sort::Newest,
        SearchOrder::Size => Sort::Size,
        SearchOrder::Name => Sort::Name,
        SearchOrder::Replicas => Sort::Replicas,
    }
}

fn facts_from(facts: &Facts) -> FactsFrom {
    match facts.bytes {
        None => FactsFrom::Names,
        Some(_) if facts.is_claimed => FactsFrom::Publisher,
        Some(_) => FactsFrom::Node,
    }
}
