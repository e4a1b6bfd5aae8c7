//! OpenSSF Model Signing: writes the bundle beside a published model, and checks a directory against a bundle of anyone.

pub mod bundle;
pub mod directory;
pub mod format;
