//! Makes entries with names and facts like those of real models, the same ones for the same random seed.

use reg_catalogue::{Bounds, Catalogue, Entry, EntryHead, Facts, Found, Listing, Opened, Standing};
use reg_proto::digest::Digest;
use reg_proto::name::PublisherId;

const FAMILIES: [&str; 24] = [
    "Qwen2.5",
    "Llama-3.1",
    "Llama-3.2",
    "Mistral",
    "Mixtral-8x7B",
    "gemma-2",
    "Phi-3-mini",
    "TinyLlama",
    "bge",
    "e5-large",
    "whisper",
    "bert-base",
    "distilroberta",
    "falcon",
    "deepseek-coder",
    "StarCoder2",
    "SmolLM2",
    "stable-diffusion-xl",
    "flux.1",
    "clip-vit",
    "OLMo",
    "granite",
    "Yi-1.5",
    "internlm2",
];
const SIZES: [&str; 10] = ["0.5B", "1.1B", "1.5B", "3B", "7B", "8B", "13B", "32B", "70B", "405B"];
const VARIANTS: [&str; 12] = [
    "Instruct",
    "Chat",
    "base",
    "it",
    "GGUF",
    "AWQ",
    "GPTQ-Int4",
    "coder",
    "math",
    "uncensored",
    "v2",
    "german",
];
const TASKS: [&str; 8] = [
    "text-generation",
    "feature-extraction",
    "automatic-speech-recognition",
    "text-to-image",
    "text-classification",
    "translation",
    "image-classification",
    "sentence-similarity",
];
const LICENCES: [&str; 6] = ["apache-2.0", "mit", "llama3.1", "gemma", "cc-by-nc-4.0", "other"];
const FORMATS: [&str; 4] = ["safetensors", "gguf", "onnx", "pytorch"];
const QUANTISATIONS: [&str; 5] = ["Q4_K_M", "Q5_K_M", "Q8_0", "IQ2_XS", "F16"];
const LANGUAGES: [&str; 6] = ["en", "de", "fr", "zh", "ja", "multilingual"];
const SAYINGS: [&str; 16] = [
    "fine-tuned",
    "for",
    "translating",
    "legal",
    "documents",
    "of",
    "medical",
    "dialogues",
    "with",
    "long",
    "contexts",
    "quantised",
    "embeddings",
    "retrieval",
    "reasoning",
    "small",
];

/// The time of the newest entries.
pub(crate) const NOW: u64 = 1_796_000_000;

/// Random numbers by xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, max: usize) -> usize {
        usize::try_from(self.next() % max as u64).unwrap()
    }

    pub(crate) fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    /// Text that does not compress, as signatures in base64 do not.
    fn noise(&mut self, bytes: usize) -> String {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        (0..bytes).map(|_| char::from(LETTERS[self.below(64)])).collect()
    }

    fn some(&mut self, list: &[&str], most: usize) -> Vec<String> {
        let count = self.below(most + 1);
        let mut some: Vec<String> = (0..count).map(|_| self.pick(list).to_owned()).collect();
        some.sort();
        some.dedup();
        some
    }
}

pub(crate) fn publisher(number: usize) -> PublisherId {
    PublisherId::from_bytes(*Digest::of(&number.to_le_bytes()).as_bytes())
}

pub(crate) fn name(random: &mut Random) -> String {
    let family = random.pick(&FAMILIES);
    let (size, variant) = (random.pick(&SIZES), random.pick(&VARIANTS));
    match random.below(4) {
        0 => format!("{family}-{size}"),
        1 => format!("{family}-{variant}"),
        2 => format!("{family}-{size}-{variant}-{}", random.below(100)),
        _ => format!("{family}-{size}-{variant}"),
    }
}

fn facts(random: &mut Random, name: &str) -> Facts {
    let said = (0..random.below(24)).map(|_| random.pick(&SAYINGS)).collect::<Vec<_>>().join(" ");
    let base = format!("{}-{}", random.pick(&FAMILIES), random.pick(&SIZES));
    Facts {
        title: name.replace('-', " "),
        task: random.pick(&TASKS).to_owned(),
        summary: format!("A model {said}."),
        licence: random.pick(&LICENCES).to_owned(),
        languages: random.some(&LANGUAGES, 3),
        base_manifest: (random.below(4) == 0).then(|| Digest::of(base.as_bytes())),
        base,
        formats: random.some(&FORMATS, 2),
        quantisations: random.some(&QUANTISATIONS, 3),
        parameters: Some(random.next() % 400_000_000_000),
        bytes: (random.below(10) > 0).then(|| random.next() % 100_000_000_000),
        context: Some(32_768),
        is_claimed: random.below(2) == 0,
    }
}

/// Makes an entry of the publisher with this number. One in ten has the content of another.
pub(crate) fn entry(random: &mut Random, of: usize) -> Entry {
    let model = name(random);
    let tag = ["latest", "main", "v1.0", "q4_k_m"][random.below(4)];
    let seq = 1 + random.next() % 1000;
    let issued = NOW - random.next() % 100_000_000;
    let content = if random.below(10) == 0 { random.next() % 100 } else { random.next() };
    let payload = Digest::of(format!("{of}{model}{tag}{seq}{issued}").as_bytes());
    Entry {
        publisher: publisher(of),
        listing: Listing {
            record: format!(
                r#"{{"payload":"{}","payloadType":"application/vnd.reg.tag+json"}}"#,
                random.noise(700)
            ),
            card: (random.below(3) > 0).then(|| format!(r#"{{"payload":"{}"}}"#, random.noise(800))),
        },
        payload,
        manifest: Digest::of(payload.as_bytes()),
        content: Digest::of(&content.to_le_bytes()),
        seq,
        issued,
        heard: NOW,
        is_tombstone: random.below(50) == 0,
        key: *Digest::of(format!("{model}:{tag}").to_lowercase().as_bytes()).as_bytes(),
        value: *payload.as_bytes(),
        facts: facts(random, &model),
        model: model.parse().unwrap(),
        tag: tag.parse().unwrap(),
    }
}

pub(crate) fn open(path: &std::path::Path) -> Catalogue {
    opened(path).catalogue
}

pub(crate) fn opened(path: &std::path::Path) -> Opened {
    let opened = Catalogue::open(path, Bounds::default()).unwrap();
    assert!(!matches!(opened.found, Found::MadeAnew { .. }), "{:?}", opened.found);
    opened
}

pub(crate) fn put(catalogue: &Catalogue, entries: Vec<Entry>) {
    let count = entries.len();
    let taken = catalogue.put(entries, &mut || 7).unwrap();
    assert_eq!(taken.taken, count, "{:?}", taken.refused);
}

/// A standing that is the same for all.
pub(crate) fn stranger(_: &EntryHead) -> Standing {
    Standing::default()
}
