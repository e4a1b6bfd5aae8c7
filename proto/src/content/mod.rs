//! What the bytes of a model file are: kinds, headers and the metadata computed from them.
//!
//! Nothing here loads or runs a model. A file is read as far as its header, by readers that check every length before
//! they allocate, and what it says is kept in two parts: [`metadata::Computed`], which follows from the bytes, and
//! [`metadata::Claimed`], which somebody wrote.

pub mod kind;
mod pickle;
mod protobuf;
mod text;
mod zip;

pub mod class;

pub mod label;
mod loose;

pub mod card;
pub mod chat_template;
pub mod ggml;
pub mod gguf;
pub mod model_config;
pub mod safetensors;
pub mod tokenizer_config;
pub mod weight_index;

pub mod inspect;
pub mod layout;
pub mod metadata;
