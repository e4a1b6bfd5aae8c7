//! [`Consent`]: the kinds of files that a user accepts although they are more than data. [`Acceptance`]: what else is accepted.

use std::collections::BTreeSet;

use reg_proto::content::kind::ContentKind;
use reg_proto::name::{ModelName, PublisherId};
use serde::{Deserialize, Serialize};

/// What a user accepts. Consent to one kind says nothing of another: a later version of a model that brings one is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    is_to_everything: bool,
    kinds: BTreeSet<ContentKind>,
}

impl Consent {
    /// Returns the consent to everything, or to these kinds alone.
    pub const fn new(is_to_everything: bool, kinds: BTreeSet<ContentKind>) -> Self {
        Self { is_to_everything, kinds }
    }

    /// Returns the consent to everything.
    pub const fn to_everything() -> Self {
        Self::new(true, BTreeSet::new())
    }

    /// Returns this consent together with that to `kinds`.
    pub fn with(&self, kinds: impl IntoIterator<Item = ContentKind>) -> Self {
        let kinds = self.kinds.iter().copied().chain(kinds).collect();
        Self { is_to_everything: self.is_to_everything, kinds }
    }

    /// Tells whether a file of this kind is accepted. What is only data needs no consent.
    pub fn covers(&self, kind: ContentKind) -> bool {
        self.is_to_everything || kind.risk().is_none() || self.kinds.contains(&kind)
    }

    /// Tells whether every file is accepted.
    pub const fn is_to_everything(&self) -> bool {
        self.is_to_everything
    }

    /// Returns the kinds that are accepted one by one.
    pub const fn kinds(&self) -> &BTreeSet<ContentKind> {
        &self.kinds
    }
}

/// What a user accepts of a model that is published or imported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    #[serde(default)]
    pub consent: Consent,
    /// Whether files may be missing, or may not be what their names say.
    #[serde(default)]
    pub incomplete: bool,
    /// The model that the files become, where it is known: what the user's rules allow of it is accepted too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<(PublisherId, ModelName)>,
}

impl Acceptance {
    /// Returns the acceptance of every model.
    pub const fn of_everything() -> Self {
        Self { consent: Consent::to_everything(), incomplete: true, model: None }
    }
}

/// Parses a kind that needs consent.
///
/// # Errors
/// The text is no such kind: says which there are.
pub fn kind_to_allow(text: &str) -> Result<ContentKind, String> {
    let needs_consent = |kind: &ContentKind| kind.risk().is_some();
    let found = ContentKind::ALL.into_iter().find(|it| it.name() == text);
    if let Some(data) = found.filter(|it| !needs_consent(it)) {
        return Err(format!("{data} is data and needs no consent"));
    }
    found.ok_or_else(|| {
        let names: Vec<&str> =
            ContentKind::ALL.iter().filter(|it| needs_consent(it)).map(|it| it.name()).collect();
        format!("{text:?} is none of {} (`reg formats` lists the formats of each)", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ContentKind::{Code, Json, Pickle};

    #[test]
    fn consent_to_one_kind_covers_no_other() {
        let consent = Consent::new(false, [Pickle].into());
        assert!(consent.covers(Pickle) && consent.covers(Json) && !consent.covers(Code));
        assert!(consent.with([Code]).covers(Code));
        for kind in ContentKind::ALL {
            assert!(Consent::to_everything().covers(kind));
            assert_eq!(Consent::default().covers(kind), kind.risk().is_none());
        }
    }

    #[test]
    fn only_what_needs_consent_can_be_allowed() {
        assert_eq!(kind_to_allow("pickle"), Ok(Pickle));
        assert!(kind_to_allow("json").is_err_and(|it| it.contains("needs no consent")));
        assert!(kind_to_allow("Pickle").is_err_and(|it| it.contains("embedded_code")));
    }
}
