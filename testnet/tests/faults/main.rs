//! Faults: disks that fail an operation, processes that are killed and machines that lose their power, while names and keys
//! change, and while models move.

mod disk;
mod file_system;

mod tally;

mod disks;
mod node;

mod world;

mod acts;

mod names;

mod source;

mod content;

mod bytes;

mod once;

mod catalogue;
