//! `reg` as its users see it: transcripts that are run, and one user's afternoon.

mod cmd;
mod story;
