//! [`Card`]: what a publisher says of one manifest in at most 1 KiB, for lists and searches on nodes that do not hold it.
//!
//! A card is a referrer of its manifest, like provenance. Its `claimed` part is what the publisher wrote. Its `computed` part
//! is what the publisher's node read from the bytes; a node that holds the model can read it again.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::short_name::ShortName;
use crate::bounded::Bounded;
use crate::content::label::Label;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::envelope::{Envelope, EnvelopeError, SignatureError};
use crate::json::{self, JsonError, stated};
use crate::key::KeyHistory;
use crate::limits::{
    CARD_BYTES_MAX, CARD_ENVELOPE_BYTES_MAX, CARD_FORMATS_MAX, CARD_LANGUAGES_MAX, CARD_QUANTISATIONS_MAX,
};
use crate::name::{ModelName, PublisherId};
use crate::referrer::{ENVELOPE_MEDIA_TYPE, Referrer};

/// Payload type of a card.
pub const CARD_TYPE: &str = "application/vnd.reg.card.v1+json";
/// Artifact type of the referrer that carries a card in its DSSE envelope.
pub const CARD_ARTIFACT_TYPE: &str = CARD_TYPE;

/// What a publisher says of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    pub publisher: PublisherId,
    pub model: ModelName,
    pub manifest: Digest,
    pub claimed: Claimed,
    pub computed: Computed,
    /// Version of the key document that the signing keys belong to.
    pub key_document: u64,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub issued: u64,
}

/// What the publisher wrote about the model. A field that says nothing is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claimed {
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    pub title: Option<Label>,
    /// What the model is for, as in `text-generation`.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    pub task: Option<Label>,
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    pub summary: Option<Label>,
    /// An SPDX expression, or the name of a licence.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    pub licence: Option<Label>,
    /// Codes of languages, as in `en` and `pt-BR`.
    pub languages: Bounded<ShortName, CARD_LANGUAGES_MAX>,
    /// The model that this one was derived from, by any name, as in `Qwen/Qwen2.5-0.5B`.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    pub base: Option<Label>,
}

/// What was read from the model's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Computed {
    /// Names in the table of formats ([`crate::content::format`]).
    pub formats: Bounded<ShortName, CARD_FORMATS_MAX>,
    /// How many numbers the model's tensors hold.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    pub quantisations: Bounded<ShortName, CARD_QUANTISATIONS_MAX>,
    /// Size of the whole model.
    pub bytes: u64,
    /// How many tokens the model takes at once.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    pub context: Option<u32>,
    /// The manifest of the model that this one was derived from, where it is published here.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    pub base_manifest: Option<Digest>,
    /// The digest of the files without their publisher: [`super::content_digest`].
    pub content: Digest,
}

/// Why an envelope is not a card of a publisher.
#[derive(Debug, Error)]
pub enum CardError {
    #[error("card is not an envelope")]
    Envelope(#[from] EnvelopeError),
    #[error("card cannot be parsed")]
    Json(#[from] JsonError),
    #[error("card is that of publisher {found}, not of {expected}")]
    OtherPublisher { found: PublisherId, expected: PublisherId },
    #[error("card of {manifest} is not signed by key document {version} of its publisher")]
    Signature { manifest: Digest, version: u64, source: SignatureError },
}

/// A card with a verified signature, and its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCard {
    card: Card,
    payload: Digest,
    envelope: String,
}

impl Card {
    /// Returns the bytes to sign. They are at most [`CARD_BYTES_MAX`] after [`Self::fitted`].
    pub fn to_payload(&self) -> Vec<u8> {
        json::to_vec(self)
    }

    /// Parses a payload of at most [`CARD_BYTES_MAX`] bytes. Verifies nothing.
    ///
    /// # Errors
    /// If `payload` is too long or not a card.
    pub fn from_payload(payload: &[u8]) -> Result<Self, JsonError> {
        json::from_slice(payload, CARD_BYTES_MAX)
    }

    /// Returns the card with as much of its texts as fits into [`CARD_BYTES_MAX`] bytes of payload.
    ///
    /// Shortens the summary and then the title, which end with `…` then. After them, removes languages and quantisations
    /// from the end, then base, task, licence, formats and the base's manifest. What is left always fits. A card that fits
    /// is returned as it is.
    #[must_use]
    pub fn fitted(mut self) -> Self {
        let over = self.over();
        self.claimed.summary = self.claimed.summary.and_then(|it| shortened(it, over));
        let over = self.over();
        self.claimed.title = self.claimed.title.and_then(|it| shortened(it, over));
        self.pop_while_over(|it| pop(&mut it.claimed.languages));
        self.pop_while_over(|it| pop(&mut it.computed.quantisations));
        self.pop_while_over(|it| it.claimed.base.take().is_some());
        self.pop_while_over(|it| it.claimed.task.take().is_some());
        self.pop_while_over(|it| it.claimed.licence.take().is_some());
        self.pop_while_over(|it| pop(&mut it.computed.formats));
        self.pop_while_over(|it| it.computed.base_manifest.take().is_some());
        self
    }

    /// Returns the referrer that carries the card's `envelope`. `manifest` describes the card's manifest.
    pub fn referrer(manifest: Descriptor, envelope: &str) -> Referrer {
        Referrer {
            artifact_type: CARD_ARTIFACT_TYPE.to_owned(),
            subject: manifest,
            document: Descriptor::of(ENVELOPE_MEDIA_TYPE, envelope.as_bytes()),
        }
    }

    /// Returns by how many bytes the payload is too long.
    fn over(&self) -> usize {
        self.to_payload().len().saturating_sub(CARD_BYTES_MAX)
    }

    /// Calls `remove` until the payload fits or nothing is left to remove.
    fn pop_while_over(&mut self, remove: impl Fn(&mut Self) -> bool) {
        while self.over() > 0 && remove(self) {}
    }
}

fn pop<const MAX: usize>(list: &mut Bounded<ShortName, MAX>) -> bool {
    let mut names = std::mem::take(list).into_vec();
    let is_gone = names.pop().is_some();
    *list = Bounded::first_of(names);
    is_gone
}

/// Returns `label` with at least `over` bytes of JSON less, and `…` at its end; `None` if nothing of it is left.
fn shortened(label: Label, over: usize) -> Option<Label> {
    const END: char = '…';
    if over == 0 {
        return Some(label);
    }
    let (mut text, mut gone) = (label.as_str().to_owned(), 0);
    while gone < over + END.len_utf8() {
        let character = text.pop()?;
        gone += character.len_utf8() + usize::from(matches!(character, '"' | '\\'));
    }
    let kept = text.trim_end();
    if kept.is_empty() { None } else { format!("{kept}{END}").parse().ok() }
}

impl SignedCard {
    /// Verifies the envelope `text` against a publisher's keys. What a retired key has signed counts only where the newest
    /// key document inherits it.
    ///
    /// # Errors
    /// If `text` is no card in an envelope, is by another publisher, or is not signed.
    pub fn verify(text: &str, keys: &KeyHistory) -> Result<Self, CardError> {
        let (card, envelope) = read(text)?;
        let (found, expected) = (card.publisher, keys.publisher());
        if found != expected {
            return Err(CardError::OtherPublisher { found, expected });
        }
        let (manifest, version) = (card.manifest, card.key_document);
        keys.check(&envelope, CARD_TYPE, version).map_err(|source| CardError::Signature {
            manifest,
            version,
            source,
        })?;
        Ok(Self { card, payload: Digest::of(&envelope.payload), envelope: text.to_owned() })
    }

    /// Returns the signed card.
    pub const fn card(&self) -> &Card {
        &self.card
    }

    /// Returns the digest of the payload.
    pub const fn payload_digest(&self) -> Digest {
        self.payload
    }

    /// Returns the envelope, byte for byte.
    pub fn envelope(&self) -> &str {
        &self.envelope
    }
}

/// Parses the envelope of a card. Verifies no signature.
pub(super) fn read(text: &str) -> Result<(Card, Envelope), CardError> {
    let envelope = Envelope::from_bytes(text.as_bytes(), CARD_ENVELOPE_BYTES_MAX)?;
    Ok((Card::from_payload(&envelope.payload)?, envelope))
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    use super::*;
    use crate::envelope::PublicKey;
    use crate::key::{KeyDocument, publisher_id};
    use crate::manifest::MANIFEST_TYPE;

    fn keys(seed: u8) -> (SigningKey, KeyHistory) {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let document = KeyDocument::first(PublicKey::of(&key));
        let id = publisher_id(&document.to_payload());
        let history = KeyHistory::verify(id, &[document.sign(&key).to_json()]).unwrap();
        (key, history)
    }

    fn card(publisher: PublisherId) -> Card {
        Card {
            publisher,
            model: "Tiny-1".parse().unwrap(),
            manifest: Digest::of(b"manifest"),
            claimed: Claimed {
                title: Some("Tiny 1".parse().unwrap()),
                languages: Bounded::first_of(["en".parse().unwrap()]),
                ..Claimed::default()
            },
            computed: Computed {
                formats: Bounded::first_of(["safetensors".parse().unwrap()]),
                parameters: Some(500_000_000),
                quantisations: Bounded::empty(),
                bytes: 1_000_000_000,
                context: Some(32_768),
                base_manifest: None,
                content: Digest::of(b"content"),
            },
            key_document: 1,
            issued: 1_700_000_000,
        }
    }

    #[test]
    fn only_the_publishers_keys_sign_its_cards() {
        let ((key, history), (other_key, other)) = (keys(1), keys(2));
        let sign =
            |kind: &str, key| Envelope::sign(kind, card(history.publisher()).to_payload(), &[key]).to_json();
        let signed = SignedCard::verify(&sign(CARD_TYPE, &key), &history).unwrap();
        assert_eq!(signed.card(), &card(history.publisher()));
        let referrer =
            Card::referrer(Descriptor::new(MANIFEST_TYPE, signed.card().manifest, 8), signed.envelope());
        assert_eq!(Referrer::from_bytes(&referrer.to_bytes()).unwrap(), referrer);
        let verify = |text: String, keys| SignedCard::verify(&text, keys);
        assert!(matches!(verify(sign(CARD_TYPE, &other_key), &history), Err(CardError::Signature { .. })));
        assert!(matches!(verify(sign(CARD_TYPE, &key), &other), Err(CardError::OtherPublisher { .. })));
        let as_tag = sign(crate::tag::TAG_RECORD_TYPE, &key);
        assert!(matches!(verify(as_tag, &history), Err(CardError::Signature { .. })));
    }

    #[test]
    fn a_card_has_one_spelling_and_a_bound() {
        let text = String::from_utf8(card(keys(1).1.publisher()).to_payload()).unwrap();
        assert!(Card::from_payload(text.as_bytes()).is_ok());
        for (from, to) in [
            (r#""title":"Tiny 1""#, r#""title":null"#),
            (r#""languages":["en"]"#, r#""language":["en"]"#),
            (r#","languages":["en"]"#, ""),
            (r#"["en"]"#, r#"["a","b","c","d","e","f","g","h","i"]"#),
            (r#""bytes":1"#, r#""bytes":1.5,"x":1"#),
            (r#""issued":1"#, r#""issued":1,"issued":1"#),
            ("Tiny 1", "Tiny\\u001b[31m"),
        ] {
            let other = text.replacen(from, to, 1);
            assert_ne!(other, text, "{from}");
            assert!(Card::from_payload(other.as_bytes()).is_err(), "{other}");
        }
        let long = format!("{text}{}", " ".repeat(CARD_BYTES_MAX));
        assert!(matches!(Card::from_payload(long.as_bytes()), Err(JsonError::TooLarge { .. })));
    }

    #[test]
    fn the_summary_is_the_first_to_be_shortened() {
        let mut long = card(keys(1).1.publisher());
        long.claimed.summary = Some("\"\\ü".repeat(64).parse().unwrap());
        long.claimed.title = Some("t".repeat(200).parse().unwrap());
        let fitted = long.clone().fitted();
        assert_eq!(fitted.claimed.title, long.claimed.title);
        let summary = fitted.claimed.summary.as_ref().map_or("", Label::as_str);
        assert!(summary.ends_with('…') && summary.len() > 60, "{summary}");
        assert!(fitted.to_payload().len() > CARD_BYTES_MAX - 8, "what has room is kept");
    }

    fn label() -> impl Strategy<Value = Option<Label>> {
        prop::option::of("[a-z\"\\\\é ]{1,250}").prop_map(|it| it.and_then(|text| text.parse().ok()))
    }

    fn names(max: usize) -> impl Strategy<Value = Vec<ShortName>> {
        let name = "[A-Za-z0-9._-]{1,24}".prop_map(|it| it.parse().unwrap());
        prop::collection::vec(name, 0..=max)
    }

    proptest! {
        #[test]
        fn every_card_can_be_fitted(
            model in "[A-Za-z0-9]{1,96}",
            claimed in (label(), label(), label(), label(), label()),
            lists in (names(CARD_LANGUAGES_MAX), names(CARD_FORMATS_MAX), names(CARD_QUANTISATIONS_MAX)),
            numbers in (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>(), any::<bool>()),
        ) {
            let (title, task, summary, licence, base) = claimed;
            let (parameters, bytes, key_document, issued, context, is_derived) = numbers;
            let card = Card {
                publisher: PublisherId::from_bytes([7; 32]),
                model: model.parse().unwrap(),
                manifest: Digest::of(b"m"),
                claimed: Claimed { title, task, summary, licence, languages: Bounded::first_of(lists.0), base },
                computed: Computed {
                    formats: Bounded::first_of(lists.1),
                    parameters: Some(parameters),
                    quantisations: Bounded::first_of(lists.2),
                    bytes,
                    context: Some(context),
                    base_manifest: is_derived.then(|| Digest::of(b"b")),
                    content: Digest::of(b"c"),
                },
                key_document,
                issued,
            };
            let fitted = card.clone().fitted();
            prop_assert!(fitted.to_payload().len() <= CARD_BYTES_MAX);
            prop_assert_eq!(Card::from_payload(&fitted.to_payload()).unwrap(), fitted.clone());
            prop_assert_eq!(fitted.clone().fitted(), fitted.clone());
            if card.to_payload().len() <= CARD_BYTES_MAX {
                prop_assert_eq!(fitted, card);
            }
        }
    }
}
