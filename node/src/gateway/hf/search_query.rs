//! [`SearchQuery`]: what a search asks for, and which models answer it, in which order and on which page.

use std::cmp::Ordering;

use reg_catalogue::{Fact, Query};

use super::error::HfError;
use super::info::Version;

/// Most models of one page.
pub(super) const PAGE_MAX: usize = 1000;

/// Most models of one page with the names of their files: for each of them a manifest is read, of 4 MiB at most.
const PAGE_WITH_FILES_MAX: usize = 100;

/// A model that a search may find.
#[derive(Debug)]
pub(super) struct Candidate<M> {
    pub(super) id: String,
    /// The names of its publisher: as it is shown, and its id.
    pub(super) authors: [String; 2],
    pub(super) tags: Vec<String>,
    pub(super) pipeline_tag: Option<String>,
    pub(super) parameters: Option<u64>,
    pub(super) version: Version,
    pub(super) more: M,
}

/// A search, as clients write it in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SearchQuery {
    /// Words that the name of the model has, in lower case.
    words: Vec<String>,
    author: Option<String>,
    pipeline_tag: Option<String>,
    /// Tags that a model must have: those of `filter` and `library`.
    tags: Vec<String>,
    sort: Sort,
    is_ascending: bool,
    /// Whether it asks for models of which a node has none: gated ones, ones that a provider serves.
    finds_nothing: bool,
    pub(super) limit: usize,
    /// How many models the pages before had.
    pub(super) skip: usize,
    pub(super) with_files: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Name,
    Time,
    Parameters,
    /// By downloads, likes and trends, of which this node knows none: all are equal.
    None,
}

impl SearchQuery {
    /// Reads the query of a URL. Parameters that it does not know change nothing.
    ///
    /// # Errors
    /// A number or an order is malformed.
    pub(super) fn read(query: &str) -> Result<Self, HfError> {
        let mut read = Self {
            words: Vec::new(),
            author: None,
            pipeline_tag: None,
            tags: Vec::new(),
            sort: Sort::None,
            is_ascending: false,
            finds_nothing: false,
            limit: PAGE_MAX,
            skip: 0,
            with_files: false,
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let number = || {
                let parsed = value.parse::<usize>();
                parsed.map_err(|_| HfError::Invalid(format!("{name}={value}: not a number")))
            };
            let is_yes = matches!(value.as_ref(), "true" | "True" | "1");
            match name.trim_end_matches("[]") {
                "search" => read.words.extend(value.to_lowercase().split_whitespace().map(str::to_owned)),
                "author" => read.author = Some(value.into_owned()),
                "pipeline_tag" => read.pipeline_tag = Some(value.into_owned()),
                "filter" | "library" | "tags" | "language" => {
                    read.tags.extend(value.split(',').filter(|it| !it.is_empty()).map(str::to_owned));
                }
                "sort" => read.sort = Sort::read(&value)?,
                "direction" => read.is_ascending = value == "1",
                "limit" => read.limit = number()?.min(PAGE_MAX),
                "cursor" => read.skip = number()?,
                "gated" => read.finds_nothing |= is_yes,
                "inference" | "inference_provider" => read.finds_nothing = true,
                "full" => read.with_files |= is_yes,
                "expand" => read.with_files |= value == "siblings",
                _ => {}
            }
        }
        if read.with_files {
            read.limit = read.limit.min(PAGE_WITH_FILES_MAX);
        }
        Ok(read)
    }

    /// Returns the models of this page, and how many the search finds in all.
    pub(super) fn page<M>(&self, mut models: Vec<Candidate<M>>) -> (Vec<Candidate<M>>, usize) {
        models.retain(|model| self.finds(model));
        models.sort_by(|one, other| self.order(one, other));
        let found = models.len();
        (models.into_iter().skip(self.skip).take(self.limit).collect(), found)
    }

    /// Tells whether there is a page after this one, which has `shown` of the `found` models.
    pub(super) const fn has_next(&self, shown: usize, found: usize) -> bool {
        shown > 0 && found > self.skip.saturating_add(shown)
    }

    /// Returns the query of the next page's URL.
    pub(super) fn next(&self, query: &str, shown: usize) -> String {
        let others = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "cursor");
        let mut next = form_urlencoded::Serializer::new(String::new());
        next.extend_pairs(others);
        next.append_pair("cursor", &self.skip.saturating_add(shown).to_string());
        next.finish()
    }

    /// Tells whether a model of this name and these authors may be found, whatever its files say.
    pub(super) fn names(&self, id: &str, authors: &[String]) -> bool {
        let id = id.to_lowercase();
        !self.finds_nothing
            && self.words.iter().all(|word| id.contains(word))
            && self.author.as_ref().is_none_or(|author| authors.contains(author))
    }

    /// Tells whether it takes more than the name and the age of a model to find it, and to sort it in.
    pub(super) fn asks_for_metadata(&self) -> bool {
        self.pipeline_tag.is_some() || !self.tags.is_empty() || self.sort == Sort::Parameters
    }

    /// Returns the publisher of the models that are meant, as it is written; `None` for every publisher.
    pub(super) fn author(&self) -> Option<&str> {
        self.author.as_deref()
    }

    /// Returns what the catalogue is asked for, but for the publisher and the page; `None` where it cannot have any such model.
    pub(super) fn of_catalogue(&self) -> Option<Query> {
        if self.finds_nothing || self.tags.len() > reg_catalogue::ANY_OF_MAX {
            return None;
        }
        let sort = match self.sort {
            Sort::Name => reg_catalogue::Sort::Name,
            Sort::Time => reg_catalogue::Sort::Newest,
            // The catalogue has no order by parameters.
            Sort::Parameters | Sort::None => reg_catalogue::Sort::Relevance,
        };
        // In a catalogue the newest come first and names from a on. Here the other way round is the usual one for names.
        let is_reversed = (self.sort == Sort::Name) != self.is_ascending;
        Some(Query {
            words: self.words.join(" "),
            task: self.pipeline_tag.clone(),
            any_of: self.tags.iter().map(|tag| facts_of(tag)).collect(),
            is_list: true,
            sort,
            is_reversed,
            ..Query::default()
        })
    }

    fn finds<M>(&self, model: &Candidate<M>) -> bool {
        self.names(&model.id, &model.authors)
            && (self.pipeline_tag.is_none() || self.pipeline_tag == model.pipeline_tag)
            && self.tags.iter().all(|tag| model.tags.contains(tag))
    }

    fn order<M>(&self, one: &Candidate<M>, other: &Candidate<M>) -> Ordering {
        let by_name = || one.id.to_lowercase().cmp(&other.id.to_lowercase());
        let wanted = match self.sort {
            Sort::Name => by_name(),
            Sort::Time => one.version.issued.cmp(&other.version.issued),
            Sort::Parameters => one.parameters.cmp(&other.parameters),
            Sort::None => Ordering::Equal,
        };
        let wanted = if self.is_ascending { wanted } else { wanted.reverse() };
        wanted.then_with(by_name)
    }
}

/// Returns the facts that a tag of the Hub may stand for.
fn facts_of(tag: &str) -> Vec<Fact> {
    match tag.split_once(':') {
        Some(("license", licence)) => vec![Fact::Licence(licence.to_owned())],
        Some(("base_model", base)) => vec![Fact::Base(base.to_owned())],
        Some(("language", language)) => vec![Fact::Language(language.to_owned())],
        _ => [Fact::Task, Fact::Format, Fact::Language].map(|fact| fact(tag.to_owned())).into(),
    }
}

impl Sort {
    fn read(text: &str) -> Result<Self, HfError> {
        match text {
            "id" | "modelId" => Ok(Self::Name),
            "lastModified" | "createdAt" | "last_modified" | "created_at" => Ok(Self::Time),
            "num_parameters" | "mainSize" => Ok(Self::Parameters),
            "downloads" | "likes" | "likes30d" | "trendingScore" | "trending_score" | "downloadsAllTime" => {
                Ok(Self::None)
            }
            other => Err(HfError::Invalid(format!(
                "sort={other}: not one of id, lastModified, createdAt, downloads, likes"
            ))),
        }
    }
}
