//! [`Alias`]: a model, or all models of a publisher, that the user has pointed to those of another publisher.
//!
//! It is the user's way on when a publisher has lost its keys and continues under another id.

use reg_api::report::AliasEntry;
use reg_proto::name::{ModelName, Publisher, PublisherId};

use super::said::{EntryError, Names};

/// A name that means another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The names as they are in the file.
    pub entry: AliasEntry,
    from: Models,
    to: Models,
}

/// A model of a publisher, or all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Models {
    publisher: PublisherId,
    model: Option<ModelName>,
}

impl Alias {
    /// Checks an alias, and replaces petnames by ids.
    pub(super) fn of(from: &str, to: &str, names: &Names) -> Result<Self, EntryError> {
        let entry = AliasEntry { from: from.to_owned(), to: to.to_owned() };
        let (from, to) = (Models::of(from, names)?, Models::of(to, names)?);
        if from.model.is_some() != to.model.is_some() || from == to {
            return Err(EntryError::Alias { from: entry.from, to: entry.to });
        }
        Ok(Self { entry, from, to })
    }

    /// Returns the publisher and model that `model` of `publisher` means; `None` where the alias is for another name.
    pub(super) fn apply(
        &self,
        publisher: &PublisherId,
        model: &ModelName,
    ) -> Option<(PublisherId, ModelName)> {
        let is_meant = self.from.model.as_ref().is_none_or(|it| it.folded() == model.folded());
        let to = self.to.model.clone().unwrap_or_else(|| model.clone());
        (self.from.publisher == *publisher && is_meant).then_some((self.to.publisher, to))
    }

    /// Returns whether the alias is for one model, and not for all of a publisher.
    pub(super) const fn is_for_one(&self) -> bool {
        self.from.model.is_some()
    }
}

impl Models {
    fn of(text: &str, names: &Names) -> Result<Self, EntryError> {
        let wrong = || EntryError::AliasName { text: text.chars().take(200).collect() };
        let (publisher, model) = text.split_once('/').ok_or_else(wrong)?;
        let publisher: Publisher = publisher.parse().map_err(|_| wrong())?;
        let model = match model {
            "*" => None,
            model => Some(model.parse().map_err(|_| wrong())?),
        };
        Ok(Self { publisher: names.id_of(&publisher)?, model })
    }
}
