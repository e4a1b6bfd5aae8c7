//! Finds models in Ollama's store.
//!
//! ```text
//! manifests/<host>/<namespace>/<model>/<tag>   a manifest of layers
//! blobs/sha256-<hex>                           a layer
//! ```
//!
//! The weights get a name from the model's. The other layers are named as Hugging Face names the files that Ollama reads from
//! a repository: `template`, `system` and `params`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use reg_api::adopt::{Adoptable, Found, FoundModels, OllamaName};
use reg_api::ingest::{Ingest, LeftOutList};
use reg_proto::digest::Digest;
use reg_proto::json;
use reg_proto::limits::MANIFEST_BYTES_MAX;
use reg_proto::path::SafePath;
use serde::Deserialize;

use super::adopt::{AdoptError, Adoption};
use crate::registry::model::tree::{SourceFile, TreeError, is_taken, judge_path};
use crate::store::Cancel;

/// How the file of a blob begins; its digest in hex follows.
pub(super) const BLOB_PREFIX: &str = "sha256-";
/// What the media types of its layers begin with.
const LAYER: &str = "application/vnd.ollama.image.";
/// Bytes of a config: some hundred, and a list of layers.
const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Models that are listed of one store.
const MODELS_MAX: usize = 10_000;

#[derive(Deserialize)]
struct Manifest {
    config: Layer,
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    #[serde(default)]
    media_type: String,
    digest: Digest,
}

/// The field of a config that names the quantisation.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    file_type: String,
}

/// Finds the files of a model.
pub(super) fn find(
    dir: &Path,
    name: &OllamaName,
    ingest: &Ingest,
    cancel: &Cancel,
) -> Result<Adoption, AdoptError> {
    let OllamaName { host, namespace, model, tag } = name;
    let path = dir.join("manifests").join(host).join(namespace).join(model).join(tag);
    let read = |source| AdoptError::Read { path: path.clone(), source };
    let size = match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(read(error)),
        _ => return Err(AdoptError::NoModel { name: name.clone(), dir: dir.to_owned() }),
    };
    if size > MANIFEST_BYTES_MAX as u64 {
        return Err(read(std::io::ErrorKind::FileTooLarge.into()));
    }
    let bytes = fs::read(&path).map_err(read)?;
    let Manifest { config, layers } = json::from_slice(&bytes, MANIFEST_BYTES_MAX)
        .map_err(|source| AdoptError::Manifest { path: path.clone(), source })?;
    let base = base_name(name, &quantisation(dir, &config.digest));
    let (mut files, mut left_out) = (Vec::new(), LeftOutList::default());
    for (path, digest) in named(name, &base, layers)? {
        let source = blob(dir, &digest);
        let refused = |error| AdoptError::Tree(TreeError::Name { path: PathBuf::from(&path), source: error });
        let safe = SafePath::in_any_form(&path).map_err(refused)?;
        match judge_path(&safe, ingest) {
            Some(reason) => left_out.push(path, reason, None),
            // A system prompt may hold a token.
            None => {
                let file = SourceFile::new(safe, source)?;
                if is_taken(&file, ingest, &mut left_out, cancel)? {
                    files.push(file);
                }
            }
        }
    }
    if files.is_empty() {
        return Err(TreeError::AllLeftOut { path, left_out }.into());
    }
    files.sort_by(|one, two| one.path.cmp(&two.path));
    Ok(Adoption { commit: Digest::of(&bytes).hex(), files, left_out })
}

fn blob(dir: &Path, digest: &Digest) -> PathBuf {
    dir.join("blobs").join(format!("{BLOB_PREFIX}{}", digest.hex()))
}

/// Returns the name of the weights without their ending: the model, its tag, and the quantisation if they do not name it.
fn base_name(name: &OllamaName, quantisation: &str) -> String {
    let OllamaName { model, tag, .. } = name;
    let base = if tag == "latest" { model.clone() } else { format!("{model}-{tag}") };
    let is_named = base.to_ascii_lowercase().contains(&quantisation.to_ascii_lowercase());
    if is_named { base } else { format!("{base}-{quantisation}") }
}

/// Returns the quantisation that a config names; nothing where it cannot be read.
fn quantisation(dir: &Path, config: &Digest) -> String {
    let path = blob(dir, config);
    let is_small = fs::metadata(&path).is_ok_and(|it| it.len() <= CONFIG_BYTES_MAX);
    let bytes = if is_small { fs::read(&path).unwrap_or_default() } else { Vec::new() };
    let Ok(Config { file_type }) = json::from_slice(&bytes, CONFIG_BYTES_MAX as usize) else {
        return String::new();
    };
    let is_plain = file_type.chars().all(|it| it.is_ascii_alphanumeric() || it == '_');
    if is_plain && file_type != "unknown" { file_type } else { String::new() }
}

/// Names the file of each layer.
fn named(name: &OllamaName, base: &str, layers: Vec<Layer>) -> Result<Vec<(String, Digest)>, AdoptError> {
    let mut kinds: BTreeMap<String, Vec<Digest>> = BTreeMap::new();
    for Layer { media_type, digest } in layers {
        match media_type.strip_prefix(LAYER) {
            Some(kind) => kinds.entry(kind.to_owned()).or_default().push(digest),
            None => return Err(AdoptError::Layer { name: name.clone(), media_type }),
        }
    }
    if !kinds.contains_key("model") {
        return Err(AdoptError::NoWeights { name: name.clone() });
    }
    let mut files = Vec::new();
    for (kind, digests) in kinds {
        let count = digests.len();
        for (number, digest) in (1..).zip(digests) {
            let other = if number == 1 { String::new() } else { format!("-{number}") };
            let path = match kind.as_str() {
                "model" if count > 1 => format!("{base}-{number:05}-of-{count:05}.gguf"),
                "model" => format!("{base}.gguf"),
                "projector" => format!("mmproj-{base}{other}.gguf"),
                "adapter" => format!("adapter-{base}{other}.gguf"),
                "license" => format!("LICENSE{other}"),
                "template" | "system" | "params" | "messages" | "prompt" => format!("{kind}{other}"),
                _ => {
                    let media_type = format!("{LAYER}{kind}");
                    return Err(AdoptError::Layer { name: name.clone(), media_type });
                }
            };
            files.push((path, digest));
        }
    }
    Ok(files)
}

/// Lists the models of a store.
pub(super) fn list(dir: &Path) -> Result<FoundModels, AdoptError> {
    let mut paths = vec![(dir.join("manifests"), Vec::new())];
    let mut names = Vec::new();
    fs::metadata(&paths[0].0).map_err(|source| AdoptError::Read { path: paths[0].0.clone(), source })?;
    while let Some((path, parts)) = paths.pop() {
        // A folder that cannot be read keeps none of the others back.
        for entry in fs::read_dir(&path).into_iter().flatten().flatten().take(MODELS_MAX) {
            let parts: Vec<String> =
                parts.iter().cloned().chain([entry.file_name().to_string_lossy().into_owned()]).collect();
            match &parts[..] {
                [host, namespace, model, tag] if names.len() < MODELS_MAX => {
                    names.extend(OllamaName::new([host, namespace, model, tag]).ok());
                }
                [_, _, _, _] => {}
                _ if entry.path().is_dir() => paths.push((entry.path(), parts)),
                _ => {}
            }
        }
    }
    names.sort();
    let mut owners: BTreeMap<String, BTreeSet<(&str, &str)>> = BTreeMap::new();
    for name in &names {
        let of = owners.entry(name.model.to_ascii_lowercase()).or_default();
        of.insert((&name.host, &name.namespace));
    }
    let owners = |model: &str| owners.get(&model.to_ascii_lowercase()).map_or(0, BTreeSet::len);
    let mut found = FoundModels::default();
    for name in &names {
        let OllamaName { namespace, model, tag, .. } = name;
        let model = if owners(model) == 1 { model.clone() } else { format!("{namespace}-{model}") };
        match (model.parse(), tag.parse()) {
            (Ok(model), Ok(tag)) => {
                let source = Adoptable::Ollama { dir: dir.to_owned(), name: name.clone() };
                found.models.push(Found { source, model, tag });
            }
            _ => found.skipped.push(name.to_string()),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(kind: &str) -> Layer {
        Layer { media_type: format!("{LAYER}{kind}"), digest: Digest::of(kind.as_bytes()) }
    }

    #[test]
    fn layers_become_files_that_other_tools_know() {
        let name: OllamaName = "llava:7b".parse().unwrap();
        let base = base_name(&name, "Q4_0");
        let paths = |kinds: &[&str]| {
            let layers = kinds.iter().map(|kind| layer(kind)).collect();
            named(&name, &base, layers)
                .map(|files| files.into_iter().map(|(path, _)| path).collect::<Vec<_>>())
        };
        assert_eq!(
            paths(&["model", "projector", "license", "license", "template", "params"]).unwrap(),
            ["LICENSE", "LICENSE-2", "llava-7b-Q4_0.gguf", "params", "mmproj-llava-7b-Q4_0.gguf", "template"]
        );
        assert_eq!(
            paths(&["model", "model"]).unwrap(),
            ["llava-7b-Q4_0-00001-of-00002.gguf", "llava-7b-Q4_0-00002-of-00002.gguf"]
        );
        assert!(matches!(paths(&["model", "tensor"]), Err(AdoptError::Layer { .. })));
        assert!(matches!(paths(&["license"]), Err(AdoptError::NoWeights { .. })));
        assert_eq!(base_name(&"m:7b-q4_K_M".parse().unwrap(), "Q4_K_M"), "m-7b-q4_K_M");
        assert_eq!(base_name(&"m".parse().unwrap(), ""), "m");
    }

    #[test]
    fn a_system_prompt_with_a_token_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let body: String = ('a'..='z').chain('0'..='9').take(34).collect();
        let token = format!("hf_{body}");
        let layers = [
            ("model", "GGUF".to_owned()),
            ("system", format!("use {token}\n")),
            ("template", "{{ .Prompt }}".to_owned()),
        ];
        fs::create_dir_all(dir.path().join("blobs")).unwrap();
        let put = |bytes: &str| {
            let digest = Digest::of(bytes.as_bytes());
            fs::write(blob(dir.path(), &digest), bytes).unwrap();
            digest
        };
        let layer = |(kind, text): &(&str, String)| serde_json::json!({ "mediaType": format!("{LAYER}{kind}"), "digest": put(text) });
        let manifest = serde_json::json!({
            "config": { "digest": put("{}") },
            "layers": layers.iter().map(layer).collect::<Vec<_>>(),
        });
        let at = dir.path().join("manifests/registry.ollama.ai/library/m");
        fs::create_dir_all(&at).unwrap();
        fs::write(at.join("latest"), manifest.to_string()).unwrap();
        let taken = |ingest: &Ingest| {
            let Adoption { files, left_out, .. } =
                find(dir.path(), &"m".parse().unwrap(), ingest, &Cancel::default()).unwrap();
            let names: Vec<String> = files.iter().map(|it| it.path.to_string()).collect();
            let out: Vec<String> = left_out.entries.iter().map(|it| it.path.clone()).collect();
            (names.join(" "), out.join(" "))
        };
        assert_eq!(taken(&Ingest::default()), ("m.gguf template".to_owned(), "system".to_owned()));
        let wanted = Ingest { secrets: vec!["system".parse().unwrap()], ..Ingest::default() };
        assert_eq!(taken(&wanted), ("m.gguf system template".to_owned(), String::new()));
    }
}
