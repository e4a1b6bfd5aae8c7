//! Tests of the catalogue as its callers see it: what it keeps, what it survives, what it finds, and how fast.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod generate;

mod bounds;
mod damage;
mod finding;
mod laws;
mod lists;
mod speed;
