//! Serves Ollama: synthesises a Docker manifest of one GGUF file, for any model that has one.
//!
//! [`Quantised`] says which file a reference means. The weights' layer is the model's own blob; only the small config blob is
//! synthesised. Ollama cannot pull split models, and is told so.

use reg_proto::manifest::ModelFile;
use reg_proto::name::{ModelName, Publisher};
use serde_json::{Value, json};

use super::error::{Code, OciError};
use super::found::Found;
use super::quantised::Quantised;
use super::state::OciGateway;

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const MODEL_LAYER: &str = "application/vnd.ollama.image.model";
const PROJECTOR_LAYER: &str = "application/vnd.ollama.image.projector";
/// Files beside the weights that Ollama reads, each with the type of its layer.
const DOCUMENT_LAYERS: [(&str, &str); 4] = [
    ("template", "application/vnd.ollama.image.template"),
    ("system", "application/vnd.ollama.image.system"),
    ("params", "application/vnd.ollama.image.params"),
    ("LICENSE", "application/vnd.ollama.image.license"),
];
/// Bytes of such a file: Ollama holds it in memory.
const DOCUMENT_BYTES_MAX: u64 = 1 << 20;

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
/// Fails where the model is not found, has no GGUF file of this quantisation, or is split.
pub(super) async fn manifest(
    oci: &OciGateway,
    publisher: &Publisher,
    model: &ModelName,
    reference: &str,
) -> Result<Found, OciError> {
    let quantised = Quantised::find(oci, publisher, model, reference, true).await?;
    if quantised.weights.len() > 1 {
        let count = quantised.weights.len();
        return Err(OciError::new(
            Code::NotServed,
            format!(
                "{model}:{reference} is split into {count} files, which Ollama cannot pull: take another quantisation, or \
                 fetch the files with `hf download` or `reg pull`, and use `ollama create`"
            ),
        ));
    }
    let mut manifest = document(oci, &quantised).await;
    if let Some(layers) = manifest["layers"].as_array_mut() {
        layers.extend(documents(quantised.view.manifest().files()));
    }
    Ok(found(&manifest, &quantised))
}

/// Returns the layers of the files at the model's root that tell Ollama how to talk to it. They have the names that `reg import
/// --from ollama` gives them, which are those of Hugging Face's own gateway for Ollama
/// (huggingface.co/docs/hub/ollama, "Custom chat template and parameters").
fn documents(files: &[ModelFile]) -> impl Iterator<Item = Value> {
    let of = |(name, kind): (&str, &str)| {
        let is_it = |it: &&ModelFile| it.path.as_str() == name && it.layout.size() <= DOCUMENT_BYTES_MAX;
        files.iter().find(is_it).map(|it| layer(it, kind))
    };
    DOCUMENT_LAYERS.into_iter().filter_map(of)
}

fn layer(file: &ModelFile, kind: &str) -> Value {
    json!({ "mediaType": kind, "digest": file.digest, "size": file.layout.size() })
}

/// Returns the answer that carries a manifest.
pub(super) fn found(manifest: &Value, quantised: &Quantised) -> Found {
    let bytes = serde_json::to_vec(manifest).unwrap_or_default();
    Found { bytes, media_type: DOCKER_MANIFEST.to_owned(), behind: quantised.view.behind.clone() }
}

/// Synthesises the manifest of these files, and keeps the config blob that it names.
pub(super) async fn document(oci: &OciGateway, quantised: &Quantised) -> Value {
    let Quantised { view, weights, projector, quantisation } = quantised;
    let metadata = oci.registry().metadata(view).await;
    let computed = metadata.as_ref().map(|it| &it.computed);
    let family =
        computed.and_then(|it| it.architecture.as_ref()).map_or("unknown".to_owned(), ToString::to_string);
    let parameters = computed.and_then(|it| it.parameters).map_or_else(String::new, billions);
    let diff_ids: Vec<_> = weights.iter().map(|file| file.digest).collect();
    let config = json!({
        "model_format": "gguf", "model_family": family, "model_families": [family], "model_type": parameters,
        "file_type": quantisation.clone().unwrap_or_default(),
        "architecture": "amd64", "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let (digest, size) = oci.synthesised().keep(serde_json::to_vec(&config).unwrap_or_default());
    let layers: Vec<Value> = weights
        .iter()
        .map(|file| layer(file, MODEL_LAYER))
        .chain(projector.iter().map(|file| layer(file, PROJECTOR_LAYER)))
        .collect();
    json!({
        "schemaVersion": 2, "mediaType": DOCKER_MANIFEST,
        "config": { "mediaType": DOCKER_CONFIG, "digest": digest, "size": size },
        "layers": layers,
    })
}

fn billions(parameters: u64) -> String {
    match parameters {
        0..1_000_000_000 => format!("{:.1}M", parameters as f64 / 1e6),
        _ => format!("{:.1}B", parameters as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
