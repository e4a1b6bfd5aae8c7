//! Shows the text of a model's chat template: a program that a runtime runs on every conversation with the model. This node
//! never runs it.

use std::sync::Arc;

use reg_proto::content::chat_template::CHAT_TEMPLATE_BYTES_MAX;
use reg_proto::content::gguf;
use reg_proto::content::tokenizer_config::{self, TOKENIZER_CONFIG_BYTES_MAX};
use reg_proto::manifest::Manifest;
use reg_proto::name::Reference;

use super::Local;
use super::inventory::CatalogueError;
use crate::registry::model::record;
use crate::store::Store;

impl Local {
    /// Returns the default chat template of a model: from a file of its own, else from the tokenizer's settings, else from the
    /// first GGUF file. The metadata takes it from the same place. `None` if there is none.
    ///
    /// # Errors
    /// The model is not in the store, or cannot be read: see [`CatalogueError`].
    pub async fn chat_template(
        self: &Arc<Self>,
        reference: &Reference,
    ) -> Result<Option<String>, CatalogueError> {
        let reference = reference.clone();
        self.on_blocking_thread(move |local| {
            let digest = local.resolver.model_here(&reference)?.manifest;
            let manifest = record::manifest(&local.store, &digest)?;
            Ok(beside_weights(&local.store, &manifest).or_else(|| in_gguf(&local.store, &manifest)))
        })
        .await
    }
}

fn beside_weights(store: &Store, manifest: &Manifest) -> Option<String> {
    let read = |name: &str, max: u64| {
        let file = manifest.files().iter().find(|it| it.path.as_str() == name)?;
        store.read_blob(&file.digest, max).ok()
    };
    let own = read("chat_template.jinja", CHAT_TEMPLATE_BYTES_MAX).and_then(|it| String::from_utf8(it).ok());
    own.or_else(|| {
        let settings = read("tokenizer_config.json", TOKENIZER_CONFIG_BYTES_MAX as u64)?;
        tokenizer_config::template_text(&settings)
    })
}

/// Returns the chat template of the first GGUF file. Reads only the first bytes of files of other formats.
fn in_gguf(store: &Store, manifest: &Manifest) -> Option<String> {
    let mut files: Vec<_> = manifest.files().iter().collect();
    files.sort_by(|one, two| one.path.cmp(&two.path));
    let read = files.into_iter().filter_map(|file| {
        let mut reader = store.open_file(&file.digest).ok()?;
        gguf::read_chat_template(&mut reader, file.layout.size()).ok()
    });
    read.take(1).next().flatten()
}
