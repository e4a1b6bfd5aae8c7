//! What holds of every record, message and parser of this crate: frozen formats, key rules, and hostile input.

mod golden;
mod golden_catalogue;
mod golden_domains;
mod golden_trust;

mod commitments;
mod keys;
mod tag_book;

mod tickets;

mod syncs;
mod tries;

#[cfg(target_os = "linux")]
mod sizes;

mod hostile;
#[cfg(target_os = "linux")]
mod memory;
mod parsers;
