//! The source tree checked as text: its walls, its test rooms, its lock file, and what its documents refer to. No node runs.

mod tidy;
mod walls;

mod rooms;

mod docs;
mod lockfile;
mod one_build;
mod security;
