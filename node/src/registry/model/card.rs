//! Writes the card of a model: what its publisher claims, what its files claim, and what was computed from them.

use reg_api::request::{CardClaims, Claims};
use reg_api::selection::quantisations;
use reg_proto::bounded::Bounded;
use reg_proto::catalogue::{Card, Claimed, Computed, content_digest};
use reg_proto::content::label::Label;
use reg_proto::content::metadata::{self, Metadata};
use reg_proto::digest::Digest;
use reg_proto::manifest::Manifest;
use reg_proto::name::{ModelName, PublisherId};

/// What a card is about. The publisher's claims come before those in the files.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    pub publisher: PublisherId,
    pub model: &'a ModelName,
    /// The digest of the manifest.
    pub digest: Digest,
    pub manifest: &'a Manifest,
    pub metadata: &'a Metadata,
    pub claims: &'a Claims,
    pub more: &'a CardClaims,
    /// The manifest of the model that this one is derived from, where it is in the store.
    pub base: Option<Digest>,
}

/// Writes the card of a model with a time and the key document that is to sign it. It fits the bounds of a card.
pub fn card(about: &About<'_>, key_document: u64, issued: u64) -> Card {
    let About { publisher, model, digest, manifest, metadata, .. } = *about;
    let card = Card {
        publisher,
        model: model.clone(),
        manifest: digest,
        claimed: claimed(about),
        computed: Computed { base_manifest: about.base, ..computed(manifest, &metadata.computed) },
        key_document,
        issued,
    };
    card.fitted()
}

/// Returns the name of the model that this one says it is derived from.
pub fn base_of(metadata: &Metadata) -> Option<&Label> {
    metadata.claimed.base_models.first()
}

fn claimed(about: &About<'_>) -> Claimed {
    let About { metadata, claims, more, .. } = *about;
    let in_files = &metadata.claimed;
    let label = |text: &String| Label::cut(text);
    let stated = (!claims.licenses.is_empty()).then(|| claims.licenses.join(", "));
    let found = || {
        let names: Vec<&str> = in_files.licenses.iter().map(Label::as_str).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let languages = in_files.languages.iter().filter_map(|it| it.as_str().parse().ok());
    Claimed {
        title: claims.title.as_ref().and_then(label).or_else(|| in_files.name.clone()),
        task: more.task.clone().or_else(|| in_files.pipeline_tag.clone()),
        summary: more.summary.clone().or_else(|| claims.description.as_ref().and_then(label)),
        licence: stated.or_else(found).as_ref().and_then(label),
        languages: Bounded::first_of(languages),
        base: base_of(metadata).cloned(),
    }
}

fn computed(manifest: &Manifest, found: &metadata::Computed) -> Computed {
    let named = quantisations(manifest.files().iter().map(|file| &file.path));
    let method = found.quantization.as_ref().map(|it| it.method.to_string());
    let quantisations = named.into_iter().chain(method).filter_map(|it| it.parse().ok());
    Computed {
        formats: Bounded::first_of(found.formats.iter().filter_map(|it| it.to_string().parse().ok())),
        parameters: found.parameters,
        quantisations: Bounded::first_of(quantisations),
        bytes: manifest.total_bytes(),
        context: found.context_length.and_then(|it| u32::try_from(it).ok()),
        base_manifest: None,
        content: content_digest(manifest),
    }
}
