//! Serves Ollama: synthesises a Docker manifest of one GGUF file, for any model that has one.
//!
//! `ns/model:Q4_K_M` names the file by its quantisation. `ns/model:v1` names a tag of the model, and the file with the
//! preferred quantisation is taken. The weights' layer is the model's own blob; only the small config blob is
//! synthesised.

use reg_proto::manifest::ModelFile;
use reg_proto::name::{ModelName, Publisher, Tag};
use serde_json::{Value, json};

use super::error::{Code, OciError};
use super::found::Found;
use super::state::OciGateway;
use crate::registry::resolve::{ModelView, Revision};

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const MODEL_LAYER: &str = "application/vnd.ollama.image.model";
const PROJECTOR_LAYER: &str = "application/vnd.ollama.image.projector";

/// The quantisations that are preferred where the client names none, as in llama.cpp.
const PREFERRED: [&str; 2] = ["q4_k_m", "q8_0"];

/// Tells whether the client is Ollama: it accepts Docker's manifest and no other.
pub(super) fn is_meant(accept: &[&str]) -> bool {
    let types: Vec<&str> = accept
        .iter()
        .flat_map(|it| it.split(','))
        .map(|it| it.split(';').next().unwrap_or(it).trim())
        .collect();
    !types.is_empty() && types.iter().all(|it| *it == DOCKER_MANIFEST)
}

/// Synthesises the manifest of a model for Ollama.
///
/// # Errors
/// Fails where the model is not found, or has no GGUF file of this quantisation.
pub(super) async fn manifest(
    oci: &OciGateway,
    publisher: &Publisher,
    model: &ModelName,
    reference: &str,
) -> Result<Found, OciError> {
    let unknown = |why: String| OciError::new(Code::ManifestUnknown, why);
    let failed = |error| OciError::of(&error, Code::ManifestUnknown);
    let quantisation = reference.to_ascii_lowercase();
    let (view, wanted) = if is_quantisation(&quantisation) {
        let latest = Revision::Tag(Tag::latest());
        (oci.registry().view(publisher, model, &latest).await.map_err(failed)?, Some(quantisation))
    } else {
        let tag: Tag = reference.parse().map_err(|error| unknown(format!("{reference}: {error}")))?;
        (oci.registry().view(publisher, model, &Revision::Tag(tag)).await.map_err(failed)?, None)
    };
    let file = choose(view.manifest().files(), wanted.as_deref())
        .ok_or_else(|| unknown(format!("{model} has no GGUF file for {reference}")))?;
    let metadata = oci.registry().metadata(&view).await;
    let computed = metadata.as_ref().map(|it| &it.computed);
    let family =
        computed.and_then(|it| it.architecture.as_ref()).map_or("unknown".to_owned(), ToString::to_string);
    let parameters = computed.and_then(|it| it.parameters).map_or_else(String::new, billions);
    let config = json!({
        "model_format": "gguf", "model_family": family, "model_families": [family], "model_type": parameters,
        "file_type": quantisation_of(file.path.as_str()).unwrap_or_default().to_ascii_uppercase(),
        "architecture": "amd64", "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [file.digest] },
    });
    let (digest, size) = oci.synthesised().keep(serde_json::to_vec(&config).unwrap_or_default());
    let layers = layers(&view, file);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": DOCKER_MANIFEST,
        "config": { "mediaType": DOCKER_CONFIG, "digest": digest, "size": size },
        "layers": layers,
    });
    let bytes = serde_json::to_vec(&manifest).unwrap_or_default();
    Ok(Found { bytes, media_type: DOCKER_MANIFEST.to_owned(), behind: view.behind.clone() })
}

fn layers(view: &ModelView, file: &ModelFile) -> Vec<Value> {
    let layer = |file: &ModelFile, kind: &str| json!({ "mediaType": kind, "digest": file.digest, "size": file.layout.size() });
    let projector = view.manifest().files().iter().find(|it| is_gguf(it) && name(it).starts_with("mmproj"));
    std::iter::once(layer(file, MODEL_LAYER)).chain(projector.map(|it| layer(it, PROJECTOR_LAYER))).collect()
}

/// Chooses the file with the wanted quantisation; where none is wanted, with a preferred one, else the first.
fn choose<'a>(files: &'a [ModelFile], wanted: Option<&str>) -> Option<&'a ModelFile> {
    let models = || files.iter().filter(|file| is_gguf(file) && !name(file).starts_with("mmproj"));
    let of =
        |wanted: &str| models().find(|file| quantisation_of(file.path.as_str()).as_deref() == Some(wanted));
    match wanted {
        Some(wanted) => of(wanted),
        None => PREFERRED.into_iter().find_map(of).or_else(|| models().next()),
    }
}

fn is_gguf(file: &ModelFile) -> bool {
    name(file).ends_with(".gguf")
}

fn name(file: &ModelFile) -> String {
    file.path.segments().last().unwrap_or_default().to_ascii_lowercase()
}

/// Returns the quantisation at the end of a file's name in lower case, as in `tiny.Q4_K_M.gguf`.
fn quantisation_of(path: &str) -> Option<String> {
    let lower = path.to_ascii_lowercase();
    let stem = lower.strip_suffix(".gguf")?;
    let last = stem.rsplit(['.', '-', '/']).next()?;
    is_quantisation(last).then(|| last.to_owned())
}

fn is_quantisation(text: &str) -> bool {
    let digits = ["iq", "tq", "q"].iter().find_map(|prefix| text.strip_prefix(prefix));
    let is_packed = digits.is_some_and(|rest| {
        rest.starts_with(|it: char| it.is_ascii_digit())
            && rest.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_')
    });
    is_packed || matches!(text, "f16" | "bf16" | "f32" | "mxfp4")
}

fn billions(parameters: u64) -> String {
    match parameters {
        0..1_000_000_000 => format!("{:.1}M", parameters as f64 / 1e6),
        _ => format!("{:.1}B", parameters as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use reg_proto::digest::Digest;
    use reg_proto::piece::BlobLayout;

    use super::*;

    fn file(path: &str) -> ModelFile {
        ModelFile {
            path: path.parse().unwrap(),
            digest: Digest::of(path.as_bytes()),
            layout: BlobLayout::new(1).unwrap(),
            media_type: String::new(),
        }
    }

    #[test]
    fn a_file_is_chosen_by_its_quantisation() {
        let files =
            ["a/tiny-F16.gguf", "mmproj-F16.gguf", "tiny.Q4_K_M.gguf", "tiny-IQ2_XXS.gguf", "x.safetensors"]
                .map(file);
        let chosen = |wanted| choose(&files, wanted).map(|it| it.path.to_string());
        assert_eq!(chosen(None).as_deref(), Some("tiny.Q4_K_M.gguf"));
        assert_eq!(chosen(Some("f16")).as_deref(), Some("a/tiny-F16.gguf"));
        assert_eq!(chosen(Some("iq2_xxs")).as_deref(), Some("tiny-IQ2_XXS.gguf"));
        assert_eq!(chosen(Some("q8_0")), None);
        assert_eq!(choose(&[file("one.gguf")], None).unwrap().path.as_str(), "one.gguf");
        assert!(!is_quantisation("latest") && !is_quantisation("quick") && !is_quantisation("v1"));
    }

    #[test]
    fn only_ollama_accepts_dockers_manifest_alone() {
        assert!(is_meant(&[DOCKER_MANIFEST]));
        assert!(!is_meant(&[]));
        assert!(!is_meant(&["*/*"]));
        assert!(!is_meant(&[DOCKER_MANIFEST, "application/vnd.oci.image.manifest.v1+json"]));
        assert!(!is_meant(&[
            "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json"
        ]));
    }
}
