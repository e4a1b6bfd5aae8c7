//! Reads the files of a model: their kinds, their headers, and the metadata that follows from them.
//!
//! This module never loads or runs a model. It reads a file's header only, and checks every length before it allocates.
//! It keeps the results in two parts: [`metadata::Computed`] follows from the bytes, and [`metadata::Claimed`] is what an
//! author wrote.

pub mod format;
pub mod kind;
mod pickle;
mod protobuf;
mod signature;
mod text;
mod zip;

mod archive;
mod keras;
pub mod recognise;

pub mod class;

pub mod label;
mod loose;

pub mod card;
pub mod chat_template;
pub mod ggml;
pub mod gguf;
pub mod hollow;
pub mod model_config;
pub mod onnx;
pub mod safetensors;
pub mod shards;
pub mod tokenizer_config;
pub mod weight_index;

pub mod inspect;
pub mod layout;
pub mod metadata;
pub mod parts;
