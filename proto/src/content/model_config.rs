//! Reads the facts about a model from a `config.json` in the format of Hugging Face's libraries.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::label::Label;
use super::loose::Loose;
use crate::json::{self, JsonError};

/// Bytes of a `config.json`. Those with 20,000 class labels have 1 MB.
pub const MODEL_CONFIG_BYTES_MAX: usize = 4 << 20;

/// The facts in a `config.json`. Values of an unexpected type are left out, because each loader has a format of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelConfig {
    pub architectures: Vec<Label>,
    pub model_type: Option<Label>,
    /// Length of the model's context, in tokens.
    pub context_length: Option<u64>,
    /// The data type for computations with the weights.
    pub dtype: Option<Label>,
    pub quantization: Option<Quantization>,
    /// Whether it names Python code that a loader with `trust_remote_code` would fetch and run (`auto_map`).
    pub remote_code: bool,
}

/// The method by which the weights were quantised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantization {
    pub method: Label,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<u64>,
}

/// Parses the bytes of a `config.json`.
///
/// # Errors
/// If `bytes` are more than [`MODEL_CONFIG_BYTES_MAX`], are not a JSON object, or have duplicate keys.
pub fn parse(bytes: &[u8]) -> Result<ModelConfig, JsonError> {
    let raw: Raw = json::from_slice(bytes, MODEL_CONFIG_BYTES_MAX)?;
    let quantization = raw.quantization_config.as_ref().and_then(RawQuantization::meant);
    let remote_code = raw.remote_code();
    // A model of several parts has the settings of its language model one level deeper.
    let parts = [&raw.text_config, &raw.llm_config, &raw.language_config].map(|it| it.as_deref());
    let both = || [Some(&raw)].into_iter().chain(parts).flatten();
    let context_length = both().find_map(Raw::context_length);
    let dtype = both().find_map(Raw::dtype);
    Ok(ModelConfig {
        context_length,
        dtype,
        quantization,
        remote_code,
        model_type: raw.model_type.label(),
        architectures: raw.architectures.labels(),
    })
}

/// A `config.json`, as written.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    architectures: Loose,
    model_type: Loose,
    dtype: Loose,
    torch_dtype: Loose,
    max_position_embeddings: Loose,
    n_positions: Loose,
    n_ctx: Loose,
    max_sequence_length: Loose,
    max_seq_len: Loose,
    seq_length: Loose,
    max_target_positions: Loose,
    quantization_config: Option<RawQuantization>,
    auto_map: Option<IgnoredAny>,
    text_config: Option<Box<Self>>,
    llm_config: Option<Box<Self>>,
    language_config: Option<Box<Self>>,
}

impl Raw {
    fn context_length(&self) -> Option<u64> {
        [
            &self.max_position_embeddings,
            &self.n_positions,
            &self.n_ctx,
            &self.max_sequence_length,
            &self.max_seq_len,
            &self.seq_length,
            &self.max_target_positions,
        ]
        .into_iter()
        .find_map(Loose::number)
    }

    fn dtype(&self) -> Option<Label> {
        self.dtype.label().or_else(|| self.torch_dtype.label())
    }

    fn remote_code(&self) -> bool {
        let parts = [&self.text_config, &self.llm_config, &self.language_config];
        self.auto_map.is_some() || parts.into_iter().flatten().any(|it| it.remote_code())
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawQuantization {
    quant_method: Loose,
    bits: Loose,
    load_in_4bit: Loose,
    load_in_8bit: Loose,
}

impl RawQuantization {
    fn meant(&self) -> Option<Quantization> {
        let flags = [(&self.load_in_4bit, 4), (&self.load_in_8bit, 8)];
        let flagged = flags.into_iter().find(|(flag, _)| flag.is_true()).map(|(_, bits)| bits);
        Some(Quantization { method: self.quant_method.label()?, bits: self.bits.number().or(flagged) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn label(text: &str) -> Label {
        text.parse().unwrap()
    }

    #[test]
    fn reads_a_config() {
        let text = br#"{"architectures":["LlamaForCausalLM"],"model_type":"llama","torch_dtype":"bfloat16",
            "max_position_embeddings":131072,"rope_scaling":{"factor":8.0,"low":[1,null]},
            "quantization_config":{"quant_method":"gptq","bits":4,"group_size":128}}"#;
        let config = parse(text).unwrap();
        assert_eq!(config.architectures, [label("LlamaForCausalLM")]);
        assert_eq!(config.model_type, Some(label("llama")));
        assert_eq!(config.context_length, Some(131_072));
        assert_eq!(config.dtype, Some(label("bfloat16")));
        assert_eq!(config.quantization, Some(Quantization { method: label("gptq"), bits: Some(4) }));
        assert!(!config.remote_code);
    }

    #[test]
    fn knows_the_other_names_of_things() {
        let length = |text: &str| parse(text.as_bytes()).unwrap().context_length;
        for name in ["n_positions", "n_ctx", "max_sequence_length", "seq_length"] {
            assert_eq!(length(&format!("{{\"{name}\":1024}}")), Some(1024), "{name}");
        }
        assert_eq!(length(r#"{"text_config":{"max_position_embeddings":8192}}"#), Some(8192));
        assert_eq!(length(r#"{"n_ctx":1,"text_config":{"n_ctx":2}}"#), Some(1));
        let bits = r#"{"quantization_config":{"quant_method":"bitsandbytes","load_in_4bit":true}}"#;
        assert_eq!(parse(bits.as_bytes()).unwrap().quantization.unwrap().bits, Some(4));
    }

    #[test]
    fn says_that_code_would_be_fetched() {
        assert!(parse(br#"{"auto_map":{"AutoModel":"x/y--modeling.Model"}}"#).unwrap().remote_code);
        assert!(parse(br#"{"text_config":{"auto_map":{"AutoModel":"m.M"}}}"#).unwrap().remote_code);
    }

    #[test]
    fn leaves_out_what_is_wrong_and_refuses_what_is_no_config() {
        let odd = parse(br#"{"architectures":"A","model_type":["x"],"n_ctx":-5,"dtype":null}"#).unwrap();
        assert_eq!(odd, ModelConfig { architectures: vec![label("A")], ..ModelConfig::default() });
        for text in ["", "[", "1", r#"{"n_ctx":1,"n_ctx":2}"#, r#"{"x":{"a":1,"a":1}}"#, r#"{"n_ctx":NaN}"#] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        let deep = format!("{}{}", r#"{"text_config":"#.repeat(40), "1".to_owned() + &"}".repeat(40));
        assert!(parse(deep.as_bytes()).is_err());
        assert!(parse(&vec![b' '; MODEL_CONFIG_BYTES_MAX + 1]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

        #[test]
        fn never_panics(at in 0..160_usize, byte: u8, cut in 0..200_usize, noise in "[\\[\\]{}\",:a-e0-9.\\\\-]{0,60}") {
            let sample = br#"{"architectures":["A"],"text_config":{"n_ctx":1},"quantization_config":{"quant_method":"q","bits":4},"auto_map":{},"torch_dtype":"f"}"#;
            let mut bytes = sample.to_vec();
            if let Some(it) = bytes.get_mut(at) { *it = byte }
            bytes.truncate(cut);
            let _ = parse(&bytes);
            let _ = parse(noise.as_bytes());
            let _ = parse(format!("{{\"architectures\":{noise}}}").as_bytes());
        }
    }
}
