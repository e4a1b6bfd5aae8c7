//! Finds the entries that a query asks for.
//!
//! Every word is looked up on its own, and its scores are added up for each document. So a word without any document
//! costs nothing and hides nothing, and what has all words is known. A query is never parsed: no text is an error.

use std::collections::HashMap;
use std::sync::PoisonError;

use tantivy::query::{
    BooleanQuery, ConstScoreQuery, EnableScoring, FuzzyTermQuery, Occur, Query as Clause, TermQuery,
    TermSetQuery, Weight,
};
use tantivy::schema::{Field, IndexRecordOption, Term};
use tantivy::tokenizer::TokenStream as _;
use tantivy::{DocAddress, Searcher, SegmentReader, TantivyDocument};

use crate::entry::EntryHead;
use crate::error::{ReadError, SearchError};
use crate::open::Catalogue;
use crate::query::{
    ALSO_MAX, ANY_OF_MAX, FACTS_OF_LIST_MAX, Hit, LIMIT_MAX, OFFSET_MAX, PUBLISHERS_MAX, Page, Query, Sort,
    WORDS_BYTES_MAX, WORDS_MAX,
};
use crate::rank::{Candidate, Standing, factor, issued, list_order, order};
use crate::schema::{Facet, Fields, NUMBER, SLOT};
use crate::state::State;
use crate::words::{Word, stems, words};

/// How much more a word counts in one field than in another: a name says more than a summary.
const NAME_WEIGHT: f32 = 3.0;
const TITLE_WEIGHT: f32 = 2.0;
const ABOUT_WEIGHT: f32 = 1.0;
const SUMMARY_WEIGHT: f32 = 0.7;
/// Score of a word that begins with the last word of a query: less than a rare word that is meant.
const PREFIX_SCORE: f32 = 0.5;
/// Score of the id of a publisher: it is more than any other word.
const PUBLISHER_SCORE: f32 = 50.0;
/// Share of the scores of other fields that is added to that of the best field.
const OTHER_FIELDS: f32 = 0.1;
/// Parts of a word that may stand apart in a name. More are no name.
const PARTS_MAX: usize = 8;

/// The parts of a query, ready for every segment.
struct Weights {
    /// For each word, the ways to find it, and what each counts.
    words: Vec<Vec<(Box<dyn Weight>, f32)>>,
    filters: Vec<Box<dyn Weight>>,
}

/// What the documents of one segment got.
struct Tally {
    scores: Vec<f32>,
    words: Vec<u8>,
    filters: Vec<u8>,
}

impl Catalogue {
    /// Returns a page of the committed entries that `query` asks for, at the time `now` in seconds since 1970.
    ///
    /// `standing` is called once for each entry that the query finds, so it must be quick and must not call the
    /// catalogue.
    ///
    /// # Errors
    /// If the query has too many publishers or goes too deep, or if the index cannot be read.
    pub fn search(
        &self,
        query: &Query,
        now: u64,
        standing: &dyn Fn(&EntryHead) -> Standing,
    ) -> Result<Page, SearchError> {
        let count = query.publishers.len();
        if count > PUBLISHERS_MAX {
            return Err(SearchError::TooManyPublishers { count, max: PUBLISHERS_MAX });
        }
        if query.offset > OFFSET_MAX {
            return Err(SearchError::TooDeep { offset: query.offset, max: OFFSET_MAX });
        }
        let (lists, facts) = (query.any_of.len(), query.any_of.iter().map(Vec::len).max().unwrap_or(0));
        if lists > ANY_OF_MAX || facts > FACTS_OF_LIST_MAX {
            let (lists_max, facts_max) = (ANY_OF_MAX, FACTS_OF_LIST_MAX);
            return Err(SearchError::TooManyFacts { lists, facts, lists_max, facts_max });
        }
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = candidates(&state, &self.fields, query, now, standing)?;
        let total = found.len();
        let wanted = query.offset + query.limit.min(LIMIT_MAX);
        let groups = match query.is_list {
            true => singles(found, wanted, query),
            false => groups(&mut found, wanted, query.sort),
        };
        let mut hits = Vec::new();
        for group in groups.iter().skip(query.offset) {
            hits.push(self.hit(&state.searcher, group)?);
        }
        Ok(Page { hits, total })
    }

    fn hit(&self, searcher: &Searcher, group: &[Candidate<'_>]) -> Result<Hit, SearchError> {
        let best = &group[0];
        let document: TantivyDocument = searcher.doc(DocAddress::new(best.segment, best.document))?;
        let facts = self.fields.read_facts(&document).ok_or(ReadError::Damaged)?;
        let also = group[1..].iter().map(|it| it.head.name()).collect();
        Ok(Hit { head: best.head.clone(), facts, score: best.score, also })
    }
}

/// Returns every entry that `query` asks for, in no order.
fn candidates<'a>(
    state: &'a State,
    fields: &Fields,
    query: &Query,
    now: u64,
    standing: &dyn Fn(&EntryHead) -> Standing,
) -> Result<Vec<Candidate<'a>>, SearchError> {
    let weights = Weights::new(query, fields, &state.searcher)?;
    if query.is_list && weights.words.is_empty() && !query.words.trim().is_empty() {
        // What is asked for is no word, and every word must be found.
        return Ok(Vec::new());
    }
    let mut tallies = Vec::new();
    let mut words_found = vec![false; weights.words.len()];
    for segment in state.searcher.segment_readers() {
        tallies.push(weights.tally(segment, &mut words_found)?);
    }
    let words_needed = match query.is_list {
        true => words_found.len(),
        false => words_found.iter().filter(|found| **found).count(),
    };
    let mut found = Vec::new();
    for (place, (segment, tally)) in state.searcher.segment_readers().iter().zip(&tallies).enumerate() {
        let slots = segment.fast_fields().column_first_or_default::<u64>(SLOT)?;
        let numbers = segment.fast_fields().column_first_or_default::<u64>(NUMBER)?;
        for document in tally.matching(&weights) {
            if segment.is_deleted(document) {
                continue;
            }
            let Ok(slot) = u32::try_from(slots.get_val(document)) else { continue };
            let Some(row) = state.table.row(slot, numbers.get_val(document)) else { continue };
            let head = &row.head;
            let has_all_words = usize::from(tally.words[document as usize]) == words_needed;
            let fits = query.bytes_max.is_none_or(|max| head.bytes.is_some_and(|bytes| bytes <= max));
            if head.is_tombstone || !fits || (query.is_list && !has_all_words) {
                continue;
            }
            let standing = standing(head);
            if standing.hidden || (query.is_known_only && !standing.known) {
                continue;
            }
            found.push(Candidate {
                head,
                standing,
                has_all_words,
                score: tally.scores[document as usize] * factor(head, standing.replicas, now),
                segment: u32::try_from(place).expect("segments are counted by u32"),
                document,
                issued: issued(head),
                content_begins: content_begins(head),
            });
        }
    }
    Ok(found)
}

fn content_begins(head: &EntryHead) -> u16 {
    let [first, second, ..] = head.content.as_bytes();
    u16::from_le_bytes([*first, *second])
}

impl Weights {
    fn new(query: &Query, fields: &Fields, searcher: &Searcher) -> tantivy::Result<Self> {
        let text = &query.words[..query.words.floor_char_boundary(WORDS_BYTES_MAX)];
        let words: Vec<Word> = words(text).take(WORDS_MAX).collect();
        let scoring = EnableScoring::enabled_from_searcher(searcher);
        let no_scoring = EnableScoring::disabled_from_searcher(searcher);
        let last = words.len().saturating_sub(1);
        let words = words.iter().enumerate().map(|(place, word)| {
            let clauses = word_clauses(word, place == last, fields).into_iter();
            clauses.map(|(clause, counts)| Ok((clause.weight(scoring)?, counts))).collect()
        });
        let filters = filter_clauses(query, fields);
        Ok(Self {
            words: words.collect::<tantivy::Result<_>>()?,
            filters: filters.iter().map(|it| it.weight(no_scoring)).collect::<tantivy::Result<_>>()?,
        })
    }

    /// Looks up every word and filter in a segment, and marks the words that any document has.
    fn tally(&self, segment: &SegmentReader, words_found: &mut [bool]) -> tantivy::Result<Tally> {
        let documents = segment.max_doc() as usize;
        let mut tally =
            Tally { scores: vec![0.0; documents], words: vec![0; documents], filters: vec![0; documents] };
        let mut best = vec![0.0_f32; if self.words.is_empty() { 0 } else { documents }];
        let mut touched: Vec<u32> = Vec::new();
        for (clauses, is_found) in self.words.iter().zip(words_found) {
            for (weight, counts) in clauses {
                weight.for_each(segment, &mut |document, score| {
                    let place = document as usize;
                    // Above 0, which says that the word was not yet found in the document.
                    let score = (counts * score).max(f32::MIN_POSITIVE);
                    if best[place] == 0.0 {
                        touched.push(document);
                    }
                    best[place] = best[place].max(score);
                    tally.scores[place] += OTHER_FIELDS * score;
                })?;
            }
            *is_found |= !touched.is_empty();
            for document in touched.drain(..) {
                let place = document as usize;
                tally.words[place] += 1;
                tally.scores[place] += (1.0 - OTHER_FIELDS) * best[place];
                best[place] = 0.0;
            }
        }
        for weight in &self.filters {
            weight.for_each_no_score(segment, &mut |documents| {
                for document in documents {
                    tally.filters[*document as usize] += 1;
                }
            })?;
        }
        Ok(tally)
    }
}

impl Tally {
    /// Returns the documents that pass every filter, and have a word if there is one.
    fn matching<'a>(&'a self, weights: &'a Weights) -> impl Iterator<Item = u32> + 'a {
        let has_word = move |words: u8| words > 0 || weights.words.is_empty();
        let both = self.words.iter().zip(&self.filters).zip(0u32..);
        both.filter(move |((words, filters), _)| {
            has_word(**words) && usize::from(**filters) == weights.filters.len()
        })
        .map(|(_, document)| document)
    }
}

/// Returns the clauses for one word of a query, with what each counts. A document has the word if one clause finds it.
fn word_clauses(word: &Word, is_last: bool, fields: &Fields) -> Vec<(Box<dyn Clause>, f32)> {
    let fields_cut = [(fields.name, NAME_WEIGHT), (fields.title, TITLE_WEIGHT), (fields.about, ABOUT_WEIGHT)];
    let mut clauses: Vec<(Box<dyn Clause>, f32)> = Vec::new();
    for (field, counts) in fields_cut {
        clauses.push((scored(field, &word.whole), counts));
        if is_last {
            let term = Term::from_field_text(field, &word.whole);
            clauses.push((Box::new(FuzzyTermQuery::new_prefix(term, 0, true)), PREFIX_SCORE));
        }
    }
    if (2..=PARTS_MAX).contains(&word.parts.len()) {
        let parts = word.parts.iter().map(|part| (Occur::Must, scored(fields.name, part)));
        clauses.push((Box::new(BooleanQuery::new(parts.collect())), NAME_WEIGHT));
    }
    if let Some(stem) = stems().token_stream(&word.whole).next() {
        clauses.push((scored(fields.summary, &stem.text), SUMMARY_WEIGHT));
    }
    if let Ok(publisher) = word.whole.parse() {
        let facet = exact(fields, &Facet::Publisher(&publisher));
        clauses.push((Box::new(ConstScoreQuery::new(facet, 1.0)), PUBLISHER_SCORE));
    }
    clauses
}

/// Returns the clauses that every result must match.
fn filter_clauses(query: &Query, fields: &Fields) -> Vec<Box<dyn Clause>> {
    let facets = [
        query.task.as_deref().map(Facet::Task),
        query.licence.as_deref().map(Facet::Licence),
        query.format.as_deref().map(Facet::Format),
        query.quantisation.as_deref().map(Facet::Quantisation),
        query.base.as_deref().map(Facet::Base),
    ];
    let mut clauses: Vec<Box<dyn Clause>> =
        facets.iter().flatten().map(|facet| exact(fields, facet)).collect();
    for facts in &query.any_of {
        let term = |fact| Term::from_field_text(fields.facet, &Facet::from(fact).word());
        clauses.push(Box::new(TermSetQuery::new(facts.iter().map(term))));
    }
    if !query.publishers.is_empty() {
        let term = |id| Term::from_field_text(fields.facet, &Facet::Publisher(id).word());
        clauses.push(Box::new(TermSetQuery::new(query.publishers.iter().map(term))));
    }
    clauses
}

fn scored(field: Field, word: &str) -> Box<dyn Clause> {
    Box::new(TermQuery::new(Term::from_field_text(field, word), IndexRecordOption::WithFreqs))
}

fn exact(fields: &Fields, facet: &Facet<'_>) -> Box<dyn Clause> {
    let term = Term::from_field_text(fields.facet, &facet.word());
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}

/// Returns the first `wanted` results in order. Each is a group of entries with one content, the best of them first.
fn groups<'a>(found: &mut [Candidate<'a>], wanted: usize, sort: Sort) -> Vec<Vec<Candidate<'a>>> {
    let mut sorted = 0;
    loop {
        // Entries with one content may fill the front, so the front grows until it has enough contents.
        sorted = (2 * sorted).max(2 * wanted).min(found.len());
        if sorted < found.len() && sorted > 0 {
            found.select_nth_unstable_by(sorted - 1, |left, right| order(left, right, sort));
        }
        found[..sorted].sort_unstable_by(|left, right| order(left, right, sort));
        let mut places: HashMap<&[u8; 32], usize> = HashMap::new();
        let mut groups: Vec<Vec<Candidate<'a>>> = Vec::new();
        for candidate in &found[..sorted] {
            let next = groups.len();
            match places.get(candidate.head.content.as_bytes()) {
                Some(place) if groups[*place].len() <= ALSO_MAX => groups[*place].push(*candidate),
                Some(_) => {}
                None if next < wanted => {
                    places.insert(candidate.head.content.as_bytes(), next);
                    groups.push(vec![*candidate]);
                }
                None => {}
            }
        }
        if groups.len() == wanted || sorted == found.len() {
            add_rest(&found[sorted..], &places, &mut groups, sort);
            return groups;
        }
    }
}

/// Returns the first `wanted` entries of a list in its order, each by itself.
fn singles<'a>(mut found: Vec<Candidate<'a>>, wanted: usize, query: &Query) -> Vec<Vec<Candidate<'a>>> {
    let order = |left: &Candidate<'_>, right: &Candidate<'_>| list_order(left, right, query);
    if (1..found.len()).contains(&wanted) {
        found.select_nth_unstable_by(wanted - 1, order);
    }
    found.truncate(wanted);
    found.sort_unstable_by(order);
    found.into_iter().map(|it| vec![it]).collect()
}

/// Adds the entries with equal content that are not in the sorted front.
fn add_rest<'a>(
    rest: &[Candidate<'a>],
    places: &HashMap<&[u8; 32], usize>,
    groups: &mut [Vec<Candidate<'a>>],
    sort: Sort,
) {
    // Nearly all of the rest has another content. A bit for each beginning of a content says so at once.
    let mut beginnings = vec![false; 1 << u16::BITS];
    for content in places.keys() {
        beginnings[usize::from(u16::from_le_bytes([content[0], content[1]]))] = true;
    }
    for candidate in rest.iter().filter(|it| beginnings[usize::from(it.content_begins)]) {
        if let Some(place) = places.get(candidate.head.content.as_bytes()) {
            groups[*place].push(*candidate);
        }
    }
    for group in groups {
        group.sort_unstable_by(|left, right| order(left, right, sort));
        group.truncate(1 + ALSO_MAX);
    }
}
