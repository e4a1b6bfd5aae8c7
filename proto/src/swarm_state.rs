//! What the nodes of a private swarm tell each other of the copies that they keep: [`SwarmState`].
//!
//! A node asks each member for its state, page by page. A page carries the digest of the whole list, so that an asker that has
//! the list already gets one short answer, and sees where the list has changed between two pages. All of it is a claim: a
//! receiver counts a copy once the member has sent a piece of it.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::bounded::Bounded;
use crate::digest::Digest;
use crate::json;
use crate::limits::{SWARM_MODELS_MAX, SWARM_MODELS_PER_PAGE_MAX, ZONE_TEXT_BYTES_MAX};
use crate::name::{ModelName, PublisherId, Tag};

/// The version of question and answer that this crate describes. A later one that old readers misread has another number.
pub const SWARM_STATE_VERSION: u32 = 1;

/// Asks a member for its state, from one model of its list on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwarmQuestion {
    pub version: u32,
    /// The number of models that were answered before.
    #[serde(default)]
    pub from: u32,
    /// The digest of a list that the asker has. Where it is the present one, no models are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<Digest>,
}

/// A page of a member's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwarmState {
    pub version: u32,
    /// The name that its user has given to its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneText>,
    /// How many copies its user asks for.
    pub replicas: u32,
    /// Whether its user wants to take it out of the swarm.
    pub draining: bool,
    /// Bytes of further models that it can take; 0 if it takes none.
    pub room: u64,
    /// The digest of the whole list of models.
    pub list: Digest,
    /// The number of models in the whole list: at most [`SWARM_MODELS_MAX`].
    pub total: u32,
    /// The models from the asked number on; empty where the asker has the list.
    pub models: Bounded<SwarmModel, SWARM_MODELS_PER_PAGE_MAX>,
}

/// A model in the list of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwarmModel {
    pub manifest: Digest,
    pub publisher: PublisherId,
    pub model: ModelName,
    /// A tag that means this version, as far as the member knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// Bytes of its files.
    pub bytes: u64,
    pub standing: Standing,
}

/// What a member says of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It holds it whole, because its user has published, pinned or followed it.
    Kept,
    /// It holds it whole, for the swarm.
    Spread,
    /// It holds it whole, and may evict it.
    Cached,
    /// It fetches it for the swarm.
    Fetching,
    /// It has tried to fetch it and does not take it: a rule, a denylist or its disk refuses.
    Refused,
}

impl Standing {
    /// Tells whether this is a copy that the member keeps.
    pub const fn is_copy(self) -> bool {
        matches!(self, Self::Kept | Self::Spread)
    }
}

impl SwarmState {
    /// Returns the page of a list that answers a question. `list` is the digest of `models`, by [`list_digest`].
    pub fn answer(&self, question: &SwarmQuestion, models: &[SwarmModel]) -> Self {
        let from = if question.unless == Some(self.list) { models.len() } else { question.from as usize };
        let page = models.iter().take(SWARM_MODELS_MAX).skip(from).cloned();
        Self { models: Bounded::first_of(page), ..self.clone() }
    }

    /// Tells whether an asker that had `from` models before this page must ask for more.
    pub fn has_more(&self, from: u32) -> bool {
        let told = from.saturating_add(u32::try_from(self.models.len()).unwrap_or(u32::MAX));
        !self.models.is_empty() && told < self.total.min(SWARM_MODELS_MAX as u32)
    }
}

/// Returns the digest of a list of models.
pub fn list_digest(models: &[SwarmModel]) -> Digest {
    Digest::of(&json::to_vec(&models))
}

/// The name of a zone as a member tells it: at most [`ZONE_TEXT_BYTES_MAX`] bytes. The receiver checks its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneText(String);

impl ZoneText {
    /// Returns the name; `None` if it is too long.
    pub fn new(text: String) -> Option<Self> {
        (text.len() <= ZONE_TEXT_BYTES_MAX).then_some(Self(text))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for ZoneText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ZoneText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?)
            .ok_or_else(|| de::Error::custom(format_args!("a zone of more than {ZONE_TEXT_BYTES_MAX} bytes")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Message, Request, Response};

    fn models(count: u32) -> Vec<SwarmModel> {
        let model = |n: u32| SwarmModel {
            manifest: Digest::of(&n.to_be_bytes()),
            publisher: PublisherId::from_bytes([7; 32]),
            model: "model".parse().unwrap(),
            tag: n.is_multiple_of(2).then(|| "v1".parse().unwrap()),
            bytes: u64::from(n),
            standing: Standing::Spread,
        };
        (0..count).map(model).collect()
    }

    fn state(models: &[SwarmModel]) -> SwarmState {
        SwarmState {
            version: SWARM_STATE_VERSION,
            zone: ZoneText::new("rack-1".to_owned()),
            replicas: 3,
            draining: false,
            room: 1 << 40,
            list: list_digest(models),
            total: models.len() as u32,
            models: Bounded::empty(),
        }
    }

    #[test]
    fn pages_make_up_the_list_and_a_known_list_is_not_sent_again() {
        for count in [0, 1, SWARM_MODELS_PER_PAGE_MAX as u32, 2 * SWARM_MODELS_PER_PAGE_MAX as u32 + 5] {
            let all = models(count);
            let (mut got, mut pages) = (Vec::new(), 0);
            loop {
                let from = got.len() as u32;
                let question = SwarmQuestion { version: SWARM_STATE_VERSION, from, unless: None };
                let sent = Response::SwarmState(state(&all).answer(&question, &all)).to_bytes();
                let Ok(Response::SwarmState(page)) = Response::from_bytes(&sent) else { panic!("{count}") };
                got.extend(page.models.iter().cloned());
                pages += 1;
                if !page.has_more(from) {
                    break;
                }
            }
            assert_eq!((got.len(), list_digest(&got)), (all.len(), list_digest(&all)));
            assert_eq!(pages, all.len().div_ceil(SWARM_MODELS_PER_PAGE_MAX).max(1));
            let unless = Some(list_digest(&all));
            let known = SwarmQuestion { version: SWARM_STATE_VERSION, from: 0, unless };
            let page = state(&all).answer(&known, &all);
            assert!(page.models.is_empty() && !page.has_more(0));
        }
    }

    #[test]
    fn hostile_states_are_refused_and_end() {
        let text = |models: &str, zone: &str, total: &str| {
            let list = Digest::of(b"list");
            format!(
                r#"{{"answer":"swarm_state","version":1,"zone":"{zone}","replicas":3,"draining":false,"room":1,"list":"{list}","total":{total},"models":[{models}],"later":1}}"#
            )
        };
        let read = |text: String| Response::from_header(text.as_bytes(), 0);
        let model = String::from_utf8(json::to_vec(&models(1)[0])).unwrap();
        assert!(read(text(&model, "z", "1")).is_ok(), "a later version may add fields");
        let many = vec![model.as_str(); SWARM_MODELS_PER_PAGE_MAX + 1].join(",");
        assert!(read(text(&many, "z", "1")).is_err());
        assert!(read(text("", &"z".repeat(ZONE_TEXT_BYTES_MAX + 1), "0")).is_err());
        assert!(read(text(&model.replace("spread", "owned"), "z", "1")).is_err());
        assert!(read(text(&model.replace("\"model\":\"model\"", "\"model\":\"../x\""), "z", "1")).is_err());
        assert!(read(text("", "z", "-1")).is_err());
        // A page without models ends the list, whatever the total says, and so does the bound.
        let endless = |count: u32| SwarmState {
            total: u32::MAX,
            models: Bounded::first_of(models(count)),
            ..state(&[])
        };
        assert!(!endless(0).has_more(0));
        assert!(endless(1).has_more(0) && !endless(1).has_more(SWARM_MODELS_MAX as u32));
        let question = r#"{"ask":"get_swarm_state","version":1,"from":4294967295}"#;
        let Ok(Request::GetSwarmState(question)) = Request::from_header(question.as_bytes(), 0) else {
            panic!("it is read")
        };
        assert!(state(&models(3)).answer(&question, &models(3)).models.is_empty());
    }
}
