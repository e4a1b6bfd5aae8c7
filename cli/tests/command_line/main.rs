//! `reg` as its users see it: transcripts that are run, one user's afternoon, and the aids: help, man pages, completions.

mod aids;
mod cmd;
mod configuration;
mod places;
#[cfg(unix)]
mod shells;
mod story;
mod views;
