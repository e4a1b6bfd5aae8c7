//! The source tree checked as text: its walls, its test rooms, its lock file, and what its documents refer to. No node runs.

mod tidy;

mod rooms;

mod lockfile;
mod security;
