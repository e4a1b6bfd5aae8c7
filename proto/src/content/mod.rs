//! What the bytes of a model file are: kinds, headers and the metadata computed from them.

pub mod metadata;
