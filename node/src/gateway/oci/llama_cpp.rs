//! Serves llama.cpp and the programs that ask as it did: node-llama-cpp, ramalama. They say `llama-cpp` in `User-Agent`, and
//! expect a manifest that names the file (`ggufFile`), which they then fetch from the branch `main`.

use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use reg_proto::manifest::ModelFile;
use reg_proto::name::{ModelName, Publisher, Tag};
use serde_json::{Value, json};

use super::error::{Code, OciError};
use super::found::Found;
use super::ollama;
use super::quantised::Quantised;
use super::state::OciGateway;
use crate::registry::resolve::Revision;

/// Bytes of a pointer of git-lfs without its size: what every answer about a large file tells.
const POINTER_BYTES: usize = 125;

/// Tells whether the client is llama.cpp, or asks as it did.
pub(super) fn is_meant(headers: &HeaderMap) -> bool {
    headers.get(USER_AGENT).and_then(|it| it.to_str().ok()).is_some_and(|it| it.starts_with("llama-cpp"))
}

/// Synthesises the manifest of a model for llama.cpp.
///
/// # Errors
/// Fails where the model is not found, has no GGUF file of this quantisation, or the reference is a version that `main` is
/// not: the client would fetch another file.
pub(super) async fn manifest(
    oci: &OciGateway,
    publisher: &Publisher,
    model: &ModelName,
    reference: &str,
) -> Result<Found, OciError> {
    let quantised = Quantised::find(oci, publisher, model, reference, false).await?;
    let view = &quantised.view;
    if view.tag().is_none_or(|tag| *tag != Tag::latest()) {
        let main = oci.registry().view(publisher, model, &Revision::Tag(Tag::latest())).await;
        if !main.is_ok_and(|main| main.digest() == view.digest()) {
            return Err(OciError::new(
                Code::NotServed,
                format!(
                    "{model}:{reference} is not the version that main is, and this client fetches files of main: fetch the \
                     file by its name and revision, with `hf download --revision {reference}` or `reg pull`"
                ),
            ));
        }
    }
    let mut manifest = ollama::document(oci, &quantised).await;
    let first = quantised.weights.first().map(described);
    manifest["ggufFile"] = first.unwrap_or_default();
    if let Some(projector) = &quantised.projector {
        manifest["mmprojFile"] = described(projector);
    }
    Ok(ollama::found(&manifest, &quantised))
}

fn described(file: &ModelFile) -> Value {
    let size = file.layout.size();
    json!({
        "rfilename": file.path.as_str(), "blobId": file.digest, "size": size,
        "lfs": {
            "sha256": file.digest.hex(), "size": size, "pointerSize": POINTER_BYTES + size.to_string().len(),
        },
    })
}
