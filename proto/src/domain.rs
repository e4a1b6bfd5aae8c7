//! [`Domain`]: a name of the DNS that stands for a publisher, as `acme.org` in `acme.org/llama`.

use std::fmt;
use std::str::FromStr;

use icu_properties::CodePointMapData;
use icu_properties::props::Script;
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::limits::DOMAIN_TEXT_BYTES_MAX;
use crate::name::Petname;

/// A name of the DNS with at least two labels, as A-labels in lower case: at most 253 characters, 63 for each label.
///
/// It is no IP address, and has no port and no dot at its end. UTS 46 turns other spellings into this one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(String);

/// Why a text is not a domain.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DomainError {
    #[error(
        "{text:?} is not a domain: labels of letters, digits and - with dots between them, as in acme.org"
    )]
    Form { text: String },
    #[error("{text:?} has no dot: a domain has at least two labels, as in acme.org")]
    OneLabel { text: String },
    #[error("{text:?} is a number: an IP address is no domain")]
    Number { text: String },
}

/// Scripts that are written together in one language beside Latin (UTS 39, "Highly Restrictive").
const TOGETHER: [&[Script]; 3] = [
    &[Script::Latin, Script::Han, Script::Hiragana, Script::Katakana],
    &[Script::Latin, Script::Han, Script::Bopomofo],
    &[Script::Latin, Script::Han, Script::Hangul],
];

impl Domain {
    /// Returns the domain as A-labels, as the DNS has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the domain as people write it: with U-labels. It is equal to [`Self::as_str`] where no label is international.
    pub fn unicode(&self) -> String {
        let (shown, read) = Uts46::new().to_unicode(self.0.as_bytes(), AsciiDenyList::STD3, Hyphens::Check);
        if read.is_ok() { shown.into_owned() } else { self.0.clone() }
    }

    /// Returns whether a label mixes scripts that no language writes together, such as Latin and Cyrillic. Letters of one
    /// script then may pass for those of another.
    pub fn mixes_scripts(&self) -> bool {
        self.unicode().split('.').any(mixes)
    }

    /// Returns the domain for people: as A-labels, with the U-labels behind them where they differ.
    pub fn shown(&self) -> String {
        let unicode = self.unicode();
        if unicode == self.0 { unicode } else { format!("{} ({unicode})", self.0) }
    }

    /// Returns the petname that is spelled like this domain, if one can be. An earlier version gave petnames with dots.
    pub fn as_petname(&self) -> Option<Petname> {
        self.0.parse().ok()
    }

    /// Returns the name of the TXT record that speaks for the domain.
    pub fn record_name(&self) -> String {
        format!("_reg.{}", self.0)
    }

    /// Returns the URL of the document that speaks for the domain.
    pub fn well_known(&self) -> String {
        format!("https://{}/.well-known/reg.json", self.0)
    }
}

fn mixes(label: &str) -> bool {
    let scripts = CodePointMapData::<Script>::new();
    let found: Vec<Script> = label
        .chars()
        .map(|it| scripts.get(it))
        .filter(|it| !matches!(*it, Script::Common | Script::Inherited))
        .collect();
    let Some(first) = found.first() else { return false };
    let is_one = found.iter().all(|it| it == first);
    !is_one && !TOGETHER.iter().any(|set| found.iter().all(|it| set.contains(it)))
}

impl FromStr for Domain {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        let quoted = || text.chars().take(80).collect::<String>();
        if text.len() > DOMAIN_TEXT_BYTES_MAX {
            return Err(DomainError::Form { text: quoted() });
        }
        let read =
            Uts46::new().to_ascii(text.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Verify);
        let ascii = read.map_err(|_| DomainError::Form { text: quoted() })?;
        let Some((_, last)) = ascii.rsplit_once('.') else {
            return Err(DomainError::OneLabel { text: quoted() });
        };
        // Browsers and libraries read a name that ends like this as an IPv4 address.
        let is_hex = |it: &str| it.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_number =
            last.bytes().all(|it| it.is_ascii_digit()) || last.strip_prefix("0x").is_some_and(is_hex);
        if is_number {
            return Err(DomainError::Number { text: quoted() });
        }
        Ok(Self(ascii.into_owned()))
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Domain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Domain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::json::text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(text: &str) -> Domain {
        text.parse().unwrap()
    }

    #[test]
    fn every_spelling_becomes_the_same_a_labels() {
        for (text, ascii, unicode) in [
            ("acme.org", "acme.org", "acme.org"),
            ("ACME.Org", "acme.org", "acme.org"),
            ("a-b.c1.example", "a-b.c1.example", "a-b.c1.example"),
            ("bücher.example", "xn--bcher-kva.example", "bücher.example"),
            ("BÜCHER.example", "xn--bcher-kva.example", "bücher.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example", "bücher.example"),
            ("acme。org", "acme.org", "acme.org"),
            ("人工智能.中国", "xn--gmqr38alogxt2a.xn--fiqs8s", "人工智能.中国"),
        ] {
            assert_eq!((domain(text).as_str(), domain(text).unicode().as_str()), (ascii, unicode), "{text}");
            assert_eq!(domain(ascii), domain(text), "{text}");
        }
        assert_eq!(domain("bücher.example").shown(), "xn--bcher-kva.example (bücher.example)");
        assert_eq!(domain("acme.org").shown(), "acme.org");
    }

    #[test]
    fn what_is_no_name_of_the_dns_is_refused() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(domain(&longest).as_str().len(), 253);
        for text in [
            String::new(),
            "acme".to_owned(),
            "acme.org.".to_owned(),
            ".acme.org".to_owned(),
            "acme..org".to_owned(),
            "-acme.org".to_owned(),
            "acme-.org".to_owned(),
            "ab--c.org".to_owned(),
            "_reg.acme.org".to_owned(),
            "acme.org:443".to_owned(),
            "user@acme.org".to_owned(),
            "acme.org/x".to_owned(),
            "acme org".to_owned(),
            "127.0.0.1".to_owned(),
            "1.2".to_owned(),
            "acme.0x7f".to_owned(),
            "[::1]".to_owned(),
            "xn--a.org".to_owned(),
            format!("{label}a.org"),
            format!("{longest}a"),
            "a.".repeat(5000),
        ] {
            assert!(text.parse::<Domain>().is_err(), "{text}");
        }
    }

    #[test]
    fn scripts_that_no_language_mixes_are_told() {
        for (text, mixes) in [
            ("acme.org", false),
            ("bücher.example", false),
            ("пример.example", false),
            ("аcme.org", true),
            ("acmе-1.org", true),
            ("ラーメンramen人.example", false),
            ("γlab.example", true),
        ] {
            assert_eq!(domain(text).mixes_scripts(), mixes, "{text}");
        }
    }

    #[test]
    fn a_domain_may_be_spelled_like_a_petname_of_before() {
        assert_eq!(domain("acme.org").as_petname().map(|it| it.to_string()).as_deref(), Some("acme.org"));
        assert_eq!(domain("xn--bcher-kva.example").as_petname(), None);
    }
}
