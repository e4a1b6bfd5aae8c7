//! Explores the naming rules with a model checker (`docs/naming.md`): every order of messages, crashes and thefts within the
//! bounds of a configuration.

mod authors;
mod config;
mod kept;
mod keyring;
mod model;
mod node;
mod properties;
mod rules;
mod spec;
mod world;

mod agreement;
mod explore;
mod mutations;
