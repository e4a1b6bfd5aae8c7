//! Faults: disks that fail an operation, processes that are killed and machines that lose their power, while names and keys
//! change.

mod disk;
mod file_system;

mod tally;
mod world;

mod acts;

mod names;
