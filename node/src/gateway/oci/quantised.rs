//! [`Quantised`]: the version of a model, and the GGUF files of it, that a reference of Ollama or llama.cpp means.
//!
//! `ns/model:Q4_K_M` names a quantisation of the tag `latest`. `ns/model:v1` names a tag, and then the usual quantisation is
//! taken. A tag with the name of a quantisation wins. What cannot be meant is refused with what there is: never is another
//! file served in its place.

use std::sync::Arc;

use reg_api::fault::{Fault, FaultKind};
use reg_api::selection::{PickError, Picked, Quant, is_quantisation, pick_default};
use reg_proto::manifest::ModelFile;
use reg_proto::name::{ModelName, Publisher, Tag};
use reg_proto::path::SafePath;

use super::error::{Code, OciError};
use super::state::OciGateway;
use crate::registry::resolve::{ModelView, Revision};

/// A version of a model, and the files of one quantisation.
pub(super) struct Quantised {
    pub(super) view: Arc<ModelView>,
    /// The model: one file, or all its splits in order.
    pub(super) weights: Vec<ModelFile>,
    pub(super) projector: Option<ModelFile>,
    /// Its name in upper case, where the name of the file tells it.
    pub(super) quantisation: Option<String>,
}

/// A version and the quantisation of it that is wanted.
type Meant = (Arc<ModelView>, Option<Quant>);

impl Quantised {
    /// Finds what a reference means. With `whole_first` a model in one file is preferred where no quantisation is named.
    ///
    /// # Errors
    /// Fails where the model is not found, has no GGUF file of this quantisation, or has several models of it.
    pub(super) async fn find(
        oci: &OciGateway,
        publisher: &Publisher,
        model: &ModelName,
        reference: &str,
        whole_first: bool,
    ) -> Result<Self, OciError> {
        let (view, quant) = meant(oci, publisher, model, reference).await?;
        let manifest = view.manifest();
        let paths: Vec<&SafePath> = manifest.files().iter().map(|file| &file.path).collect();
        let picked = match &quant {
            Some(quant) => quant.pick(&paths),
            None => pick_default(&paths, whole_first),
        };
        let picked = picked.map_err(|error| refused(model, reference, &error))?;
        if !picked.others.is_empty() {
            return Err(several(model, reference, &picked));
        }
        let file = |path: &SafePath| manifest.files().iter().find(|file| file.path == *path).cloned();
        let Picked { weights, projector, quantisation, .. } = picked;
        let weights: Vec<ModelFile> = weights.into_iter().filter_map(file).collect();
        let projector = projector.and_then(file);
        Ok(Self { view: view.clone(), weights, projector, quantisation })
    }
}

/// Returns the version that a reference means, and the quantisation that it names.
async fn meant(
    oci: &OciGateway,
    publisher: &Publisher,
    model: &ModelName,
    reference: &str,
) -> Result<Meant, OciError> {
    let unknown = |why: String| OciError::new(Code::ManifestUnknown, why);
    let tag: Tag = reference.parse().map_err(|error| unknown(format!("{reference}: {error}")))?;
    let view = async |tag: &Tag| oci.registry().view(publisher, model, &Revision::Tag(tag.clone())).await;
    let failed = |error| OciError::of(&error, Code::ManifestUnknown);
    if tag == Tag::latest() {
        return Ok((view(&tag).await.map_err(failed)?, None));
    }
    let quant: Option<Quant> = reference.parse().ok();
    let is_known = async || {
        let known = oci.registry().tags(publisher, model).await.unwrap_or_default();
        (known.iter().any(|(it, _)| *it == tag), !known.is_empty())
    };
    let mut no_file = None;
    if is_quantisation(reference) {
        if !is_known().await.0 {
            match view(&Tag::latest()).await {
                Ok(latest) => return Ok((latest, quant)),
                // A peer may have the tag of this name.
                Err(error) if error.kind() == FaultKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
    } else if let Some(quant) = quant
        && is_known().await == (false, true)
        && let Ok(latest) = view(&Tag::latest()).await
    {
        // Other words are quantisations too if a file has them, and no tag of the model is called so.
        let paths: Vec<&SafePath> = latest.manifest().files().iter().map(|file| &file.path).collect();
        match quant.pick(&paths).map(drop) {
            Ok(()) => return Ok((latest, Some(quant))),
            Err(error) => no_file = Some(refused(model, reference, &error)),
        }
    }
    match (view(&tag).await, no_file) {
        (Ok(view), _) => Ok((view, None)),
        // What there is helps more than that there is no such tag.
        (Err(error), Some(no_file)) if error.kind() == FaultKind::NotFound => Err(no_file),
        (Err(error), _) => Err(failed(error)),
    }
}

fn refused(model: &ModelName, reference: &str, error: &PickError) -> OciError {
    let code = match error {
        PickError::NoGguf | PickError::NoQuant { .. } => Code::ManifestUnknown,
        PickError::Incomplete { .. } => Code::NotServed,
    };
    OciError::new(code, format!("{model}:{reference}: {error} ({})", error.hint()))
}

fn several(model: &ModelName, reference: &str, picked: &Picked<'_>) -> OciError {
    let mut names: Vec<&str> = picked.weights.iter().take(1).map(|path| path.as_str()).collect();
    names.extend(picked.others.iter().take(7).map(|path| path.as_str()));
    OciError::new(
        Code::NotServed,
        format!(
            "{model}:{reference} means several models: {}; fetch one by its name, with `hf download` or `reg pull --include`",
            names.join(", ")
        ),
    )
}
