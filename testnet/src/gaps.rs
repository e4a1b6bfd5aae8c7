//! [`Lacking`]: models that are not whole, one for each kind of gap.

use std::fs;
use std::path::Path;

/// A git-lfs pointer, as a clone without git-lfs leaves it.
pub const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:\
    e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\nsize 12345\n";

/// A model that lacks something.
#[derive(Debug, Clone)]
pub struct Lacking {
    /// A name for it.
    pub name: &'static str,
    /// Its files beside a config.
    pub files: Vec<(&'static str, Vec<u8>)>,
    /// The words that must say what it lacks.
    pub said: &'static str,
}

impl Lacking {
    /// Writes its files and a config into a directory.
    ///
    /// # Panics
    /// If a file cannot be written.
    pub fn write(&self, dir: &Path) {
        for (path, bytes) in &self.files {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, bytes).expect("written");
        }
        fs::write(dir.join("config.json"), "{\"model_type\":\"bert\"}").expect("written");
    }
}

/// Returns a model of each kind.
pub fn all() -> Vec<Lacking> {
    let text = |it: &str| it.as_bytes().to_vec();
    let lacking = |name, files, said| Lacking { name, files, said };
    let (one, two) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    let empty = b"\x02\0\0\0\0\0\0\0{}".to_vec();
    vec![
        lacking("pointer", vec![("model.safetensors", text(POINTER))], "git-lfs pointer"),
        lacking("pointer-json", vec![("tokenizer.json", text(POINTER))], "git-lfs pointer"),
        lacking("empty", vec![("pytorch_model.bin", Vec::new())], "it is empty"),
        lacking("page", vec![("model.gguf", text("<!DOCTYPE html><html>Sign in</html>"))], "web page"),
        lacking("body", vec![("model.onnx", text("{\"error\":\"Repository not found\"}"))], "error message"),
        lacking(
            "shard",
            vec![(one, empty.clone()), ("model.safetensors.index.json", text(&index(&[one, two])))],
            "model-00002-of-00002.safetensors is missing: model.safetensors.index.json needs it",
        ),
        lacking(
            "bin-shard",
            vec![("pytorch_model.bin.index.json", text(&index(&["pytorch_model-00001-of-00001.bin"])))],
            "pytorch_model-00001-of-00001.bin is missing",
        ),
        lacking("numbered", vec![(one, empty)], "model-00002-of-00002.safetensors is missing"),
        lacking("split", vec![("m-00001-of-00003.gguf", gguf())], "m-00002-of-00003.gguf is missing"),
        lacking("byte-part", vec![("m.gguf.part1of2", gguf())], "m.gguf.part2of2 is missing"),
        lacking(
            "onnx",
            vec![("onnx/model.onnx", onnx_with_data_in("model.onnx_data"))],
            "onnx/model.onnx_data is missing",
        ),
        lacking(
            "tfjs",
            vec![("model.json", text(r#"{"weightsManifest":[{"paths":["group1-shard1of1.bin"]}]}"#))],
            "group1-shard1of1.bin is missing",
        ),
        lacking(
            "mlc",
            vec![("ndarray-cache.json", text(r#"{"records":[{"dataPath":"params_shard_0.bin"}]}"#))],
            "params_shard_0.bin is missing",
        ),
        lacking(
            "openvino",
            vec![("m.xml", text("<?xml version=\"1.0\"?><net name=\"m\"></net>"))],
            "m.bin is missing",
        ),
    ]
}

/// The index of a model with one tensor in each of these shards.
pub fn index(shards: &[&str]) -> String {
    let map: Vec<String> =
        shards.iter().enumerate().map(|(at, shard)| format!("\"t{at}\":\"{shard}\"")).collect();
    format!("{{\"metadata\":{{}},\"weight_map\":{{{}}}}}", map.join(","))
}

/// A GGUF file without settings and tensors.
fn gguf() -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.resize(64, 0);
    bytes
}

/// An ONNX graph with one tensor that lies in `file`.
fn onnx_with_data_in(file: &str) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let entry = [field(1, b"location"), field(2, file.as_bytes())].concat();
    let tensor = [field(8, b"w"), field(13, &entry)].concat();
    [b"\x08\x08".to_vec(), field(2, b"test"), field(7, &field(5, &tensor))].concat()
}
