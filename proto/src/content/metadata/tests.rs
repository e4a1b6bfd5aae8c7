//! Tests which facts the builder of `metadata` collects.

use proptest::prelude::*;

use super::*;
use crate::content::inspect::inspect;
use crate::content::{gguf, safetensors};

fn model() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let index =
        r#"{"weight_map":{"a":"model-00001-of-00003.safetensors","b":"model-00003-of-00003.safetensors"}}"#;
    let card =
        "---\nlicense: apache-2.0\nlanguage: [en]\nbase_model: org/base\nlibrary_name: transformers\n---\n";
    let config =
        r#"{"architectures":["LlamaForCausalLM"],"model_type":"llama","max_position_embeddings":2048}"#;
    vec![
        ("model-00001-of-00003.safetensors", safetensors::tests::sample()),
        ("model-00002-of-00003.safetensors", safetensors::tests::sample()),
        ("model.safetensors.index.json", text(index)),
        ("gguf/tiny-q4_k_m.gguf", gguf::tests::sample()),
        ("config.json", text(config)),
        ("tokenizer.json", text("{}")),
        ("tokenizer.model", text("other")),
        ("tokenizer_config.json", text(r#"{"chat_template":"{{ x }}"}"#)),
        ("README.md", text(card)),
        ("LICENSE", text("the terms")),
        ("modeling.py", text("import os")),
        ("old/pytorch_model.bin", b"\x80\x02}q\0.".to_vec()),
        ("chat_template.jinja", text("{{ ''.__class__ }}")),
    ]
}

fn gather<'a>(files: impl IntoIterator<Item = &'a (&'static str, Vec<u8>)>) -> Metadata {
    let mut builder = MetadataBuilder::default();
    for (path, bytes) in files {
        let path = path.parse().unwrap();
        let size = bytes.len() as u64;
        let inspected = inspect(&path, &mut std::io::Cursor::new(bytes), size).unwrap();
        builder.file(&path, size, Digest::of(bytes), &inspected);
    }
    builder.finish()
}

fn label(text: &str) -> Option<Label> {
    Some(text.parse().unwrap())
}

#[test]
fn keeps_what_is_computed_and_what_is_claimed_apart() {
    let Metadata { computed, claimed } = gather(&model());
    assert_eq!(computed.architecture, label("LlamaForCausalLM"));
    assert_eq!(computed.context_length, Some(2048));
    assert_eq!(computed.parameters, Some(787));
    assert_eq!(computed.tokenizer, Some(Digest::of(b"{}")));
    assert_eq!(computed.license_text, Some(Digest::of(b"the terms")));
    assert_eq!(computed.chat_template, Some(ChatTemplate::of("{{ ''.__class__ }}")));
    assert_eq!(computed.quantization.map(|it| it.method), label("Q4_K_M"));
    let formats = [ContentKind::Safetensors, ContentKind::Gguf, ContentKind::Pickle];
    assert_eq!(computed.formats, BTreeSet::from(formats));
    let risky: Vec<_> = computed.risky.iter().map(|(path, kind)| (path.as_str(), *kind)).collect();
    assert_eq!(risky, [("modeling.py", ContentKind::Code), ("old/pytorch_model.bin", ContentKind::Pickle)]);
    let missing: Vec<_> = computed.missing.iter().map(SafePath::as_str).collect();
    assert_eq!(missing, ["model-00003-of-00003.safetensors"]);
    let shards = computed.weights.iter().find(|set| set.format == ContentKind::Safetensors).unwrap();
    assert_eq!((shards.files.as_str(), shards.count, shards.of), ("model-*-of-00003.safetensors", 2, 3));
    assert_eq!(shards.elements, BTreeMap::from([("BF16".to_owned(), 8), ("F32".to_owned(), 12)]));
    assert_eq!(claimed.licenses, Vec::from_iter(label("apache-2.0")));
    assert_eq!(claimed.base_models, Vec::from_iter(label("org/base")));
    assert_eq!(claimed.name, label("Tiny"));
}

#[test]
fn a_model_of_one_gguf_file_says_enough() {
    let Metadata { computed, claimed } = gather(&[("tiny.gguf", gguf::tests::sample())]);
    assert_eq!((computed.architecture, computed.context_length), (label("llama"), Some(4096)));
    assert!(computed.chat_template.is_some());
    assert_eq!(claimed.licenses, Vec::from_iter(label("mit")));
}

#[test]
fn what_is_there_is_not_missing_and_what_is_not_listed_is_counted() {
    let Metadata { computed, .. } = gather(&[("m.gguf", gguf::tests::big_endian(3))]);
    assert!(computed.missing.is_empty() && !computed.is_whole(), "{:?}", computed.missing);
    assert_eq!(computed.misnamed.iter().map(SafePath::as_str).collect::<Vec<_>>(), ["m.gguf"]);
    let paths: Vec<String> = (0..300).map(|it| format!(r#""t{it}":"w{it}.safetensors""#)).collect();
    let index = format!(r#"{{"weight_map":{{{}}}}}"#, paths.join(","));
    let Metadata { computed, .. } = gather(&[("model.safetensors.index.json", index.into_bytes())]);
    assert_eq!((computed.missing.len(), computed.more_gaps), (100, 200));
    let index = br#"{"weight_map":{"a":"../w"}}"#.to_vec();
    let Metadata { computed, .. } = gather(&[("model.safetensors.index.json", index)]);
    assert!(computed.missing.is_empty() && computed.unread.len() == 1 && !computed.is_whole());
}

#[test]
fn reads_back_what_it_writes() {
    for metadata in [gather(&model()), Metadata::default()] {
        let bytes = crate::json::to_vec(&metadata);
        assert_eq!(crate::json::from_slice::<Metadata>(&bytes, 1 << 20).unwrap(), metadata);
    }
}

proptest! {
    #[test]
    fn the_order_of_the_files_does_not_count(files in Just(model()).prop_shuffle()) {
        prop_assert_eq!(gather(&files), gather(&model()));
    }
}
