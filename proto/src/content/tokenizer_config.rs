//! Reads the chat template of a `tokenizer_config.json`.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::chat_template::ChatTemplate;
use crate::json::{self, JsonError};

/// Bytes of a `tokenizer_config.json`. Those that list every added token have 2 MB.
pub const TOKENIZER_CONFIG_BYTES_MAX: usize = 8 << 20;

/// The facts in a `tokenizer_config.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenizerConfig {
    /// The default template.
    pub chat_template: Option<ChatTemplate>,
    /// Whether it names Python code that a loader with `trust_remote_code` would fetch and run (`auto_map`).
    pub remote_code: bool,
}

/// Parses the bytes of a `tokenizer_config.json`.
///
/// # Errors
/// If `bytes` are more than [`TOKENIZER_CONFIG_BYTES_MAX`], are not a JSON object, or have duplicate keys or an invalid
/// template.
pub fn parse(bytes: &[u8]) -> Result<TokenizerConfig, JsonError> {
    let raw: Raw = json::from_slice(bytes, TOKENIZER_CONFIG_BYTES_MAX)?;
    let remote_code = raw.auto_map.is_some();
    Ok(TokenizerConfig { chat_template: raw.template().as_deref().map(ChatTemplate::of), remote_code })
}

/// Returns the text of the default template, or `None` if `bytes` cannot be parsed or have none.
pub fn template_text(bytes: &[u8]) -> Option<String> {
    let raw: Raw = json::from_slice(bytes, TOKENIZER_CONFIG_BYTES_MAX).ok()?;
    raw.template()
}

#[derive(Deserialize)]
struct Raw {
    chat_template: Option<RawTemplate>,
    auto_map: Option<IgnoredAny>,
}

impl Raw {
    fn template(self) -> Option<String> {
        match self.chat_template? {
            RawTemplate::One(template) => Some(template),
            RawTemplate::Named(named) => {
                named.into_iter().find(|it| it.name == "default").map(|it| it.template)
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawTemplate {
    One(String),
    Named(Vec<Named>),
}

#[derive(Deserialize)]
struct Named {
    name: String,
    template: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_template() {
        let template = |text: &str| parse(text.as_bytes()).unwrap().chat_template;
        assert_eq!(
            template(r#"{"chat_template":"{{ x }}","added":{"1":{"content":"a"}}}"#),
            Some(ChatTemplate::of("{{ x }}"))
        );
        let named =
            r#"{"chat_template":[{"name":"tool_use","template":"t"},{"name":"default","template":"d"}]}"#;
        assert_eq!(template(named), Some(ChatTemplate::of("d")));
        assert_eq!(template("{}"), None);
        assert!(parse(br#"{"auto_map":{"AutoTokenizer":["t.T",null]}}"#).unwrap().remote_code);
        for text in ["", "1", r#"{"chat_template":1}"#, r#"{"chat_template":"a","chat_template":"b"}"#] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
