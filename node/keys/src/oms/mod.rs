//! OpenSSF Model Signing: writes the bundle beside a published model, and checks a directory against a bundle of any
//! signer.

pub mod bundle;
pub mod directory;
mod format;
